"""Handwritten digits, 8 × 8 grey pixels each, from the UCI collection that scikit-learn carries.

The split into training and held-out digits is fixed here, so that a measured accuracy means the same everywhere.
"""

from functools import cache
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

CLASSES: tuple[str, ...] = ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
SPLIT_SEED = 0
HELD_OUT = 400


class Digits(NamedTuple):
    """Images uint8 (digits, 8, 8), 0 is paper and 255 is ink, and their labels."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]


def held_out(index: int) -> tuple[NDArray[np.uint8], int]:
    """One digit that training never saw."""
    if not 0 <= index < HELD_OUT:
        raise IndexError(f"no held-out digit {index}; there are {HELD_OUT}, numbered 0 to {HELD_OUT - 1}")
    digits = held_out_set()
    return digits.images[index], int(digits.labels[index])


def training_set() -> Digits:
    """The digits a network may learn from."""
    return _split()["training"]


def held_out_set() -> Digits:
    """The digits on which it is judged; every class in the same proportion as in training."""
    return _split()["held out"]


@cache
def _split() -> dict[Literal["training", "held out"], Digits]:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    bunch = load_digits()
    images = np.round(bunch.images * (255 / 16)).astype(np.uint8)
    labels = bunch.target.astype(np.int64)
    rows = train_test_split(np.arange(len(labels)), test_size=HELD_OUT, random_state=SPLIT_SEED, stratify=labels)
    training, held = (Digits(images[part], labels[part]) for part in rows)
    for array in (*training, *held):
        array.flags.writeable = False  # one copy is shared by all callers
    return {"training": training, "held out": held}
