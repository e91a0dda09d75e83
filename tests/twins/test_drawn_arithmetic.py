"""The numbers in pictures of arithmetic by hand add up."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from torch import Tensor, nn

import convscope as cs
from convscope.render import arithmetic as drawing
from convscope.render import arithmetic_operands
from convscope.render.canvas import Canvas
from convscope.render.matrix import draw_matrix
from tests.nets import ResidualNet, seeded
from tests.twins.activations.arithmetic_inputs import numbers
from tests.twins.results import single_value


@pytest.mark.parametrize("unit", ["stem", "bn1", "relu", "fc", "conv[2, 0, 0]"])
def test_every_kind_of_step_can_be_drawn(unit: str) -> None:
    result = cs.step_through(seeded(ResidualNet), numbers(1, 3, 16, 16), unit=unit)
    assert result.unit in result.picture(theme="dark" if unit in ("bn1", "fc") else "light").alt


SUMS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "conv1d": (lambda: nn.Conv1d(6, 4, 3, padding=1), (6, 17)),
    "conv1d, grouped, dilated": (lambda: nn.Conv1d(12, 4, 3, padding=2, dilation=2, groups=2), (12, 17)),
    "conv2d": (lambda: nn.Conv2d(9, 4, 3, padding=1), (9, 9, 8)),
    "conv2d, strided": (lambda: nn.Conv2d(2, 4, 3, stride=2), (2, 9, 8)),
    "conv3d": (lambda: nn.Conv3d(6, 3, 3, padding=1), (6, 7, 8, 9)),
    "conv3d, one channel": (lambda: nn.Conv3d(1, 3, (2, 3, 3)), (1, 7, 8, 9)),
    "conv3d, flat": (lambda: nn.Conv3d(6, 3, (1, 3, 3)), (6, 7, 8, 9)),
    "conv3d, grouped": (lambda: nn.Conv3d(12, 4, 3, groups=2, dilation=2, stride=2), (12, 7, 8, 9)),
    "transposed, one axis": (lambda: nn.ConvTranspose1d(6, 6, 4, stride=3, padding=1), (6, 7)),
    "transposed": (lambda: nn.ConvTranspose2d(6, 4, 3, stride=2, padding=1), (6, 5, 6)),
    "transposed volume": (lambda: nn.ConvTranspose3d(6, 4, 3, stride=2, padding=1, groups=2), (6, 4, 5, 6)),
    "linear": (lambda: nn.Linear(40, 3), (40,)),
}


@pytest.mark.parametrize("kind", SUMS)
def test_printed_numbers_sum_to_the_value(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The products in the cells, and all that are left out, with their sum."""
    build, shape = SUMS[kind]
    net = nn.Sequential(seeded(build))
    result = cs.step_through(
        cs.Model(net, input=cs.TensorInput(shape=shape) if len(shape) > 1 else None), batch(shape), unit="0"
    )
    texts, matrices = printed(single_value(result), monkeypatch)
    total = result.steps[0].facts["sum"]
    size = float(result.numbers["products"].abs().sum())
    if kind == "linear":
        sums = [to_float(text[2:]) for text in texts if text.startswith("= ")]
    else:
        sums = [to_float(after) for text, after in itertools.pairwise(texts) if text == "sum"]
        products = matrices[2::3]
        assert len(products) == len(sums)
        for order, cells in enumerate(products):
            parts = [to_float(b) for a, b in itertools.pairwise(texts) if a.startswith(("sum of slice", "the other"))]
            slices = parts[2 * order : 2 * order + 2] or [sums[order]]
            assert float(cells.sum()) == pytest.approx(slices[0], abs=0.01 * size)
            assert sum(slices) == pytest.approx(sums[order], abs=0.01 * size)
    left_out = [to_float(text.partition(" sum to ")[2].rstrip(".")) for text in texts if " sum to " in text]
    assert sum(sums) + sum(left_out) == pytest.approx(total, abs=0.01 * size)


@pytest.mark.parametrize(
    ("layer", "label"), [(nn.AvgPool3d(3), "sum of slice"), (nn.MaxPool3d(3), "the largest is framed")]
)
def test_the_slice_of_a_pooled_volume_is_named(layer: nn.Module, label: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shape = (2, 6, 6, 6)
    result = cs.step_through(cs.Model(nn.Sequential(layer), input=cs.TensorInput(shape=shape)), batch(shape), unit="0")
    texts, (cells,) = printed(single_value(result), monkeypatch)
    assert any(label in text for text in texts)
    depth = int(next(text for text in texts if text.startswith("slice ")).split()[1])
    assert np.array_equal(cells, np.asarray(result.numbers["window"][0][depth], np.float32))
    if label == "sum of slice":
        parts = [
            float(text.partition(": ")[2].replace("−", "-"))
            for text in texts
            if text.startswith(("sum of slice", "the other"))
        ]
        assert sum(parts[:2]) == pytest.approx(result.steps[0].facts["sum"], abs=0.1)


def test_the_window_of_a_transposed_convolution_is_framed_in_the_input(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shape = (2, 4, 5, 6)
    net = nn.Sequential(seeded(lambda: nn.ConvTranspose3d(2, 4, 3, stride=2, padding=1)))
    result = cs.step_through(cs.Model(net, input=cs.TensorInput(shape=shape)), batch(shape), unit="0[1, 3, 4, 5]")
    frames: list[Any] = []
    monkeypatch.setattr(drawing, "_draw_frame", lambda _sheet, _x, _y, window: frames.append(window))
    texts, _ = printed(single_value(result), monkeypatch)
    left, top, width, height = frames[0]  # output 4 = 2·i + k − 1: rows 2 alone (k = 1); column 5: 2 and 3
    zoom = 220 / 6
    assert (left, top, width, height) == pytest.approx((2 * zoom, 2 * zoom, 2 * zoom, zoom), abs=1)
    assert any("channel" in text and "slice 2 of axis 0" in text for text in texts)  # output 3: 1 and 2


def batch(shape: tuple[int, ...]) -> Tensor:
    return numbers(1, *shape)


def printed(result: cs.Arithmetic, monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], list[Any]]:
    """The texts of a picture in order, and the matrices of numbers that it shows."""
    texts: list[str] = []
    matrices: list[Any] = []
    write = Canvas.text

    def keep_text(canvas: Canvas, x: float, y: float, words: str, **options: Any) -> Any:
        texts.append(words)
        return write(canvas, x, y, words, **options)

    def keep_matrix(canvas: Canvas, x: float, y: float, values: Any, *arguments: Any, **options: Any) -> Any:
        matrices.append(values)
        return draw_matrix(canvas, x, y, values, *arguments, **options)

    monkeypatch.setattr(Canvas, "text", keep_text)
    for module in (drawing, arithmetic_operands):
        monkeypatch.setattr(module, "draw_matrix", keep_matrix)
    result.picture()
    return texts, matrices


def to_float(text: str) -> float:
    """A number in the format used in pictures."""
    digits, _, power = text.replace("−", "-").partition("·10")
    exponent = power.translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789"))
    return float(digits) * 10 ** int(exponent or 0)
