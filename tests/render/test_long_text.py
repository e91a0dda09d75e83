"""Text of any length stays on the canvas and does not overlap, in the picture of every kind of value."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import convscope as cs
from convscope.render.canvas import MARGIN, SMALL, Canvas

SENTENCE = "a label that somebody wrote down in full, with commas, until it had over a hundred characters, and it has!!"
WORD = "W" * 120
PATH = "block_of_layers_with_a_long_name_" * 4


class LongNames(nn.Module):
    """A small network whose modules have names of 120 characters."""

    def __init__(self) -> None:
        super().__init__()
        self.add_module("W" * 120, nn.Conv2d(3, 8, 3))
        self.add_module(PATH, nn.Sequential(nn.Conv2d(8, 8, 3), nn.ReLU()))
        self.fc = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first, second = getattr(self, "W" * 120), getattr(self, PATH)
        answer: torch.Tensor = self.fc(second(first(x).relu()).mean((2, 3)))
        return answer


@pytest.fixture(scope="module")
def model() -> cs.Model:
    torch.manual_seed(0)
    labels = [SENTENCE, WORD, "猫" * 120, PATH]
    return cs.Model(LongNames().eval(), input=cs.ImageInput(size=(32, 32)), labels=labels, name=SENTENCE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images with long names."""
    folder = tmp_path_factory.mktemp("images")
    for place in range(3):
        inside = folder / ("class_" * 20)
        inside.mkdir(exist_ok=True)
        pixels = np.random.default_rng(place).integers(0, 256, (32, 32, 3), np.uint8)
        Image.fromarray(pixels).save(inside / f"{'n' * 110}{place}.png")
    return folder


@pytest.fixture
def boxes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, float, float, float, str]]:
    """Left, top, right and bottom of every line that is written, with the line."""
    written: list[tuple[float, float, float, float, str]] = []
    write = Canvas._line_of_text

    def line(
        self: Canvas, x: float, baseline: float, words: str, size: int, colour: str, bold: bool, anchor: Any
    ) -> None:
        wide = self.text_width(words, size, bold)
        left = x - {"left": 0.0, "center": 0.5, "right": 1.0}[anchor] * wide
        if words:
            written.append((left, baseline - 0.7 * size, left + wide, baseline, words))
        write(self, x, baseline, words, size, colour, bold, anchor)

    monkeypatch.setattr(Canvas, "_line_of_text", line)
    return written


IMAGE = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0))
LOOKS = {
    "predict": lambda m, f: cs.predict(m, IMAGE),
    "attribution": lambda m, f: cs.grad_cam(m, f / ("class_" * 20) / f"{'n' * 110}0.png", target=1),
    "comparison": lambda m, f: cs.compare(m, IMAGE, ["grad-cam", "saliency"], target=0),
    "comparison of targets": lambda m, f: cs.compare(m, IMAGE, "grad-cam", targets=[0, 1, 2, 3]),
    "structure": lambda m, f: cs.structure(m, IMAGE),
    "feature maps": lambda m, f: cs.feature_maps(m, IMAGE),
    "kernels": lambda m, f: cs.kernels(m, layer=["W" * 120, f"{PATH}.0"]),
    "activations": lambda m, f: cs.activations(m, f),
    "activations by class": lambda m, f: cs.activations(m, f, layer=f"{PATH}.0"),
    "step through": lambda m, f: cs.step_through(m, IMAGE),
    "layer attribution": lambda m, f: cs.layer_gradient_x_activation(m, IMAGE, layer="W" * 120),
    "receptive field": lambda m, f: cs.receptive_field(m, IMAGE),
    "drawn": lambda m, f: cs.activation_maximization(m, unit=[f"{'W' * 120}[1]", f"{PATH}.0[2]", SENTENCE], steps=2),
    "top inputs": lambda m, f: cs.top_inputs(m, f),
    "recommendation": lambda m, f: cs.recommend(m, IMAGE),
}


BARE = ("predict", "comparison", "comparison of targets", "recommendation")
"""Values that a page lays out itself: they have no bare picture."""


@pytest.mark.parametrize(
    ("name", "bare"), [(name, bare) for name in LOOKS for bare in (False, True) if not bare or name not in BARE]
)
def test_words_stay_on_the_sheet_and_apart(
    name: str, bare: bool, model: cs.Model, folder: Path, boxes: list[tuple[float, float, float, float, str]]
) -> None:
    value = LOOKS[name](model, folder)  # type: ignore[no-untyped-call]
    width = (value.picture(bare=True) if bare else value.picture()).pixels.shape[1]
    assert [box for box in boxes if box[0] < MARGIN / 2 or box[2] > width - MARGIN / 4] == []
    assert list(overlapping(boxes)) == []


@pytest.mark.parametrize("words", [SENTENCE, WORD, "猫" * 120])
def test_what_is_shortened_keeps_both_ends_and_fits(words: str) -> None:
    sheet = Canvas("light", 600)
    short = sheet.shorten(words, 200)
    begin, end = short.split("…")
    assert words.startswith(begin)
    assert words.endswith(end)
    assert abs(len(begin) - len(end)) <= 1
    assert 150 < sheet.text_width(short, SMALL) <= 200
    assert sheet.shorten("short", 200) == "short"


def overlapping(boxes: list[tuple[float, float, float, float, str]]) -> Iterator[tuple[str, str]]:
    for place, (left, top, right, bottom, words) in enumerate(boxes):
        for other_left, other_top, other_right, other_bottom, others in boxes[:place]:
            if (
                min(right, other_right) - max(left, other_left) > 2
                and min(bottom, other_bottom) - max(top, other_top) > 2
            ):
                yield words, others
