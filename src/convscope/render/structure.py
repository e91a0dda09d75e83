"""Drawing a network's structure: its graph from top to bottom, folded by module, in several columns if it is long."""

import re
from dataclasses import dataclass
from itertools import pairwise

from convscope.render import header_footer
from convscope.render.canvas import MARGIN, SMALL, Canvas
from convscope.render.graph_layout import Edge, GraphSegment, LayeredLayout, layered_layout, split_into_segments
from convscope.render.rendered_picture import Picture
from convscope.values import INPUT_KINDS, FoldedGraph, Node, Structure, adapt_wording
from convscope.values.formatting import format_bytes, format_count, format_field, format_sides

NODE_WIDTH, NODE_HEIGHT, PILL_HEIGHT = 316, 60, 28
"""The width and height of a module, and the height of an operation between modules (a sum, a concatenation)."""

NODE_SPACING, LAYER_SPACING, COLUMN_SPACING = 28, 30, 56
"""Spaces between nodes of a layer, between layers, and between columns."""

COLUMN_HEIGHT = 1700
MAX_NODES, MAX_EDGES = 100, 170
"""The largest readable graph, for the choice of the depth if none is given."""


def draw_structure(structure: Structure, *, theme: str = "light", depth: int = 0, bare: bool = False) -> Picture:
    """The picture of a structure.

    Args:
        theme: ``light`` or ``dark``.
        depth: the number of module levels to show; 0 is that of the value, or as many as are readable.
        bare: without title, notes and reading line, which the page writes itself.
    """
    graph = _fold(structure, depth or structure.depth)
    forward = [edge for edge in graph.edges if edge[0] < edge[1]]
    segments = split_into_segments([_node_height(node) + LAYER_SPACING for node in graph.nodes], forward, COLUMN_HEIGHT)
    columns = [_Column(graph, segment, forward) for segment in segments]
    canvas = Canvas(theme, bare=bare)
    canvas.width = round(
        max(900, 2 * MARGIN + sum(column.width + COLUMN_SPACING for column in columns) - COLUMN_SPACING)
    )
    _draw_header(canvas, structure, graph)
    x, top = (canvas.width - sum(column.width + COLUMN_SPACING for column in columns) + COLUMN_SPACING) / 2, canvas.y
    for column in columns:
        column.draw(canvas, x, top, structure)
        x += column.width + COLUMN_SPACING
    canvas.y = top + max(column.height for column in columns)
    canvas.y += 22
    header_footer.draw_footer(canvas, structure)
    return canvas.to_picture(_alt(structure, graph))


def _fold(structure: Structure, depth: int) -> FoldedGraph:
    """The graph folded to this depth, or to the largest depth at which it is readable."""
    if depth:
        return structure.folded(depth, chains=True)
    deepest = max((module.address.count(".") + 1 for module in structure.modules if module.address), default=1)
    best = structure.folded(1, chains=True)
    for level in range(2, deepest + 2):
        graph = structure.folded(level, chains=True)
        if len(graph.nodes) > MAX_NODES or len(graph.edges) > MAX_EDGES:
            break
        best = graph
    return best


def _draw_header(canvas: Canvas, structure: Structure, graph: FoldedGraph) -> None:
    facts = [
        f"{structure.parameters:,} parameters ({format_bytes(structure.parameter_bytes)})",
        f"{format_count(structure.flops)} FLOPs",
        f"{format_bytes(structure.activation_bytes)} of activations",
        f"input {format_sides(structure.input[1:])}",
        f"{len(structure.operations)} operations in {len(graph.nodes) - 1} nodes",
    ]
    title = f"{structure.record.title or 'Structure'} · {structure.name}"
    header_footer.draw_header(canvas, structure, title=title, facts=" · ".join(facts))
    _draw_legend(canvas, structure, graph)
    canvas.y += 18


