"""Drawing a distribution: a ridge a layer, from the input down, with what is wrong with its channels at its side.

A distribution of one layer is drawn channel by channel instead.
"""

from dataclasses import dataclass

import numpy as np

from convscope.errors import ParameterError
from convscope.render import annotations, bar, captions
from convscope.render.canvas import MARGIN, SMALL, Sheet
from convscope.render.palette import Pixels, opaque
from convscope.render.picture import Picture
from convscope.render.ridge import Axis, Floats, axis_for, density, ridge_pixels, share_outside
from convscope.render.scale import Scale, legend_of, number
from convscope.values import Distribution, Spread
from convscope.values.formatting import listed

RIDGE, TALL, STEP = 520, 30, 34
NAMES, SIDE = 290, 420
MOST = 72
"""So many ridges are drawn; of a deeper network all that have something wrong, and the others thinned out evenly."""

SIDES = {
    "activations": (("zeros", 90), ("dead", 110), ("saturated", 100), ("duplicate", 100)),
    "gradients": (("zeros", 90), ("norm", 120), ("norm / weights", 140)),
}


def draw_distribution(
    distribution: Distribution, *, theme: str = "light", layer: str = "", bare: bool = False
) -> Picture:
    """The picture of a distribution.

    Args:
        theme: ``light`` or ``dark``.
        layer: draw this layer channel by channel; by default so is a distribution of a single layer.
        bare: leave title, notes and reading line to a page that writes them itself.
    """
    if layer and layer not in {one.layer for one in distribution.layers}:
        raise ParameterError(f"layer must be one of this distribution's, got {layer!r}")
    single = layer or (distribution.layers[0].layer if len(distribution.layers) == 1 else "")
    sheet = Sheet(theme, 2 * MARGIN + NAMES + RIDGE + SIDE, bare=bare)
    annotations.above(sheet, distribution, title=_title(distribution, single))
    shown = [distribution[single]] if single and single in distribution.channels else _thinned(distribution.layers)
    _draw_ridges(sheet, distribution, shown)
    if single and single in distribution.channels:
        _draw_channels(sheet, distribution, single)
        _draw_classes(sheet, distribution, single)
    sheet.y += 4
    annotations.below(sheet, distribution, keys=_keys(distribution, shown))
    return sheet.picture(alt_of_distribution(distribution))


def alt_of_distribution(distribution: Distribution) -> str:
    """A distribution for those who cannot see its ridges."""
    said = (
        f"{captions.title(distribution)}: one histogram for each of {len(distribution.layers)} layers, top to bottom."
    )
    wrong = [f"{one.layer} has {one.dead} of {one.channels} units dead" for one in distribution.layers if one.dead]
    return " ".join([said, *([f"{listed(wrong, 5, '; ')}."] if wrong else [])])


