"""Drawing what an optimiser drew: the pictures with what they were drawn for, and how the objective rose."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageFilter

from convscope.errors import ParameterError
from convscope.render import annotations, captions, raw_input
from convscope.render.canvas import GAP, MARGIN, Sheet
from convscope.render.curves import draw_curves
from convscope.render.palette import Pixels, line_colours
from convscope.render.panels import Panel, signal_panel, voxel_of
from convscope.render.picture import Picture
from convscope.render.raster import enlarged, map_pixels, photo_pixels
from convscope.render.scale import Scale, number
from convscope.values import Pictures

WIDTH, CURVES = 1180, 120
SIDES = {1: 420, 2: 420, 3: 340, 4: 250}
"""How large pictures are drawn, by how many stand in a row; more than four are smaller."""
UP = "objective of the best picture so far, as it is; it ends at the number below the picture"
"""What goes up: the very number that is written below a picture."""

SMALLEST, MOST_IN_A_ROW, LARGEST_MATRIX = 164, 6, 220


def draw_pictures(
    pictures: Pictures, *, theme: str = "light", bare: bool = False, transparent: bool = False
) -> Picture:
    """The picture of drawn pictures.

    Args:
        theme: ``light`` or ``dark``.
        bare: leave title, notes and reading line to a page that writes them itself.
        transparent: the pictures alone, side by side, and the more transparent the less of the climb went into a place.
    """
    if transparent:
        return Picture(_transparent(pictures), captions.title(pictures))
    sheet = Sheet(theme, bare=bare)
    panels = _panels(pictures)
    across = min(len(panels), MOST_IN_A_ROW)
    sheet.width = max(2 * MARGIN + across * (max(p.width for p in panels) + GAP) - GAP, 560 if bare else 760)
    annotations.above(sheet, pictures)
    colours = [""] * (len(panels) - len(pictures.words)) + line_colours(len(pictures.words))
    shown = list(zip(panels, colours, strict=True))
    for start in range(0, len(shown), across):
        _draw_row(sheet, shown[start : start + across])
    if pictures.features:
        room = (sheet.width - 2 * MARGIN + GAP) // len(pictures.features) - GAP
        _draw_row(sheet, [(panel, "") for panel in _features(pictures, min(LARGEST_MATRIX, room))])
    if pictures.curves.shape[1] > 1:
        _draw_curves(sheet, pictures)
    sheet.y += 14
    annotations.below(sheet, pictures)
    return sheet.picture(captions.title(pictures))


def _panels(pictures: Pictures) -> list[Panel]:
    """The photograph they began with, where they did, and every picture."""
    began = photo_pixels(pictures)
    count = len(pictures.words) + (began is not None)
    side = SIDES.get(count, max(SMALLEST, (WIDTH - 2 * MARGIN) // min(count, MOST_IN_A_ROW) - GAP))
    found = [] if began is None else [Panel("the image it began with", enlarged(began, side))]
    for place, (word, score) in enumerate(zip(pictures.words, pictures.scores, strict=True)):
        found.append(_panel(pictures, place, f"{word}: {number(score)}", side))
    return found


def _panel(pictures: Pictures, place: int, caption: str, side: int) -> Panel:
    """One picture; of a volume the middle slice of one channel, of a signal a line for each channel."""
    if pictures.photos is not None:
        return Panel(caption, enlarged(np.asarray(pictures.photos[place]), side))
    values = np.nan_to_num(np.asarray(pictures.values[place], np.float32))
    if values.ndim == 2:
        return signal_panel(values, pictures.record, side // 2, caption)
    voxel, said = voxel_of(pictures.record, values.shape[1:]), raw_input.which_channel(len(values))
    middle = values.shape[1] // 2
    caption += f", slice {middle} of axis 0" + (f" of {said}" if said else "")
    return Panel(caption, enlarged(raw_input.grey(values)[middle], side, cell=(voxel[-2], voxel[-1])))


def _transparent(pictures: Pictures) -> Pixels:
    """RGBA: the pictures in their own pixels, opaque where the importance reaches its 80th percentile."""
    if pictures.photos is None or pictures.importance is None:
        raise ParameterError(
            "only pictures can be transparent; these are signals or volumes, or of no known importance"
        )
    found = []
    for photo, importance in zip(pictures.photos, pictures.importance, strict=True):
        shares = np.asarray(importance, np.float32)
        full = float(np.percentile(shares, 80)) or 1.0
        alpha = Image.fromarray((255 * (shares / full).clip(0, 1)).round().astype(np.uint8))
        soft = np.asarray(alpha.filter(ImageFilter.GaussianBlur(max(alpha.size) / 48)))  # no holes in a shape
        found.append(np.concatenate([np.asarray(photo), soft[..., None]], -1))
    return np.concatenate(found, 1)


def _features(pictures: Pictures, side: int) -> list[Panel]:
    """What the pictures were drawn from, matrices each on a scale of its own."""
    found = []
    for name, matrix in pictures.features.items():
        values = np.asarray(matrix, np.float32)
        limit = float(np.percentile(np.abs(values), 99.5)) or 1.0
        pixels = _scaled(map_pixels(values, Scale(limit, True, limit)), side)
        found.append(Panel(f"{name}, −{number(limit)} to {number(limit)}", pixels))
    return found


def _scaled(pixels: Pixels, side: int) -> Pixels:
    """A matrix at exactly that size; the cells of a small one need not be whole pixels."""
    filter_ = Image.Resampling.NEAREST if len(pixels) < side else Image.Resampling.BOX
    return np.asarray(Image.fromarray(pixels).resize((side, side), filter_))


def _draw_row(sheet: Sheet, row: Sequence[tuple[Panel, str]]) -> None:
    """Panels side by side; below each the colour of its curve and its caption."""
    x, tall, below = float(MARGIN), max(panel.height + panel.foot for panel, _ in row), 0.0
    for panel, colour in row:
        panel.draw(sheet, x, sheet.y)
        under = sheet.y + tall + 6
        if colour:
            sheet.box(x, under, panel.width, 3, fill=colour)
        below = max(below, 6 + panel.write_caption(sheet, x, under + 6))
        x += panel.width + GAP
    sheet.y += tall + 6 + below + 8


def _draw_curves(sheet: Sheet, pictures: Pictures) -> None:
    sheet.y += 14
    room = sheet.width - 2 * MARGIN
    said = UP if pictures.reached is not None else "objective, of the picture as the network was shown it"
    sheet.y += draw_curves(sheet, pictures.climbs, x=MARGIN, width=room, height=CURVES, across="steps", up=said)
