"""An attribution that several tests save and load."""

import numpy as np
import pytest

import convscope as cs


@pytest.fixture
def attribution(model: cs.Model, picture: np.ndarray) -> cs.Attribution:
    return cs.integrated_gradients(model, picture, target="cat", steps=4)
