"""Drawing a comparison: one row an image, one column a lens, every column on its own scale.

Numbers of different lenses have different units, so a column's colours run to that column's own limit, shared by all
its rows, and the colour bar counts in shares of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from convscope.render import bar, captions, raw_input
from convscope.render.canvas import BODY, GAP, MARGIN, SMALL, TITLE, Sheet
from convscope.render.panels import (
    Panel,
    band_panel,
    in_proportion,
    input_slice,
    panels_of,
    raw_channels,
    slice_over_input,
    strongest_place,
    voxel_of,
)
from convscope.render.picture import Picture
from convscope.render.raster import enlarged, map_pixels, photo_pixels
from convscope.render.scale import Numbers, Scale, legend_of, number, scale_of
from convscope.values import Attribution, Comparison, Record

CELL, MOST_COLUMNS = 224, 6
MOST_LIKENESS = 16
BAR, NARROWEST = 300, 760

HOW_TO_READ = {
    True: "Signed maps: warm speaks for the target, cool against it.",
    False: "Unsigned maps: the brighter, the stronger; for or against is not told.",
}
LIKENESS = (
    "Above the diagonal: rank correlation over all places (Spearman). Below: structural similarity (SSIM). 1 is the "
    "same, 0 unrelated."
)
AGREEMENT = (
    "Agreement: in how many of the {count} maps a place is among the strongest fifth of what speaks for the target. "
    "Where it is bright, the columns point at the same place; where it is dark, none does."
)
FEW = 8
"""A scale of so many steps has a number at each."""
ONE_SCALE = "All columns share one scale in one unit: compare strengths between columns as well as places."
SHARES = (
    "Numbers of different lenses have different units: each column's colours run to its own limit, written below its "
    "name, and the scale counts in shares of it. Compare places between columns, strengths within one."
)


@dataclass(frozen=True)
class Column:
    """One lens over all images, or the inputs themselves where there is no scale."""

    title: str
    ends: str
    panels: tuple[Panel | None, ...]

    @property
    def width(self) -> int:
        """Of the widest cell, in pixels."""
        return max((panel.width for panel in self.panels if panel is not None), default=0)


def draw_comparison(comparison: Comparison, *, theme: str = "light") -> Picture:
    """The picture of a comparison; ``theme`` is ``light`` or ``dark``."""
    columns = list(zip(*comparison.rows, strict=True))
    groups = comparison.scales or tuple(range(len(columns)))
    shared = {
        group: scale_of([cell for g, cells in zip(groups, columns, strict=True) for cell in cells if g == group])
        for group in groups
    }
    scales = [shared[group] for group in groups]
    cuts = [_cut(row) for row in comparison.rows]
    inputs = _inputs([row[0] for row in comparison.rows], cuts)
    titles = comparison.titles or tuple(cells[0].record.title or cells[0].record.lens for cells in columns)
    lenses = [_column(title, cells, scale, cuts) for title, cells, scale in zip(titles, columns, scales, strict=True)]
    bands = [[inputs, *lenses[i : i + MOST_COLUMNS]] for i in range(0, len(lenses), MOST_COLUMNS)]
    if comparison.agreement:
        bands[-1].append(_agreement(comparison, cuts))
    sheet = Sheet(theme)
    sheet.width = max(NARROWEST, *(2 * MARGIN - GAP + sum(c.width + GAP for c in band) for band in bands))
    sheet.paragraph(_title(comparison), size=TITLE, bold=True)
    sheet.y += 14
    for band in bands:
        _draw_band(sheet, band, comparison.rows, cuts)
    _draw_scales(sheet, scales, alike=len(columns) > 1 and len(set(groups)) == 1)
    if any(panel is not None for panel in bands[-1][-1].panels) and comparison.agreement:
        _draw_agreement_scale(sheet, len(columns))
    _draw_likeness(sheet, comparison, titles)
    _write_warnings(sheet, comparison)
    return sheet.picture(_alt(comparison, lenses))


def _cut(row: Sequence[Attribution]) -> float | None:
    """Where all maps of a volume are cut along the first axis, as a share of it: where together they are strongest."""
    extent = tuple(row[0].values.shape)
    if len(extent) != 3:
        return None
    alike = [cell for cell in row if tuple(cell.values.shape) == extent]
    return (strongest_place(alike)[0] + 0.5) / extent[0]


def _slice_at(cut: float, cell: Attribution) -> int:
    """The number of the slice that lies at a share of a volume's first axis."""
    return int(cut * cell.values.shape[0])


def _inputs(first: Sequence[Attribution], cuts: Sequence[float | None]) -> Column:
    """The plain inputs; of volumes the slice in which the maps are cut, of signals none: they lie under the maps."""
    return Column("Input", "", tuple(_input(cell, cut) for cell, cut in zip(first, cuts, strict=True)))


def _input(cell: Attribution, cut: float | None) -> Panel | None:
    if cut is not None:
        return input_slice(cell, CELL, 0, _slice_at(cut, cell))
    photo = photo_pixels(cell)
    return None if photo is None else Panel("", enlarged(photo, CELL))


