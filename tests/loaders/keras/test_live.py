"""Models in memory: ``cs.Model(keras_model)`` and every lens on them."""

import copy
import json
import pickle
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import convscope as cs
from convscope.engine.network.scores_only import ScoresOnly
from convscope.errors import ConvScopeError, InputError, LoadError
from convscope.loaders.keras import engine, live
from convscope.loaders.keras.engine import KerasFunction
from convscope.loaders.keras.layout import Layout
from convscope.loaders.keras.live import as_module, is_keras_model
from tests.loaders.keras import handmade
from tests.loaders.keras.twins import assert_equal_to_keras, with_own_weights


@pytest.fixture(scope="module")
def original(keras) -> Any:
    """A small convolutional network with names of its own."""
    layers = keras.layers
    stack = [
        layers.Conv2D(6, 3, padding="same", activation="relu", name="block1_conv1"),
        layers.MaxPooling2D(name="block1_pool"),
        layers.Conv2D(8, 3, padding="same", activation="relu", name="block2_conv1"),
        layers.BatchNormalization(name="block2_bn"),
        layers.GlobalAveragePooling2D(name="pool"),
        layers.Dense(4, activation="softmax", name="predictions"),
    ]
    return with_own_weights(keras.Sequential([keras.Input((16, 16, 3)), *stack], name="tutorial"))


@pytest.fixture(scope="module")
def model(original) -> cs.Model:
    """The same as a `Model`."""
    return cs.Model(original, labels=["a", "b", "c", "d"])


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    """A random photograph."""
    return np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)


def test_a_model_in_memory_is_converted(original, model):
    assert model.name == "tutorial"
    assert model.input.size == (16, 16)
    assert_equal_to_keras(original, model.module)
    assert model.layers()[:3] == ["block1_conv1", "block1_conv1.conv", "block1_conv1.activation"]


def test_a_model_in_memory_is_checked(original, model, picture):
    assert model.conversion.engine.startswith("Keras 3")
    assert 0 <= model.conversion.difference < 1e-5
    assert cs.saliency(model, picture).record.model["conversion"] == vars(model.conversion)


def test_a_wrong_conversion_of_a_model_in_memory_is_refused(original, monkeypatch: pytest.MonkeyPatch):
    translate = live.translate_network  # type: ignore[attr-defined]

    def wrong(*args, **kwargs):
        module, remarks = translate(*args, **kwargs)
        weight: Any = module.get_submodule("block2_conv1.conv").weight
        weight.data *= 1.5
        return module, remarks

    monkeypatch.setattr(live, "translate_network", wrong)
    with pytest.raises(LoadError, match=r"converted wrongly: .* first at layer 'block2_conv1'"):
        cs.Model(original)


def test_an_original_that_fails_is_said(keras):
    """The translation stands; what could not be checked is said."""
    by_type = keras.layers.Lambda(lambda x: x * {"float32": 2.0}[x.dtype], output_shape=(8, 8, 3))
    model = cs.Model(keras.Sequential([keras.Input((8, 8, 3)), by_type]))  # no backend's tensors have texts as types
    assert model.conversion is None
    assert any("could not be checked" in caveat for caveat in model.caveats)


def test_a_layer_gives_what_keras_calls_its_output(keras, original, model, picture):
    x = model.prepare(picture).tensor
    for name in ("block1_conv1", "block2_conv1", "block1_pool"):
        inner = keras.Model(original.inputs, original.get_layer(name).output)
        expected = torch.from_numpy(KerasFunction(inner, Layout())(x.numpy()).copy())
        outputs: list[torch.Tensor] = []
        handle = model.module.get_submodule(name).register_forward_hook(lambda *call: outputs.append(call[2]))  # noqa: B023
        model.run(x)
        handle.remove()
        torch.testing.assert_close(outputs[0], expected, rtol=1e-5, atol=1e-5)
        maps = cs.feature_maps(model, picture, layer=name)
        shown = expected[0][list(maps.channels[name])]
        torch.testing.assert_close(maps.maps[name], shown, rtol=1e-5, atol=1e-5)


def test_the_weights_are_a_copy(keras, original):
    module = as_module(original)
    before = module.get_submodule("predictions.dense").weight.clone()
    with torch.no_grad():
        module.get_submodule("predictions.dense").weight.add_(1)
    unchanged: Any = as_module(original).get_submodule("predictions.dense")
    assert torch.equal(unchanged.weight, before)


@pytest.mark.parametrize(
    "lens", [cs.grad_cam, cs.lrp, cs.saliency, cs.deep_lift, cs.occlusion, cs.guided_backprop, cs.integrated_gradients]
)
def test_lenses_run_on_the_converted_network(model, picture, lens):
    value = lens(model, picture)
    assert torch.isfinite(value.values).all()
    assert value.values.abs().max() > 0


def test_structure_and_kernels_have_the_names_of_keras(model):
    structure = cs.structure(model)
    assert {"block1_conv1.conv", "block2_bn"} <= {summary.address for summary in structure.modules}
    assert cs.kernels(model, layer="block1_conv1.conv").weights["block1_conv1.conv"].shape == (6, 3, 3, 3)


def test_a_bare_keras_model_is_accepted_by_a_lens(original, picture):
    x = torch.from_numpy(picture.transpose(2, 0, 1)[None] / np.float32(255))
    assert cs.grad_cam(original, x).record.model["name"] == "tutorial"


