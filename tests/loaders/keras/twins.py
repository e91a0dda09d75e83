"""A Keras model and its translation on the same inputs."""

import numpy as np
import torch

from convscope.engine.network.scores_only import ScoresOnly
from convscope.loaders.keras.engine import KerasFunction, as_array, from_keras_order
from convscope.loaders.keras.layout import Layout
from convscope.loaders.keras.live import as_module

TOLERANCE = 1e-5
"""The largest difference, relative to the largest output."""


def with_own_weights(model, seed=0):
    """The model with weights that no initializer makes: statistics, scales and offsets that differ."""
    generator = np.random.default_rng(seed)
    for weight in model.weights:
        name = weight.path.rpartition("/")[2]
        if name in ("moving_variance", "gamma", "variance"):
            weight.assign(generator.uniform(0.5, 1.5, weight.shape))
        elif "kernel" not in name and "count" not in name:
            weight.assign(generator.normal(0, 0.3, weight.shape))
    for layer in model.layers:
        if hasattr(layer, "finalize_state"):
            layer.finalize_state()  # Normalization computes with copies of its statistics
    return model


def inputs_of(model, batch=2, unknown=24):
    """Random inputs of a Keras model, in its own order of axes."""
    shape = [batch, *(side or unknown for side in model.inputs[0].shape[1:])]
    return np.random.default_rng(1).normal(0, 1, shape).astype(np.float32)


def assert_equal_to_keras(model, module=None, arrays=None, layout=Layout()):  # noqa: B008
    """The translation gives what Keras gives."""
    arrays = inputs_of(model) if arrays is None else arrays
    module = as_module(model) if module is None else module
    assert not isinstance(module, ScoresOnly), f"Keras would be compared with itself: {module.reason}"
    prepared = torch.from_numpy(np.ascontiguousarray(from_keras_order(arrays, layout)))
    expected = KerasFunction(model, layout)(prepared.numpy())
    with torch.no_grad():
        output = module(prepared)
    given = as_array(next(iter(output.values())) if isinstance(output, dict) else output)
    assert given.shape == expected.shape
    assert expected.std() > 0, "a constant output compares nothing"
    assert relative_difference(given, expected) < TOLERANCE


def relative_difference(given, expected):
    """The largest difference relative to the largest number."""
    return float(np.abs(given - expected).max() / np.abs(expected).max())
