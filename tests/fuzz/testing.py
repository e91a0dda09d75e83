"""What the tests of random networks share: which seeds, and that a check finds nothing on them.

The checks are spread over several files so that workers that take whole files share them.
"""

import pytest

from tests.fuzz.checks import CHECKS
from tests.fuzz.comparing import compared
from tests.fuzz.networks import network

SEEDS = range(40)
KEPT: tuple[int, ...] = (
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
"""Seeds beyond those on which something was wrong once."""

every_seed = pytest.mark.parametrize("seed", [*SEEDS, *KEPT])


def agree(seed: int, *checks: str) -> None:
    """Each of these checks compares something on the network of that seed, and none finds a difference."""
    net = network(seed)
    found = {check: compared(CHECKS[check], net) for check in checks}
    differences = [f"{check}: {said}" for check, comparison in found.items() for said in comparison.differences]
    assert not differences, "\n".join([*differences, "on", str(net)])
    assert sum(comparison.count for comparison in found.values()) > 4 * len(checks)  # four of them: nothing changed


HELD = {
    "maps": ("default layer", "maps", "maps by scores", "activations", "inputs"),
    "scores": ("prediction", "gradients", "paths", "occlusion", "parts", "masks"),
    "rules": ("modified gradients", "relevance", "references", "spellings"),
    "structure": ("independence", "steps", "structure", "fields"),
}
"""Which checks each file of tests holds: all of them, each once."""
