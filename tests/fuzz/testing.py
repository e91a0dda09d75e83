"""Seeds and assertions shared by the tests on random networks.

The checks are distributed over several files, because parallel workers process whole files.
"""

import pytest

from tests.fuzz.checks import CHECKS
from tests.fuzz.comparing import run_check
from tests.fuzz.networks import random_network
from tests.marks import all_but

SEEDS = range(2, 6)
REGRESSION_SEEDS: tuple[int, ...] = (
    43,
    49,
    51,
    52,
    58,
    61,
    64,
    74,
    93,
    114,
    129,
    145,
    177,
    234,
    239,
    246,
    310,
    388,
    480,
    515,
    537,
    1200,
    1403,
    1444,
    1716,
    1779,
)
"""Further seeds, for which a bug was found once."""

LARGE_NETWORKS = (145, 246, 515, 1779)
"""Seeds whose networks take as long as all others together."""

every_seed = pytest.mark.parametrize("seed", all_but(LARGE_NETWORKS, (*SEEDS, *REGRESSION_SEEDS)))


def assert_agreement(seed: int, *checks: str) -> None:
    """Assert that the checks compare something on the network of a seed and find no difference."""
    net = random_network(seed)
    cases = {check: run_check(CHECKS[check], net) for check in checks}
    differences = [f"{check}: {difference}" for check, case in cases.items() for difference in case.differences]
    assert not differences, "\n".join([*differences, "on", str(net)])
    assert sum(case.count for case in cases.values()) > 4 * len(checks)  # four of each check that nothing changed


CHECKS_BY_FILE = {
    "maps": ("default layer", "maps", "maps by scores", "activations", "inputs"),
    "scores": ("prediction", "gradients", "paths", "occlusion", "parts", "masks"),
    "rules": ("modified gradients", "relevance", "references", "spellings"),
    "structure": ("independence", "steps", "structure", "fields"),
}
"""Test file → its checks; each check is in one file."""
