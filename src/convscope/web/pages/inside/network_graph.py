"""The graph of a network as SVG that can be used by mouse and keyboard; modules are folded nodes or unfolded."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise

from convscope.render.layered import Edge, layered_layout
from convscope.values import FoldedGraph, Node, Structure
from convscope.values.formatting import format_count, format_field, format_sides

BOX_WIDTH, BOX_HEIGHT, PILL_HEIGHT, FOLD_ROW_HEIGHT = 256, 62, 28, 24
"""The size of a module's box, the height of operations between modules (a sum), and of the row of fold buttons."""

COLUMN_GAP, ROW_GAP, MARGIN = 20, 26, 12
BOLD_WIDTH, PLAIN_WIDTH = 9.0, 7.8
"""The average width of a letter, as an upper bound for all fonts."""
MAX_INITIAL_NODES = 16
"""The initial depth is the largest with at most this many nodes."""


@dataclass(frozen=True)
class FoldState:
    """Which modules are unfolded: all to a depth, with exceptions."""

    depth: int = 1
    opened: frozenset[str] = frozenset()
    closed: frozenset[str] = frozenset()

    def open(self, address: str) -> "FoldState":
        """The state with one more module unfolded."""
        return FoldState(self.depth, self.opened | {address}, self.closed - {address})

    def fold(self, address: str) -> "FoldState":
        """The state with a module folded, and all modules in it."""
        inner = {inner for inner in self.opened if inner == address or inner.startswith(f"{address}.")}
        return FoldState(self.depth, self.opened - inner, self.closed | {address})

    def reveal(self, address: str) -> "FoldState":
        """The state with all ancestors of a module unfolded."""
        parts = address.split(".")
        folds = self
        for level in range(1, len(parts)):
            folds = folds.open(".".join(parts[:level]))
        return folds


def max_depth(structure: Structure) -> int:
    """The number of levels of modules."""
    return max((module.address.count(".") + 1 for module in structure.modules if module.address), default=1)


def initial_depth(structure: Structure) -> int:
    """The deepest level at which the graph has few enough nodes to be readable."""
    best = 1
    for level in range(2, max_depth(structure)):
        if len(structure.folded(level, chains=True).nodes) > MAX_INITIAL_NODES:
            break
        best = level
    return best


