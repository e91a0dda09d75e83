"""Drawing a receptive field: what moves the unit, within the frame of all that it can see, and both sizes as bars."""

import numpy as np

from convscope.render import annotations, bar, captions
from convscope.render.canvas import BODY, GAP, MARGIN, SMALL, Sheet
from convscope.render.palette import Pixels
from convscope.render.panels import voxel_of
from convscope.render.picture import Picture
from convscope.render.raster import enlarged, map_pixels
from convscope.render.ruler import HEIGHT, ruler_of
from convscope.render.scale import Numbers, Scale, legend_of
from convscope.values import ReceptiveField
from convscope.values.formatting import field_words

PANEL, BESIDE = 460, 420


def draw_receptive_field(field: ReceptiveField, *, theme: str = "light", bare: bool = False) -> Picture:
    """The picture of a receptive field; ``theme`` is ``light`` or ``dark``."""
    values = np.asarray(field.values, np.float32)
    peak = float(values.max())
    scale = Scale(peak, signed=False, peak=peak, ends=("none", "strong"))
    legend = legend_of(scale)
    sheet = Sheet(theme, bare=bare)
    flat, axes = _flat(values, field)
    voxel = voxel_of(field.record, values.shape)
    cell = (voxel[-2], voxel[-1]) if values.ndim > 1 else (1.0, 1.0)
    pixels = enlarged(map_pixels(flat, scale), PANEL, cell=cell)
    ruler = ruler_of(field.record, len(values)) if values.ndim == 1 else None
    sheet.width = round(2 * MARGIN + pixels.shape[1] + GAP + bar.upright_width(sheet, legend) + 2 * GAP + BESIDE)
    annotations.above(sheet, field, title=f"{captions.title(field)} · {field.unit}")
    top = sheet.y
    sheet.image(MARGIN, top, pixels)
    _frame(sheet, MARGIN, top, pixels, flat, [field.box[axis] for axis in axes])
    if ruler is not None:
        ruler.draw(sheet, MARGIN, top + pixels.shape[0], pixels.shape[1])
    x = MARGIN + pixels.shape[1] + GAP
    bar.upright(sheet, x, top, pixels.shape[0], legend)
    x += bar.upright_width(sheet, legend) + 2 * GAP
    below = _sizes(sheet, x, top, field)
    sheet.y = max(top + pixels.shape[0] + (HEIGHT if ruler else 0), below) + 20
    cut = ["The map is cut through its strongest place."] if len(axes) < values.ndim else []
    annotations.below(sheet, field, keys=cut)
    return sheet.picture(_alt(field))


def _flat(values: Numbers, field: ReceptiveField) -> tuple[Numbers, list[int]]:
    """The map as rows and columns, and which axes these are: a signal as a band, a volume cut through its peak."""
    if values.ndim == 1:
        return values[None].repeat(max(1, round(0.3 * len(values))), 0), [0]
    peak = np.unravel_index(int(values.argmax()), values.shape)
    return values[tuple(int(p) for p in peak[: values.ndim - 2])], list(range(values.ndim - 2, values.ndim))


def _frame(sheet: Sheet, x: float, y: float, pixels: Pixels, flat: Numbers, box: list[tuple[int, int]]) -> None:
    """The border of what the unit can see; a halo keeps it visible on bright and on dark."""
    zoom, down = pixels.shape[1] / flat.shape[1], pixels.shape[0] / flat.shape[0]
    (top, bottom) = box[0] if len(box) == 2 else (0, flat.shape[0] - 1)
    left, right = box[-1]
    xs = [x + zoom * edge for edge in (left, right + 1, right + 1, left, left)]
    ys = [y + down * edge for edge in (top, top, bottom + 1, bottom + 1, top)]
    sheet.line(xs, ys, colour="#000000", width=4)
    sheet.line(xs, ys, colour="#ffffff", width=1.8)


def _sizes(sheet: Sheet, x: float, y: float, field: ReceptiveField) -> float:
    """The numbers beside the map; how far down they reach."""
    total = field.values.numel()
    place = ", ".join(str(p) for p in field.position)
    y += sheet.text(x, y, f"Place ({place}) of {'×'.join(map(str, field.extent))}", size=BODY, width=BESIDE) + 14
    spread = " × ".join(f"{sigma:.1f}" for sigma in field.spread)
    for said, share, more in (
        (
            "can see",
            field.seen / total,
            f"theoretical field {field_words(field.field)}; white frame, cut at the border",
        ),
        (
            "looks at",
            field.area / total,
            f"{field.area:,} positions hold 95% of the gradient, {field.share:.0%} of the frame; "
            f"as many as a side of {field.side:.0f}; spread σ {spread}",
        ),
    ):
        sheet.text(x + BESIDE, y, f"{share:.1%} of the input", size=BODY, bold=True, anchor="right")
        y += sheet.text(x, y, said, size=BODY, bold=True) + 4
        sheet.box(x, y, BESIDE, 10, fill=sheet.theme.track)
        sheet.box(x, y, BESIDE * share, 10, fill=sheet.theme.accent)
        y += 18
        y += sheet.text(x, y, more, size=SMALL, colour=sheet.theme.faint, width=BESIDE) + 18
    inputs = "1 input" if field.images == 1 else f"{field.images} inputs"
    y += sheet.text(x, y, f"averaged over {inputs}", size=SMALL, colour=sheet.theme.faint, width=BESIDE)
    return y


def _alt(field: ReceptiveField) -> str:
    return (
        f"{captions.title(field)} of {field.unit}: it can see {field.seen:,} input positions and 95% of its gradient "
        f"lies on {field.area:,} of them."
    )
