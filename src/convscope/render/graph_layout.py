"""Layered layout of a directed graph with few edge crossings (Sugiyama et al., 1981).

The layout is computed by ``fast_sugiyama``; only this file uses it. Long graphs are split into segments, drawn as
columns, at points where only one node's output crosses.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

Edge = tuple[int, int]
Point = tuple[float, int]
"""The horizontal position, in widths of a node, and the layer, counted from the top."""

_Positions = list[tuple[int, tuple[float, float]]]

DUMMY_WIDTH = 0.28
"""The width of the dummy nodes of an edge that passes other nodes, in widths of a node."""


@dataclass(frozen=True)
class LayeredLayout:
    """The positions of nodes, and the points of the edges between them, both ends included."""

    nodes: dict[int, Point]
    edges: dict[Edge, tuple[Point, ...]]

    @property
    def width(self) -> float:
        """The width of the layout, in widths of a node."""
        return max((x for x, _ in self._points()), default=0.0) + 1

    @property
    def layers(self) -> int:
        """The number of layers."""
        return max((layer for _, layer in self.nodes.values()), default=-1) + 1

    def _points(self) -> list[Point]:
        return [*self.nodes.values(), *(point for route in self.edges.values() for point in route)]


@dataclass
class GraphSegment:
    """A part of a graph that is drawn in one column; ``source`` is the node of an earlier segment that leads to it."""

    nodes: list[int] = field(default_factory=list)
    source: int | None = None


def layered_layout(nodes: Sequence[int], edges: Sequence[Edge]) -> LayeredLayout:
    """Lay out nodes and the edges among them; edges lead from lower to higher numbers."""
    if not edges:
        return LayeredLayout({node: (float(index), 0) for index, node in enumerate(nodes)}, {})
    from fast_sugiyama import from_edges

    positions_of: dict[int, tuple[float, float]] = {}
    routes: dict[Edge, list[int]] = {}
    dense_of = {node: index for index, node in enumerate(sorted(nodes))}
    node_of = {index: node for node, index in dense_of.items()}
    dense_edges: Any = [(dense_of[a], dense_of[b]) for a, b in edges]
    offset = 0.0
    for positions, width, _, links in from_edges(
        dense_edges, vertex_spacing=1, dummy_vertices=True, dummy_size=DUMMY_WIDTH
    ):
        first_dummy = max(nodes) + 1 + len(positions_of)  # dummy nodes of edges are numbered after the nodes
        id_of = {n: node_of.get(n, first_dummy + n) for n, _ in cast(_Positions, positions)}
        positions_of |= {id_of[n]: (x + offset, y) for n, (x, y) in cast(_Positions, positions)}
        layout_edges = [(a, b) for a, b in cast(list[Edge], links)]
        next_of = {id_of[a]: id_of[b] for a, b in layout_edges if a not in node_of}
        for a, b in layout_edges:
            if a in node_of:
                route = [id_of[a], id_of[b]]
                while route[-1] in next_of:
                    route.append(next_of[route[-1]])
                routes[route[0], route[-1]] = route
        offset += width + 1
    min_x = min(x for x, _ in positions_of.values())
    layer_of = {y: layer for layer, y in enumerate(sorted({y for _, y in positions_of.values()}, reverse=True))}
    points = {node: (x - min_x, layer_of[y]) for node, (x, y) in positions_of.items()}
    return LayeredLayout(
        {node: points[node] for node in nodes},
        {edge: tuple(points[n] for n in route) for edge, route in routes.items()},
    )


def split_into_segments(heights: Sequence[float], edges: Sequence[Edge], max_height: float) -> list[GraphSegment]:
    """Split a graph, whose nodes are numbered in execution order, into segments of at most about ``max_height``."""
    tops = [0.0] * len(heights)
    for a, b in sorted(edges):
        tops[b] = max(tops[b], tops[a] + heights[a])
    total = max(top + height for top, height in zip(tops, heights, strict=True))
    target_height = total / max(1, -(-total // max_height))
    segments, segment_top = [GraphSegment()], 0.0
    for node, height in enumerate(heights):
        crossing = {a for a, b in edges if a < node <= b}
        if tops[node] + height / 2 - segment_top > target_height and len(crossing) == 1:
            segments.append(GraphSegment(source=crossing.pop()))
            segment_top = tops[node]
        segments[-1].nodes.append(node)
    return segments