@dataclass
class GraphView:
    """The graph of a structure in a fold state, laid out."""

    structure: Structure
    folds: FoldState
    graph: FoldedGraph = field(init=False)

    def __post_init__(self) -> None:
        folds = self.folds
        self.graph = self.structure.folded(folds.depth, chains=True, opened=folds.opened, closed=folds.closed)
        nodes = self.graph.nodes
        self.edges = [edge for edge in self.graph.edges if edge[0] < edge[1]]
        self.fold_rows = self._find_fold_rows()
        self.layout = layered_layout(range(len(nodes)), self.edges)
        row_heights = [0.0] * self.layout.layers
        for number, (_, layer) in self.layout.nodes.items():
            row_heights[layer] = max(row_heights[layer], self._height(number))
        self.row_tops = [MARGIN + sum(row_heights[:layer]) + ROW_GAP * layer for layer in range(len(row_heights))]
        self.row_heights = row_heights
        self.width = round(self.layout.width * (BOX_WIDTH + COLUMN_GAP) - COLUMN_GAP + 2 * MARGIN)
        self.height = round(self.row_tops[-1] + row_heights[-1] + MARGIN)

    def node_of(self, address: str) -> int | None:
        """The node that shows a module or contains it."""
        result = None
        for number, node in enumerate(self.graph.nodes):
            inside = not is_pill(node) and (address == node.module or address.startswith(f"{node.module}."))
            if address and (inside or address in self.members(number)):
                result = number if result is None else result
        return result

    def members(self, number: int) -> list[str]:
        """The modules of a node; several if it is a chain such as a convolution and its normalization."""
        node = self.graph.nodes[number]
        if is_pill(node) or self.can_unfold(node):
            return [node.module] if node.module else []
        modules = (self.structure.operations[index].module for index in node.operations)
        return list(dict.fromkeys(address for address in modules if address and self.structure.module(address).leaf))

    def can_unfold(self, node: Node) -> bool:
        """Whether a node is a module with submodules."""
        return not is_pill(node) and bool(node.module) and not self.structure.module(node.module).leaf

    def svg(self, chosen: str, tr: Callable[[str], str]) -> str:
        """The graph as SVG; ``tr`` translates its texts, ``chosen`` is the address of the selected module."""
        chosen_node = self.node_of(chosen)
        edges = "".join(self._edge(edge) for edge in self.layout.edges)
        nodes = "".join(self._node(number, number == chosen_node, tr) for number in range(len(self.graph.nodes)))
        return (
            f'<svg class="graph" role="group" aria-label="{escape(self.structure.name)}" '
            f'viewBox="0 0 {self.width} {self.height}" style="width:calc(var(--zoom,1)*{self.width}px)">'
            f'<g class="edges">{edges}</g>{nodes}</svg>'
        )

    def _find_fold_rows(self) -> dict[int, list[str]]:
        """The unfolded modules of which each node is the first, outermost first."""
        fold_rows: dict[int, list[str]] = {}
        assigned: set[str] = set()
        for number, node in enumerate(self.graph.nodes):
            path = node.module.split(".") if node.module else []
            levels = range(1, len(path) + (1 if is_pill(node) else 0))
            for address in (".".join(path[:level]) for level in levels):
                if address not in assigned:
                    assigned.add(address)
                    fold_rows.setdefault(number, []).append(address)
        return fold_rows

    def _height(self, number: int) -> float:
        return (PILL_HEIGHT if is_pill(self.graph.nodes[number]) else BOX_HEIGHT) + (
            FOLD_ROW_HEIGHT if number in self.fold_rows else 0
        )

    def _corner(self, number: int) -> tuple[float, float]:
        """The left and top of a node, including its row of fold buttons."""
        column, layer = self.layout.nodes[number]
        free_height = self.row_heights[layer] - self._height(number)
        return MARGIN + column * (BOX_WIDTH + COLUMN_GAP), self.row_tops[layer] + free_height / 2

    def _edge(self, edge: Edge) -> str:
        route = self.layout.edges[edge]
        middle = [MARGIN + column * (BOX_WIDTH + COLUMN_GAP) + BOX_WIDTH / 2 for column, _ in route]
        start, end = self._corner(edge[0])[1] + self._height(edge[0]), self._corner(edge[1])[1]
        end += FOLD_ROW_HEIGHT if edge[1] in self.fold_rows else 0
        points = [(middle[0], start)]
        for x, (_, layer) in list(zip(middle, route, strict=True))[1:-1]:
            points += [(x, self.row_tops[layer]), (x, self.row_tops[layer] + self.row_heights[layer])]
        points.append((middle[-1], end - 5))
        path = f"M{points[0][0]:.1f} {points[0][1]:.1f}"
        for (ax, ay), (bx, by) in pairwise(points):
            half = (ay + by) / 2
            path += f"C{ax:.1f} {half:.1f} {bx:.1f} {half:.1f} {bx:.1f} {by:.1f}"
        x = points[-1][0]
        return f'<path d="{path}"/><path class="tip" d="M{x - 4:.1f} {end - 7:.1f}h8l-4 7z"/>'

    def _node(self, number: int, chosen: bool, tr: Callable[[str], str]) -> str:
        node, (x, y) = self.graph.nodes[number], self._corner(number)
        buttons = ""
        if number in self.fold_rows:
            buttons, y = self._fold_buttons(self.fold_rows[number], x, y, tr("Fold")), y + FOLD_ROW_HEIGHT
        body = self._pill(node, x, y, tr) if is_pill(node) else self._box(node, x, y, tr)
        if not self.members(number):
            return f'<g class="node still">{body}</g>{buttons}'
        if self.can_unfold(node):
            buttons += _button("open", node.module, x + BOX_WIDTH - 30, y + 31, 20, "+", tr("Unfold"))
        label = tr(", ").join([*map(tr, dict.fromkeys((node.name, *node.kinds))), format_sides(node.shape[1:])])
        return (
            f'<g class="node{" chosen" if chosen else ""}" data-node="{number}" role="button" tabindex="0" '
            f'aria-pressed="{"true" if chosen else "false"}" aria-label="{escape(label)}">'
            f"<title>{escape(label)}</title>{body}</g>{buttons}"
        )

    def _fold_buttons(self, addresses: list[str], x: float, y: float, action: str) -> str:
        buttons = ""
        max_letters = int(((BOX_WIDTH - 6 * len(addresses)) / len(addresses) - 14) / PLAIN_WIDTH) - 2
        for address in addresses:
            label = f"− {_truncate_start(address.rpartition('.')[2], max(3, max_letters))}"
            width = 14 + PLAIN_WIDTH * len(label)
            buttons += _button("fold", address, x, y, width, label, action)
            x += width + 6
        return buttons

    def _pill(self, node: Node, x: float, y: float, tr: Callable[[str], str]) -> str:
        label, shape = (
            " · ".join(_short_kind(tr(kind)) for kind in node.kinds) or tr(node.name),
            format_sides(node.shape[1:]),
        )
        width = BOLD_WIDTH * _text_width(label) + PLAIN_WIDTH * len(shape) + 48
        left = x + (BOX_WIDTH - width) / 2
        return (
            f'<rect class="pill" x="{left:.1f}" y="{y:.1f}" width="{width:.1f}" height="{PILL_HEIGHT}" rx="14"/>'
            f'<text class="name" x="{left + 14:.1f}" y="{y + 19:.1f}">{escape(label)}</text>'
            f'<text class="faint" x="{left + width - 14:.1f}" y="{y + 19:.1f}" text-anchor="end">{shape}</text>'
        )

    def _box(self, node: Node, x: float, y: float, tr: Callable[[str], str]) -> str:
        shape = format_sides(node.shape[1:])
        width = BOX_WIDTH - 24
        name = _truncate_start(tr(node.name), int((width - 8 - PLAIN_WIDTH * len(shape)) / BOLD_WIDTH))
        kinds = _truncate(
            " · ".join(_short_kind(tr(kind)) for kind in node.kinds),
            int((width - 28 * self.can_unfold(node)) / PLAIN_WIDTH),
        )
        return (
            f'<rect class="body" x="{x:.1f}" y="{y:.1f}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="6"/>'
            f'<text class="name" x="{x + 12:.1f}" y="{y + 21:.1f}">{escape(name)}</text>'
            f'<text class="faint" x="{x + BOX_WIDTH - 12:.1f}" y="{y + 21:.1f}" text-anchor="end">{shape}</text>'
            f'<text class="faint" x="{x + 12:.1f}" y="{y + 42:.1f}">{escape(kinds)}</text>'
            + self._share_bar(node, "flops", x, y + BOX_HEIGHT - 10)
            + self._share_bar(node, "parameters", x, y + BOX_HEIGHT - 5)
        )

    def _share_bar(self, node: Node, quantity: str, x: float, y: float) -> str:
        """A bar that shows a node's FLOPs or parameters as a fraction of the largest node's."""
        largest = max(getattr(other, quantity) for other in self.graph.nodes)
        width = (BOX_WIDTH - 8) * (getattr(node, quantity) / largest if largest else 0)
        return (
            f'<rect class="track" x="{x + 4:.1f}" y="{y:.1f}" width="{BOX_WIDTH - 8}" height="3"/>'
            f'<rect class="{quantity}" x="{x + 4:.1f}" y="{y:.1f}" width="{width:.1f}" height="3"/>'
        )


