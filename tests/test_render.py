"""Pictures: every kind of value is drawn in both themes, with its scale, its words and its provenance."""

import io
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import convscope as cs
from convscope import render
from convscope.errors import CannotWrite, ParameterError
from convscope.render.canvas import Canvas
from convscope.render.distribution import HISTOGRAM_HEIGHT
from convscope.render.palette import BACKGROUNDS, SCALES, THEMES, ink_colours, opaque_colours
from convscope.render.panels import Panel
from convscope.render.raster import enlarge, map_pixels, overlay_pixels
from convscope.render.rendered_picture import Picture
from convscope.render.scale import format_number, legend_of, map_values, scale_of
from convscope.values import Attribution, Comparison, Cost, Exemplar, Exemplars, Prediction, Record, UnitExemplars
from tests.lens_calls import DrawnText

PHOTO = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
RECORD = Record(
    lens="grad-cam",
    title="Grad-CAM",
    asks="Which regions made the model give this answer?",
    reads="Warm regions raise the score of the target, cool ones lower it.",
    model={"name": "net", "source": "bundled:net"},
    input="folder/cat.jpg",
    cost=Cost(1, 1, 0.1),
)


def attribution(shape: tuple[int, ...] = (24, 32), **fields: Any) -> Attribution:
    values = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    given = {"values": values, "photo": PHOTO if len(shape) == 2 else None, "target": "cat", "target_index": 3}
    return Attribution(**{**given, "score": 1.5, "record": RECORD, **fields})


def unsigned(**fields: Any) -> Attribution:
    signed = attribution(**fields)
    return replace(signed, values=signed.values.abs(), signed=False)


def prediction(**fields: Any) -> Prediction:
    given = {"labels": ("cat", "dog"), "indices": (3, 4), "confidences": (0.9, 0.1), "scores": (2.0, 0.0)}
    return Prediction(**{**given, "photo": PHOTO, "record": replace(RECORD, title="Prediction"), **fields})


VALUES = {
    "signed": attribution(),
    "unsigned": unsigned(),
    "no photo": attribution(photo=None),
    "empty photo": attribution(photo=np.zeros((0, 0, 3), np.uint8)),
    "signal": attribution((40,)),
    "signal with input": unsigned(shape=(40,), photo=np.random.default_rng(1).normal(size=(2, 40))),
    "volume": attribution((5, 6, 7)),
    "volume with input": attribution((5, 6, 7), photo=np.random.default_rng(1).normal(size=(1, 5, 6, 7))),
    "prediction": prediction(),
    "comparison": Comparison(rows=((attribution(), unsigned()), (attribution(), unsigned()))),
    "comparison of volumes": Comparison(rows=((attribution((5, 6, 7)),),)),
}


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("name", VALUES)
def test_every_kind_of_value_is_drawn_in_both_themes_with_words(name: str, theme: str) -> None:
    value = VALUES[name]
    picture = value.picture(theme=theme)
    height, width, channels = picture.pixels.shape
    assert height > 200
    assert width > 400
    assert channels == 3
    assert tuple(picture.pixels[0, 0]) == rgb(THEMES[theme].page)
    assert len(picture.alt) > 20


@pytest.mark.parametrize("name", [name for name in VALUES if name != "prediction"])
def test_the_scale_is_always_drawn_from_end_to_end(name: str) -> None:
    value = VALUES[name]
    maps = [value] if isinstance(value, Attribution) else list(value)  # type: ignore[call-overload]
    pixels = value.picture().pixels
    for one in maps:
        for end in (0, -1):
            assert (pixels == opaque_colours(one.signed)[end]).all(-1).any()


def test_numbers_and_words_stand_at_the_ends_of_the_scale(drawn: list[DrawnText]) -> None:
    value = attribution()
    value.picture()
    written = set(drawn)
    limit = scale_of([value]).limit
    assert {format_number(limit), format_number(-limit), "0", "for", "against"} <= written


