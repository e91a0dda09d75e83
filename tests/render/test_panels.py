"""Panels of signals, volumes and images of many channels: which of them are shown, and that it is said."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import convscope as cs
from convscope import render
from convscope.render.canvas import Canvas
from convscope.render.panel import Panel
from convscope.render.raster import enlarge, overlay_pixels
from convscope.render.scale import scale_of
from convscope.values import Attribution, Comparison, Exemplar, Exemplars, UnitExemplars
from tests.lens_calls import DrawnText
from tests.render.example_values import attribution


@pytest.mark.parametrize(
    ("count", "caption_text"), [(1, ""), (12, "channels 0 to 11,"), (40, "channels 0 to 11 of 40,")]
)
def test_a_signal_has_a_line_for_each_channel_and_says_which(
    count: int, caption_text: str, drawn_texts: list[DrawnText], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[Any] = []
    monkeypatch.setattr(Canvas, "line", lambda self, xs, ys, **style: lines.append((style["colour"], ys)))
    signal = np.random.default_rng(1).normal(size=(count, 50)).astype(np.float32)
    attribution((50,), photo=signal).picture()
    heights = [np.asarray(ys) for colour, ys in lines if colour == "#000000"]
    assert len(heights) == min(count, 12)
    for channel, down in enumerate(heights):  # each channel's own numbers, one lane below the other
        assert np.corrcoef(-down, signal[channel])[0, 1] > 0.999
        assert channel == 0 or down.mean() > heights[channel - 1].max()
    caption = next(words for words in drawn_texts if words.startswith("the signal, coloured"))
    assert caption_text in caption
    assert ("channels" in caption) == (count > 1)
    assert count == 1 or {str(channel) for channel in range(12)} <= set(drawn_texts)


@pytest.mark.parametrize("count", [1, 4])
def test_a_volume_says_which_channel_lies_under_its_map(count: int, drawn_texts: list[DrawnText]) -> None:
    attribution((5, 6, 7), photo=np.random.default_rng(1).normal(size=(count, 5, 6, 7))).picture()
    captions = [words for words in drawn_texts if words.startswith("slice ")]
    assert len(captions) == 3
    assert all(("over the input's channel 0 of 4" in caption) == (count > 1) for caption in captions)


def test_volumes_are_compared_in_one_slice_that_is_named_beside_the_plain_input(
    drawn_texts: list[DrawnText], monkeypatch: pytest.MonkeyPatch
) -> None:
    panels: list[Any] = []
    monkeypatch.setattr(Panel, "draw", lambda self, *_: panels.append(self.pixels))
    volume = np.random.default_rng(1).normal(size=(2, 5, 6, 7)).astype(np.float32)
    maps = [attribution((5, 6, 7), photo=volume) for _ in range(2)]
    peaks = [torch.zeros(5, 6, 7), torch.zeros(5, 6, 7)]
    peaks[0][1], peaks[1][1] = 0.9, 0.9
    peaks[0][3, 2, 2], peaks[1][0, 3, 3] = 1.0, 1.0  # each is strongest elsewhere, together they are in slice 1
    maps = [replace(volume_map, values=peak) for volume_map, peak in zip(maps, peaks, strict=True)]
    Comparison(rows=(tuple(maps),)).picture()
    assert any("slice 1 of axis 0" in words and "channel 0 of 2" in words for words in drawn_texts)
    plain, first, second, agreement = panels
    grey = volume[0] - volume[0].min()
    expected = (255 * grey[1] / grey.max()).round().astype(np.uint8)
    assert np.array_equal(plain, enlarge(expected[..., None].repeat(3, -1), 224))
    assert np.array_equal(first, second)
    assert agreement.any()
    assert np.array_equal(first, overlaid(maps[0], plain, 1))


def overlaid(value: Attribution, plain: Any, index: int) -> Any:
    """A slice of a map over the enlarged slice of its input."""
    factor = plain.shape[0] // value.values.shape[1]
    map_slice = np.asarray(value.values[index]).repeat(factor, 0).repeat(factor, 1)
    return overlay_pixels(map_slice, plain, scale_of([value]))


@pytest.mark.parametrize(("shape", "channels_text"), [((12, 40), "channels 0 to 11"), ((4, 5, 6, 7), "channel 0 of 4")])
def test_drawn_signals_and_volumes_say_which_channels_are_seen(
    shape: tuple[int, ...], channels_text: str, drawn_texts: list[DrawnText]
) -> None:
    values = torch.randn(1, *shape)
    cs.Pictures(values=values, words=("a[1]",), scores=(1.0,), curves=torch.zeros(1, 1)).picture()
    assert any(channels_text in words for words in drawn_texts)


@pytest.mark.parametrize(("shape", "channels_text"), [((12, 40), "channels 0 to 11"), ((4, 5, 6, 7), "channel 0 of 4")])
def test_top_inputs_say_which_channels_of_signals_and_volumes_are_seen(
    shape: tuple[int, ...], channels_text: str, drawn_texts: list[DrawnText]
) -> None:
    unit = UnitExemplars(unit="a[1]", exemplars=(Exemplar(value=1.0, place=0, name="one"),))
    values = {"a": torch.zeros(1, 2)}
    photos = {"0": np.random.default_rng(0).normal(size=shape)}
    Exemplars(units=(unit,), images=1, values=values, places=values, photos=photos).picture()
    assert any(channels_text in words for words in drawn_texts)


@pytest.mark.parametrize(
    ("channels", "note_text"),
    [(1, None), (2, "channel 0 of 2, in grey"), (3, None), (5, "channels 0, 1 and 2 of 5, as red, green and blue")],
)
def test_pictures_of_many_channels_say_which_are_seen(channels: int, note_text: str | None) -> None:
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Conv2d(channels, 4, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    model = cs.Model(net, input=cs.TensorInput(shape=(channels, 12, 12)))
    x = torch.randn(1, channels, 12, 12)
    values: list[Any] = [
        cs.saliency(model, x),
        cs.predict(model, x),
        cs.feature_maps(model, x, layer="0"),
        cs.top_inputs(model, [x[0]], unit="0[1]"),
        cs.activation_maximization(model, unit="0[1]", steps=1),
    ]
    assert {value.notes.get("the input is drawn as") for value in values} == {note_text}
    assert not note_text or any(note_text in note.text for note in render.notes(values[0]))