def _draw_legend(canvas: Canvas, structure: Structure, graph: FoldedGraph) -> None:
    """Draw the legend of the two bars in a node."""
    x = float(MARGIN)
    for colour, quantity, largest in (
        (canvas.theme.accent, "FLOPs", _largest(graph, "flops")),
        (canvas.theme.warning, "parameters", _largest(graph, "parameters")),
    ):
        total = sum(getattr(node, quantity.lower()) for node in graph.nodes)
        text = f"share of {quantity}, a full bar is {largest / total:.1%}" if total else f"no {quantity}"
        canvas.box(x, canvas.y + 8, 34, 5, fill=colour)
        canvas.text(x + 42, canvas.y, text, size=SMALL, colour=canvas.theme.faint)
        x += 42 + canvas.text_width(text, SMALL) + 36
    canvas.y += 1.4 * SMALL
    kind = INPUT_KINDS.get(len(structure.input) - 2, "")
    text = adapt_wording(
        "on the right of each box the shape of its output and its receptive field in pixels of the input", kind
    )
    canvas.paragraph(text, size=SMALL, colour=canvas.theme.faint)


def _largest(graph: FoldedGraph, quantity: str) -> int:
    return max(node.flops if quantity == "flops" else node.parameters for node in graph.nodes)


def _node_height(node: Node) -> float:
    return PILL_HEIGHT if _is_pill(node) else NODE_HEIGHT


def _is_pill(node: Node) -> bool:
    """Whether a node is the input or an operation outside of modules, drawn as a low box."""
    return not node.kinds or node.name == node.kinds[0]


@dataclass
class _Column:
    """One column of the picture: the layout of a segment of the graph."""

    graph: FoldedGraph
    segment: GraphSegment
    edges: list[Edge]

    def __post_init__(self) -> None:
        inside = set(self.segment.nodes) | ({self.segment.source} - {None})
        self.inner_edges = [(a, b) for a, b in self.edges if a in inside and b in inside]
        entry = () if self.segment.source is None else (self.segment.source,)
        self.layout: LayeredLayout = layered_layout([*entry, *self.segment.nodes], self.inner_edges)
        heights = [0.0] * self.layout.layers
        for node, (_, layer) in self.layout.nodes.items():
            heights[layer] = max(
                heights[layer], PILL_HEIGHT if node == self.segment.source else _node_height(self.graph.nodes[node])
            )
        self.tops = [sum(heights[:layer]) + LAYER_SPACING * layer for layer in range(len(heights))]
        self.layer_heights = heights
        self.width = self.layout.width * (NODE_WIDTH + NODE_SPACING) - NODE_SPACING
        self.continues = any(a in inside and b not in inside and b > a for a, b in self.edges)
        self.height = self.tops[-1] + heights[-1] + (LAYER_SPACING if self.continues else 0)

    def draw(self, canvas: Canvas, x: float, y: float, structure: Structure) -> None:
        """Draw the edges and then the nodes over them."""
        for edge, route in self.layout.edges.items():
            self._draw_edge(canvas, x, y, edge, list(route))
        for node, (column_x, layer) in self.layout.nodes.items():
            left, top = x + column_x * (NODE_WIDTH + NODE_SPACING), y + self.tops[layer]
            if node == self.segment.source:
                _draw_stub(canvas, left, top, f"from {_node_name(self.graph, node)}")
            else:
                _draw_node(
                    canvas,
                    left,
                    top + (self.layer_heights[layer] - _node_height(self.graph.nodes[node])) / 2,
                    self.graph,
                    node,
                )
        if self.continues:
            last = max(self.segment.nodes, key=lambda n: self.layout.nodes[n][1])
            column_x, layer = self.layout.nodes[last]
            middle, bottom = (
                x + column_x * (NODE_WIDTH + NODE_SPACING) + NODE_WIDTH / 2,
                y + self.tops[layer] + self.layer_heights[layer],
            )
            _draw_arrow(canvas, [(middle, bottom), (middle, bottom + LAYER_SPACING - 4)])

    def _draw_edge(self, canvas: Canvas, x: float, y: float, edge: Edge, route: list[tuple[float, int]]) -> None:
        """Draw an edge from the bottom of one box to the top of another, vertically through the layers in between."""
        centres = [x + column_x * (NODE_WIDTH + NODE_SPACING) + NODE_WIDTH / 2 for column_x, _ in route]
        points = [(centres[0], y + self._bottom(edge[0], route[0][1]))]
        for centre, (_, layer) in list(zip(centres, route, strict=True))[1:-1]:
            points += [(centre, y + self.tops[layer]), (centre, y + self.tops[layer] + self.layer_heights[layer])]
        points.append((centres[-1], y + self._top(edge[1], route[-1][1])))
        _draw_arrow(canvas, points)

    def _height_of(self, node: int) -> float:
        return PILL_HEIGHT if node == self.segment.source else _node_height(self.graph.nodes[node])

    def _top(self, node: int, layer: int) -> float:
        return self.tops[layer] + (self.layer_heights[layer] - self._height_of(node)) / 2

    def _bottom(self, node: int, layer: int) -> float:
        return self._top(node, layer) + self._height_of(node)