def test_title_source_and_reading_line_are_written(drawn: list[DrawnText]) -> None:
    attribution(layers=("layer4",)).picture()
    written = "\n".join(drawn)
    assert "Grad-CAM · cat (3) · score 1.5" in written
    assert "layer layer4 · net · cat.jpg · 1 forward, 1 backward, 0.10 s" in written
    assert RECORD.reads in written


def test_a_bare_picture_keeps_its_scale_and_leaves_the_words_to_the_page(drawn: list[DrawnText]) -> None:
    value = attribution()
    bare = value.picture(bare=True)
    written = set(drawn)
    assert {"for", "against", "map over the input"} <= written
    assert not any("Grad-CAM" in words for words in written)
    assert bare.alt == value.picture().alt


def test_a_map_about_no_target_speaks_neither_for_nor_against() -> None:
    legend = render.legend(attribution(target="", target_index=None))
    assert (legend.low, legend.high) == ("negative", "positive")


def test_a_signed_scale_is_symmetric_and_outliers_do_not_blank_the_rest() -> None:
    values = torch.linspace(-1, 0.5, 10_000).reshape(100, 100)
    values[0, 0] = 1000.0
    scale = scale_of([attribution(values=values)])
    assert 0.9 < scale.limit < 1
    assert scale.peak == 1000
    ticks = legend_of(scale).ticks
    assert [place for place, _ in ticks] == [0, 0.25, 0.5, 0.75, 1]
    assert ticks[0][1] == "−" + ticks[-1][1]
    assert "up to 1000" in scale.clipping_note()


def test_a_map_with_one_place_in_a_thousand_is_scaled_to_its_peak() -> None:
    values = torch.zeros(100, 100)
    values[3, 4] = 2.0
    assert scale_of([attribution(values=values)]).limit == 2


