"""The generator of random networks itself, and the peers beside our lenses on some of them."""

from types import ModuleType

import pytest

from tests.fuzz.checks import CHECKS
from tests.fuzz.comparing import compared
from tests.fuzz.networks import network
from tests.fuzz.testing import HELD, SEEDS


@pytest.mark.parametrize("seed", range(100, 106))
def test_lenses_agree_with_the_peers(seed: int, peers: ModuleType) -> None:
    from tests.fuzz.peers import PEERS

    net = network(seed)
    found = [compared(check, net) for check in PEERS.values()]
    differences = [said for comparison in found for said in comparison.differences]
    assert not differences, "\n".join([*differences, "on", str(net)])
    assert sum(comparison.count for comparison in found) > 30


def test_a_seed_alone_makes_the_network() -> None:
    first, again = network(3), network.__wrapped__(3)
    assert str(first) == str(again)
    assert all(a.equal(b) for a, b in zip(first.module.parameters(), again.module.parameters(), strict=True))
    assert first.images.equal(again.images)


def test_every_check_is_held_by_one_file() -> None:
    assert sorted(name for names in HELD.values() for name in names) == sorted(CHECKS)


def test_every_kind_comes_up_and_is_compared() -> None:
    """Every part, head and ending is among the first seeds, and on each of those numbers are held."""
    from tests.fuzz.heads import ENDINGS, HEADS
    from tests.fuzz.parts import PARTS

    drawn = frozenset().union(*(network(seed).kinds for seed in SEEDS))
    missing = {*PARTS, *HEADS, *ENDINGS, "folded", "one channel", "1-D", "2-D", "3-D"} - drawn
    assert not missing
    counted = [compared(CHECKS["gradients"], network(seed)).count for seed in SEEDS[:8]]
    assert min(counted) >= 14
