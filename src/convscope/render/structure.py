"""Drawing a network's structure: its graph from top to bottom, folded by module, in columns where it is long."""

import re
from dataclasses import dataclass
from itertools import pairwise

from convscope.render import annotations
from convscope.render.canvas import MARGIN, SMALL, Sheet
from convscope.render.layered import Edge, Layered, Piece, columns, layered
from convscope.render.picture import Picture
from convscope.values import KINDS, Folded, Node, Structure, worded
from convscope.values.formatting import field_words, many, sides, storage

WIDE, TALL, PILL = 316, 60, 28
"""A module's box, and the height of what stands between modules: a sum, a concatenation."""

ACROSS, DOWN, APART = 28, 30, 56
"""Between boxes side by side, between layers, between columns."""

COLUMN = 1700
MOST_NODES, MOST_EDGES = 100, 170
"""What stays readable, for the choice of the depth where nobody says one."""


def draw_structure(structure: Structure, *, theme: str = "light", depth: int = 0, bare: bool = False) -> Picture:
    """The picture of a structure.

    Args:
        theme: ``light`` or ``dark``.
        depth: how many levels of modules to show; 0 is that of the value, or as many as stay readable.
        bare: leave title, notes and reading line to a page that writes them itself.
    """
    graph = _folded(structure, depth or structure.depth)
    forward = [edge for edge in graph.edges if edge[0] < edge[1]]
    pieces = columns([_height(node) + DOWN for node in graph.nodes], forward, COLUMN)
    drawn = [_Column(graph, piece, forward) for piece in pieces]
    sheet = Sheet(theme, bare=bare)
    sheet.width = round(max(900, 2 * MARGIN + sum(one.width + APART for one in drawn) - APART))
    _write_above(sheet, structure, graph)
    x, top = (sheet.width - sum(one.width + APART for one in drawn) + APART) / 2, sheet.y
    for one in drawn:
        one.draw(sheet, x, top, structure)
        x += one.width + APART
    sheet.y = top + max(one.height for one in drawn)
    sheet.y += 22
    annotations.below(sheet, structure)
    return sheet.picture(_alt(structure, graph))


def _folded(structure: Structure, depth: int) -> Folded:
    """The graph to that depth, or to the last at which it stays readable."""
    if depth:
        return structure.folded(depth, chains=True)
    deepest = max((one.address.count(".") + 1 for one in structure.modules if one.address), default=1)
    best = structure.folded(1, chains=True)
    for level in range(2, deepest + 2):
        graph = structure.folded(level, chains=True)
        if len(graph.nodes) > MOST_NODES or len(graph.edges) > MOST_EDGES:
            break
        best = graph
    return best


def _write_above(sheet: Sheet, structure: Structure, graph: Folded) -> None:
    facts = [
        f"{structure.parameters:,} parameters ({storage(structure.parameter_bytes)})",
        f"{many(structure.flops)} FLOPs",
        f"{storage(structure.activation_bytes)} of activations",
        f"input {sides(structure.input[1:])}",
        f"{len(structure.operations)} operations in {len(graph.nodes) - 1} nodes",
    ]
    title = f"{structure.record.title or 'Structure'} · {structure.name}"
    annotations.above(sheet, structure, title=title, facts=" · ".join(facts))
    _legend(sheet, structure, graph)
    sheet.y += 18


def _legend(sheet: Sheet, structure: Structure, graph: Folded) -> None:
    """What the two bars under a node mean."""
    x = float(MARGIN)
    for colour, what, most in (
        (sheet.theme.accent, "FLOPs", _most(graph, "flops")),
        (sheet.theme.warning, "parameters", _most(graph, "parameters")),
    ):
        total = sum(getattr(node, what.lower()) for node in graph.nodes)
        said = f"share of {what}, a full bar is {most / total:.1%}" if total else f"no {what}"
        sheet.box(x, sheet.y + 8, 34, 5, fill=colour)
        sheet.text(x + 42, sheet.y, said, size=SMALL, colour=sheet.theme.faint)
        x += 42 + sheet.extent(said, SMALL) + 36
    sheet.y += 1.4 * SMALL
    kind = KINDS.get(len(structure.input) - 2, "")
    said = worded(
        "on the right of each box the shape of its output and its receptive field in pixels of the input", kind
    )
    sheet.paragraph(said, size=SMALL, colour=sheet.theme.faint)


