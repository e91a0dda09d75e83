"""Handwritten digits, 8 × 8 gray pixels each, from the UCI data set in scikit-learn.

The split into training and held-out digits is fixed here, so that accuracies are comparable. The held-out digits are
also in a file of the package (``scripts/pack_digits.py``): importing scikit-learn takes longer than explaining one.
"""

from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

CLASSES: tuple[str, ...] = ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
SPLIT_SEED = 0
HELD_OUT = 400
HELD_OUT_FILE = Path(__file__).with_name("digits.npz")


class Digits(NamedTuple):
    """Images uint8 (digits, 8, 8), from 0 (paper) to 255 (ink), and their labels."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]


def held_out(index: int) -> tuple[NDArray[np.uint8], int]:
    """One digit that was not used for training."""
    if not 0 <= index < HELD_OUT:
        raise IndexError(f"no held-out digit {index}; there are {HELD_OUT}, numbered 0 to {HELD_OUT - 1}")
    digits = held_out_set()
    return digits.images[index], int(digits.labels[index])


def training_set() -> Digits:
    """The digits for training."""
    return split()["training"]


@cache
def held_out_set() -> Digits:
    """The digits for evaluation, with the same class proportions as the training set."""
    with np.load(HELD_OUT_FILE) as arrays:
        return _shared(arrays["images"], arrays["labels"].astype(np.int64))


@cache
def split() -> dict[Literal["training", "held out"], Digits]:
    """All digits, split as scikit-learn does."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    bunch = load_digits()
    images = np.round(bunch.images * (255 / 16)).astype(np.uint8)
    labels = bunch.target.astype(np.int64)
    rows = train_test_split(np.arange(len(labels)), test_size=HELD_OUT, random_state=SPLIT_SEED, stratify=labels)
    training, held_out = (_shared(images[part], labels[part]) for part in rows)
    return {"training": training, "held out": held_out}


def _shared(images: NDArray[np.uint8], labels: NDArray[np.int64]) -> Digits:
    """One copy for all callers, which cannot change it."""
    images.flags.writeable = labels.flags.writeable = False
    return Digits(images, labels)
