"""A network's graph as SVG that can be clicked and walked through by keyboard: a node a module, folded or open."""

import html
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from itertools import pairwise

from convscope.render.layered import Edge, layered
from convscope.values import Folded, Node, Structure
from convscope.values.formatting import field_words, many, sides

WIDE, TALL, PILL, HEAD = 256, 62, 28, 24
"""A module's box, what stands between modules (a sum), and the row of buttons that fold what is open."""

ACROSS, DOWN, MARGIN = 20, 26, 12
BOLD, PLAIN = 9.0, 7.8
"""How wide a letter is at most on average, whichever font the system has."""
MOST_NODES = 16
"""So many nodes are readable at a glance, for the depth with which a page begins."""


@dataclass(frozen=True)
class Folds:
    """Which modules are open: all to a depth, with exceptions."""

    depth: int = 1
    opened: frozenset[str] = frozenset()
    closed: frozenset[str] = frozenset()

    def open(self, address: str) -> "Folds":
        """With one more module open."""
        return Folds(self.depth, self.opened | {address}, self.closed - {address})

    def fold(self, address: str) -> "Folds":
        """With a module folded, and all within it."""
        inner = {one for one in self.opened if one == address or one.startswith(f"{address}.")}
        return Folds(self.depth, self.opened - inner, self.closed | {address})

    def showing(self, address: str) -> "Folds":
        """With all modules open in which this one lies."""
        parts = address.split(".")
        found = self
        for level in range(1, len(parts)):
            found = found.open(".".join(parts[:level]))
        return found


def deepest(structure: Structure) -> int:
    """How many levels of modules there are."""
    return max((one.address.count(".") + 1 for one in structure.modules if one.address), default=1)


def first_depth(structure: Structure) -> int:
    """The deepest level at which the graph stays readable at a glance."""
    best = 1
    for level in range(2, deepest(structure)):
        if len(structure.folded(level, chains=True).nodes) > MOST_NODES:
            break
        best = level
    return best