def _thinned(layers: tuple[Spread, ...]) -> list[Spread]:
    """At most `MOST` layers in their order: those with dead or saturated units first, then evenly the others."""
    places = sorted(range(len(layers)), key=lambda place: not (layers[place].dead or layers[place].saturated))
    wrong = [place for place in places if layers[place].dead or layers[place].saturated][:MOST]
    others = [place for place in places if place not in wrong]
    room = min(MOST - len(wrong), len(others))
    kept = [*wrong, *(others[turn * len(others) // room] for turn in range(room))]
    return [layers[place] for place in sorted(kept)]


def _title(distribution: Distribution, single: str) -> str:
    of = f" · {single}" if single else f" · {len(distribution.layers)} layers"
    images = f"{distribution.images} image{'s' if distribution.images > 1 else ''}"
    return f"{captions.title(distribution)}{of} · {distribution.record.worded(images)}"


def _draw_ridges(sheet: Sheet, distribution: Distribution, drawn: list[Spread]) -> None:
    """One row a layer on a shared axis, with a line at zero and numbers below."""
    axis = _shared_axis(drawn)
    left, top = MARGIN + NAMES, sheet.y
    _write_heads(sheet, distribution.of)
    for one in drawn:
        _draw_row(sheet, distribution, one, axis)
        sheet.y += STEP
    zero = left + float(axis.places(np.array(0.0))) * RIDGE
    sheet.line([zero, zero], [top + 24, sheet.y - 2], colour=sheet.theme.faint, width=0.8)
    for place, said in axis.ticks():
        x = left + place * RIDGE
        sheet.line([x, x], [sheet.y, sheet.y + 5], colour=sheet.theme.faint, width=1)
        sheet.text(x, sheet.y + 7, said, size=SMALL, anchor="center")
    sheet.y += 34


def _shared_axis(drawn: list[Spread]) -> Axis:
    """The axis on which these layers are drawn."""
    ranges = [_outer(one) for one in drawn]
    return axis_for([(one["low"], one["high"]) for one in ranges], [one.spread for one in drawn])


def _outer(one: Spread) -> dict[str, float]:
    """The range that a layer is drawn in: its quantiles and two spreads about them, within its extremes."""
    low, high = min(one.quantiles.values()), max(one.quantiles.values())
    return {"low": max(one.low, low - 2 * one.spread), "high": min(one.high, high + 2 * one.spread)}


@dataclass(frozen=True)
class Ridge:
    """One layer's histogram for surfaces that draw it themselves.

    Attributes:
        heights: of its columns from left to right, 0 to 1, square roots of shares so that tails show.
        zero: where zero lies along the axis, 0 to 1; ``at_zero`` the share that is exactly zero.
        outside: the share of the numbers beyond the ends of the axis, which are not drawn.
        ticks: places along the axis, 0 to 1, with the number to write there.
    """

    heights: tuple[float, ...]
    zero: float
    at_zero: float
    outside: float
    ticks: tuple[tuple[float, str], ...]


def ridge_of(distribution: Distribution, layer: str, columns: int = 160) -> Ridge:
    """The histogram of one layer on an axis of its own."""
    axis = _shared_axis([distribution[layer]])
    counts, edges = (np.asarray(found[layer], float) for found in (distribution.histograms, distribution.edges))
    heights, at_zero = density(counts, edges, axis, columns)
    peak = float(heights.max(initial=0)) or 1.0
    roots = np.sqrt(heights / peak).tolist()
    zero = float(axis.places(np.array(0.0)))
    return Ridge(tuple(roots), zero, at_zero, share_outside(counts, edges, axis), tuple(axis.ticks()))


def key_of_ridges(outside: float, layers: int = 1) -> list[str]:
    """What the height of a histogram, the bar at zero and the axis mean, for every surface that shows them.

    Args:
        outside: the share of the numbers beyond the ends of the axis, of the layer that has most of them there.
        layers: how many layers are drawn on the axis.
    """
    said = [
        "The curve is a smoothed histogram of the numbers that are not zero; its height is the square root of their "
        "share, relative to the highest point, so that rare numbers show.",
        "The height of the bar at zero is the share of numbers that are exactly zero.",
        "The axis is linear near zero and logarithmic farther away.",
    ]
    if outside > 0:
        share = f"{outside:.1%}" if outside >= 0.001 else "Less than 0.1%"
        several = f"{share} of the numbers of a layer, at most, lie beyond the ends of the axis and are not drawn."
        said.append(
            several if layers > 1 else f"{share} of the numbers lie beyond the ends of the axis and are not drawn."
        )
    return said


def _write_heads(sheet: Sheet, of: str) -> None:
    x = MARGIN + NAMES + RIDGE + 20.0
    for name, wide in SIDES[of]:
        sheet.text(x + wide - 14, sheet.y, name, size=SMALL, colour=sheet.theme.faint, anchor="right")
        x += wide
    sheet.y += 24


def _draw_row(sheet: Sheet, distribution: Distribution, one: Spread, axis: Axis) -> None:
    counts = np.asarray(distribution.histograms[one.layer], float)
    edges = np.asarray(distribution.edges[one.layer], float)
    heights, at_zero = density(counts, edges, axis, RIDGE)
    theme, left, middle = sheet.theme, MARGIN + NAMES, sheet.y + TALL / 2 - 0.7 * SMALL
    peak = float(heights.max(initial=0)) or 1.0
    pixels = ridge_pixels(np.sqrt(heights / peak), TALL, theme.accent, theme.page, theme.line)
    sheet.image(left, sheet.y, pixels, frame=False)
    if at_zero > 0.005:
        x = left + float(axis.places(np.array(0.0))) * RIDGE
        sheet.box(x - 2, sheet.y + (1 - at_zero) * TALL, 4, at_zero * TALL, fill=theme.text)
    sheet.text(left - 12, middle, sheet.shortened(one.layer, NAMES - 16), size=SMALL, anchor="right")
    _write_side(sheet, distribution.of, one, middle)


def _write_side(sheet: Sheet, of: str, one: Spread, y: float) -> None:
    """The shares and counts beside a ridge; what is wrong in the colour of warnings."""
    x, theme = MARGIN + NAMES + RIDGE + 20.0, sheet.theme
    counted = {"dead": one.dead, "saturated": one.saturated, "duplicate": one.duplicates}
    measured = {"norm": one.norm, "norm / weights": one.ratio}
    for name, wide in SIDES[of]:
        if name == "zeros":
            said, colour = f"{one.zeros:.0%}", theme.text if one.zeros else theme.faint
        elif name in counted:
            count = counted[name]
            said = "–" if count is None else f"{count} of {one.channels}" if count else "0"
            colour = theme.warning if count and name != "duplicate" else theme.text if count else theme.faint
        else:
            value = measured[name]
            said, colour = "–" if value is None else number(value), theme.text
        sheet.text(x + wide - 14, y, said, size=SMALL, colour=colour, anchor="right")
        x += wide


def _draw_channels(sheet: Sheet, distribution: Distribution, layer: str) -> None:
    """Every channel upright: its range palest, 5 to 95 % paler, the middle half in full colour, its median a notch."""
    table = np.asarray(distribution.channels[layer], float)
    table = table[np.argsort(-table[:, distribution.columns.index("mean")], kind="stable")]
    wide, tall = sheet.width - 2 * MARGIN - 70, 260
    named = {name: table[:, distribution.columns.index(name)] for name in distribution.columns}
    axis = axis_for([(float(named["min"].min()), float(named["max"].max()))], [float(named["spread"].mean())])
    sheet.y += 16
    sheet.text(
        MARGIN, sheet.y, f"{_counted(len(table), wide)}, the highest mean first", size=SMALL, colour=sheet.theme.faint
    )
    sheet.y += 26
    bands = [("min", "max", 0.25), ("5 %", "95 %", 0.55), ("25 %", "75 %", 1.0)]
    places = [(axis.places(named[low]), axis.places(named[high]), share) for low, high, share in bands]
    pixels = _bands(sheet, places, axis.places(named["50 %"]), wide, tall)
    sheet.image(MARGIN + 70, sheet.y, pixels)
    for place, said in axis.ticks():
        y = sheet.y + (1 - place) * tall
        sheet.line([MARGIN + 64, MARGIN + 69], [y, y], colour=sheet.theme.faint, width=1)
        sheet.text(MARGIN + 58, y - 0.7 * SMALL, said, size=SMALL, anchor="right")
    sheet.y += tall + 8
    key = "palest: least to greatest · paler: 5 to 95 % · full colour: the middle half · notch: median"
    sheet.text(MARGIN + 70, sheet.y, key, size=SMALL, colour=sheet.theme.faint)
    sheet.y += 30


def _bands(sheet: Sheet, bands: list[tuple[Floats, Floats, float]], median: Floats, wide: int, tall: int) -> Pixels:
    """One column a channel, as wide as there is room."""
    channels = len(median)
    owner = (np.arange(wide) * channels // wide).clip(0, channels - 1)
    page, ink = (_rgb(c) for c in (sheet.theme.page, sheet.theme.accent))
    pixels = np.tile(page, (tall, wide, 1))
    height = 1 - (np.arange(tall) + 0.5)[:, None] / tall
    half = 0.5 / tall
    for low, high, share in bands:
        inside = (height >= low[owner] - half) & (height <= high[owner] + half)
        pixels[inside] = page + share * (ink - page)
    pixels[np.abs(height - median[owner]) <= 1.5 / tall] = page
    if wide >= 3 * channels:  # a gap between neighbours where there is room for one
        pixels[:, np.diff(owner, prepend=owner[0]) > 0] = page
    found: Pixels = pixels.round().astype(np.uint8)
    return found


def _draw_classes(sheet: Sheet, distribution: Distribution, layer: str) -> None:
    """Classes by channels: how far the mean over a class lies from the mean over all, in the channel's spread."""
    if len(distribution.classes) < 2:
        return
    means = np.asarray(distribution.class_means[layer], float)
    about = means - np.nanmean(means, 0)
    shares = np.nan_to_num(about / np.maximum(np.nanstd(means, 0), 1e-12)).astype(np.float32)
    shares = shares[:, np.argsort(shares.argmax(0), kind="stable")]
    limit = float(np.abs(shares).max()) or 1.0
    scale = Scale(limit, signed=True, peak=limit, ends=("below", "above"))
    wide, row = sheet.width - 2 * MARGIN - 270, 22
    owner = (np.arange(wide) * shares.shape[1] // wide).clip(0, shares.shape[1] - 1)
    sheet.y += 8
    counted = _counted(shares.shape[1], wide)
    said = f"{counted} sorted by class: the mean over each class, from that over all, in spreads between classes"
    sheet.text(MARGIN, sheet.y, said, size=SMALL, colour=sheet.theme.faint)
    sheet.y += 26
    pixels = opaque(True)[scale.steps(shares)][:, owner].repeat(row, 0)
    sheet.image(MARGIN + 150, sheet.y, pixels)
    for place, name in enumerate(distribution.classes):
        sheet.text(MARGIN + 140, sheet.y + place * row + 2, sheet.shortened(name, 140), size=SMALL, anchor="right")
    bar.upright(sheet, MARGIN + 150 + wide + 20, sheet.y, max(len(pixels), 90), legend_of(scale))
    sheet.y += max(len(pixels), 90) + 12


def _counted(channels: int, columns: int) -> str:
    """How many channels are drawn, a column of pixels each."""
    return f"{channels} channels" if channels <= columns else f"{columns} of {channels} channels, evenly chosen"


def _rgb(colour: str) -> Floats:
    return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)], float)


def _keys(distribution: Distribution, drawn: list[Spread]) -> list[str]:
    """What the ridges' heights and axis mean, and how many layers are left out."""
    axis = _shared_axis(drawn)
    counted = [(distribution.histograms[one.layer], distribution.edges[one.layer]) for one in drawn]
    outside = [share_outside(np.asarray(counts, float), np.asarray(edges, float), axis) for counts, edges in counted]
    said = [" ".join(key_of_ridges(max(outside, default=0.0), len(drawn)))]
    if 1 < len(drawn) < len(distribution.layers):
        said.append(
            f"{len(drawn)} of {len(distribution.layers)} layers are drawn, all that have dead or saturated units "
            "among them as far as there is room; the saved numbers have all."
        )
    return said
