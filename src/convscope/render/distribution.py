"""Drawing a distribution: a ridge plot with one histogram per layer, and counts of its channels in columns beside it.

The distribution of a single layer is drawn by channels in addition.
"""

from dataclasses import dataclass

import numpy as np

from convscope.errors import ParameterError
from convscope.render import annotations, bar, captions
from convscope.render.canvas import MARGIN, SMALL, Canvas
from convscope.render.palette import Pixels, opaque_colours
from convscope.render.picture import Picture
from convscope.render.ridge import Axis, Floats, column_densities, ridge_pixels, share_outside, shared_axis
from convscope.render.scale import Scale, format_number, legend_of
from convscope.values import Distribution, LayerStatistics
from convscope.values.facts import Fact
from convscope.values.formatting import format_list

RIDGE_WIDTH, RIDGE_HEIGHT, ROW_HEIGHT = 520, 30, 34
NAMES_WIDTH, COLUMNS_WIDTH = 290, 420
MAX_RIDGES = 72
"""At most this many ridges are drawn: layers with dead or saturated units first, others at even intervals."""

COLUMNS = {
    "activations": (("zeros", 90), ("dead", 110), ("saturated", 100), ("duplicate", 100)),
    "gradients": (("zeros", 90), ("norm", 120), ("norm / weights", 140)),
}


def draw_distribution(
    distribution: Distribution, *, theme: str = "light", layer: str = "", bare: bool = False
) -> Picture:
    """The picture of a distribution.

    Args:
        theme: ``light`` or ``dark``.
        layer: also draw this layer by channels; by default that is done for a distribution of a single layer.
        bare: without title, notes and reading line, which the page writes itself.
    """
    if layer and layer not in {spread.layer for spread in distribution.layers}:
        raise ParameterError(f"layer must be one of this distribution's, got {layer!r}")
    single = layer or (distribution.layers[0].layer if len(distribution.layers) == 1 else "")
    canvas = Canvas(theme, 2 * MARGIN + NAMES_WIDTH + RIDGE_WIDTH + COLUMNS_WIDTH, bare=bare)
    annotations.draw_header(canvas, distribution, title=_title(distribution, single))
    spreads = (
        [distribution[single]] if single and single in distribution.channels else _select_layers(distribution.layers)
    )
    _draw_ridges(canvas, distribution, spreads)
    if single and single in distribution.channels:
        _draw_channels(canvas, distribution, single)
        _draw_classes(canvas, distribution, single)
    canvas.y += 4
    annotations.draw_footer(canvas, distribution, keys=_explanations(distribution, spreads))
    return canvas.to_picture(alt_of_distribution(distribution))


def alt_of_distribution(distribution: Distribution) -> str:
    """The alternative text of a distribution."""
    text = (
        f"{captions.title(distribution)}: one histogram for each of {len(distribution.layers)} layers, top to bottom."
    )
    dead_units = [
        f"{spread.layer} has {spread.dead} of {spread.channels} units dead"
        for spread in distribution.layers
        if spread.dead
    ]
    return " ".join([text, *([f"{format_list(dead_units, 5, '; ')}."] if dead_units else [])])