@dataclass
class Graph:
    """The graph of a structure as it stands folded, laid out."""

    structure: Structure
    folds: Folds
    said: Collection[str] = ()
    graph: Folded = field(init=False)

    def __post_init__(self) -> None:
        folds = self.folds
        self.graph = self.structure.folded(folds.depth, chains=True, opened=folds.opened, closed=folds.closed)
        nodes = self.graph.nodes
        self.edges = [edge for edge in self.graph.edges if edge[0] < edge[1]]
        self.heads = self._heads()
        self.laid = layered(range(len(nodes)), self.edges)
        tall = [0.0] * self.laid.layers
        for number, (_, layer) in self.laid.nodes.items():
            tall[layer] = max(tall[layer], self._height(number))
        self.tops = [MARGIN + sum(tall[:layer]) + DOWN * layer for layer in range(len(tall))]
        self.tall = tall
        self.width = round(self.laid.across * (WIDE + ACROSS) - ACROSS + 2 * MARGIN)
        self.height = round(self.tops[-1] + tall[-1] + MARGIN)

    def node_of(self, address: str) -> int | None:
        """The node that is a module, or in which it lies."""
        found = None
        for number, node in enumerate(self.graph.nodes):
            inside = not is_pill(node) and (address == node.module or address.startswith(f"{node.module}."))
            if address and (inside or address in self.members(number)):
                found = number if found is None else found
        return found

    def members(self, number: int) -> list[str]:
        """The modules that a node's operations ran in, where it is a chain of a few: a convolution, its norm …"""
        node = self.graph.nodes[number]
        if is_pill(node) or self.opens(node):
            return [node.module] if node.module else []
        modules = (self.structure.operations[one].module for one in node.operations)
        return list(dict.fromkeys(one for one in modules if one and self.structure.module(one).leaf))

    def opens(self, node: Node) -> bool:
        """Whether there is more to see inside of a node."""
        return not is_pill(node) and bool(node.module) and not self.structure.module(node.module).leaf

    def svg(self, chosen: str, say: Callable[[str], str]) -> str:
        """The graph; ``say`` gives its words in the person's language, ``chosen`` is the address in view."""
        here = self.node_of(chosen)
        lines = "".join(self._edge(edge) for edge in self.laid.edges)
        boxes = "".join(self._node(number, number == here, say) for number in range(len(self.graph.nodes)))
        return (
            f'<svg class="graph" role="group" aria-label="{_quoted(self.structure.name)}" '
            f'viewBox="0 0 {self.width} {self.height}" style="width:calc(var(--zoom,1)*{self.width}px)">'
            f'<g class="edges">{lines}</g>{boxes}</svg>'
        )

    def _heads(self) -> dict[int, list[str]]:
        """The open modules of which a node is the first, outermost first."""
        found: dict[int, list[str]] = {}
        met: set[str] = set()
        for number, node in enumerate(self.graph.nodes):
            path = node.module.split(".") if node.module else []
            levels = range(1, len(path) + (1 if is_pill(node) else 0))
            for address in (".".join(path[:level]) for level in levels):
                if address not in met:
                    met.add(address)
                    found.setdefault(number, []).append(address)
        return found

    def _height(self, number: int) -> float:
        return (PILL if is_pill(self.graph.nodes[number]) else TALL) + (HEAD if number in self.heads else 0)

    def _corner(self, number: int) -> tuple[float, float]:
        """The left and top of a node, the row of its fold buttons included."""
        across, layer = self.laid.nodes[number]
        room = self.tall[layer] - self._height(number)
        return MARGIN + across * (WIDE + ACROSS), self.tops[layer] + room / 2

    def _edge(self, edge: Edge) -> str:
        way = self.laid.edges[edge]
        middle = [MARGIN + across * (WIDE + ACROSS) + WIDE / 2 for across, _ in way]
        start, end = self._corner(edge[0])[1] + self._height(edge[0]), self._corner(edge[1])[1]
        end += HEAD if edge[1] in self.heads else 0
        points = [(middle[0], start)]
        for x, (_, layer) in list(zip(middle, way, strict=True))[1:-1]:
            points += [(x, self.tops[layer]), (x, self.tops[layer] + self.tall[layer])]
        points.append((middle[-1], end - 5))
        path = f"M{points[0][0]:.1f} {points[0][1]:.1f}"
        for (ax, ay), (bx, by) in pairwise(points):
            half = (ay + by) / 2
            path += f"C{ax:.1f} {half:.1f} {bx:.1f} {half:.1f} {bx:.1f} {by:.1f}"
        x = points[-1][0]
        return f'<path d="{path}"/><path class="tip" d="M{x - 4:.1f} {end - 7:.1f}h8l-4 7z"/>'

    def _node(self, number: int, chosen: bool, say: Callable[[str], str]) -> str:
        node, (x, y) = self.graph.nodes[number], self._corner(number)
        buttons = ""
        if number in self.heads:
            buttons, y = self._folds(self.heads[number], x, y, say("Fold")), y + HEAD
        body = self._pill(node, x, y, say) if is_pill(node) else self._box(node, x, y, say)
        if not self.members(number):
            return f'<g class="node still">{body}</g>{buttons}'
        if self.opens(node):
            buttons += _button("open", node.module, x + WIDE - 30, y + 31, 20, "+", say("Unfold"))
        said = say(", ").join([*map(say, dict.fromkeys((node.name, *node.kinds))), sides(node.shape[1:])])
        return (
            f'<g class="node{" chosen" if chosen else ""}" data-node="{number}" role="button" tabindex="0" '
            f'aria-pressed="{"true" if chosen else "false"}" aria-label="{_quoted(said)}">'
            f"<title>{_quoted(said)}</title>{body}</g>{buttons}"
        )

    def _folds(self, addresses: list[str], x: float, y: float, words: str) -> str:
        found = ""
        room = int(((WIDE - 6 * len(addresses)) / len(addresses) - 14) / PLAIN) - 2
        for address in addresses:
            label = f"− {_ending(address.rpartition('.')[2], max(3, room))}"
            wide = 14 + PLAIN * len(label)
            found += _button("fold", address, x, y, wide, label, words)
            x += wide + 6
        return found

    def _pill(self, node: Node, x: float, y: float, say: Callable[[str], str]) -> str:
        said, shape = " · ".join(_brief(say(kind)) for kind in node.kinds) or say(node.name), sides(node.shape[1:])
        wide = BOLD * _extent(said) + PLAIN * len(shape) + 48
        left = x + (WIDE - wide) / 2
        return (
            f'<rect class="pill" x="{left:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{PILL}" rx="14"/>'
            f'<text class="name" x="{left + 14:.1f}" y="{y + 19:.1f}">{_quoted(said)}</text>'
            f'<text class="faint" x="{left + wide - 14:.1f}" y="{y + 19:.1f}" text-anchor="end">{shape}</text>'
        )

    def _box(self, node: Node, x: float, y: float, say: Callable[[str], str]) -> str:
        shape = sides(node.shape[1:])
        room = WIDE - 24
        name = _ending(say(node.name), int((room - 8 - PLAIN * len(shape)) / BOLD))
        kinds = _cut(" · ".join(_brief(say(kind)) for kind in node.kinds), int((room - 28 * self.opens(node)) / PLAIN))
        return (
            f'<rect class="body" x="{x:.1f}" y="{y:.1f}" width="{WIDE}" height="{TALL}" rx="6"/>'
            f'<text class="name" x="{x + 12:.1f}" y="{y + 21:.1f}">{_quoted(name)}</text>'
            f'<text class="faint" x="{x + WIDE - 12:.1f}" y="{y + 21:.1f}" text-anchor="end">{shape}</text>'
            f'<text class="faint" x="{x + 12:.1f}" y="{y + 42:.1f}">{_quoted(kinds)}</text>'
            + self._share(node, "flops", x, y + TALL - 10)
            + self._share(node, "parameters", x, y + TALL - 5)
        )

    def _share(self, node: Node, what: str, x: float, y: float) -> str:
        """A bar: the node's share, in units of the largest share."""
        most = max(getattr(one, what) for one in self.graph.nodes)
        wide = (WIDE - 8) * (getattr(node, what) / most if most else 0)
        return (
            f'<rect class="track" x="{x + 4:.1f}" y="{y:.1f}" width="{WIDE - 8}" height="3"/>'
            f'<rect class="{what}" x="{x + 4:.1f}" y="{y:.1f}" width="{wide:.1f}" height="3"/>'
        )


