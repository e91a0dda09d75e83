"""Drawing optimized pictures: the pictures with their objectives, and the objectives over the steps."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageFilter

from convscope.errors import ParameterError
from convscope.render import captions, header_footer, non_image_input
from convscope.render.canvas import GAP, MARGIN, Canvas
from convscope.render.curves import draw_curves
from convscope.render.input_geometry import voxel_size
from convscope.render.palette import Pixels, line_colours
from convscope.render.panel import Panel
from convscope.render.panels import signal_panel
from convscope.render.raster import enlarge, map_pixels, photo_pixels
from convscope.render.rendered_picture import Picture
from convscope.render.scale import Scale, format_number
from convscope.values import Pictures

WIDTH, CURVES_HEIGHT = 1180, 120
SIDES = {1: 420, 2: 420, 3: 340, 4: 250}
"""The side of a picture in pixels, by the number of pictures; more than four are smaller."""
OBJECTIVE_LABEL = "objective of the best picture so far; the last value is the number below the picture"
"""The label of the y axis of the curves."""

MIN_SIDE, MAX_PER_ROW, MAX_MATRIX_SIDE = 164, 6, 220


def draw_pictures(
    pictures: Pictures, *, theme: str = "light", bare: bool = False, transparent: bool = False
) -> Picture:
    """The picture of optimized pictures.

    Args:
        theme: ``light`` or ``dark``.
        bare: without title, notes and reading line, which the page writes itself.
        transparent: only the pictures, side by side, more transparent where the optimization changed them less.
    """
    if transparent:
        return Picture(_transparent_pixels(pictures), captions.title(pictures))
    canvas = Canvas(theme, bare=bare)
    panels = _panels(pictures)
    per_row = min(len(panels), MAX_PER_ROW)
    canvas.width = max(2 * MARGIN + per_row * (max(p.width for p in panels) + GAP) - GAP, 560 if bare else 760)
    header_footer.draw_header(canvas, pictures)
    colours = [""] * (len(panels) - len(pictures.words)) + line_colours(len(pictures.words))
    coloured_panels = list(zip(panels, colours, strict=True))
    for start in range(0, len(coloured_panels), per_row):
        _draw_row(canvas, coloured_panels[start : start + per_row])
    if pictures.features:
        room = (canvas.width - 2 * MARGIN + GAP) // len(pictures.features) - GAP
        _draw_row(canvas, [(panel, "") for panel in _feature_panels(pictures, min(MAX_MATRIX_SIDE, room))])
    if pictures.curves.shape[1] > 1:
        _draw_curves(canvas, pictures)
    canvas.y += 14
    header_footer.draw_footer(canvas, pictures)
    return canvas.to_picture(captions.title(pictures))


def _panels(pictures: Pictures) -> list[Panel]:
    """The initial image, if there was one, and every picture."""
    initial_image = photo_pixels(pictures)
    count = len(pictures.words) + (initial_image is not None)
    side = SIDES.get(count, max(MIN_SIDE, (WIDTH - 2 * MARGIN) // min(count, MAX_PER_ROW) - GAP))
    panels = [] if initial_image is None else [Panel("the image it began with", enlarge(initial_image, side))]
    for index, (label, score) in enumerate(zip(pictures.words, pictures.scores, strict=True)):
        panels.append(_panel(pictures, index, f"{label}: {format_number(score)}", side))
    return panels


def _panel(pictures: Pictures, index: int, caption: str, side: int) -> Panel:
    """One picture; of a volume the middle slice of one channel, of a signal a line for each channel."""
    if pictures.photos is not None:
        return Panel(caption, enlarge(np.asarray(pictures.photos[index]), side))
    values = np.nan_to_num(np.asarray(pictures.values[index], np.float32))
    if values.ndim == 2:
        return signal_panel(values, pictures.record, side // 2, caption)
    voxel, channel_text = voxel_size(pictures.record, values.shape[1:]), non_image_input.describe_channel(len(values))
    middle_slice = values.shape[1] // 2
    caption += f", slice {middle_slice} of axis 0" + (f" of {channel_text}" if channel_text else "")
    return Panel(
        caption, enlarge(non_image_input.first_channel_grey(values)[middle_slice], side, cell=(voxel[-2], voxel[-1]))
    )


def _transparent_pixels(pictures: Pictures) -> Pixels:
    """The pictures side by side as RGBA pixels, opaque where the importance reaches its 80th percentile."""
    if pictures.photos is None or pictures.importance is None:
        raise ParameterError(
            "only pictures can be transparent; these are signals or volumes, or their importance is unknown"
        )
    images = []
    for photo, importance in zip(pictures.photos, pictures.importance, strict=True):
        weights = np.asarray(importance, np.float32)
        opaque_from = float(np.percentile(weights, 80)) or 1.0
        alpha = Image.fromarray((255 * (weights / opaque_from).clip(0, 1)).round().astype(np.uint8))
        smooth_alpha = np.asarray(
            alpha.filter(ImageFilter.GaussianBlur(max(alpha.size) / 48))
        )  # avoids holes in a shape
        images.append(np.concatenate([np.asarray(photo), smooth_alpha[..., None]], -1))
    return np.concatenate(images, 1)


def _feature_panels(pictures: Pictures, side: int) -> list[Panel]:
    """The features that the pictures were optimized for, as matrices, each on its own scale."""
    panels = []
    for name, matrix in pictures.features.items():
        values = np.asarray(matrix, np.float32)
        limit = float(np.percentile(np.abs(values), 99.5)) or 1.0
        pixels = _resize_matrix(map_pixels(values, Scale(limit, True, limit)), side)
        panels.append(Panel(f"{name}, −{format_number(limit)} to {format_number(limit)}", pixels))
    return panels


def _resize_matrix(pixels: Pixels, side: int) -> Pixels:
    """Resize a matrix to exactly this side, whose cells need not be whole pixels."""
    resampling = Image.Resampling.NEAREST if len(pixels) < side else Image.Resampling.BOX
    return np.asarray(Image.fromarray(pixels).resize((side, side), resampling))


def _draw_row(canvas: Canvas, row: Sequence[tuple[Panel, str]]) -> None:
    """Draw panels side by side; below each the colour of its curve and its caption."""
    x, panel_height, captions_height = float(MARGIN), max(panel.height + panel.axis_height for panel, _ in row), 0.0
    for panel, colour in row:
        panel.draw(canvas, x, canvas.y)
        captions_top = canvas.y + panel_height + 6
        if colour:
            canvas.box(x, captions_top, panel.width, 3, fill=colour)
        captions_height = max(captions_height, 6 + panel.write_caption(canvas, x, captions_top + 6))
        x += panel.width + GAP
    canvas.y += panel_height + 6 + captions_height + 8


def _draw_curves(canvas: Canvas, pictures: Pictures) -> None:
    canvas.y += 14
    width = canvas.width - 2 * MARGIN
    label = (
        OBJECTIVE_LABEL
        if pictures.reached is not None
        else "objective of the transformed picture that the network received"
    )
    canvas.y += draw_curves(
        canvas, pictures.score_curves, x=MARGIN, width=width, height=CURVES_HEIGHT, x_label="steps", y_label=label
    )
