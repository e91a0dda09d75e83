"""Remembered dependences: the same objects for the same operations, never those of others, in bounded memory."""

import torch
from torch import nn

import convscope as cs
from convscope.engine.graph import dependence_cache
from convscope.engine.graph.dependence import Dependence, of_input
from convscope.engine.graph.dependence_cache import DependenceCache, identity
from convscope.engine.graph.forward_graph import ForwardGraph, record_graph
from tests.nets import ResidualNet, seeded


def recorded(network: nn.Module, side: int = 16) -> ForwardGraph:
    return record_graph(cs.Model(network.eval()), torch.zeros(1, 3, side, side))


def test_a_network_recorded_twice_has_the_very_same_dependences() -> None:
    first, second = (recorded(seeded(ResidualNet)) for _ in range(2))
    assert len(first.operations) > 5
    for a, b in zip(first.operations, second.operations, strict=True):
        assert identity(a.dependence) == identity(b.dependence)


def test_other_settings_shapes_and_sources_are_other_entries() -> None:
    def bounds(network: nn.Module, side: int = 16) -> tuple[int, int] | None:
        axis = recorded(network, side).operations[-1].dependence[0]
        return axis.bounds(lambda ends: ends.flatten()[0])

    conv = nn.Conv2d
    assert bounds(conv(3, 2, 3)) == (0, 2)
    assert bounds(conv(3, 2, 5)) == (0, 4)
    assert bounds(conv(3, 2, 3, dilation=4)) == (0, 8)
    assert bounds(nn.Sequential(conv(3, 3, 3), conv(3, 2, 3))) == (0, 4)
    assert bounds(nn.Sequential(conv(3, 3, 3, stride=2), conv(3, 2, 3))) == (0, 6)
    assert bounds(nn.AdaptiveAvgPool2d(2), side=16) == (0, 7)
    assert bounds(nn.AdaptiveAvgPool2d(2), side=20) == (0, 9)


def test_reading_at_places_given_by_values_is_computed_each_time() -> None:
    class Selecting(nn.Module):
        def __init__(self, row: int) -> None:
            super().__init__()
            self.register_buffer("rows", torch.tensor([row]))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.index_select(2, self.get_buffer("rows"))

    bounds = [recorded(Selecting(row)).operations[-1].dependence[0].bounds() for row in (3, 9)]
    assert bounds == [(3, 3), (9, 9)]


def test_its_memory_is_bounded() -> None:
    cache = DependenceCache[int]()
    kept: list[tuple[Dependence, ...]] = []
    count = dependence_cache._MAX_BYTES // (64 * 2**10)
    for number in range(count):
        axis = of_input((1, 1, 8192))[0]  # 64 KB, alone in its memory
        axes = (axis.map(torch.clone),)
        kept.append(axes)
        cache.put(identity(axes), axes, number)
    assert cache.get(identity(kept[-1])) == count - 1
    assert cache.get(identity(kept[0])) is None
    large = (of_input((1, 1, 2**18))[0],)
    cache.put(identity(large), large, 0)
    assert cache.get(identity(large)) is None