def _draw_node(canvas: Canvas, x: float, y: float, graph: FoldedGraph, index: int) -> None:
    """Draw one node: its name, kinds, output shape and receptive field, and its shares of FLOPs and parameters."""
    node, theme = graph.nodes[index], canvas.theme
    if _is_pill(node):
        text = " · ".join(map(_short_kind, node.kinds)) or node.name
        width = canvas.text_width(text, SMALL, bold=True) + canvas.text_width(format_sides(node.shape[1:]), SMALL) + 46
        left = x + (NODE_WIDTH - width) / 2
        canvas.box(left, y, width, PILL_HEIGHT, fill=theme.behind, edge=theme.accent)
        canvas.text(left + 16, y + 4, text, size=SMALL, bold=True)
        canvas.text(
            left + width - 16, y + 4, format_sides(node.shape[1:]), size=SMALL, colour=theme.faint, anchor="right"
        )
        return
    canvas.box(x, y, NODE_WIDTH, NODE_HEIGHT, fill=theme.page, edge=theme.line)
    shape = format_sides(node.shape[1:])
    text_width = NODE_WIDTH - 24 - canvas.text_width(shape, SMALL) - 8
    canvas.text(x + 12, y + 5, canvas.shorten(node.name, text_width, bold=True), size=SMALL, bold=True)
    canvas.text(x + NODE_WIDTH - 12, y + 5, shape, size=SMALL, colour=theme.faint, anchor="right")
    field_text = format_field(node.field)
    text_width = NODE_WIDTH - 24 - canvas.text_width(field_text, SMALL) - 8
    canvas.text(x + 12, y + 25, canvas.shorten(" · ".join(map(_short_kind, node.kinds)), text_width), size=SMALL)
    canvas.text(x + NODE_WIDTH - 12, y + 25, field_text, size=SMALL, colour=theme.faint, anchor="right")
    for row, (quantity, colour) in enumerate((("flops", theme.accent), ("parameters", theme.warning))):
        largest = _largest(graph, quantity)
        share = getattr(node, quantity) / largest if largest else 0.0
        canvas.box(x + 1, y + NODE_HEIGHT - 10 + 5 * row, NODE_WIDTH - 2, 4, fill=theme.track)
        canvas.box(x + 1, y + NODE_HEIGHT - 10 + 5 * row, (NODE_WIDTH - 2) * share, 4, fill=colour)


def _short_kind(kind: str) -> str:
    """The kind of a module without the number of its axes: ``Conv 3×3``."""
    return re.sub(r"(?<=[a-z])[123]d\b", "", kind)


def _draw_stub(canvas: Canvas, x: float, y: float, text: str) -> None:
    text = canvas.shorten(text, NODE_WIDTH)
    canvas.text(x + NODE_WIDTH / 2, y + 4, text, size=SMALL, colour=canvas.theme.faint, anchor="center")


def _draw_arrow(canvas: Canvas, points: list[tuple[float, float]]) -> None:
    """Draw a curve through points, vertical at both ends, with an arrow head."""
    xs: list[float] = []
    ys: list[float] = []
    for (ax, ay), (bx, by) in pairwise(points):
        for step in range(13):
            t = step / 12
            ease = t * t * (3 - 2 * t)
            xs.append(ax + (bx - ax) * ease)
            ys.append(ay + (by - ay) * t)
    x, y = points[-1]
    canvas.line(xs, ys, colour=canvas.theme.faint, width=1.4)
    canvas.polygon([x - 4.5, x + 4.5, x], [y - 8, y - 8, y], fill=canvas.theme.faint)


def _node_name(graph: FoldedGraph, index: int) -> str:
    node = graph.nodes[index]
    return f"{node.name} in {node.module}" if _is_pill(node) and node.module else node.name


def _alt(structure: Structure, graph: FoldedGraph) -> str:
    """The alternative text of the graph."""
    names = [node.name for node in graph.nodes]
    listed = ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
    return (
        f"Structure of {structure.name}: {format_count(structure.parameters)} parameters, "
        f"{format_count(structure.flops)} FLOPs; "
        f"from top to bottom {listed}."
    )