def _most(graph: Folded, what: str) -> int:
    return max(node.flops if what == "flops" else node.parameters for node in graph.nodes)


def _height(node: Node) -> float:
    return PILL if _is_pill(node) else TALL


def _is_pill(node: Node) -> bool:
    """Whether a node is an operation between modules, or the input."""
    return not node.kinds or node.name == node.kinds[0]


@dataclass
class _Column:
    """One column of the picture: a stretch of the graph, laid out."""

    graph: Folded
    piece: Piece
    edges: list[Edge]

    def __post_init__(self) -> None:
        inside = set(self.piece.nodes) | ({self.piece.before} - {None})
        self.within = [(a, b) for a, b in self.edges if a in inside and b in inside]
        first = () if self.piece.before is None else (self.piece.before,)
        self.laid: Layered = layered([*first, *self.piece.nodes], self.within)
        tall = [0.0] * self.laid.layers
        for node, (_, layer) in self.laid.nodes.items():
            tall[layer] = max(tall[layer], PILL if node == self.piece.before else _height(self.graph.nodes[node]))
        self.tops = [sum(tall[:layer]) + DOWN * layer for layer in range(len(tall))]
        self.tall = tall
        self.width = self.laid.across * (WIDE + ACROSS) - ACROSS
        self.on = any(a in inside and b not in inside and b > a for a, b in self.edges)
        self.height = self.tops[-1] + tall[-1] + (DOWN if self.on else 0)

    def draw(self, sheet: Sheet, x: float, y: float, structure: Structure) -> None:
        """Draw edges, then nodes over them."""
        for edge, way in self.laid.edges.items():
            self._arrow(sheet, x, y, edge, list(way))
        for node, (across, layer) in self.laid.nodes.items():
            left, top = x + across * (WIDE + ACROSS), y + self.tops[layer]
            if node == self.piece.before:
                _stub(sheet, left, top, f"from {_name(self.graph, node)}")
            else:
                _box(sheet, left, top + (self.tall[layer] - _height(self.graph.nodes[node])) / 2, self.graph, node)
        if self.on:
            last = max(self.piece.nodes, key=lambda n: self.laid.nodes[n][1])
            across, layer = self.laid.nodes[last]
            middle, bottom = x + across * (WIDE + ACROSS) + WIDE / 2, y + self.tops[layer] + self.tall[layer]
            _curve(sheet, [(middle, bottom), (middle, bottom + DOWN - 4)])

    def _arrow(self, sheet: Sheet, x: float, y: float, edge: Edge, way: list[tuple[float, int]]) -> None:
        """An edge from the bottom of one box to the top of another, past the layers between."""
        centre = [x + across * (WIDE + ACROSS) + WIDE / 2 for across, _ in way]
        points = [(centre[0], y + self._bottom(edge[0], way[0][1]))]
        for at, (_, layer) in list(zip(centre, way, strict=True))[1:-1]:
            points += [(at, y + self.tops[layer]), (at, y + self.tops[layer] + self.tall[layer])]
        points.append((centre[-1], y + self._top(edge[1], way[-1][1])))
        _curve(sheet, points)

    def _own(self, node: int) -> float:
        return PILL if node == self.piece.before else _height(self.graph.nodes[node])

    def _top(self, node: int, layer: int) -> float:
        return self.tops[layer] + (self.tall[layer] - self._own(node)) / 2

    def _bottom(self, node: int, layer: int) -> float:
        return self._top(node, layer) + self._own(node)


