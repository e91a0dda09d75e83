"""Lambda layers: code in a file runs only where the file is trusted; a model in memory holds its functions itself."""

from pathlib import Path

import numpy as np
import pytest
import torch

import convscope as cs
from convscope.engine.network.scores_only import ScoresOnly
from convscope.errors import LoadError
from convscope.loaders.keras import engine
from convscope.loaders.keras.live import as_module
from tests.loaders.keras.twins import TOLERANCE, assert_equal_to_keras


def doubled(x):
    """A function with a name, which no file holds."""
    return 2 * x + 1


def network(keras, *functions, **settings):
    """The functions one after another, then a mean per channel."""
    layers = keras.layers
    stack = [layers.Lambda(function, name=f"code{i}", **settings) for i, function in enumerate(functions)]
    return keras.Sequential(
        [keras.Input((8, 8, 3)), layers.Conv2D(3, 3), *stack, layers.GlobalAveragePooling2D(), layers.Dense(4)]
    )


FUNCTIONS = {
    "operators": lambda x: (1 - x * 0.5) ** 2 / 3 - abs(-x),
    "of-keras": lambda x: keras.ops.relu(x) - keras.ops.mean(x, axis=(1, 2), keepdims=True),  # type: ignore[name-defined]  # noqa: F821
    "parts": lambda x: x[:, 1:, :-1] + x[..., :1][:, 1:, :-1],
    "named": doubled,
}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_in_memory_is_translated(keras, function):
    FUNCTIONS["of-keras"].__globals__["keras"] = keras
    model = network(keras, FUNCTIONS[function])
    module = as_module(model)
    assert not isinstance(module, ScoresOnly)
    assert_equal_to_keras(model, module)
    x = torch.rand(1, 3, 8, 8, requires_grad=True)
    module(x).sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0


def test_arguments_are_passed_on(keras):
    assert_equal_to_keras(network(keras, lambda x, power: abs(x) ** power, arguments={"power": 2.0}))


def test_a_slice_backwards_reverses_the_channels(keras):
    """Keras on torch has no such slice; TensorFlow has."""
    layer = keras.layers.Lambda(lambda x: x[..., ::-1], output_shape=(4, 5, 3))
    module = as_module(keras.Sequential([keras.Input((4, 5, 3)), layer]))
    x = torch.rand(2, 3, 4, 5)
    assert torch.equal(module(x), x.flip(1))


def test_code_in_a_file_is_run_only_if_it_is_trusted(keras, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "net.keras"
    original = network(keras, lambda x: x * 3 - 1)
    original.save(path)
    with pytest.raises(LoadError, match=r"it holds code, which is not run; trust=True runs it: only for .* own$"):
        cs.load(path)
    model = cs.load(path, trust=True)
    assert "code0" in model.layers()
    assert model.conversion.difference < TOLERANCE
    assert torch.isfinite(cs.grad_cam(model, np.zeros((8, 8, 3), np.uint8)).values).all()
    monkeypatch.setattr(engine, "library", lambda: None)
    assert cs.load(path, trust=True).conversion is None, "Keras is not needed to run it"


def test_a_function_that_is_not_in_the_file_is_named(keras, tmp_path: Path):
    network(keras, doubled).save(tmp_path / "net.keras")
    with pytest.raises(LoadError, match=r"'code0' .* its function 'doubled' is named and not in the file"):
        cs.load(tmp_path / "net.keras", trust=True)


def test_what_the_table_lacks_leaves_the_scores_of_keras(keras, tmp_path: Path):
    path = tmp_path / "net.keras"
    network(keras, lambda x: x * len(str(x.device))).save(path)
    model = cs.load(path, trust=True)
    assert isinstance(model.module, ScoresOnly)
    assert "'code0' (Lambda) cannot be translated: its function fails on torch's tensors" in model.module.reason
