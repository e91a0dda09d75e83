"""Lenses held to slow obvious versions on random networks; thousands of them by ``make fuzz``."""

from types import ModuleType

import pytest

from tests.fuzz.checks import CHECKS
from tests.fuzz.comparing import compared
from tests.fuzz.networks import network

SEEDS = range(40)
KEPT: tuple[int, ...] = ()
"""Seeds on which something was wrong once."""


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("seed", [*SEEDS, *KEPT])
def test_lenses_agree_with_their_slow_versions(seed: int, check: str) -> None:
    net = network(seed)
    comparison = compared(check, CHECKS[check], net)
    assert not comparison.differences, "\n".join([*comparison.differences, "on", str(net)])


@pytest.mark.parametrize("seed", range(100, 106))
def test_lenses_agree_with_the_peers(seed: int, peers: ModuleType) -> None:
    from tests.fuzz.peers import PEERS

    net = network(seed)
    found = [compared(name, check, net) for name, check in PEERS.items()]
    differences = [said for comparison in found for said in comparison.differences]
    assert not differences, "\n".join([*differences, "on", str(net)])
    assert sum(comparison.count for comparison in found) > 30


def test_a_seed_alone_makes_the_network() -> None:
    first, again = network(3), network.__wrapped__(3)
    assert str(first) == str(again)
    assert all(a.equal(b) for a, b in zip(first.module.parameters(), again.module.parameters(), strict=True))
    assert first.images.equal(again.images)


def test_every_kind_comes_up_and_is_compared() -> None:
    """Every part, head and ending is among the first seeds, and on each of those some hundreds of numbers are held."""
    from tests.fuzz.heads import ENDINGS, HEADS
    from tests.fuzz.parts import PARTS

    drawn = frozenset().union(*(network(seed).kinds for seed in SEEDS))
    missing = {*PARTS, *HEADS, *ENDINGS, "folded", "one channel", "1-D", "2-D", "3-D"} - drawn
    assert not missing
    counted = [compared("gradients", CHECKS["gradients"], network(seed)).count for seed in SEEDS[:8]]
    assert min(counted) >= 14