def _box(sheet: Sheet, x: float, y: float, graph: Folded, place: int) -> None:
    """One node: its name, what it is, the shape it gives, and its shares."""
    node, theme = graph.nodes[place], sheet.theme
    if _is_pill(node):
        said = " · ".join(map(_brief, node.kinds)) or node.name
        wide = sheet.extent(said, SMALL, bold=True) + sheet.extent(sides(node.shape[1:]), SMALL) + 46
        left = x + (WIDE - wide) / 2
        sheet.box(left, y, wide, PILL, fill=theme.behind, edge=theme.accent)
        sheet.text(left + 16, y + 4, said, size=SMALL, bold=True)
        sheet.text(left + wide - 16, y + 4, sides(node.shape[1:]), size=SMALL, colour=theme.faint, anchor="right")
        return
    sheet.box(x, y, WIDE, TALL, fill=theme.page, edge=theme.line)
    shape = sides(node.shape[1:])
    room = WIDE - 24 - sheet.extent(shape, SMALL) - 8
    sheet.text(x + 12, y + 5, sheet.shortened(node.name, room, bold=True), size=SMALL, bold=True)
    sheet.text(x + WIDE - 12, y + 5, shape, size=SMALL, colour=theme.faint, anchor="right")
    facts = field_words(node.field)
    room = WIDE - 24 - sheet.extent(facts, SMALL) - 8
    sheet.text(x + 12, y + 25, sheet.shortened(" · ".join(map(_brief, node.kinds)), room), size=SMALL)
    sheet.text(x + WIDE - 12, y + 25, facts, size=SMALL, colour=theme.faint, anchor="right")
    for row, (what, colour) in enumerate((("flops", theme.accent), ("parameters", theme.warning))):
        most = _most(graph, what)
        share = getattr(node, what) / most if most else 0.0
        sheet.box(x + 1, y + TALL - 10 + 5 * row, WIDE - 2, 4, fill=theme.track)
        sheet.box(x + 1, y + TALL - 10 + 5 * row, (WIDE - 2) * share, 4, fill=colour)


def _brief(kind: str) -> str:
    """A class's name without the number of its axes: ``Conv 3×3``."""
    return re.sub(r"(?<=[a-z])[123]d\b", "", kind)


def _stub(sheet: Sheet, x: float, y: float, said: str) -> None:
    said = sheet.shortened(said, WIDE)
    sheet.text(x + WIDE / 2, y + 4, said, size=SMALL, colour=sheet.theme.faint, anchor="center")


def _curve(sheet: Sheet, points: list[tuple[float, float]]) -> None:
    """A line through points that leaves and arrives upright, with a head at its end."""
    xs: list[float] = []
    ys: list[float] = []
    for (ax, ay), (bx, by) in pairwise(points):
        for step in range(13):
            t = step / 12
            ease = t * t * (3 - 2 * t)
            xs.append(ax + (bx - ax) * ease)
            ys.append(ay + (by - ay) * t)
    x, y = points[-1]
    sheet.line(xs, ys, colour=sheet.theme.faint, width=1.4)
    sheet.polygon([x - 4.5, x + 4.5, x], [y - 8, y - 8, y], fill=sheet.theme.faint)


def _name(graph: Folded, place: int) -> str:
    node = graph.nodes[place]
    return f"{node.name} in {node.module}" if _is_pill(node) and node.module else node.name


def _alt(structure: Structure, graph: Folded) -> str:
    """The graph for those who cannot see it."""
    named = [node.name for node in graph.nodes]
    some = ", ".join(named[:12]) + (f" and {len(named) - 12} more" if len(named) > 12 else "")
    return (
        f"Structure of {structure.name}: {many(structure.parameters)} parameters, {many(structure.flops)} FLOPs; "
        f"from top to bottom {some}."
    )