def test_a_converted_network_can_be_copied_and_pickled(model):
    x = torch.randn(1, 3, 16, 16)
    for twin in (copy.deepcopy(model.module), pickle.loads(pickle.dumps(model.module))):
        assert torch.equal(twin(x), model.module(x))


def test_a_model_of_code_opens_with_its_scores(keras, picture):
    class Custom(keras.layers.Layer):  # type: ignore[name-defined]
        def call(self, x):
            return x * 2

    given = keras.Input((16, 16, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(Custom(name="own")(given))
    model = cs.Model(keras.Model(given, keras.layers.Dense(3)(pooled)))
    assert isinstance(model.module, ScoresOnly)
    assert "layer 'own' (Custom) cannot be translated" in model.module.reason
    assert torch.isfinite(cs.occlusion(model, picture).values).all()
    with pytest.raises(ConvScopeError, match="'own'"):
        cs.grad_cam(model, picture)


def test_a_subclassed_model_opens_with_its_scores(keras):
    class Net(keras.Model):  # type: ignore[name-defined]
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(3)

        def call(self, x):
            return self.dense(keras.ops.mean(x, (1, 2)))

    net = Net()
    with pytest.raises(InputError, match="has no weights yet"):
        cs.Model(net)
    net(np.zeros((1, 8, 8, 3), np.float32))
    model = cs.Model(net)
    assert model.run(torch.rand(2, 3, 8, 8)).shape == (2, 3)


def test_several_inputs_with_a_function_without_translation_open_with_their_scores(keras):
    given = [keras.Input((4,), name="left"), keras.Input((4,), name="right")]
    total = keras.layers.Lambda(lambda parts: keras.ops.add(*parts), name="own")(given)
    model = cs.Model(keras.Model(given, total))
    assert isinstance(model.module, ScoresOnly)
    assert cs.predict(model, {"left": [1, 2, 3, 4], "right": [0, 0, 0, 9.5]}).scores[0] == 13.5


def test_other_objects_are_no_keras_models():
    assert not is_keras_model(torch.nn.Linear(2, 2))
    assert not is_keras_model(SimpleNamespace())
    with pytest.raises(InputError, match="a Keras model is needed, got SimpleNamespace"):
        as_module(SimpleNamespace())


def test_convscope_imports_no_keras():
    code = "import sys, convscope as cs; cs.load('bundled:shapes'); sys.exit('keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=False).returncode == 0


def test_keras_of_another_backend_is_left_alone(monkeypatch: pytest.MonkeyPatch):
    """A process that has imported Keras keeps that one; its variables are arrays of any kind."""
    imported = SimpleNamespace(__version__="3.9", backend=SimpleNamespace(backend=lambda: "jax"))
    monkeypatch.setitem(sys.modules, "keras", imported)
    assert engine.library() is imported

    class Sequential:
        __module__ = "keras.src.models.sequential"
        name, built = "net", True

        def __init__(self, config, layers):
            self.config, self.layers = config, layers

        def to_json(self):
            return json.dumps(self.config)

    arrays = handmade.weights()
    layers = [
        SimpleNamespace(
            name=name, weights=[SimpleNamespace(value=arrays[f"{name}/{part}"]) for part in ("kernel", "bias")]
        )
        for name in ("conv", "scores")
    ]
    module: Any = as_module(Sequential(handmade.CONFIG, [*layers, SimpleNamespace(name="pool", weights=[])]))
    assert torch.equal(module.get_submodule("scores.dense").weight, torch.from_numpy(arrays["scores/kernel"].T))
    assert sys.modules["keras"] is imported


def test_a_vision_transformer_attends_as_keras_says(keras):
    """Patches by a convolution, two blocks of attention over 4 × 4 places, and the mean of the tokens."""
    layers = keras.layers
    image = keras.Input((16, 16, 3))
    tokens = layers.Reshape((16, 8))(layers.Conv2D(8, 4, strides=4, name="patches")(image))
    scores = []
    for block in range(2):
        normal = layers.LayerNormalization(name=f"norm{block}")(tokens)
        attended, weights = layers.MultiHeadAttention(2, 6, name=f"attention{block}")(
            normal, normal, return_attention_scores=True
        )
        scores.append(weights)
        tokens = layers.Add()([tokens, attended])
        hidden = layers.Dense(16, activation="gelu")(layers.LayerNormalization()(tokens))
        tokens = layers.Add()([tokens, layers.Dense(8)(hidden)])
    answer = layers.Dense(3)(layers.GlobalAveragePooling1D()(tokens))
    vit, generator = keras.Model(image, answer), np.random.default_rng(5)
    for weight in vit.weights:
        weight.assign(generator.normal(0, 0.5, weight.shape))
    x = generator.normal(size=(1, 16, 16, 3)).astype("float32")
    expected = keras.Model(image, scores).predict(x, verbose=0)
    value = cs.attention(cs.Model(vit), torch.from_numpy(x).movedim(-1, 1), matrix=True)
    assert [name.partition(".")[0] for name in value.matrices] == ["attention0", "attention1"]
    assert [tuple(maps.shape) for maps in value.maps.values()] == [(2, 4, 4)] * 2
    for matrix, scores_of_keras in zip(value.matrices.values(), expected, strict=True):
        np.testing.assert_allclose(matrix, scores_of_keras[0], rtol=1e-4, atol=1e-6)
        assert matrix.std() > 0.01, "uniform weights would compare nothing"
