"""Drawing exemplars: one row a unit, what it saw in its best inputs, and below each the whole input with the box."""

import numpy as np
from PIL import Image

from convscope.render import annotations, captions, raw_input
from convscope.render.canvas import BODY, MARGIN, SMALL, Sheet
from convscope.render.palette import Pixels
from convscope.render.panels import voxel_of
from convscope.render.picture import Picture
from convscope.render.ruler import moment
from convscope.render.scale import Numbers, number
from convscope.values import Excited, Exemplar, Exemplars
from convscope.values.formatting import listed

CROP, WHOLE, GAP = 128, 64, 14
NARROWEST, ACROSS = 760, 9


KEY = "The number is the unit's value; the small picture is the whole input with the part that was seen."


def draw_exemplars(exemplars: Exemplars, *, theme: str = "light", bare: bool = False) -> Picture:
    """The picture of exemplars; ``theme`` is ``light`` or ``dark``."""
    across = min(ACROSS, max((len(one.exemplars) for one in exemplars.units), default=1))
    sheet = Sheet(theme, max(NARROWEST, 2 * MARGIN + across * (CROP + GAP) - GAP), bare=bare)
    annotations.above(sheet, exemplars, title=f"{captions.title(exemplars)} · from {exemplars.images} inputs")
    for one in exemplars.units:
        _draw_unit(sheet, exemplars, one, across)
    annotations.below(sheet, exemplars, keys=[*filter(None, [KEY, _what_is_drawn(exemplars)])])
    return sheet.picture(alt_of_exemplars(exemplars))


def alt_of_exemplars(exemplars: Exemplars) -> str:
    """Exemplars for those who cannot see them: each unit's best input by name."""
    best = [f"{one.unit}: {captions.short(one.exemplars[0].name)}" for one in exemplars.units if one.exemplars]
    return f"{captions.title(exemplars)} from {exemplars.images} inputs. Best of each unit: {listed(best, 12, '; ')}."


def _draw_unit(sheet: Sheet, exemplars: Exemplars, one: Excited, across: int) -> None:
    sheet.text(MARGIN, sheet.y, sheet.shortened(one.unit, sheet.width - 2 * MARGIN, size=BODY, bold=True), bold=True)
    sheet.y += 28
    for start in range(0, len(one.exemplars), across):
        tallest = 0.0
        for column, exemplar in enumerate(one.exemplars[start : start + across]):
            x = MARGIN + column * (CROP + GAP)
            tallest = max(tallest, _draw_exemplar(sheet, exemplars, exemplar, x, sheet.y))
        sheet.y += tallest + 12
    sheet.y += 6