def _column(title: str, cells: Sequence[Attribution], scale: Scale, cuts: Sequence[float | None]) -> Column:
    panels = tuple(_over_input(cell, scale, cut) for cell, cut in zip(cells, cuts, strict=True))
    ends = f"{'±' if scale.signed else '0 … '}{number(scale.limit)}" if scale.limit else "blank"
    return Column(title, ends, panels)


def _over_input(cell: Attribution, scale: Scale, cut: float | None) -> Panel:
    """A map over its input where that can be seen, the map alone otherwise; a volume's map cut."""
    if cut is not None:
        return slice_over_input(cell, scale, CELL, 0, _slice_at(cut, cell))
    panels = panels_of(cell, scale, CELL)
    return panels[min(1, len(panels) - 1)]


def _agreement(comparison: Comparison, cuts: Sequence[float | None]) -> Column:
    """What the columns agree on: the brighter a place, the more of them point at it; a volume's cut as they are."""
    scale = Scale(1.0, signed=False, peak=1.0)
    panels: list[Panel | None] = []
    for shares, row, cut in zip(comparison.agreement, comparison.rows, cuts, strict=True):
        values = np.asarray(shares, np.float32)
        panels.append(_agreed(row[0].record, values, scale, None if cut is None else _slice_at(cut, row[0])))
    return Column("Agreement", f"0 … {len(comparison.rows[0])} maps", tuple(panels))


def _agreed(record: Record, values: Numbers, scale: Scale, place: int | None) -> Panel | None:
    """The agreement on one input: a map, a band over a signal's axis, or a slice of a volume."""
    if values.ndim == 1:
        return band_panel(values, record, scale, CELL)
    if values.ndim == 3 and place is not None:
        return Panel("", in_proportion(map_pixels(values[place], scale), CELL, record, values.shape, 0))
    if values.ndim != 2:
        return None
    tall, wide = voxel_of(record, values.shape)
    return Panel("", enlarged(map_pixels(values, scale), CELL, cell=(tall, wide)))


def _draw_likeness(sheet: Sheet, comparison: Comparison, titles: Sequence[str]) -> None:
    """How alike the columns are, as a table of numbers: rank correlation above the diagonal, SSIM below."""
    ranks, structure = comparison.rank_similarity, comparison.structural_similarity
    if ranks is None or structure is None:
        return
    if len(titles) > MOST_LIKENESS:
        said = f"How alike the columns are is written for up to {MOST_LIKENESS} of them; the saved numbers have all."
        sheet.paragraph(said, size=SMALL, colour=sheet.theme.faint)
        return
    sheet.y += 8
    sheet.paragraph("How alike the columns are", size=BODY, bold=True)
    cell, tall = 58.0, 1.7 * SMALL
    room = max(160.0, sheet.width - 2 * MARGIN - len(titles) * cell - 16)
    named = [sheet.shortened(f"{row + 1}  {title}", room) for row, title in enumerate(titles)]
    first = max(sheet.extent(name, SMALL) for name in named) + 16
    for column in range(len(titles)):
        sheet.text(MARGIN + first + (column + 0.5) * cell, sheet.y, str(column + 1), size=SMALL, anchor="center")
    sheet.y += tall
    for row, name in enumerate(named):
        sheet.text(MARGIN, sheet.y, name, size=SMALL)
        for column in range(len(titles)):
            value = float((ranks if column > row else structure)[row, column])
            said = "" if column == row else "–" if value != value else f"{round(value, 2) + 0.0:.2f}".replace("-", "−")
            x = MARGIN + first + column * cell
            if said and value > 0:
                sheet.box(x + 2, sheet.y - 2, cell - 4, tall - 3, fill=sheet.theme.tint(value))
            sheet.text(x + cell / 2, sheet.y, said, size=SMALL, anchor="center")
        sheet.y += tall
    sheet.paragraph(LIKENESS, size=SMALL, colour=sheet.theme.faint)
    sheet.y += 4


def _draw_band(
    sheet: Sheet, columns: Sequence[Column], rows: Sequence[Sequence[Attribution]], cuts: Sequence[float | None]
) -> None:
    """A row of titles and, below it, the cells of every image."""
    columns = [column for column in columns if column.width]
    _write_titles(sheet, columns)
    for row, cells in enumerate(rows):
        panels = [column.panels[row] for column in columns]
        x, tall = float(MARGIN), max(panel.height + panel.foot for panel in panels if panel is not None)
        for column, panel in zip(columns, panels, strict=True):
            if panel is not None:
                panel.draw(sheet, x, sheet.y)
            x += column.width + GAP
        sheet.y += tall + 4
        sheet.y += _write_row_name(sheet, cells, cuts[row]) + 12
    sheet.y += 6


def _write_titles(sheet: Sheet, columns: Sequence[Column]) -> None:
    """The lenses' names, as many lines as they need, standing on the ends of their scales."""
    heights = [sheet.height(column.title, column.width, size=BODY, bold=True) for column in columns]
    x = float(MARGIN)
    for column, height in zip(columns, heights, strict=True):
        sheet.text(x, sheet.y + max(heights) - height, column.title, bold=True, width=column.width)
        sheet.text(x, sheet.y + max(heights), column.ends, size=SMALL, colour=sheet.theme.faint)
        x += column.width + GAP
    sheet.y += max(heights) + 1.4 * SMALL + 6


