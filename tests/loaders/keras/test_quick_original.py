"""Configurations that Keras builds in less time."""

from copy import deepcopy
from typing import Any

import pytest

from convscope.loaders.keras.quick_original import attributes_listed_once, for_one_sample, without_random_weights


def layer(name: str, **settings: object) -> dict[str, object]:
    return {"class_name": name, "config": settings}


@pytest.mark.parametrize(
    "initializer",
    ["glorot_uniform", "VarianceScaling", layer("HeNormal", seed=1), layer("OrthogonalInitializer", gain=1.0)],
)
def test_random_initializers_become_zeros(initializer: object) -> None:
    inner = layer("Dense", kernel_initializer=initializer)
    changed = without_random_weights(layer("TimeDistributed", layer=inner))
    assert changed["config"]["layer"]["config"]["kernel_initializer"]["class_name"] == "Zeros"


@pytest.mark.parametrize("initializer", ["zeros", layer("Constant", value=2.0), None, [1.0, 2.0]])
def test_other_initializers_stay(initializer: object) -> None:
    config = layer("Dense", kernel_initializer=initializer, activation="relu")
    assert without_random_weights(config) == config


def test_only_the_inputs_of_the_network_itself_take_one_sample() -> None:
    """A nested network may run on frames, whose number is not that of the samples."""
    nested = layer("Functional", layers=[layer("InputLayer", batch_shape=[None, 8])])
    layers = [layer("InputLayer", batch_shape=[None, 4, 8]), layer("TimeDistributed", layer=nested), nested]
    config = layer("Functional", layers=layers)
    original = deepcopy(config)
    first, *others = for_one_sample(config)["config"]["layers"]
    assert first["config"]["batch_shape"] == [1, 4, 8]
    assert others == layers[1:]
    assert config == original


def test_what_is_no_network_is_left_to_keras() -> None:
    assert for_one_sample(["text"]) == ["text"]
    assert for_one_sample({"config": {"layers": "text"}}) == {"config": {"layers": "text"}}


def test_keras_lists_the_attributes_of_layers_once(keras: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from keras.src.layers import layer as layer_file
    from keras.src.saving.saving_lib import get_attr_skipset

    expected, built = get_attr_skipset("Layer"), []

    class Layer(keras.layers.Layer):  # type: ignore[misc] # Keras has no types
        def __init__(self) -> None:
            super().__init__()
            built.append(self)

    with attributes_listed_once():
        monkeypatch.setattr(layer_file, "Layer", Layer)  # what Keras makes in order to list its attributes
        assert [get_attr_skipset("Layer") for _ in range(3)] == [expected] * 3
        assert not built
    get_attr_skipset("Layer")
    assert built, "Keras itself is as it was"