def facts(structure: Structure, address: str) -> list[tuple[str, str, str]]:
    """What is known of a module: (name, number, hint)."""
    one = structure.module(address)
    whole = max(structure.flops, 1)
    share = one.flops / whole
    rows = [("Output", sides(one.shape[1:]), "channels × rows × columns")] if one.calls else []
    if len(one.shape) < 4 and one.calls:
        rows = [("Output", sides(one.shape[1:]), "numbers for one image")]
    rows.append(("Parameters", many(one.parameters) if one.parameters else "–", "learned numbers"))
    rows.append(("FLOPs", f"{many(one.flops)} ({share:.0%})" if one.flops else "–", "a multiply-add counts two"))
    if one.field:
        rows.append(("Sees", field_words(one.field), "receptive field: how many input pixels reach one number"))
        if all(step is not None for step in one.stride):
            step = sides([round(s, 2) for s in one.stride if s is not None][:1])
            rows.append(("Stride", step, "input pixels from one number to its neighbour"))
    if one.calls != 1:
        rows.append(("Runs", f"{one.calls}×", "how often it ran for one image"))
    return rows


def is_pill(node: Node) -> bool:
    """Whether a node is an operation between modules, or the input."""
    return not node.kinds or node.name == node.kinds[0]


def _button(what: str, address: str, x: float, y: float, wide: float, label: str, words: str) -> str:
    said = _quoted(f"{words} {address}")
    return (
        f'<g class="{what}" data-{what}="{_quoted(address)}" role="button" tabindex="0" aria-label="{said}">'
        f'<title>{said}</title><rect x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="20" rx="4"/>'
        f'<text x="{x + wide / 2:.1f}" y="{y + 14.5:.1f}" text-anchor="middle">{_quoted(label)}</text></g>'
    )


def _brief(kind: str) -> str:
    """A class's name without the number of its axes."""
    return re.sub(r"(?<=[a-z])[123]d\b", "", kind)


def _extent(said: str) -> int:
    """How wide a text is, in letters; a Chinese one is as wide as two."""
    return sum(1 + (letter > "\u2e7f") for letter in said)


def _cut(said: str, most: int) -> str:
    """The beginning of a text that is no wider than so many letters."""
    if _extent(said) <= most:
        return said
    return next(said[:end] + "…" for end in range(len(said), -1, -1) if _extent(said[:end]) < most or not end)


def _ending(address: str, most: int) -> str:
    """The end of an address, which tells it from its neighbours."""
    return address if len(address) <= most else "…" + address[1 - most :]


def _quoted(text: str) -> str:
    return html.escape(text, quote=True)
