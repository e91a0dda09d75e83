"""Drawing exemplars: one row per unit with crops of its top inputs, and below each crop the complete input."""

import numpy as np
from PIL import Image

from convscope.render import captions, header_footer, non_image_input
from convscope.render.canvas import BODY, MARGIN, SMALL, Canvas
from convscope.render.input_geometry import voxel_size
from convscope.render.palette import Pixels
from convscope.render.rendered_picture import Picture
from convscope.render.scale import Numbers, format_number
from convscope.render.signal_axis import format_position
from convscope.values import Exemplar, Exemplars, UnitExemplars
from convscope.values.formatting import format_list

CROP_SIDE, INPUT_SIDE, GAP = 128, 64, 14
MIN_WIDTH, MAX_COLUMNS = 760, 9


KEY = (
    "The number is the value of the unit; the small picture is the complete input with a box around the part "
    "that the unit sees."
)


def draw_exemplars(exemplars: Exemplars, *, theme: str = "light", bare: bool = False) -> Picture:
    """The picture of exemplars; ``theme`` is ``light`` or ``dark``."""
    columns = min(MAX_COLUMNS, max((len(unit.exemplars) for unit in exemplars.units), default=1))
    canvas = Canvas(theme, max(MIN_WIDTH, 2 * MARGIN + columns * (CROP_SIDE + GAP) - GAP), bare=bare)
    header_footer.draw_header(canvas, exemplars, title=f"{captions.title(exemplars)} · from {exemplars.images} inputs")
    for unit in exemplars.units:
        _draw_unit(canvas, exemplars, unit, columns)
    header_footer.draw_footer(canvas, exemplars, keys=[*filter(None, [KEY, _channels_and_slices(exemplars)])])
    return canvas.to_picture(alt_of_exemplars(exemplars))


def alt_of_exemplars(exemplars: Exemplars) -> str:
    """The alternative text of exemplars: the name of each unit's top input."""
    names = [
        f"{unit.unit}: {captions.short_name(unit.exemplars[0].name)}" for unit in exemplars.units if unit.exemplars
    ]
    best = format_list(names, 12, "; ")
    return f"{captions.title(exemplars)} from {exemplars.images} inputs. Best of each unit: {best}."


def _draw_unit(canvas: Canvas, exemplars: Exemplars, unit: UnitExemplars, columns: int) -> None:
    canvas.text(MARGIN, canvas.y, canvas.shorten(unit.unit, canvas.width - 2 * MARGIN, size=BODY, bold=True), bold=True)
    canvas.y += 28
    for start in range(0, len(unit.exemplars), columns):
        row_height = 0.0
        for column, exemplar in enumerate(unit.exemplars[start : start + columns]):
            x = MARGIN + column * (CROP_SIDE + GAP)
            row_height = max(row_height, _draw_exemplar(canvas, exemplars, exemplar, x, canvas.y))
        canvas.y += row_height + 12
    canvas.y += 6