@pytest.mark.parametrize(
    ("count", "caption_text"), [(1, ""), (12, "channels 0 to 11,"), (40, "channels 0 to 11 of 40,")]
)
def test_a_signal_has_a_line_for_each_channel_and_says_which(
    count: int, caption_text: str, drawn: list[DrawnText], monkeypatch: pytest.MonkeyPatch
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
    caption = next(words for words in drawn if words.startswith("the signal, coloured"))
    assert caption_text in caption
    assert ("channels" in caption) == (count > 1)
    assert count == 1 or {str(channel) for channel in range(12)} <= set(drawn)


@pytest.mark.parametrize("count", [1, 4])
def test_a_volume_says_which_channel_lies_under_its_map(count: int, drawn: list[DrawnText]) -> None:
    attribution((5, 6, 7), photo=np.random.default_rng(1).normal(size=(count, 5, 6, 7))).picture()
    captions = [words for words in drawn if words.startswith("slice ")]
    assert len(captions) == 3
    assert all(("over the input's channel 0 of 4" in caption) == (count > 1) for caption in captions)


def test_volumes_are_compared_in_one_slice_that_is_named_beside_the_plain_input(
    drawn: list[DrawnText], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[Any] = []
    monkeypatch.setattr(Panel, "draw", lambda self, *_: shown.append(self.pixels))
    volume = np.random.default_rng(1).normal(size=(2, 5, 6, 7)).astype(np.float32)
    maps = [attribution((5, 6, 7), photo=volume) for _ in range(2)]
    peaks = [torch.zeros(5, 6, 7), torch.zeros(5, 6, 7)]
    peaks[0][1], peaks[1][1] = 0.9, 0.9
    peaks[0][3, 2, 2], peaks[1][0, 3, 3] = 1.0, 1.0  # each is strongest elsewhere, together they are in slice 1
    maps = [replace(volume_map, values=peak) for volume_map, peak in zip(maps, peaks, strict=True)]
    Comparison(rows=(tuple(maps),)).picture()
    assert any("slice 1 of axis 0" in words and "channel 0 of 2" in words for words in drawn)
    plain, first, second, agreement = shown
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
    shape: tuple[int, ...], channels_text: str, drawn: list[DrawnText]
) -> None:
    values = torch.randn(1, *shape)
    cs.Pictures(values=values, words=("a[1]",), scores=(1.0,), curves=torch.zeros(1, 1)).picture()
    assert any(channels_text in words for words in drawn)


@pytest.mark.parametrize(("shape", "channels_text"), [((12, 40), "channels 0 to 11"), ((4, 5, 6, 7), "channel 0 of 4")])
def test_top_inputs_say_which_channels_of_signals_and_volumes_are_seen(
    shape: tuple[int, ...], channels_text: str, drawn: list[DrawnText]
) -> None:
    unit = UnitExemplars(unit="a[1]", exemplars=(Exemplar(value=1.0, place=0, name="one"),))
    values = {"a": torch.zeros(1, 2)}
    photos = {"0": np.random.default_rng(0).normal(size=shape)}
    Exemplars(units=(unit,), images=1, values=values, places=values, photos=photos).picture()
    assert any(channels_text in words for words in drawn)


@pytest.mark.parametrize(
    ("channels", "note_text"),
    [(1, None), (2, "channel 0 of 2, in grey"), (3, None), (5, "channels 0, 1 and 2 of 5, as red, green and blue")],
)
def test_pictures_of_many_channels_say_which_are_seen(channels: int, note_text: str | None) -> None:
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Conv2d(channels, 4, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    model = cs.Model(net, input=cs.TensorInput(shape=(channels, 12, 12)))
    x = torch.randn(1, channels, 12, 12)
    values = [
        cs.saliency(model, x),
        cs.predict(model, x),
        cs.feature_maps(model, x, layer="0"),
        cs.top_inputs(model, [x[0]], unit="0[1]"),
        cs.activation_maximization(model, unit="0[1]", steps=1),
    ]
    assert {value.notes.get("the input is drawn as") for value in values} == {note_text}
    assert not note_text or any(note_text in note.text for note in render.notes(values[0]))


def test_the_same_number_has_the_same_colour_on_both_sides_of_zero() -> None:
    colours = opaque_colours(True).astype(int)
    assert len(colours) == 255
    assert tuple(colours[127]) == BACKGROUNDS[True]
    lightness = colours @ np.array([0.2126, 0.7152, 0.0722])
    assert np.abs(lightness[:127] - lightness[:127:-1]).max() < 26
    assert (np.diff(lightness[:128]) > 0).all()


def test_an_unsigned_scale_begins_at_zero_and_grows_brighter() -> None:
    scale = scale_of([unsigned()])
    assert scale.colour_indices(np.zeros((1, 1), np.float32))[0, 0] == 0
    assert legend_of(scale).ticks[0] == (0, "0")
    lightness = opaque_colours(False) @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(lightness) > -1).all()
    assert (np.diff(lightness[::16]) > 0).all()


def test_limit_fixes_the_scale_so_that_pictures_can_be_compared() -> None:
    legend = render.legend(attribution(), limit=4)
    assert legend.ticks[-1] == (1, "4")
    assert attribution().picture(limit=4).pixels.any()
    with pytest.raises(ParameterError, match="limit is the magnitude"):
        attribution().picture(limit=-1)


def test_a_column_of_a_comparison_shares_one_scale() -> None:
    weak, strong = attribution(), replace(attribution(), values=10 * attribution().values)
    shared = scale_of([weak, strong])
    assert shared.limit > 5 * scale_of([weak]).limit
    alone = Comparison(rows=((weak,),)).picture().pixels
    beside = Comparison(rows=((weak,), (strong,))).picture().pixels
    assert not np.array_equal(beside[150:300, 300:480], alone[150:300, 300:480])


def test_more_than_six_lenses_wrap_to_a_second_band() -> None:
    six, seven = (Comparison(rows=((attribution(),) * n,)).picture().pixels.shape for n in (6, 7))
    assert seven[1] <= six[1]  # the agreement stands beside the last lens
    assert seven[0] > six[0] + 100


@pytest.mark.parametrize("value", [attribution(), unsigned()], ids=["signed", "unsigned"])
def test_the_heat_on_the_scales_ground_is_the_map(value: Attribution, tmp_path: Path) -> None:
    (tmp_path / "heat.png").write_bytes(render.overlay_png(value))
    (tmp_path / "map.png").write_bytes(render.map_png(value))
    heat = Image.open(tmp_path / "heat.png")
    assert heat.mode == "P"
    ground = Image.new("RGBA", heat.size, (*BACKGROUNDS[value.signed], 255))
    laid = np.asarray(Image.alpha_composite(ground, heat.convert("RGBA")).convert("RGB"), int)
    assert np.abs(laid - np.asarray(Image.open(tmp_path / "map.png"), int)).max() <= 2


def test_zero_is_no_ink_and_the_ends_are_nearly_opaque() -> None:
    for signed, zero in ((True, 127), (False, 0)):
        assert ink_colours(signed)[zero, 3] == 0
        assert ink_colours(signed)[-1, 3] > 230
        assert len(SCALES[signed]) % 2 == 1


def test_the_heat_of_a_large_map_can_be_had_smaller_and_only_for_images() -> None:
    with Image.open(io.BytesIO(render.overlay_png(attribution((100, 50), photo=None), max_side=20))) as image:
        assert image.size == (10, 20)
    with pytest.raises(ParameterError, match="3 axes"):
        render.overlay_png(attribution((5, 6, 7)))


def test_a_blank_map_says_so(drawn: list[DrawnText]) -> None:
    notes = {"blank": "the gradient is zero everywhere"}
    picture = attribution(values=torch.zeros(24, 32), notes=notes).picture()
    assert THEMES["light"].warning in {words.colour for words in drawn if words == "blank map"}
    assert any("This map is blank: the gradient is zero everywhere." in words for words in drawn)
    assert "blank" in picture.alt
    assert (picture.pixels == rgb(THEMES["light"].warning)).all(-1).any()
    drawn.clear()
    Comparison(rows=((attribution(values=torch.zeros(24, 32)),),)).picture()
    assert THEMES["light"].warning in {words.colour for words in drawn if words == "blank map"}


def test_a_flat_and_a_broken_map_say_so() -> None:
    flat = [note.text for note in render.notes(attribution(values=torch.ones(24, 32))) if note.warning]
    assert flat == ["This map is flat: it is 1 everywhere."]
    broken = attribution()
    broken.values[0, 0] = float("nan")
    assert any("1 numbers are NaN" in note.text for note in render.notes(broken) if note.warning)
    assert broken.picture().pixels.any()


def test_random_weights_are_said_in_the_colour_of_warnings(drawn: list[DrawnText]) -> None:
    model = cs.load("bundled:digits?weights=none")
    for value in (
        cs.saliency(model, "sample:digits/3"),
        cs.predict(model, "sample:digits/3"),
        cs.compare(model, "sample:digits/3", ["saliency"]),
    ):
        drawn.clear()
        value.picture(theme="dark")
        warnings = [words for words in drawn if words.colour == THEMES["dark"].warning]
        assert any("Random weights: the network has learned nothing." in words for words in warnings)


@pytest.mark.parametrize(("relative", "warning"), [(0.001, False), (-0.5, True), (float("inf"), True)])
def test_a_large_completeness_gap_is_a_warning(relative: float, warning: bool) -> None:
    facts = {"completeness gap": relative * 4, "relative completeness gap": relative, "baseline score": 0.5}
    (note,) = [n for n in render.notes(attribution(notes=facts)) if "ompleteness" in n.text]
    assert note.warning == warning
    assert "from 0.5 at the baseline" in note.text


def test_a_png_carries_its_manifest_and_its_description(tmp_path: Path) -> None:
    value = attribution()
    path = value.save(tmp_path / "map.png", theme="dark")
    with Image.open(path) as image:
        image.load()
        stored = image.info
    assert json.loads(stored["convscope"]) == json.loads(json.dumps(value.manifest()))
    assert stored["Description"] == value.picture().alt


HEADS = {".png": b"\x89PNG", ".jpg": b"\xff\xd8\xff", ".jpeg": b"\xff\xd8\xff", ".svg": b"<?xml", ".pdf": b"%PDF"}


@pytest.mark.parametrize("ending", HEADS)
def test_pictures_are_written_as_what_their_ending_says_with_their_description(tmp_path: Path, ending: str) -> None:
    path = attribution().save(tmp_path / f"map{ending}")
    assert path.read_bytes().startswith(HEADS[ending])
    if ending in (".png", ".jpg", ".jpeg"):
        shown = np.asarray(Image.open(path).convert("RGB"), np.float32)
        drawn = attribution().picture().pixels
        assert shown.shape == drawn.shape
        assert np.abs(shown - drawn).mean() < 3
    if ending == ".svg":  # letters are outlines, maps are pixels
        text = path.read_text("utf-8")
        assert text.count("<image") >= 2
        assert attribution().picture().alt[:40] in text
        assert "<path" in text


def test_a_picture_of_pixels_alone_is_written_as_any_of_them(tmp_path: Path) -> None:
    clear = np.zeros((8, 6, 4), np.uint8)
    picture = Picture(clear, "nothing")
    for ending in HEADS:
        assert picture.save(tmp_path / f"clear{ending}").stat().st_size
    assert np.asarray(Image.open(tmp_path / "clear.jpg")).min() == 255  # on white
    with pytest.raises(CannotWrite, match=r"written as \.png, \.jpg"):
        picture.save(tmp_path / "clear.bmp")


def test_a_wrong_theme_or_option_is_refused_by_name() -> None:
    with pytest.raises(ParameterError, match="theme must be light or dark, got 'pink'"):
        attribution().picture(theme="pink")
    with pytest.raises(ParameterError, match="no option 'scale'"):
        attribution().picture(scale=3)
    with pytest.raises(ParameterError, match="no option 'limit'"):
        prediction().picture(limit=3)


@pytest.mark.parametrize(
    "label", ["$\\frac{a}{b", "<script>alert(1)</script>", "漢字 \x00\n tab\there", "_^{}%#&~", "x" * 400]
)
def test_hostile_names_are_drawn_as_they_are(label: str) -> None:
    record = replace(RECORD, input=f"/tmp/{label}.png", model={"name": label}, caveats=(label,))
    value = attribution(target=label, record=record, layers=(label,))
    assert value.picture().pixels.any()
    assert prediction(labels=(label, label), record=record).picture().pixels.any()
    assert Comparison(rows=((value,),)).picture().pixels.any()


def test_small_inputs_are_enlarged_by_whole_pixels() -> None:
    tiny = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)
    large = enlarge(tiny, 400)
    assert large.shape == (400, 400, 3)
    assert np.array_equal(large[25::50, 25::50], tiny)
    assert enlarge(np.zeros((1000, 500, 3), np.uint8), 400).shape == (400, 200, 3)


