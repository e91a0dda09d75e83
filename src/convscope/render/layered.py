"""Places for the nodes of a directed graph, layer upon layer with few crossings (Sugiyama et al., 1981).

The layout is the work of ``fast_sugiyama``; this is the only file that knows it. Long graphs are cut into columns where
nothing but one node's result crosses.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

Edge = tuple[int, int]
Point = tuple[float, int]
"""A place across, in widths of a node, and a layer, counted from the top."""

_Positions = list[tuple[int, tuple[float, float]]]

WAY = 0.28
"""The width of an edge that passes by nodes, in widths of a node."""


@dataclass(frozen=True)
class Layered:
    """Where nodes lie, and by which points the edges between them go, their ends included."""

    nodes: dict[int, Point]
    edges: dict[Edge, tuple[Point, ...]]

    @property
    def across(self) -> float:
        """How many widths of a node lie side by side."""
        return max((x for x, _ in self._points()), default=0.0) + 1

    @property
    def layers(self) -> int:
        """How many layers there are."""
        return max((layer for _, layer in self.nodes.values()), default=-1) + 1

    def _points(self) -> list[Point]:
        return [*self.nodes.values(), *(point for way in self.edges.values() for point in way)]


@dataclass
class Piece:
    """A stretch of a graph that lies in one column; ``before`` is the node of an earlier one that it goes on from."""

    nodes: list[int] = field(default_factory=list)
    before: int | None = None


def layered(nodes: Sequence[int], edges: Sequence[Edge]) -> Layered:
    """Place nodes and the edges among them; edges lead from lower to higher numbers."""
    if not edges:
        return Layered({node: (float(place), 0) for place, node in enumerate(nodes)}, {})
    from fast_sugiyama import from_edges

    places: dict[int, tuple[float, float]] = {}
    ways: dict[Edge, list[int]] = {}
    number = {node: place for place, node in enumerate(sorted(nodes))}
    named = {place: node for node, place in number.items()}
    within: Any = [(number[a], number[b]) for a, b in edges]
    shift = 0.0
    for positions, wide, _, links in from_edges(within, vertex_spacing=1, dummy_vertices=True, dummy_size=WAY):
        beyond = max(nodes) + 1 + len(places)  # points that edges pass by have numbers of their own, after the nodes'
        name = {n: named.get(n, beyond + n) for n, _ in cast(_Positions, positions)}
        places |= {name[n]: (x + shift, y) for n, (x, y) in cast(_Positions, positions)}
        steps = [(a, b) for a, b in cast(list[Edge], links)]
        following = {name[a]: name[b] for a, b in steps if a not in named}
        for a, b in steps:
            if a in named:
                way = [name[a], name[b]]
                while way[-1] in following:
                    way.append(following[way[-1]])
                ways[way[0], way[-1]] = way
        shift += wide + 1
    left = min(x for x, _ in places.values())
    levels = {y: layer for layer, y in enumerate(sorted({y for _, y in places.values()}, reverse=True))}
    points = {node: (x - left, levels[y]) for node, (x, y) in places.items()}
    return Layered(
        {node: points[node] for node in nodes}, {e: tuple(points[n] for n in way) for e, way in ways.items()}
    )


def columns(heights: Sequence[float], edges: Sequence[Edge], most: float) -> list[Piece]:
    """Cut a graph whose nodes are numbered in the order of their running into pieces of at most about that height."""
    tops = [0.0] * len(heights)
    for a, b in sorted(edges):
        tops[b] = max(tops[b], tops[a] + heights[a])
    total = max(top + height for top, height in zip(tops, heights, strict=True))
    wanted = total / max(1, -(-total // most))
    pieces, begun = [Piece()], 0.0
    for node, height in enumerate(heights):
        crossing = {a for a, b in edges if a < node <= b}
        if tops[node] + height / 2 - begun > wanted and len(crossing) == 1:
            pieces.append(Piece(before=crossing.pop()))
            begun = tops[node]
        pieces[-1].nodes.append(node)
    return pieces
