"""Signals and volumes in pictures, reports and on the command line: axes, proportions, and words that fit them."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import convscope as cs
from convscope.cli.lens_command import summary_lines
from convscope.errors import ConvScopeError, InputError, LoadError
from convscope.render.input_geometry import voxel_size
from convscope.render.panels import panels_of
from convscope.render.scale import scale_of
from convscope.render.signal_axis import SignalAxis, format_position, signal_axis
from convscope.render.volume_panels import enlarge_slice
from convscope.reporting.page import write_report
from convscope.spec import LensSpec
from convscope.values import Attribution, Record, adapt_wording
from tests.lens_calls import call_lens_as_list
from tests.narrowing import single

SAMPLES, RATE = 64, 100.0
NO_WORDS = re.compile(r"(?i)(?<![\w.'-])(images?|pixels?|photographs?)(?![\w'])")


def net_of(convolution: type[nn.Module], pool: type[nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    first, second = convolution(1, 4, 3, padding=1), convolution(4, 6, 3, padding=1)  # type: ignore[call-arg]
    return nn.Sequential(
        first,
        nn.ReLU(),
        second,
        nn.ReLU(),
        pool(1),
        nn.Flatten(),
        nn.Linear(6, 3),  # type: ignore[call-arg]
    ).eval()


@pytest.fixture(scope="module")
def ears() -> cs.Model:
    """A network that hears signals of a known rate."""
    spec = cs.TensorInput(shape=(1, SAMPLES), rate=RATE)
    return cs.Model(net_of(nn.Conv1d, nn.AdaptiveAvgPool1d), input=spec, labels=["hum", "hiss", "click"], name="ears")


@pytest.fixture(scope="module")
def scanner() -> cs.Model:
    """A network that sees volumes of slices that are thicker than their voxels are wide."""
    spec = cs.TensorInput(shape=(1, 6, 20, 24), spacing=(5, 1, 1))
    return cs.Model(net_of(nn.Conv3d, nn.AdaptiveAvgPool3d), input=spec, labels=["a", "b", "c"], name="scan")


SIGNAL = torch.sin(torch.linspace(0, 9, SAMPLES))[None]
VOLUME = torch.randn(1, 6, 20, 24, generator=torch.Generator().manual_seed(0))


# Words


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("image", "Brightening a pixel of an image: which regions of images, of photographs?"),
        ("signal", "Raising a sample of a signal: which stretches of signals, of signals?"),
        ("volume", "Raising a voxel of a volume: which regions of volumes, of volumes?"),
        ("vector", "Brightening a number of an input: which regions of inputs, of inputs?"),
        ("", "Brightening a pixel of an image: which regions of images, of photographs?"),
    ],
)
def test_sentences_speak_of_what_was_looked_at(kind: str, expected: str) -> None:
    assert adapt_wording("Brightening a pixel of an image: which regions of images, of photographs?", kind) == expected


@pytest.mark.parametrize(
    "name", ["image.conv1", "layer 'image'", "image[3]", "image_encoder", "net/image", "pixel_shuffle"]
)
def test_names_stay_as_they_are(name: str) -> None:
    assert adapt_wording(f"Looked at {name} here.", "signal") == f"Looked at {name} here."


def test_sentences_in_chinese_speak_of_it_too() -> None:
    assert adapt_wording("暖色像素提高图像的得分。", "signal") == "暖色采样点提高信号的得分。"
    assert adapt_wording("暖色像素提高图像的得分。", "volume") == "暖色体素提高体数据的得分。"


@pytest.mark.parametrize("spec", cs.lenses(), ids=lambda spec: spec.command)
@pytest.mark.parametrize("kind", ["signal", "volume"])
def test_no_lens_calls_a_signal_or_a_volume_an_image(
    spec: LensSpec, kind: str, ears: cs.Model, scanner: cs.Model, drawn_texts: list[str]
) -> None:
    """In its picture, its card of a report, and on the command line."""
    model, given = {"signal": (ears, SIGNAL), "volume": (scanner, VOLUME)}[kind]
    if "model" not in spec.inputs:
        return
    try:
        values = call_lens_as_list(spec, model, given)
    except ConvScopeError:  # not every lens takes signals
        return
    for value in values:
        assert value.record.kind == kind
        value.picture()
        texts = [*drawn_texts, *summary_lines("", value), value.record.adapt_wording(value.record.asks)]
        assert [line for line in texts if NO_WORDS.search(line)] == []


def test_a_report_of_a_signal_speaks_of_signals(ears: cs.Model, tmp_path: Path) -> None:
    values: list[Any] = [cs.predict(ears, SIGNAL), cs.grad_cam(ears, SIGNAL), cs.integrated_gradients(ears, SIGNAL)]
    page = write_report([values], tmp_path / "r.html").read_text("utf-8")
    cards = re.findall(r'<p class="asks">(.*?)</p>\s*<p>(.*?)</p>', page, re.DOTALL)
    assert len(cards) == 2
    assert [text for card in cards for text in card if NO_WORDS.search(text)] == []
    assert any("sample" in asks for asks, _ in cards)


# Axes of signals


def test_an_axis_has_round_numbers_in_the_middle_of_their_places() -> None:
    ticks = SignalAxis(1000).ticks(900)
    assert [label for _, label in ticks] == ["0", "100", "200", "300", "400", "500", "600", "700", "800", "900"]
    assert ticks[1][0] == pytest.approx(0.1005)
    assert [label for _, label in SignalAxis(1600, 1 / 800, "seconds").ticks(500)] == ["0", "0.5", "1", "1.5"]
    assert [label for _, label in SignalAxis(4).ticks(900)] == ["0", "1", "2", "3"]
    assert [label for _, label in SignalAxis(1).ticks(900)] == ["0"]


def test_a_signal_is_drawn_over_samples_or_over_seconds_where_a_rate_is_known(
    ears: cs.Model, drawn_texts: list[str]
) -> None:
    value = cs.grad_cam(ears, SIGNAL)
    assert (value.record.spacing, value.record.unit) == ((1 / RATE,), "s")
    value.picture()
    assert "seconds" in drawn_texts
    assert {"0", "0.1", "0.6"} <= set(drawn_texts)
    drawn_texts.clear()
    cs.grad_cam(cs.Model(ears.module, labels=ears.labels), SIGNAL[None]).picture()
    assert "samples" in drawn_texts
    assert {"0", "10", "60"} <= set(drawn_texts)


def test_the_strongest_place_is_a_moment() -> None:
    assert format_position(Record(lens="", title="", asks="", reads=""), 17) == "sample 17"
    seconds = Record(lens="", title="", asks="", reads="", spacing=(0.01,), unit="s")
    assert format_position(seconds, 17) == "0.17 s"
    assert signal_axis(seconds, 5) == SignalAxis(5, 0.01, "seconds")


@pytest.mark.parametrize(
    "lens", ["predict", "feature_maps", "receptive_field", "layer_grad_cam", "activation_maximization"]
)
def test_every_picture_of_a_signal_has_an_axis(lens: str, ears: cs.Model, drawn_texts: list[str]) -> None:
    given = () if lens == "activation_maximization" else (SIGNAL,)
    getattr(cs, lens)(ears, *given, **({} if given else {"steps": 2})).picture()
    assert "seconds" in drawn_texts


def test_a_comparison_of_signals_has_axes_and_an_agreement(ears: cs.Model, drawn_texts: list[str]) -> None:
    cs.compare(ears, SIGNAL, ["grad-cam", "saliency"]).picture()
    assert drawn_texts.count("seconds") == 3
    assert any(words.startswith("Agreement:") for words in drawn_texts)


# Proportions of volumes


def test_slices_of_a_thick_volume_keep_the_proportions_of_its_voxels(scanner: cs.Model) -> None:
    value = single(cs.saliency(scanner, VOLUME))
    assert (value.record.kind, value.record.spacing) == ("volume", (5.0, 1.0, 1.0))
    across, front, side = panels_of(value, scale_of([value]), 400)
    assert across.pixels.shape[:2] == (pytest.approx(20 * 400 / 30, abs=10), pytest.approx(24 * 400 / 30, abs=20))
    assert front.pixels.shape[:2] == (400, pytest.approx(24 * 400 / 30, abs=1))
    assert side.pixels.shape[:2] == (400, pytest.approx(20 * 400 / 30, abs=1))


def test_without_spacing_all_slices_have_one_scale() -> None:
    value = Attribution(values=torch.randn(5, 6, 8), record=Record(lens="", title="", asks="", reads=""))
    sizes = [panel.pixels.shape[:2] for panel in panels_of(value, scale_of([value]), 400)]
    assert sizes == [(300, 400), (250, 400), (250, 300)]


def test_a_map_at_a_coarser_layer_has_larger_voxels() -> None:
    record = Record(lens="", title="", asks="", reads="", spacing=(5.0, 1.0, 1.0))
    assert voxel_size(record, (6, 10, 12), (6, 20, 24)) == (5.0, 2.0, 2.0)
    assert voxel_size(record, (6, 10)) == (1.0, 1.0)


def test_images_of_pixels_that_are_no_squares_are_drawn_so() -> None:
    net = net_of(nn.Conv2d, nn.AdaptiveAvgPool2d)
    model = cs.Model(net, input=cs.TensorInput(shape=(1, 10, 40), spacing=(4, 1)))
    value = single(cs.saliency(model, torch.randn(1, 10, 40)))
    assert {panel.pixels.shape[:2] for panel in panels_of(value, scale_of([value]), 400)} == {(400, 400)}


def test_spacing_and_rate_are_kept_in_files(ears: cs.Model, scanner: cs.Model, tmp_path: Path) -> None:
    for value in (cs.saliency(ears, SIGNAL), cs.saliency(scanner, VOLUME)):
        loaded = Attribution.load(value.save(tmp_path / "v.npz"))
        record = loaded.record
        assert (record.kind, record.spacing, record.unit) == (
            value.record.kind,
            value.record.spacing,
            value.record.unit,
        )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"shape": (1, 6, 20, 24), "spacing": (5, 1)}, "3 for this shape"),
        ({"spacing": (5, 0, 1)}, "numbers above 0"),
        ({"spacing": "thick"}, "spacing is one finite number per axis"),
        ({"shape": (1, 6, 20, 24), "rate": 100}, "rate is how many samples a second"),
        ({"rate": -1}, "above 0"),
        ({"rate": float("nan")}, "rate is one finite number"),
        ({"rate": 10, "spacing": (1,)}, "without spacing"),
    ],
)
def test_spacing_that_cannot_be_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        cs.TensorInput(**given)


def test_products_of_a_long_kernel_stay_on_the_sheet() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv1d(2, 3, 9), nn.AdaptiveAvgPool1d(1), nn.Flatten()).eval()
    value = cs.step_through(cs.Model(net, input=cs.TensorInput(shape=(2, 40))), torch.randn(2, 40))
    pixels = np.asarray(value.picture().pixels)
    assert (pixels[:, -20:] == pixels[0, 0]).all(), "the margin at the right is empty"


def test_an_address_says_spacing_and_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    source = "import torch, convscope as cs\ndef make():\n    net = torch.nn.Conv3d(1, 2, 3)\n"
    Path("net.py").write_text(f"{source}    return cs.Model(net, input=cs.TensorInput(shape=(1, 6, 8, 8)))\n")
    model = cs.load("net.py:make?spacing=5,1,1")
    assert model.input.spacing == (5.0, 1.0, 1.0)  # type: ignore[union-attr]
    assert cs.load(model.source).input == model.input
    with pytest.raises(LoadError, match=r"\?rate=100: rate is how many samples a second"):
        cs.load("net.py:make?rate=100")
    with pytest.raises(LoadError, match="is not made of numbers"):
        cs.load("net.py:make?spacing=thick")
    with pytest.raises(LoadError, match="takes images"):
        cs.load("bundled:digits?spacing=2,1")


def test_a_slice_is_small_only_beside_slices_that_are_longer() -> None:
    """Where all are cut along one axis, as in a comparison, the slice fills its cell, however thick the volume."""
    record = Record(lens="", title="", asks="", reads="", spacing=(5.0, 1.0, 1.0))
    cut = np.zeros((32, 32, 3), np.uint8)
    assert enlarge_slice(cut, 224, record, (24, 32, 32), 0).shape[:2] == (224, 224)
    assert enlarge_slice(cut, 224, record, (24, 32, 32), 0, common_zoom=True).shape[:2] == (64, 64)
