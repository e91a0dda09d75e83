"""Rules for the backward pass on random networks, held to slow versions; thousands of networks by ``make fuzz``."""

from tests.fuzz.testing import HELD, agree, every_seed


@every_seed
def test_lenses_agree_with_their_slow_versions(seed: int) -> None:
    agree(seed, *HELD["rules"])
