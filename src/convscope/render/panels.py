"""The panels of a picture (input, map over the input, map) for maps of one, two and three axes.

Signals are drawn as a line for each channel, volumes as slices in the proportions of their voxels.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from convscope.render import non_image_input
from convscope.render.band_panel import band_sums, feature_bars
from convscope.render.input_geometry import raw_input, voxel_size
from convscope.render.palette import Pixels
from convscope.render.panel import Panel
from convscope.render.place_marks import mark_places
from convscope.render.raster import enlarge, map_pixels, overlay_pixels, photo_at_map_size, photo_pixels
from convscope.render.scale import Numbers, Scale, format_number, map_values
from convscope.render.signal_axis import signal_axis
from convscope.render.token_panel import plain_tokens, token_panels, tokens_of
from convscope.render.video_panels import frame_curve, frame_strip
from convscope.render.volume_panels import projections, slice_panels, slice_strip
from convscope.values import Attribution, Record, Value

SIGNAL_WIDTH, SIGNAL_HEIGHT = 2.25, 0.65
"""The width and the height of a signal, as multiples of a panel's side."""
LANE_HEIGHT = 0.12
"""The smallest height of the lane of one channel, as a share of a panel's side."""


def panels_of(attribution: Attribution, scale: Scale, side: int) -> list[Panel]:
    """The panels of an attribution, each about ``side`` pixels large."""
    panels = _PANELS.get(attribution.record.kind) or _PANELS_BY_AXES[attribution.values.ndim]
    drawn = panels(attribution, scale, side)
    return mark_places(attribution, drawn, input_panel(replace(attribution, photo=attribution.guide), side))


def further_panels(attribution: Attribution, scale: Scale, side: int) -> list[list[Panel]]:
    """Rows of panels below the first: sums of many bands, projections and slices of a volume, the curve of a clip."""
    if attribution.record.kind == "video":
        return [[frame_curve(attribution, 2 * side)]]
    if attribution.values.ndim == 2:
        bars = band_sums(attribution, 2 * side)
        return [] if bars is None else [[bars]]
    if attribution.values.ndim != 3:
        return []
    return [projections(attribution, scale, side), [slice_strip(attribution, scale, side)]]


def _vector_panels(attribution: Attribution, scale: Scale, side: int) -> list[Panel]:
    """A bar for each number of a vector."""
    return [feature_bars(attribution, 2 * side)]


def _image_panels(attribution: Attribution, scale: Scale, side: int) -> list[Panel]:
    """The input, the map over it, and the map; only the map if there is no input to show."""
    values, photo = map_values(attribution), photo_at_map_size(attribution)
    pixel_height, pixel_width = voxel_size(attribution.record, values.shape)
    cell = (pixel_height, pixel_width)
    map_panel = Panel(
        _map_caption(attribution), enlarge(map_pixels(values, scale), side, cell=cell), blank=attribution.blank
    )
    if photo is None:
        return [map_panel]
    overlay = enlarge(overlay_pixels(values, photo, scale), side, cell=cell)
    return [
        Panel("input", enlarge(photo, side, cell=cell)),
        Panel("map over the input", overlay, blank=attribution.blank),
        map_panel,
    ]


def uncertainty_panels(attribution: Attribution, side: int) -> list[Panel]:
    """A panel for each measure of uncertainty, on its own scale from zero to a limit that the caption states."""
    panels = []
    for name, values in attribution.uncertainty.items():
        array = np.asarray(values.detach(), np.float32)
        if array.ndim == 2:
            pixel_height, pixel_width = voxel_size(attribution.record, array.shape)
            cell = (pixel_height, pixel_width)
            limit = 1.0 if name == "sign agreement" else float(np.nan_to_num(array).max())
            scale = Scale(limit, signed=False, peak=limit)
            panels.append(
                Panel(f"{name}, 0 to {format_number(limit)}", enlarge(map_pixels(array, scale), side, cell=cell))
            )
    return panels


def _map_caption(attribution: Attribution) -> str:
    """The caption of a map, with the sizes of the layer maps from which it was enlarged."""
    shapes = {tuple(values.shape) for values in attribution.layer_values.values()} - {tuple(attribution.values.shape)}
    return (
        f"map, enlarged from {' and '.join('×'.join(map(str, shape)) for shape in sorted(shapes))}" if shapes else "map"
    )


def _signal_panels(attribution: Attribution, scale: Scale, side: int) -> list[Panel]:
    """The signal, or the map's own numbers if the value does not contain the signal, over the map as colours."""
    values, signal = map_values(attribution), raw_input(attribution)
    lines = np.nan_to_num(values)[None] if signal is None else non_image_input.drawn_channels(signal)
    pixels = _band_pixels(values, scale, side, len(lines))
    caption = ["the map" if signal is None else "the signal, coloured by the map"]
    caption += [] if signal is None else [non_image_input.describe_lines(len(signal))]
    axis = signal_axis(attribution.record, len(values))
    names = attribution.record.channel_names if signal is not None else ()
    return [Panel(", ".join(filter(None, caption)), pixels, lines, attribution.blank, axis, names)]


def band_panel(values: Numbers, record: Record, scale: Scale, side: int) -> Panel:
    """A map along a signal as a band of colours with its axis."""
    return Panel("", _band_pixels(values, scale, side), axis=signal_axis(record, len(values)))


def _band_pixels(values: Numbers, scale: Scale, side: int, line_count: int = 1) -> Pixels:
    """A map along a signal as a band of colours, high enough for this many lines."""
    height, width = _signal_size(side, line_count)
    indices = np.arange(width) * len(values) // width
    return np.broadcast_to(map_pixels(values, scale)[indices], (height, width, 3))


def _signal_size(side: int, line_count: int) -> tuple[int, int]:
    """The height and the width of a signal of this many lines, for panels of this side."""
    return round(max(SIGNAL_HEIGHT * side, LANE_HEIGHT * side * line_count)), round(SIGNAL_WIDTH * side)


def signal_panel(signal: Numbers, record: Record, side: int, caption: str = "the signal") -> Panel:
    """A signal (channels, samples) as lines on white, below each other."""
    lines = np.nan_to_num(non_image_input.drawn_channels(signal))
    full_caption = ", ".join(filter(None, (caption, non_image_input.describe_lines(len(signal)))))
    pixels = np.full((*_signal_size(side, len(lines)), 3), 255, np.uint8)
    return Panel(full_caption, pixels, lines, axis=signal_axis(record, signal.shape[1]), names=record.channel_names)


def input_panel(value: Value, side: int) -> Panel | None:
    """The input of a value as an image, as lines if it is a signal, or as tokens; None for other inputs."""
    photo = photo_pixels(value)
    if photo is not None:
        pixel_height, pixel_width = voxel_size(value.record, photo.shape[:2])
        return Panel("input", enlarge(photo, side, cell=(pixel_height, pixel_width)))
    words = tokens_of(value)
    if words:
        return plain_tokens(words, side)
    raw = getattr(value, "photo", None)
    raw = None if raw is None else np.asarray(raw)
    if raw is None or raw.ndim != 2 or raw.shape[1] < 2 or raw.dtype == np.uint8:
        return None
    return signal_panel(raw.astype(np.float32), value.record, side)


_Panels = Callable[[Attribution, Scale, int], list[Panel]]

_PANELS: Mapping[str, _Panels] = {"video": frame_strip, "tokens": token_panels}
"""How maps are drawn that need more than the number of their axes tells, by the kind of input."""
_PANELS_BY_AXES: Mapping[int, _Panels] = {0: _vector_panels, 1: _signal_panels, 2: _image_panels, 3: slice_panels}