def test_a_photo_of_another_size_is_brought_to_the_map() -> None:
    assert attribution(photo=np.zeros((48, 64, 3), np.uint8)).picture().pixels.any()


def test_the_strongest_places_are_told_in_words() -> None:
    values = torch.zeros(30, 30)
    values[2, 27], values[28, 2] = 3.0, -2.0
    alt = attribution(values=values).picture().alt
    assert "strongest “for” at the top right" in alt
    assert "strongest “against” at the bottom left" in alt


def test_a_map_enlarged_from_a_layer_says_from_what(drawn: list[DrawnText]) -> None:
    attribution(layer_values={"layer4": torch.zeros(3, 4)}).picture()
    assert any(words == "map, enlarged from 3×4" for words in drawn)


def test_raw_numbers_are_left_alone() -> None:
    value = attribution()
    before = value.values.clone()
    value.picture()
    assert torch.equal(value.values, before)
    assert map_pixels(map_values(value), scale_of([value])).dtype == np.uint8


def test_pictures_are_shown_in_the_notebook_or_in_the_viewer(monkeypatch: pytest.MonkeyPatch) -> None:
    picture, shown = attribution().picture(), []
    monkeypatch.setattr(Image.Image, "show", lambda self: shown.append("viewer"))
    monkeypatch.setitem(sys.modules, "IPython", None)
    picture.show()
    shell = SimpleNamespace(kernel=object())
    display = SimpleNamespace(display=lambda thing: shown.append(thing))
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    picture.show()
    assert shown == ["viewer", picture]
    assert picture._repr_png_() == picture.png()