def _write_row_name(sheet: Sheet, cells: Sequence[Attribution], cut: float | None) -> float:
    """Below a row: what is explained there, of which input, and what of it is drawn."""
    parts = (captions.target(cells[0]), captions.short(cells[0].record.input), _what_is_drawn(cells, cut))
    said, width = " · ".join(part for part in parts if part), sheet.width - 2 * MARGIN
    return sheet.text(MARGIN, sheet.y, said, size=SMALL, colour=sheet.theme.faint, width=width) if said else 0.0


def _what_is_drawn(cells: Sequence[Attribution], cut: float | None) -> str:
    """In which slice a row of volumes is cut, and which of several channels lie under the maps."""
    count = raw_channels(cells[0])
    if cells[0].values.ndim == 1:
        return raw_input.which_lines(count) if count else ""
    if cut is None:
        return ""
    slices = list(dict.fromkeys(str(_slice_at(cut, cell)) for cell in cells))
    where = f"slice{'s' * (len(slices) > 1)} {', '.join(slices)} of axis 0, where the maps together are strongest"
    channel = raw_input.which_channel(count) if count else ""
    return f"{where}, over the input's {channel}" if channel else where


def _draw_scales(sheet: Sheet, scales: Sequence[Scale], *, alike: bool) -> None:
    """One bar for each kind of scale there is, with the line on how to read it beside it.

    Args:
        alike: all columns have the same scale, whose own numbers then stand at the bar.
    """
    about_target_last = sorted(scales, key=lambda scale: scale.ends[1] == "for")
    kinds = {scale.signed: scale for scale in about_target_last}
    legends = [legend_of(kinds[signed], share=not alike) for signed in (True, False) if signed in kinds]
    before = max(sheet.extent(legend.low, SMALL) for legend in legends) + 10
    beside = MARGIN + before + BAR + 90
    for legend in legends:
        tall = bar.lying(sheet, MARGIN, sheet.y, BAR, legend, before)
        said = sheet.text(beside, sheet.y, HOW_TO_READ[legend.signed], size=SMALL, width=sheet.width - beside - MARGIN)
        sheet.y += max(tall, said) + 12
    sheet.paragraph(ONE_SCALE if alike else SHARES, size=SMALL, colour=sheet.theme.faint)
    sheet.y += 4


def _draw_agreement_scale(sheet: Sheet, count: int) -> None:
    """What the colours of the agreement mean: how many of the maps point at a place."""
    sheet.y += 6
    shown = range(count + 1) if count <= FEW else (0, count)
    ticks = tuple((step / count, str(step)) for step in shown)
    legend = replace(legend_of(Scale(1.0, signed=False, peak=1.0, ends=("none", "all"))), ticks=ticks)
    before = sheet.extent(legend.low, SMALL) + 10
    beside = MARGIN + before + BAR + 90
    tall = bar.lying(sheet, MARGIN, sheet.y, BAR, legend, before)
    room = sheet.width - beside - MARGIN
    said = sheet.text(beside, sheet.y, AGREEMENT.format(count=count), size=SMALL, width=room)
    sheet.y += max(tall, said) + 12


def _write_warnings(sheet: Sheet, comparison: Comparison) -> None:
    networks = {_network(cell) for cell in comparison}
    said = [
        _whose(cell, note, len(networks) > 1) for cell in comparison for note in captions.notes(cell) if note.warning
    ]
    for text in dict.fromkeys(said):
        sheet.paragraph(f"⚠ {text}", size=SMALL, colour=sheet.theme.warning, bold=True)


def _network(cell: Attribution) -> str:
    """The network of a cell: its address, or its name where it has none."""
    model = cell.record.model
    return str(model.get("source") or model.get("name", ""))


def _whose(cell: Attribution, note: captions.Note, several: bool) -> str:
    """A warning with the lens it is about; what is true of a network is said once, with its name among several."""
    if note.text in {captions.sentence(caveat) for caveat in cell.record.caveats}:
        return f"{_network(cell)}: {note.text}" if several and _network(cell) else note.text
    return f"{cell.record.title}: {note.text}" if cell.record.title else note.text


def _title(comparison: Comparison) -> str:
    first = comparison.rows[0]
    rows, lenses = len(comparison.rows), list(dict.fromkeys(cell.record.title for cell in first))
    models = dict.fromkeys(str(cell.record.model.get("name", "")) for cell in first)
    through = lenses[0] if len(lenses) == 1 and len(first) > 1 else f"{len(lenses)} lens{'es' * (len(lenses) > 1)}"
    counted = f"{rows} input{'s' * (rows > 1)} through {through}"
    return " · ".join([counted, *filter(None, models)])


def _alt(comparison: Comparison, columns: Sequence[Column]) -> str:
    names = ", ".join(column.title for column in columns)
    cells = " ".join(captions.alt(cell, scale_of([cell])) for cell in comparison)
    return f"{_title(comparison)}: {names}. {cells}"