def _select_layers(layers: tuple[LayerStatistics, ...]) -> list[LayerStatistics]:
    """At most `MAX_RIDGES` layers in their order: those with dead or saturated units, and others at even intervals."""
    order = sorted(range(len(layers)), key=lambda index: not (layers[index].dead or layers[index].saturated))
    flagged = [index for index in order if layers[index].dead or layers[index].saturated][:MAX_RIDGES]
    others = [index for index in order if index not in flagged]
    free = min(MAX_RIDGES - len(flagged), len(others))
    selected = [*flagged, *(others[step * len(others) // free] for step in range(free))]
    return [layers[index] for index in sorted(selected)]


def _title(distribution: Distribution, single: str) -> str:
    scope = f" · {single}" if single else f" · {len(distribution.layers)} layers"
    images = f"{distribution.images} image{'s' if distribution.images > 1 else ''}"
    return f"{captions.title(distribution)}{scope} · {distribution.record.adapt_wording(images)}"


def _draw_ridges(canvas: Canvas, distribution: Distribution, spreads: list[LayerStatistics]) -> None:
    """Draw one row per layer on a shared axis, with a line at zero and numbers below."""
    axis = _axis_for_layers(spreads)
    left, top = MARGIN + NAMES_WIDTH, canvas.y
    _write_column_names(canvas, distribution.of)
    for spread in spreads:
        _draw_row(canvas, distribution, spread, axis)
        canvas.y += ROW_HEIGHT
    zero = left + float(axis.positions(np.array(0.0))) * RIDGE_WIDTH
    canvas.line([zero, zero], [top + 24, canvas.y - 2], colour=canvas.theme.faint, width=0.8)
    for position, label in axis.ticks():
        x = left + position * RIDGE_WIDTH
        canvas.line([x, x], [canvas.y, canvas.y + 5], colour=canvas.theme.faint, width=1)
        canvas.text(x, canvas.y + 7, label, size=SMALL, anchor="center")
    canvas.y += 34


def _axis_for_layers(spreads: list[LayerStatistics]) -> Axis:
    """The shared axis of these layers."""
    ranges = [_drawn_range(spread) for spread in spreads]
    return shared_axis([(limits["low"], limits["high"]) for limits in ranges], [spread.spread for spread in spreads])


def _drawn_range(spread: LayerStatistics) -> dict[str, float]:
    """The range of a layer on the axis: its quantiles and two spreads beyond them, within its extremes."""
    low, high = min(spread.quantiles.values()), max(spread.quantiles.values())
    return {"low": max(spread.low, low - 2 * spread.spread), "high": min(spread.high, high + 2 * spread.spread)}


@dataclass(frozen=True)
class Ridge:
    """The histogram of one layer, for pages that draw it themselves.

    Attributes:
        heights: of its columns from left to right, from 0 to 1: square roots of shares, so that the tails are visible.
        zero: the position of zero along the axis, from 0 to 1.
        at_zero: the share of numbers that are exactly zero.
        outside: the share of numbers beyond the ends of the axis, which are not drawn.
        ticks: positions along the axis, from 0 to 1, with their labels.
    """

    heights: tuple[float, ...]
    zero: float
    at_zero: float
    outside: float
    ticks: tuple[tuple[float, str], ...]


def ridge_of(distribution: Distribution, layer: str, columns: int = 160) -> Ridge:
    """The histogram of one layer on its own axis."""
    axis = _axis_for_layers([distribution[layer]])
    counts, edges = (np.asarray(table[layer], float) for table in (distribution.histograms, distribution.edges))
    heights, at_zero = column_densities(counts, edges, axis, columns)
    peak = float(heights.max(initial=0)) or 1.0
    roots = np.sqrt(heights / peak).tolist()
    zero = float(axis.positions(np.array(0.0)))
    return Ridge(tuple(roots), zero, at_zero, share_outside(counts, edges, axis), tuple(axis.ticks()))


def explain_ridges(outside: float, layers: int = 1) -> list[Fact]:
    """Sentences that explain the height of a histogram, the bar at zero and the axis.

    Args:
        outside: the largest share of numbers of a layer beyond the ends of the axis.
        layers: the number of layers on the axis.
    """
    sentences = [
        Fact(
            "The curve is a smoothed histogram of the numbers that are not zero; its height is the square root of "
            "their share, relative to the highest point, so that rare numbers show."
        ),
        Fact("The height of the bar at zero is the share of numbers that are exactly zero."),
        Fact("The axis is linear near zero and logarithmic farther away."),
    ]
    if outside > 0:
        share = f"{outside:.1%}" if outside >= 0.001 else Fact("Less than 0.1%")
        sentences.append(
            Fact(
                "{share} of the numbers of a layer, at most, lie beyond the ends of the axis and are not drawn.",
                share=share,
            )
            if layers > 1
            else Fact("{share} of the numbers lie beyond the ends of the axis and are not drawn.", share=share)
        )
    return sentences


def _write_column_names(canvas: Canvas, kind: str) -> None:
    x = MARGIN + NAMES_WIDTH + RIDGE_WIDTH + 20.0
    for name, width in COLUMNS[kind]:
        canvas.text(x + width - 14, canvas.y, name, size=SMALL, colour=canvas.theme.faint, anchor="right")
        x += width
    canvas.y += 24


def _draw_row(canvas: Canvas, distribution: Distribution, spread: LayerStatistics, axis: Axis) -> None:
    counts = np.asarray(distribution.histograms[spread.layer], float)
    edges = np.asarray(distribution.edges[spread.layer], float)
    heights, at_zero = column_densities(counts, edges, axis, RIDGE_WIDTH)
    theme, left, text_top = canvas.theme, MARGIN + NAMES_WIDTH, canvas.y + RIDGE_HEIGHT / 2 - 0.7 * SMALL
    peak = float(heights.max(initial=0)) or 1.0
    pixels = ridge_pixels(np.sqrt(heights / peak), RIDGE_HEIGHT, theme.accent, theme.page, theme.line)
    canvas.image(left, canvas.y, pixels, frame=False)
    if at_zero > 0.005:
        x = left + float(axis.positions(np.array(0.0))) * RIDGE_WIDTH
        canvas.box(x - 2, canvas.y + (1 - at_zero) * RIDGE_HEIGHT, 4, at_zero * RIDGE_HEIGHT, fill=theme.text)
    canvas.text(left - 12, text_top, canvas.shorten(spread.layer, NAMES_WIDTH - 16), size=SMALL, anchor="right")
    _write_columns(canvas, distribution.of, spread, text_top)


def _write_columns(canvas: Canvas, kind: str, spread: LayerStatistics, y: float) -> None:
    """Write the shares and counts beside a ridge; dead and saturated units in the colour of warnings."""
    x, theme = MARGIN + NAMES_WIDTH + RIDGE_WIDTH + 20.0, canvas.theme
    counts = {"dead": spread.dead, "saturated": spread.saturated, "duplicate": spread.duplicates}
    measured = {"norm": spread.norm, "norm / weights": spread.ratio}
    for name, width in COLUMNS[kind]:
        if name == "zeros":
            text, colour = f"{spread.zeros:.0%}", theme.text if spread.zeros else theme.faint
        elif name in counts:
            count = counts[name]
            text = "–" if count is None else f"{count} of {spread.channels}" if count else "0"
            colour = theme.warning if count and name != "duplicate" else theme.text if count else theme.faint
        else:
            value = measured[name]
            text, colour = "–" if value is None else format_number(value), theme.text
        canvas.text(x + width - 14, y, text, size=SMALL, colour=colour, anchor="right")
        x += width


def _draw_channels(canvas: Canvas, distribution: Distribution, layer: str) -> None:
    """Draw the range of every channel as a vertical band, with its percentiles in stronger colours and its median."""
    table = np.asarray(distribution.channels[layer], float)
    table = table[np.argsort(-table[:, distribution.columns.index("mean")], kind="stable")]
    width, height = canvas.width - 2 * MARGIN - 70, 260
    statistics = {name: table[:, distribution.columns.index(name)] for name in distribution.columns}
    axis = shared_axis(
        [(float(statistics["min"].min()), float(statistics["max"].max()))], [float(statistics["spread"].mean())]
    )
    canvas.y += 16
    canvas.text(
        MARGIN,
        canvas.y,
        f"{_describe_channels(len(table), width)}, the highest mean first",
        size=SMALL,
        colour=canvas.theme.faint,
    )
    canvas.y += 26
    bands = [("min", "max", 0.25), ("5 %", "95 %", 0.55), ("25 %", "75 %", 1.0)]
    band_positions = [
        (axis.positions(statistics[low]), axis.positions(statistics[high]), share) for low, high, share in bands
    ]
    pixels = _band_pixels(canvas, band_positions, axis.positions(statistics["50 %"]), width, height)
    canvas.image(MARGIN + 70, canvas.y, pixels)
    for position, label in axis.ticks():
        y = canvas.y + (1 - position) * height
        canvas.line([MARGIN + 64, MARGIN + 69], [y, y], colour=canvas.theme.faint, width=1)
        canvas.text(MARGIN + 58, y - 0.7 * SMALL, label, size=SMALL, anchor="right")
    canvas.y += height + 8
    key = "lightest: minimum to maximum · lighter: 5th to 95th percentile · full colour: middle half · gap: median"
    canvas.text(MARGIN + 70, canvas.y, key, size=SMALL, colour=canvas.theme.faint)
    canvas.y += 30


def _band_pixels(
    canvas: Canvas, bands: list[tuple[Floats, Floats, float]], median: Floats, width: int, height: int
) -> Pixels:
    """Bands as pixels, the width divided among the channels."""
    channels = len(median)
    channel_of_column = (np.arange(width) * channels // width).clip(0, channels - 1)
    page, accent = (_rgb(colour) for colour in (canvas.theme.page, canvas.theme.accent))
    pixels = np.tile(page, (height, width, 1))
    levels = 1 - (np.arange(height) + 0.5)[:, None] / height
    half_pixel = 0.5 / height
    for low, high, share in bands:
        inside = (levels >= low[channel_of_column] - half_pixel) & (levels <= high[channel_of_column] + half_pixel)
        pixels[inside] = page + share * (accent - page)
    pixels[np.abs(levels - median[channel_of_column]) <= 1.5 / height] = page
    if width >= 3 * channels:  # separate neighbouring channels by a gap if they are wide enough
        pixels[:, np.diff(channel_of_column, prepend=channel_of_column[0]) > 0] = page
    rounded: Pixels = pixels.round().astype(np.uint8)
    return rounded


def _draw_classes(canvas: Canvas, distribution: Distribution, layer: str) -> None:
    """Draw a heat map of classes by channels: the class mean less the mean over all classes, in standard deviations."""
    if len(distribution.classes) < 2:
        return
    means = np.asarray(distribution.class_means[layer], float)
    deviations = means - np.nanmean(means, 0)
    shares = np.nan_to_num(deviations / np.maximum(np.nanstd(means, 0), 1e-12)).astype(np.float32)
    shares = shares[:, np.argsort(shares.argmax(0), kind="stable")]
    limit = float(np.abs(shares).max()) or 1.0
    scale = Scale(limit, signed=True, peak=limit, ends=("below", "above"))
    width, row_height = canvas.width - 2 * MARGIN - 270, 22
    channel_of_column = (np.arange(width) * shares.shape[1] // width).clip(0, shares.shape[1] - 1)
    canvas.y += 8
    channels = _describe_channels(shares.shape[1], width)
    caption = (
        f"{channels} sorted by class: class mean less the mean over all classes, in standard deviations between classes"
    )
    canvas.text(MARGIN, canvas.y, caption, size=SMALL, colour=canvas.theme.faint)
    canvas.y += 26
    pixels = opaque_colours(True)[scale.colour_indices(shares)][:, channel_of_column].repeat(row_height, 0)
    canvas.image(MARGIN + 150, canvas.y, pixels)
    for index, name in enumerate(distribution.classes):
        canvas.text(
            MARGIN + 140, canvas.y + index * row_height + 2, canvas.shorten(name, 140), size=SMALL, anchor="right"
        )
    bar.draw_vertical(canvas, MARGIN + 150 + width + 20, canvas.y, max(len(pixels), 90), legend_of(scale))
    canvas.y += max(len(pixels), 90) + 12


def _describe_channels(channels: int, columns: int) -> str:
    """How many channels are drawn in this many columns of pixels."""
    return f"{channels} channels" if channels <= columns else f"{columns} of {channels} channels, evenly chosen"


def _rgb(colour: str) -> Floats:
    return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)], float)


def _explanations(distribution: Distribution, spreads: list[LayerStatistics]) -> list[str]:
    """Sentences that explain the ridges and say how many layers are omitted."""
    axis = _axis_for_layers(spreads)
    histograms = [(distribution.histograms[spread.layer], distribution.edges[spread.layer]) for spread in spreads]
    outside = [share_outside(np.asarray(counts, float), np.asarray(edges, float), axis) for counts, edges in histograms]
    sentences = [" ".join(explain_ridges(max(outside, default=0.0), len(spreads)))]
    if 1 < len(spreads) < len(distribution.layers):
        sentences.append(
            f"{len(spreads)} of {len(distribution.layers)} layers are drawn, first those that have dead or saturated "
            "units; the saved file contains all."
        )
    return sentences