def test_pictures_are_the_same_from_several_threads() -> None:
    alone = attribution().picture().pixels
    with ThreadPoolExecutor(4) as pool:
        pictures = list(pool.map(lambda _: attribution().picture().pixels, range(8)))
    assert all(np.array_equal(pixels, alone) for pixels in pictures)


def test_numbers_are_written_for_people() -> None:
    written = [format_number(x) for x in (0.0, -0.0, 1234.5, -0.00001234, 17.36, 1e6)]
    assert written == ["0", "0", "1234", "−1.23·10⁻⁵", "17.4", "1·10⁶"]


def rgb(colour: str) -> tuple[int, ...]:
    return tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))


def test_a_histogram_says_how_it_is_drawn_and_its_bar_at_zero_is_the_share(drawn: list[DrawnText]) -> None:
    value = cs.activations(cs.load("bundled:shapes"), "sample:shapes/7")
    picture = value.picture()
    texts = " ".join(drawn)
    assert "the square root of their share" in texts
    assert "beyond the ends of the axis and are not drawn" in texts
    zeros_spread = max(value.layers, key=lambda spread: spread.zeros)
    dark = (picture.pixels[:, 310:830] == rgb(THEMES["light"].text)).all(-1)
    tallest = max(_longest_run(column) for column in dark.T)
    assert tallest == pytest.approx(HISTOGRAM_HEIGHT * zeros_spread.zeros, abs=2), (
        "the bar's height is the share itself"
    )


