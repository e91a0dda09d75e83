"""The generator of random networks, and comparison with other libraries on some of them."""

from types import ModuleType

import pytest

from tests.fuzz.checks import CHECKS
from tests.fuzz.comparing import run_check
from tests.fuzz.networks import random_network
from tests.fuzz.testing import CHECKS_BY_FILE, REGRESSION_SEEDS, SEEDS


@pytest.mark.parametrize("seed", range(100, 106))
def test_lenses_agree_with_other_libraries(seed: int, peers: ModuleType) -> None:
    from tests.fuzz.peers import PEERS

    net = random_network(seed)
    cases = [run_check(check, net) for check in PEERS.values()]
    differences = [difference for case in cases for difference in case.differences]
    assert not differences, "\n".join([*differences, "on", str(net)])
    assert sum(case.count for case in cases) > 30


def test_a_network_depends_only_on_its_seed() -> None:
    first, repeated = random_network(3), random_network.__wrapped__(3)
    assert str(first) == str(repeated)
    assert all(a.equal(b) for a, b in zip(first.module.parameters(), repeated.module.parameters(), strict=True))
    assert first.images.equal(repeated.images)


def test_every_check_is_in_one_file() -> None:
    assert sorted(name for names in CHECKS_BY_FILE.values() for name in names) == sorted(CHECKS)


def test_every_kind_occurs_and_is_compared() -> None:
    """Every part, head and ending occurs for the seeds of the tests, and numbers are compared for each of them."""
    from tests.fuzz.heads import ENDINGS, HEADS
    from tests.fuzz.parts import PARTS

    kinds = frozenset().union(*(random_network(seed).kinds for seed in (*SEEDS, *REGRESSION_SEEDS)))
    missing = {*PARTS, *HEADS, *ENDINGS, "folded", "one channel", "1-D", "2-D", "3-D"} - kinds
    assert not missing
    counts = [run_check(CHECKS["gradients"], random_network(seed)).count for seed in SEEDS]
    assert min(counts) >= 14
