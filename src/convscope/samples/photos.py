"""Two photographs from scikit-learn: a Chinese temple and a flower, 427 × 640 pixels."""

import numpy as np
from numpy.typing import NDArray

NAMES: tuple[str, ...] = ("china", "flower")


def photo(name: str) -> NDArray[np.uint8]:
    """The photograph as uint8 (427, 640, 3)."""
    if name not in NAMES:
        raise LookupError(f"no photograph '{name}'; there are {' and '.join(NAMES)}")
    from sklearn.datasets import load_sample_image

    return np.array(load_sample_image(f"{name}.jpg"))