def _longest_run(column: np.ndarray) -> int:
    """The most pixels in a row that are set."""
    ends = np.flatnonzero(np.diff(np.concatenate([[0], column.astype(int), [0]])))
    return int((ends[1::2] - ends[::2]).max(initial=0))


def test_among_several_networks_random_weights_are_said_by_name(drawn: list[DrawnText]) -> None:
    models = [cs.load("bundled:digits"), cs.load("bundled:digits?weights=none")]
    cs.compare(models, "sample:digits/3", "saliency").picture()
    warnings = [words for words in drawn if "Random weights" in words]
    assert warnings == ["⚠ bundled:digits?weights=none: Random weights: the network has learned nothing."]


@pytest.mark.parametrize("columns", [2, 12])
def test_the_agreement_has_a_scale_in_maps_and_a_line_on_how_to_read_it(columns: int, drawn: list[DrawnText]) -> None:
    row = tuple(attribution() for _ in range(columns))
    pixels = Comparison(rows=(row,)).picture().pixels
    written = list(drawn)
    assert {"none", "all", "0", str(columns), f"0 … {columns} maps"} <= set(written)
    assert any(words.startswith(f"Agreement: in how many of the {columns} maps a place is") for words in written)
    assert all(
        (pixels == opaque_colours(False)[step]).all(-1).any() for step in range(0, 256, 16)
    )  # the bar has every colour


def test_without_agreement_there_is_no_scale_of_it(drawn: list[DrawnText]) -> None:
    Comparison(rows=((attribution(),),)).picture()
    assert not any("Agreement" in words for words in drawn)
