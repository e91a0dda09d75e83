"""Drawing a comparison: one row per image, one column per lens, every column on its own scale.

The numbers of different lenses have different units. The colours of a column therefore end at the column's own limit,
shared by all its rows, and the colour bar shows fractions of this limit.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from convscope.render import captions, colour_bar, non_image_input
from convscope.render.canvas import BODY, GAP, MARGIN, SMALL, TITLE, Canvas
from convscope.render.input_geometry import raw_channel_count, voxel_size
from convscope.render.panel import Panel
from convscope.render.panels import band_panel, panels_of
from convscope.render.raster import enlarge, map_pixels, photo_pixels
from convscope.render.rendered_picture import Picture
from convscope.render.scale import Numbers, Scale, format_number, legend_of, scale_of
from convscope.render.token_panel import coloured_tokens, tokens_of
from convscope.render.volume_panels import enlarge_slice, input_slice, peak_position, slice_over_input
from convscope.values import Attribution, Comparison

CELL, MAX_COLUMNS = 224, 6
MAX_SIMILARITY_COLUMNS = 16
BAR_LENGTH, MIN_WIDTH = 300, 760

HOW_TO_READ = {
    True: "Signed maps: warm colours are evidence for the target, cool colours against it.",
    False: "Unsigned maps: brighter is stronger; whether it counts for or against the target is not shown.",
}
SIMILARITY = (
    "Above the diagonal: Spearman rank correlation over all positions. Below: structural similarity (SSIM). 1 means "
    "identical, 0 unrelated."
)
AGREEMENT = (
    "Agreement: in how many of the {count} maps a place is among the strongest fifth of the evidence for the target. "
    "Bright: all columns mark this place; dark: none does."
)
MAX_NUMBERED_TICKS = 8
"""Up to this count, the colour bar of the agreement has a number at each step."""
ONE_SCALE = "All columns share one scale and one unit: both places and strengths can be compared between columns."
RELATIVE_SCALES = (
    "Different lenses have different units. The colours of each column end at its own limit, which is written below "
    "its name; the colour bar shows fractions of this limit. Compare places between columns, strengths only within one."
)
VECTORS = "Bars to the right speak for the target, bars to the left against it; each chart has a scale of its own."


@dataclass(frozen=True)
class Column:
    """One column of panels: a lens on all images, or the inputs themselves (without a scale).

    Attributes:
        ends: the ends of the scale as text.
        panels: one per row.
    """

    title: str
    ends: str
    panels: tuple[Panel | None, ...]

    @property
    def width(self) -> int:
        """Width of the widest panel, in pixels."""
        return max((panel.width for panel in self.panels if panel is not None), default=0)


def draw_comparison(comparison: Comparison, *, theme: str = "light") -> Picture:
    """The picture of a comparison; ``theme`` is ``light`` or ``dark``."""
    columns = list(zip(*comparison.rows, strict=True))
    groups = comparison.scales or tuple(range(len(columns)))
    scale_of_group = {
        group: scale_of(
            [cell for cell_group, cells in zip(groups, columns, strict=True) for cell in cells if cell_group == group]
        )
        for group in groups
    }
    scales = [scale_of_group[group] for group in groups]
    slice_positions = [_slice_position(row) for row in comparison.rows]
    inputs = _input_column([row[0] for row in comparison.rows], slice_positions)
    titles = comparison.titles or tuple(cells[0].record.title or cells[0].record.lens for cells in columns)
    lenses = [
        _lens_column(title, cells, scale, slice_positions)
        for title, cells, scale in zip(titles, columns, scales, strict=True)
    ]
    widest = max(CELL, *(column.width for column in lenses))
    per_group = max(1, MAX_COLUMNS * CELL // widest)  # signals and sequences are wider than pictures
    column_groups = [[inputs, *lenses[i : i + per_group]] for i in range(0, len(lenses), per_group)]
    are_vectors = not comparison.rows[0][0].values.ndim
    shows_agreement = bool(comparison.agreement) and not are_vectors  # which their bars show
    if shows_agreement:
        if per_group < MAX_COLUMNS and len(column_groups[-1]) > per_group:
            column_groups.append([])
        column_groups[-1].append(_agreement_column(comparison, slice_positions))
    canvas = Canvas(theme)
    canvas.width = max(
        MIN_WIDTH,
        *(2 * MARGIN - GAP + sum(column.width + GAP for column in column_group) for column_group in column_groups),
    )
    canvas.paragraph(_title(comparison), size=TITLE, bold=True)
    canvas.y += 14
    for column_group in column_groups:
        _draw_column_group(canvas, column_group, comparison.rows, slice_positions)
    if are_vectors:
        canvas.paragraph(VECTORS, size=SMALL, colour=canvas.theme.faint)
    else:
        _draw_scales(canvas, scales, shared=len(columns) > 1 and len(set(groups)) == 1)
    if any(panel is not None for panel in column_groups[-1][-1].panels) and shows_agreement:
        _draw_agreement_scale(canvas, len(columns))
    _draw_similarity(canvas, comparison, titles)
    _write_warnings(canvas, comparison)
    return canvas.to_picture(_alt(comparison, lenses))


def _slice_position(row: Sequence[Attribution]) -> float | None:
    """The position along the first axis, from 0 to 1, at which all maps of a volume are sliced: their joint peak."""
    extent = tuple(row[0].values.shape)
    if len(extent) != 3:
        return None
    same_extent = [attribution for attribution in row if tuple(attribution.values.shape) == extent]
    return (peak_position(same_extent)[0] + 0.5) / extent[0]


def _slice_index(position: float, cell: Attribution) -> int:
    """The index of the slice at a position (from 0 to 1) along the first axis of a volume."""
    return int(position * cell.values.shape[0])


def _input_column(cells: Sequence[Attribution], slice_positions: Sequence[float | None]) -> Column:
    """The inputs: images, and of volumes the slice that the maps show; signals are drawn with their maps instead."""
    return Column(
        "Input", "", tuple(_input_panel(cell, position) for cell, position in zip(cells, slice_positions, strict=True))
    )


def _input_panel(cell: Attribution, slice_position: float | None) -> Panel | None:
    if slice_position is not None:
        return input_slice(cell, CELL, 0, _slice_index(slice_position, cell))
    photo = photo_pixels(cell)
    return None if photo is None else Panel("", enlarge(photo, CELL))


def _lens_column(
    title: str, cells: Sequence[Attribution], scale: Scale, slice_positions: Sequence[float | None]
) -> Column:
    panels = tuple(_map_panel(cell, scale, position) for cell, position in zip(cells, slice_positions, strict=True))
    ends = f"{'±' if scale.signed else '0 … '}{format_number(scale.limit)}" if scale.limit else "blank"
    return Column(title, ends if cells[0].values.ndim else "", panels)  # bars have numbers


def _map_panel(cell: Attribution, scale: Scale, slice_position: float | None) -> Panel:
    """A map over its input, or alone if there is no input to show; of a volume one slice."""
    if slice_position is not None:
        return slice_over_input(cell, scale, CELL, 0, _slice_index(slice_position, cell))
    panels = panels_of(cell, scale, CELL)
    return panels[min(1, len(panels) - 1)]


def _agreement_column(comparison: Comparison, slice_positions: Sequence[float | None]) -> Column:
    """The agreement of the columns: the brighter a place, the more maps mark it; of a volume the same slice."""
    scale = Scale(1.0, signed=False, peak=1.0)
    panels: list[Panel | None] = []
    for shares, row, position in zip(comparison.agreement, comparison.rows, slice_positions, strict=True):
        values = np.asarray(shares, np.float32)
        panels.append(
            _agreement_panel(row[0], values, scale, None if position is None else _slice_index(position, row[0]))
        )
    return Column("Agreement", f"0 … {len(comparison.rows[0])} maps", tuple(panels))


def _agreement_panel(cell: Attribution, values: Numbers, scale: Scale, slice_index: int | None) -> Panel | None:
    """The agreement on the input of ``cell``: a map, a band along a signal, tokens, or a slice of a volume."""
    record = cell.record
    if record.kind == "tokens" and values.ndim == 1:
        return coloured_tokens(tokens_of(cell, len(values)), values, scale, CELL, "")
    if values.ndim == 1:
        return band_panel(values, record, scale, CELL)
    if values.ndim == 3 and slice_index is not None:
        return Panel("", enlarge_slice(map_pixels(values[slice_index], scale), CELL, record, values.shape, 0))
    if values.ndim != 2:
        return None
    pixel_height, pixel_width = voxel_size(record, values.shape)
    return Panel("", enlarge(map_pixels(values, scale), CELL, cell=(pixel_height, pixel_width)))


def _draw_similarity(canvas: Canvas, comparison: Comparison, titles: Sequence[str]) -> None:
    """Draw a table of the similarity of columns: rank correlation above the diagonal, SSIM below."""
    ranks, structure = comparison.rank_similarity, comparison.structural_similarity
    if ranks is None or structure is None:
        return
    if len(titles) > MAX_SIMILARITY_COLUMNS:
        text = f"Similarities are listed for up to {MAX_SIMILARITY_COLUMNS} columns; the saved file contains all."
        canvas.paragraph(text, size=SMALL, colour=canvas.theme.faint)
        return
    canvas.y += 8
    canvas.paragraph("Similarity of the columns", size=BODY, bold=True)
    cell, row_height = 58.0, 1.7 * SMALL
    max_name_width = max(160.0, canvas.width - 2 * MARGIN - len(titles) * cell - 16)
    names = [canvas.shorten(f"{row + 1}  {title}", max_name_width) for row, title in enumerate(titles)]
    names_width = max(canvas.text_width(name, SMALL) for name in names) + 16
    for column in range(len(titles)):
        canvas.text(
            MARGIN + names_width + (column + 0.5) * cell, canvas.y, str(column + 1), size=SMALL, anchor="center"
        )
    canvas.y += row_height
    for row, name in enumerate(names):
        canvas.text(MARGIN, canvas.y, name, size=SMALL)
        for column in range(len(titles)):
            value = float((ranks if column > row else structure)[row, column])
            text = "" if column == row else "–" if value != value else f"{round(value, 2) + 0.0:.2f}".replace("-", "−")
            x = MARGIN + names_width + column * cell
            if text and value > 0:
                canvas.box(x + 2, canvas.y - 2, cell - 4, row_height - 3, fill=canvas.theme.tint(value))
            canvas.text(x + cell / 2, canvas.y, text, size=SMALL, anchor="center")
        canvas.y += row_height
    canvas.paragraph(SIMILARITY, size=SMALL, colour=canvas.theme.faint)
    canvas.y += 4


def _draw_column_group(
    canvas: Canvas,
    columns: Sequence[Column],
    rows: Sequence[Sequence[Attribution]],
    slice_positions: Sequence[float | None],
) -> None:
    """Draw a row of titles and, below it, the panels of every image."""
    columns = [column for column in columns if column.width]
    _write_titles(canvas, columns)
    for row, cells in enumerate(rows):
        panels = [column.panels[row] for column in columns]
        x, height = float(MARGIN), max(panel.height + panel.axis_height for panel in panels if panel is not None)
        for column, panel in zip(columns, panels, strict=True):
            if panel is not None:
                panel.draw(canvas, x, canvas.y)
            x += column.width + GAP
        canvas.y += height + 4
        canvas.y += _write_row_name(canvas, cells, slice_positions[row]) + 12
    canvas.y += 6


def _write_titles(canvas: Canvas, columns: Sequence[Column]) -> None:
    """Write the names of the lenses, bottom-aligned, and the ends of their scales below."""
    heights = [canvas.text_height(column.title, column.width, size=BODY, bold=True) for column in columns]
    x = float(MARGIN)
    for column, height in zip(columns, heights, strict=True):
        canvas.text(x, canvas.y + max(heights) - height, column.title, bold=True, width=column.width)
        canvas.text(x, canvas.y + max(heights), column.ends, size=SMALL, colour=canvas.theme.faint)
        x += column.width + GAP
    canvas.y += max(heights) + 1.4 * SMALL + 6


def _write_row_name(canvas: Canvas, cells: Sequence[Attribution], slice_position: float | None) -> float:
    """Write the target, the input and what of it is drawn below a row; returns the height."""
    parts = (
        captions.target(cells[0]),
        captions.short_name(cells[0].record.input),
        _slice_and_channels(cells, slice_position),
    )
    text, width = " · ".join(part for part in parts if part), canvas.width - 2 * MARGIN
    return canvas.text(MARGIN, canvas.y, text, size=SMALL, colour=canvas.theme.faint, width=width) if text else 0.0


def _slice_and_channels(cells: Sequence[Attribution], slice_position: float | None) -> str:
    """Which slice of a volume a row shows, and which of several input channels lie under the maps."""
    count = raw_channel_count(cells[0])
    if cells[0].values.ndim == 1:
        return non_image_input.describe_lines(count) if count else ""
    if slice_position is None:
        return ""
    slices = list(dict.fromkeys(str(_slice_index(slice_position, cell)) for cell in cells))
    text = f"slice{'s' * (len(slices) > 1)} {', '.join(slices)} of axis 0, the joint peak of the maps"
    channel = non_image_input.describe_channel(count) if count else ""
    return f"{text}, over the input's {channel}" if channel else text


def _draw_scales(canvas: Canvas, scales: Sequence[Scale], *, shared: bool) -> None:
    """Draw one colour bar for each kind of scale, with a line on how to read it beside it.

    Args:
        shared: all columns have the same scale; the bar then shows its own numbers instead of fractions.
    """
    about_target_last = sorted(scales, key=lambda scale: scale.ends[1] == "for")
    kinds = {scale.signed: scale for scale in about_target_last}
    legends = [legend_of(kinds[signed], fractions=not shared) for signed in (True, False) if signed in kinds]
    label_width = max(canvas.text_width(legend.low, SMALL) for legend in legends) + 10
    text_left = MARGIN + label_width + BAR_LENGTH + 90
    for legend in legends:
        bar_height = colour_bar.draw_horizontal(canvas, MARGIN, canvas.y, BAR_LENGTH, legend, label_width)
        text_height = canvas.text(
            text_left, canvas.y, HOW_TO_READ[legend.signed], size=SMALL, width=canvas.width - text_left - MARGIN
        )
        canvas.y += max(bar_height, text_height) + 12
    canvas.paragraph(ONE_SCALE if shared else RELATIVE_SCALES, size=SMALL, colour=canvas.theme.faint)
    canvas.y += 4


def _draw_agreement_scale(canvas: Canvas, count: int) -> None:
    """Draw the colour bar of the agreement: the number of maps that mark a place."""
    canvas.y += 6
    counts = range(count + 1) if count <= MAX_NUMBERED_TICKS else (0, count)
    ticks = tuple((step / count, str(step)) for step in counts)
    legend = replace(legend_of(Scale(1.0, signed=False, peak=1.0, ends=("none", "all"))), ticks=ticks)
    label_width = canvas.text_width(legend.low, SMALL) + 10
    text_left = MARGIN + label_width + BAR_LENGTH + 90
    bar_height = colour_bar.draw_horizontal(canvas, MARGIN, canvas.y, BAR_LENGTH, legend, label_width)
    text_width = canvas.width - text_left - MARGIN
    text_height = canvas.text(text_left, canvas.y, AGREEMENT.format(count=count), size=SMALL, width=text_width)
    canvas.y += max(bar_height, text_height) + 12


def _write_warnings(canvas: Canvas, comparison: Comparison) -> None:
    networks = {_network(cell) for cell in comparison}
    warnings = [
        _attributed(cell, note, len(networks) > 1)
        for cell in comparison
        for note in captions.notes(cell)
        if note.warning
    ]
    for text in dict.fromkeys(warnings):
        canvas.paragraph(f"⚠ {text}", size=SMALL, colour=canvas.theme.warning, bold=True)


def _network(cell: Attribution) -> str:
    """The network of a cell: its source, or its name if it has none."""
    model = cell.record.model
    return str(model.get("source") or model.get("name", ""))


def _attributed(cell: Attribution, note: captions.Note, several_networks: bool) -> str:
    """A warning with the name of its lens; a warning about a network has the network's name if there are several."""
    if note.text in {captions.sentence(caveat) for caveat in cell.record.caveats}:
        return f"{_network(cell)}: {note.text}" if several_networks and _network(cell) else note.text
    return f"{cell.record.title}: {note.text}" if cell.record.title else note.text


def _title(comparison: Comparison) -> str:
    first = comparison.rows[0]
    rows, lenses = len(comparison.rows), list(dict.fromkeys(cell.record.title for cell in first))
    models = dict.fromkeys(str(cell.record.model.get("name", "")) for cell in first)
    lens_text = lenses[0] if len(lenses) == 1 and len(first) > 1 else f"{len(lenses)} lens{'es' * (len(lenses) > 1)}"
    counts = f"{rows} input{'s' * (rows > 1)} through {lens_text}"
    return " · ".join([counts, *filter(None, models)])


def _alt(comparison: Comparison, columns: Sequence[Column]) -> str:
    names = ", ".join(column.title for column in columns)
    cells = " ".join(captions.alt(cell, scale_of([cell])) for cell in comparison)
    return f"{_title(comparison)}: {names}. {cells}"