def layer_facts(structure: Structure, address: str) -> list[tuple[str, str, str]]:
    """The facts about a module: name, value and explanation of each."""
    module = structure.module(address)
    total_flops = max(structure.flops, 1)
    share = module.flops / total_flops
    rows = [("Output", format_sides(module.shape[1:]), "channels × rows × columns")] if module.calls else []
    if len(module.shape) < 4 and module.calls:
        rows = [("Output", format_sides(module.shape[1:]), "values for one image")]
    rows.append(
        ("Parameters", format_count(module.parameters) if module.parameters else "–", "number of learned parameters")
    )
    rows.append(
        (
            "FLOPs",
            f"{format_count(module.flops)} ({share:.0%})" if module.flops else "–",
            "a multiply-add counts as two operations",
        )
    )
    if module.field:
        rows.append(("Receptive field", format_field(module.field), "size of the input region that affects one value"))
        if all(step is not None for step in module.stride):
            step = format_sides([round(s, 2) for s in module.stride if s is not None][:1])
            rows.append(("Stride", step, "input pixels between neighbouring values"))
    if module.calls != 1:
        rows.append(("Calls", f"{module.calls}×", "how often the module is called for one image"))
    return rows


def is_pill(node: Node) -> bool:
    """Whether a node is the input or an operation outside of leaf modules."""
    return not node.kinds or node.name == node.kinds[0]


def _button(action: str, address: str, x: float, y: float, width: float, label: str, text: str) -> str:
    name = escape(f"{text} {address}")
    return (
        f'<g class="{action}" data-{action}="{escape(address)}" role="button" tabindex="0" aria-label="{name}">'
        f'<title>{name}</title><rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="20" rx="4"/>'
        f'<text x="{x + width / 2:.1f}" y="{y + 14.5:.1f}" text-anchor="middle">{escape(label)}</text></g>'
    )


def _short_kind(kind: str) -> str:
    """A class name without the number of dimensions."""
    return re.sub(r"(?<=[a-z])[123]d\b", "", kind)


def _text_width(text: str) -> int:
    """The width of a text in letters; a Chinese character counts two."""
    return sum(1 + (letter > "\u2e7f") for letter in text)


def _truncate(text: str, max_width: int) -> str:
    """The beginning of a text, cut to a width in letters."""
    if _text_width(text) <= max_width:
        return text
    return next(text[:end] + "…" for end in range(len(text), -1, -1) if _text_width(text[:end]) < max_width or not end)


def _truncate_start(address: str, max_length: int) -> str:
    """The end of an address, which distinguishes it from its neighbours, cut to a length."""
    return address if len(address) <= max_length else "…" + address[1 - max_length :]
