"""Drawing a receptive field: the effective field within the frame of the theoretical one, and both sizes as bars."""

import numpy as np

from convscope.render import captions, colour_bar, header_footer
from convscope.render.canvas import BODY, GAP, MARGIN, SMALL, Canvas
from convscope.render.input_geometry import voxel_size
from convscope.render.palette import Pixels
from convscope.render.raster import enlarge, map_pixels
from convscope.render.rendered_picture import Picture
from convscope.render.scale import Numbers, Scale, legend_of
from convscope.render.signal_axis import AXIS_HEIGHT, signal_axis
from convscope.values import ReceptiveField
from convscope.values.formatting import format_field

PANEL_SIDE, SIZES_WIDTH = 460, 420


def draw_receptive_field(field: ReceptiveField, *, theme: str = "light", bare: bool = False) -> Picture:
    """The picture of a receptive field; ``theme`` is ``light`` or ``dark``."""
    values = np.asarray(field.values, np.float32)
    peak = float(values.max())
    scale = Scale(peak, signed=False, peak=peak, ends=("none", "strong"))
    legend = legend_of(scale)
    canvas = Canvas(theme, bare=bare)
    plane, axes = _map_plane(values, field)
    voxel = voxel_size(field.record, values.shape)
    cell = (voxel[-2], voxel[-1]) if values.ndim > 1 else (1.0, 1.0)
    pixels = enlarge(map_pixels(plane, scale), PANEL_SIDE, cell=cell)
    samples_axis = signal_axis(field.record, len(values)) if values.ndim == 1 else None
    canvas.width = round(
        2 * MARGIN + pixels.shape[1] + GAP + colour_bar.vertical_width(canvas, legend) + 2 * GAP + SIZES_WIDTH
    )
    header_footer.draw_header(canvas, field, title=f"{captions.title(field)} · {field.unit}")
    top = canvas.y
    canvas.image(MARGIN, top, pixels)
    _draw_field_frame(canvas, MARGIN, top, pixels, plane, [field.box[axis] for axis in axes])
    if samples_axis is not None:
        samples_axis.draw(canvas, MARGIN, top + pixels.shape[0], pixels.shape[1])
    x = MARGIN + pixels.shape[1] + GAP
    colour_bar.draw_vertical(canvas, x, top, pixels.shape[0], legend)
    x += colour_bar.vertical_width(canvas, legend) + 2 * GAP
    sizes_bottom = _draw_sizes(canvas, x, top, field)
    canvas.y = max(top + pixels.shape[0] + (AXIS_HEIGHT if samples_axis else 0), sizes_bottom) + 20
    keys = ["The map is a slice through its peak."] if len(axes) < values.ndim else []
    header_footer.draw_footer(canvas, field, keys=keys)
    return canvas.to_picture(_alt(field))


def _map_plane(values: Numbers, field: ReceptiveField) -> tuple[Numbers, list[int]]:
    """The map as a plane with its axes: a signal as a band, a volume as a slice through its peak."""
    if values.ndim == 1:
        return values[None].repeat(max(1, round(0.3 * len(values))), 0), [0]
    peak = np.unravel_index(int(values.argmax()), values.shape)
    return values[tuple(int(p) for p in peak[: values.ndim - 2])], list(range(values.ndim - 2, values.ndim))


def _draw_field_frame(
    canvas: Canvas, x: float, y: float, pixels: Pixels, plane: Numbers, box: list[tuple[int, int]]
) -> None:
    """Draw the border of the theoretical field, with a halo that is visible on bright and dark pixels."""
    x_scale, y_scale = pixels.shape[1] / plane.shape[1], pixels.shape[0] / plane.shape[0]
    (top, bottom) = box[0] if len(box) == 2 else (0, plane.shape[0] - 1)
    left, right = box[-1]
    xs = [x + x_scale * edge for edge in (left, right + 1, right + 1, left, left)]
    ys = [y + y_scale * edge for edge in (top, top, bottom + 1, bottom + 1, top)]
    canvas.line(xs, ys, colour="#000000", width=4)
    canvas.line(xs, ys, colour="#ffffff", width=1.8)


def _draw_sizes(canvas: Canvas, x: float, y: float, field: ReceptiveField) -> float:
    """Write the sizes beside the map; returns the y coordinate below them."""
    total = field.values.numel()
    position = ", ".join(str(p) for p in field.position)
    y += (
        canvas.text(x, y, f"Position ({position}) of {'×'.join(map(str, field.extent))}", size=BODY, width=SIZES_WIDTH)
        + 14
    )
    spread = " × ".join(f"{sigma:.1f}" for sigma in field.spread)
    for name, share, details in (
        (
            "theoretical field",
            field.theoretical_area / total,
            f"{format_field(field.field)}; white frame, clipped at the border of the input",
        ),
        (
            "effective field",
            field.area / total,
            f"{field.area:,} positions contain 95% of the gradient, {field.share:.0%} of the frame; "
            f"equivalent side {field.side:.0f}; spread σ {spread}",
        ),
    ):
        canvas.text(x + SIZES_WIDTH, y, f"{share:.1%} of the input", size=BODY, bold=True, anchor="right")
        y += canvas.text(x, y, name, size=BODY, bold=True) + 4
        canvas.box(x, y, SIZES_WIDTH, 10, fill=canvas.theme.track)
        canvas.box(x, y, SIZES_WIDTH * share, 10, fill=canvas.theme.accent)
        y += 18
        y += canvas.text(x, y, details, size=SMALL, colour=canvas.theme.faint, width=SIZES_WIDTH) + 18
    inputs = "1 input" if field.images == 1 else f"{field.images} inputs"
    y += canvas.text(x, y, f"averaged over {inputs}", size=SMALL, colour=canvas.theme.faint, width=SIZES_WIDTH)
    return y


def _alt(field: ReceptiveField) -> str:
    sizes = f"its theoretical field has {field.theoretical_area:,} input positions"
    return f"{captions.title(field)} of {field.unit}: {sizes}, and {field.area:,} of them contain 95% of its gradient."