def _draw_exemplar(sheet: Sheet, exemplars: Exemplars, exemplar: Exemplar, x: float, y: float) -> float:
    """What the unit saw, its value, and the whole input with the box; the height of all."""
    depth = sum(exemplar.box[0]) // 2 if len(exemplar.box) == 3 else None  # the slice that the crop shows
    photo = np.asarray(exemplars.photos[str(exemplar.place)])
    whole, crop = _pixels(photo, depth), _pixels(exemplars.crop(exemplar))
    cell = _cell(exemplars, photo)
    shown = _within(crop, CROP, cell)
    sheet.image(x + (CROP - shown.shape[1]) // 2, y + (CROP - shown.shape[0]) // 2, shown)
    below = y + CROP + 5
    sheet.text(x, below, number(exemplar.value), size=SMALL, bold=True)
    if exemplar.label:
        room = CROP - sheet.extent(number(exemplar.value), SMALL, bold=True) - 10
        sheet.text(
            x + CROP, below, sheet.shortened(exemplar.label, room), size=SMALL, colour=sheet.theme.faint, anchor="right"
        )
    below += 24
    if crop.shape == whole.shape:
        return below - y
    small = _within(whole, WHOLE, cell)
    zoom = (small.shape[0] / whole.shape[0], small.shape[1] / whole.shape[1])
    sheet.image(x, below, small)
    _draw_box(sheet, exemplar, x, below, zoom, small.shape[0])
    name = captions.short(exemplar.name.rpartition("/")[2], 26)
    if len(exemplar.box) == 1:  # a signal: which part of it was seen
        first, last = exemplar.box[0]
        name = f"{name}, {moment(exemplars.record, first)} to {moment(exemplars.record, last - 1)}"
    sheet.text(x + WHOLE + 6, below, name, size=11, colour=sheet.theme.faint, width=CROP - WHOLE - 6)
    return below + int(small.shape[0]) - y


def _draw_box(sheet: Sheet, exemplar: Exemplar, x: float, y: float, zoom: tuple[float, float], tall: int) -> None:
    """The box on the whole input, light within dark to be seen on any colour; a signal's has its full height."""
    *rows, across = exemplar.box[-2:]
    top, bottom = (rows[0][0] * zoom[0], rows[0][1] * zoom[0]) if rows else (0, tall)
    left, right = across[0] * zoom[1], across[1] * zoom[1]
    wide, high = max(2, right - left), max(2, bottom - top)
    sheet.box(x + left - 1, y + top - 1, wide + 2, high + 2, edge="#000000")
    sheet.box(x + left, y + top, wide, high, edge="#ffffff")


def _pixels(photo: np.ndarray[tuple[int, ...], np.dtype[np.generic]], depth: int | None = None) -> Pixels:
    """A photograph as it is; of a signal a curve for each channel, of a volume one channel's slice in grey.

    Args:
        depth: the slice of a volume; by default the one in the middle.
    """
    if photo.dtype == np.uint8:
        found: Pixels = photo  # type: ignore[assignment]
        return found
    values = np.nan_to_num(photo.astype(np.float32))
    if values.ndim == 2:
        return _curves(raw_input.lines(values))
    shown = raw_input.grey(values)
    return shown[len(shown) // 2 if depth is None else depth] if values.ndim > 3 else shown


def _curves(signal: Numbers) -> Pixels:
    """Black on white, as many columns as there are numbers; all channels together half as tall as wide."""
    tall = max(8, signal.shape[1] // 2 // len(signal))
    return np.concatenate([_curve(channel, tall) for channel in signal])


def _curve(values: Numbers, tall: int) -> Pixels:
    share = (values - values.min()) / max(float(np.ptp(values)), 1e-12)
    at = ((1 - share) * (tall - 1)).round().astype(int)
    pixels = np.full((tall, len(values), 3), 255, np.uint8)
    for column in range(len(values)):
        low, high = sorted((at[column], at[max(0, column - 1)]))
        pixels[low : high + 1, column] = 0
    return pixels


def _what_is_drawn(exemplars: Exemplars) -> str:
    """Which channels of signals and volumes are drawn, and where volumes are cut; nothing of photographs."""
    shape = next((np.shape(np.asarray(one)) for one in exemplars.photos.values()), ())
    photo = any(np.asarray(one).dtype == np.uint8 for one in exemplars.photos.values())
    if photo or len(shape) not in (2, 4):
        return ""
    if len(shape) == 2:
        said = raw_input.which_lines(shape[0])
        return f"The curves, from the top: {said}." if said else ""
    channel = raw_input.which_channel(shape[0])
    where = "Volumes are cut along axis 0 in the middle of what the unit saw"
    return f"{where}; {channel} is drawn." if channel else f"{where}."


def _cell(exemplars: Exemplars, photo: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> tuple[float, float]:
    """How tall and how wide a pixel of an input is."""
    extent = photo.shape[:2] if photo.dtype == np.uint8 else photo.shape[1:]
    if len(extent) < 2:
        return 1.0, 1.0
    sides = voxel_of(exemplars.record, extent)
    return sides[-2], sides[-1]


def _within(pixels: Pixels, side: int, cell: tuple[float, float]) -> Pixels:
    """Pixels brought to ``side`` on the longer side, crisp when enlarged, smooth when shrunk."""
    height, width = pixels.shape[0] * cell[0], pixels.shape[1] * cell[1]
    zoom = side / max(height, width)
    size = (max(1, round(width * zoom)), max(1, round(height * zoom)))
    how = Image.Resampling.NEAREST if zoom >= 1 else Image.Resampling.BOX
    found: Pixels = np.asarray(Image.fromarray(pixels).resize(size, how), np.uint8)
    return found
