"""Scores, gradients, paths and hidden parts on random networks; thousands of them by ``make fuzz``."""

from tests.fuzz.testing import HELD, agree, every_seed


@every_seed
def test_lenses_agree_with_their_slow_versions(seed: int) -> None:
    agree(seed, *HELD["scores"])