def _draw_exemplar(canvas: Canvas, exemplars: Exemplars, exemplar: Exemplar, x: float, y: float) -> float:
    """Draw the crop, the value, and the complete input with the box; returns the height."""
    depth = sum(exemplar.box[0]) // 2 if len(exemplar.box) == 3 else None  # the slice of a volume that the crop shows
    photo = np.asarray(exemplars.photos[str(exemplar.place)])
    pixels, crop = _input_pixels(photo, depth), _input_pixels(exemplars.crop(exemplar))
    pixel_size = _pixel_size(exemplars, photo)
    large_crop = _resize_to(crop, CROP_SIDE, pixel_size)
    canvas.image(x + (CROP_SIDE - large_crop.shape[1]) // 2, y + (CROP_SIDE - large_crop.shape[0]) // 2, large_crop)
    top = y + CROP_SIDE + 5
    canvas.text(x, top, format_number(exemplar.value), size=SMALL, bold=True)
    if exemplar.label:
        label_width = CROP_SIDE - canvas.text_width(format_number(exemplar.value), SMALL, bold=True) - 10
        canvas.text(
            x + CROP_SIDE,
            top,
            canvas.shorten(exemplar.label, label_width),
            size=SMALL,
            colour=canvas.theme.faint,
            anchor="right",
        )
    top += 24
    if crop.shape == pixels.shape:
        return top - y
    small = _resize_to(pixels, INPUT_SIDE, pixel_size)
    zoom = (small.shape[0] / pixels.shape[0], small.shape[1] / pixels.shape[1])
    canvas.image(x, top, small)
    _draw_box(canvas, exemplar, x, top, zoom, small.shape[0])
    name = captions.short_name(exemplar.name.rpartition("/")[2], 26)
    if len(exemplar.box) == 1:  # a signal: the part that the unit sees
        first, last = exemplar.box[0]
        name = f"{name}, {format_position(exemplars.record, first)} to {format_position(exemplars.record, last - 1)}"
    canvas.text(x + INPUT_SIDE + 6, top, name, size=11, colour=canvas.theme.faint, width=CROP_SIDE - INPUT_SIDE - 6)
    return top + int(small.shape[0]) - y


def _draw_box(canvas: Canvas, exemplar: Exemplar, x: float, y: float, zoom: tuple[float, float], height: int) -> None:
    """Draw the box on the input, white within black to be visible on any colour; for a signal over its full height."""
    *rows, columns = exemplar.box[-2:]
    top, bottom = (rows[0][0] * zoom[0], rows[0][1] * zoom[0]) if rows else (0, height)
    left, right = columns[0] * zoom[1], columns[1] * zoom[1]
    box_width, box_height = max(2, right - left), max(2, bottom - top)
    canvas.box(x + left - 1, y + top - 1, box_width + 2, box_height + 2, edge="#000000")
    canvas.box(x + left, y + top, box_width, box_height, edge="#ffffff")


def _input_pixels(photo: np.ndarray[tuple[int, ...], np.dtype[np.generic]], depth: int | None = None) -> Pixels:
    """An image as it is; a signal as a curve for each channel; a volume as a slice of one channel in grey.

    Args:
        depth: the slice of a volume; by default the middle one.
    """
    if photo.dtype == np.uint8:
        image: Pixels = photo  # type: ignore[assignment]
        return image
    values = np.nan_to_num(photo.astype(np.float32))
    if values.ndim == 2:
        return _signal_pixels(non_image_input.drawn_channels(values))
    slices = non_image_input.first_channel_grey(values)
    return slices[len(slices) // 2 if depth is None else depth] if values.ndim > 3 else slices


def _signal_pixels(signal: Numbers) -> Pixels:
    """Black curves on white, one column per sample; all channels together are half as tall as wide."""
    height = max(8, signal.shape[1] // 2 // len(signal))
    return np.concatenate([_curve_pixels(channel, height) for channel in signal])


def _curve_pixels(values: Numbers, height: int) -> Pixels:
    share = (values - values.min()) / max(float(np.ptp(values)), 1e-12)
    row = ((1 - share) * (height - 1)).round().astype(int)
    pixels = np.full((height, len(values), 3), 255, np.uint8)
    for column in range(len(values)):
        low, high = sorted((row[column], row[max(0, column - 1)]))
        pixels[low : high + 1, column] = 0
    return pixels


def _channels_and_slices(exemplars: Exemplars) -> str:
    """Which channels of signals and volumes are drawn and which slice of volumes; empty for images."""
    shape = next((np.shape(np.asarray(array)) for array in exemplars.photos.values()), ())
    is_photo = any(np.asarray(array).dtype == np.uint8 for array in exemplars.photos.values())
    if is_photo or len(shape) not in (2, 4):
        return ""
    if len(shape) == 2:
        text = non_image_input.describe_lines(shape[0])
        return f"The curves, from the top: {text}." if text else ""
    channel = non_image_input.describe_channel(shape[0])
    slice_text = "Of volumes, the slice along axis 0 in the middle of the box is drawn"
    return f"{slice_text}, of {channel}." if channel else f"{slice_text}."


def _pixel_size(exemplars: Exemplars, photo: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> tuple[float, float]:
    """The height and the width of a pixel of an input."""
    extent = photo.shape[:2] if photo.dtype == np.uint8 else photo.shape[1:]
    if len(extent) < 2:
        return 1.0, 1.0
    sides = voxel_size(exemplars.record, extent)
    return sides[-2], sides[-1]


def _resize_to(pixels: Pixels, side: int, pixel_size: tuple[float, float]) -> Pixels:
    """Resize pixels to ``side`` on the longer side: nearest neighbour when enlarged, averaged when reduced."""
    height, width = pixels.shape[0] * pixel_size[0], pixels.shape[1] * pixel_size[1]
    zoom = side / max(height, width)
    size = (max(1, round(width * zoom)), max(1, round(height * zoom)))
    resampling = Image.Resampling.NEAREST if zoom >= 1 else Image.Resampling.BOX
    resized: Pixels = np.asarray(Image.fromarray(pixels).resize(size, resampling), np.uint8)
    return resized
