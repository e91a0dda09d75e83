"""Rules for the backward pass on random networks; ``make fuzz`` tests thousands of networks."""

from tests.fuzz.testing import CHECKS_BY_FILE, assert_agreement, every_seed


@every_seed
def test_lenses_agree_with_slow_references(seed: int) -> None:
    assert_agreement(seed, *CHECKS_BY_FILE["rules"])
