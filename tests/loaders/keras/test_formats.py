"""Files of all formats give the network that Keras saved in them."""

import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import convscope as cs
from convscope.engine.inputs.named_inputs import NamedInputs
from convscope.engine.network.scores_only import ScoresOnly
from convscope.errors import ConvScopeError, LoadError
from convscope.loaders.keras import engine, formats, network
from convscope.loaders.keras.engine import KerasFunction
from convscope.loaders.keras.layout import Layout
from tests.loaders.keras import handmade
from tests.loaders.keras.twins import TOLERANCE, inputs_of, relative_difference, with_own_weights


@pytest.fixture(scope="module")
def small(keras) -> Any:
    """A network with a nested, a shared and a frozen part, several kinds of layers and two uses of one class."""
    layers = keras.layers
    inner_input = keras.Input((8, 8, 6), name="inner_input")
    inner = layers.BatchNormalization(name="inner_bn")(
        layers.Conv2D(6, 3, padding="same", name="inner_conv")(inner_input)
    )
    block = keras.Model(inner_input, layers.Activation("relu", name="inner_relu")(inner), name="block")
    block.trainable = False
    given = keras.Input((16, 16, 3), name="image")
    x = layers.Conv2D(6, 3, strides=2, padding="same", activation="relu", name="first_conv")(given)
    shared = layers.Conv2D(6, 1, name="shared")
    x = layers.Add(name="sum")([block(x), shared(x), shared(block(x))])
    sequence = layers.Reshape((64, 6), name="sequence")(x)
    sequence = layers.Bidirectional(layers.GRU(4, return_sequences=True), name="both")(sequence)
    x = layers.Concatenate(name="joined")([layers.GlobalMaxPooling1D()(sequence), layers.GlobalAveragePooling2D()(x)])
    return with_own_weights(keras.Model(given, layers.Dense(5, activation="softmax", name="scores")(x), name="small"))


def assert_opens(path: Any, keras_model: Any) -> cs.Model:
    """The file opens as a model that gives what the Keras model gives."""
    model = cs.load(path)
    arrays = np.moveaxis(inputs_of(keras_model), -1, 1)
    expected = KerasFunction(keras_model, Layout())(arrays)
    with torch.no_grad():
        given = model.module(torch.from_numpy(np.ascontiguousarray(arrays))).numpy()
    assert relative_difference(given, expected) < TOLERANCE
    return model


@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_a_whole_network_opens_and_is_checked(small, tmp_path: Path, ending: str):
    path = tmp_path / f"net{ending}"
    small.save(path)
    model = assert_opens(path, small)
    assert model.source == str(path)
    assert model.input == cs.ImageInput(size=16, mean=(0, 0, 0), std=(1, 1, 1))
    assert model.conversion.difference < TOLERANCE
    assert model.conversion.engine.startswith("Keras 3")
    assert {"first_conv", "first_conv.conv", "block.inner_bn", "shared", "both.forward_layer"} <= set(model.layers())


@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_keras_builds_its_own_copy_for_one_sample(small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str):
    """The whole comparison, which takes twice as long, is for networks that differ."""
    path = tmp_path / f"net{ending}"
    small.save(path)
    monkeypatch.setattr("convscope.loaders.keras.engine.load", lambda *_, **__: pytest.fail("opened in full"))
    assert 0 < cs.load(path).conversion.difference < TOLERANCE


def test_assets_of_an_archive_are_left_to_keras(small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Vocabularies and the like are read by the whole opening alone."""
    path, load, opened = tmp_path / "net.keras", engine.load, []

    def counted(*given, **options):
        opened.append(given)
        return load(*given, **options)

    small.save(path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("assets/layers/words.txt", "word")
    monkeypatch.setattr(engine, "load", counted)
    assert cs.load(path).conversion.difference < TOLERANCE
    assert len(opened) == 1


@pytest.mark.parametrize("ending", [".weights.h5", ".h5", ".keras"])
def test_weights_alone_open_with_an_architecture(small, tmp_path: Path, ending: str):
    (tmp_path / "net.json").write_text(small.to_json())
    path = tmp_path / f"w{ending}"
    if ending == ".weights.h5":
        small.save_weights(path)
    else:
        small.save(path)
    model = assert_opens(f"{tmp_path}/net.json?weights={path}", small)
    assert model.source == f"{tmp_path}/net.json with {path}"
    assert model.conversion.difference < TOLERANCE
    if ending == ".weights.h5":
        assert_opens(f"{path}?arch={tmp_path}/net.json", small)
        with pytest.raises(LoadError, match=r"holds weights without the network.*\?arch=VGG16"):
            cs.load(path)


def test_other_weights_replace_those_of_a_file(keras, small, tmp_path: Path):
    small.save(tmp_path / "net.keras")
    other = with_own_weights(keras.models.clone_model(small), seed=5)
    other.save_weights(tmp_path / "other.weights.h5")
    model = assert_opens(f"{tmp_path}/net.keras?weights={tmp_path}/other.weights.h5", other)
    assert model.conversion.difference < TOLERANCE, "Keras builds it from the configuration and these weights"


def test_an_attribute_that_keras_splits_is_joined(tmp_path: Path):
    """HDF5 holds attributes of 64 KiB; Keras writes longer lists of names in numbered parts."""
    import h5py

    path = tmp_path / "long.h5"
    path.write_bytes(handmade.hdf5_bytes())
    with h5py.File(path, "a") as file:
        group = file["model_weights"]
        names = list(group.attrs["layer_names"])
        del group.attrs["layer_names"]
        group.attrs["layer_names0"], group.attrs["layer_names1"] = names[:1], names[1:]
    dense: Any = cs.load(path).module.get_submodule("scores.dense")
    assert torch.equal(dense.weight, torch.from_numpy(handmade.weights()["scores/kernel"].T))


def test_several_outputs_are_named_by_their_layers(keras, tmp_path: Path):
    given = keras.Input((8, 8, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(given))
    heads = [keras.layers.Dense(2, name="kind")(pooled), keras.layers.Dense(3, name="color")(pooled)]
    keras.Model(given, heads).save(tmp_path / "two.keras")
    model = cs.load(f"{tmp_path}/two.keras?output=color")
    assert model.run(model.example()).shape == (1, 3)
    assert model.conversion.difference < TOLERANCE
    with pytest.raises(cs.ConvScopeError, match="'kind', 'color'"):
        cs.predict(cs.load(tmp_path / "two.keras"), torch.rand(1, 3, 8, 8))


def photo_and_table(keras) -> Any:
    """A network that takes a photograph and a row of four numbers."""
    layers = keras.layers
    photo, table = keras.Input((16, 16, 3), name="photo"), keras.Input((4,), name="table")
    features = layers.GlobalAveragePooling2D()(layers.Conv2D(6, 3, activation="relu", name="conv")(photo))
    known = layers.Dense(6, activation="tanh", name="known")(table)
    scores = layers.Dense(3, name="scores")(layers.Multiply(name="product")([features, known]))
    return with_own_weights(keras.Model([photo, table], scores, name="patient"))


def test_several_inputs_are_named_by_their_layers(keras, tmp_path: Path):
    original = photo_and_table(keras)
    original.save(tmp_path / "two.keras")
    random = np.random.default_rng(0)
    for model in (cs.load(tmp_path / "two.keras"), cs.Model(original)):
        assert isinstance(model.input, NamedInputs)
        assert {name: spec.kind for name, spec in model.input.specs.items()} == {"photo": "image", "table": "vector"}
        assert model.conversion.difference < TOLERANCE
        photo = random.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        sample = {"photo": photo, "table": [0.5, -1.0, 2.0, 0.25]}
        arrays = [photo[None].astype(np.float32) / 255, np.array([sample["table"]], np.float32)]
        expected = engine.as_array(original(arrays, training=False))[0]
        joint = cs.integrated_gradients(model, sample, target=1, steps=64)
        assert joint.score == pytest.approx(float(expected[1]), rel=1e-4)
        assert joint["table"].channels.shape == (4,)
        cam = cs.grad_cam(model, sample, target=1, layer="conv", explain="photo")
        assert cam.values.any()


def test_words_beside_numbers(keras, tmp_path: Path):
    layers = keras.layers
    words, table = keras.Input((5,), name="words"), keras.Input((2,), name="table")
    meaning = layers.GlobalAveragePooling1D()(layers.Embedding(7, 3, name="embedding")(words))
    both = layers.Concatenate()([meaning, table])
    original = with_own_weights(keras.Model([words, table], layers.Dense(2)(both)))
    original.save(tmp_path / "words.keras")
    model = cs.load(tmp_path / "words.keras")
    assert isinstance(model.input, NamedInputs)
    assert model.input.specs["words"] == cs.TokenInput(vocabulary=7, length=5)
    assert model.conversion.difference < TOLERANCE
    joint = cs.gradient_x_input(model, {"words": [1, 6, 2, 0, 3], "table": [1.0, -2.0]}, target=0)
    assert list(joint.parts) == ["words", "table"]
    vectors, kernel, _ = (torch.from_numpy(np.asarray(engine.as_array(w.value))) for w in original.weights)
    expected = (vectors[[1, 6, 2, 0, 3]] / 5 * kernel[:3, 0]).sum(1)
    torch.testing.assert_close(joint["words"].values, expected)


@pytest.mark.parametrize("nested", [False, True])
def test_words_alone_are_explained_at_their_embedding(keras, tmp_path: Path, nested: bool):
    layers = keras.layers
    stack = [layers.Embedding(9, 3, mask_zero=True, name="embedding"), layers.LSTM(4, name="lstm"), layers.Dense(2)]
    body = keras.Sequential([keras.Input((6,)), *stack], name="body")
    original = with_own_weights(keras.Sequential([keras.Input((6,)), body]) if nested else body)
    original.save(tmp_path / "words.keras")
    for model in (cs.load(tmp_path / "words.keras"), cs.Model(original)):
        assert model.input == cs.TokenInput(vocabulary=9, length=6, padding=0)
        assert model.conversion.difference < TOLERANCE
        value = cs.integrated_gradients(model, [4, 8, 1], target=1, steps=32)
        expected = engine.as_array(original(np.array([[4, 8, 1, 0, 0, 0]]), training=False))[0]
        assert value.score == pytest.approx(float(expected[1]), rel=1e-4)
        assert value.values.shape == (6,)
        assert value.values[:3].all()
        assert not value.values[3:].any(), "steps that are masked contribute nothing"


def test_a_vocabulary_that_does_not_fit_the_weights_names_the_layer(keras, tmp_path: Path):
    stack = [keras.layers.Embedding(9, 3, name="embedding"), keras.layers.GlobalAveragePooling1D()]
    keras.Sequential([keras.Input((6,)), *stack]).save(tmp_path / "words.keras")
    _rewrite(tmp_path / "words.keras", b'"input_dim": 9', b'"input_dim": 99')
    with pytest.raises(LoadError, match=r"layer 'embedding' has input_dim=99, and its weights are 9 vectors"):
        cs.load(tmp_path / "words.keras")


def _rewrite(path: Path, old: bytes, new: bytes) -> None:
    """Replace a text in the configuration of a file."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    assert old in members["config.json"]
    members["config.json"] = members["config.json"].replace(old, new)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def test_several_inputs_that_do_not_fit_their_weights_name_the_layer(keras, tmp_path: Path):
    path = tmp_path / "two.keras"
    photo_and_table(keras).save(path)
    _rewrite(path, b'"units": 6', b'"units": 5')
    with pytest.raises(LoadError, match="known"):
        cs.load(path)


def test_channels_first_networks_keep_their_axes(keras, tmp_path: Path):
    layers = keras.layers
    stack = [
        layers.Conv2D(4, 3, padding="same", data_format="channels_first", activation="relu"),
        layers.BatchNormalization(axis=1),
        layers.MaxPooling2D(data_format="channels_first"),
        layers.Flatten(data_format="channels_first"),
        layers.Dense(3),
    ]
    model = with_own_weights(keras.Sequential([keras.Input((3, 8, 8)), *stack]))
    model.save(tmp_path / "first.keras")
    opened = cs.load(tmp_path / "first.keras")
    assert opened.input.channels == 3
    assert opened.conversion.difference < TOLERANCE


def test_a_network_for_raw_pixels_says_so(keras, tmp_path: Path):
    layers = keras.layers
    stack = [layers.RandomFlip(), layers.Rescaling(1 / 255), layers.Conv2D(2, 3), layers.GlobalAveragePooling2D()]
    keras.Sequential([keras.Input((8, 8, 3)), *stack]).save(tmp_path / "raw.keras")
    model = cs.load(tmp_path / "raw.keras")
    white = np.full((8, 8, 3), 255, np.uint8)
    assert float(model.prepare(white).tensor.max()) == pytest.approx(255)
    assert model.caveats == ()


def test_assumed_preprocessing_is_said_until_it_is_given(keras, tmp_path: Path):
    stack = [keras.layers.Conv2D(2, 3), keras.layers.GlobalAveragePooling2D()]
    keras.Sequential([keras.Input((8, 8, 3)), *stack]).save(tmp_path / "net.keras")
    assert any("scaled to 0 … 1, which is assumed" in caveat for caveat in cs.load(tmp_path / "net.keras").caveats)
    given = cs.load(tmp_path / "net.keras", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    assert given.caveats == ()


def test_an_assumed_size_is_said_until_it_is_given(keras, tmp_path: Path):
    stack = [keras.layers.Conv2D(2, 3), keras.layers.GlobalAveragePooling2D()]
    keras.Sequential([keras.Input((None, None, 3)), *stack]).save(tmp_path / "net.keras")
    remark = "the network takes images of any size: 224×224 is assumed (size= sets it)"
    assert remark in cs.load(tmp_path / "net.keras").caveats
    assert remark not in cs.load(f"{tmp_path}/net.keras?size=24").caveats


def test_a_tfjs_model_opens_from_its_folder(keras, tmp_path: Path):
    stack = [keras.layers.Conv2D(4, 3, activation="relu"), keras.layers.Flatten(), keras.layers.Dense(3)]
    original = with_own_weights(keras.Sequential([keras.Input((8, 8, 3)), *stack]))
    write_tfjs(original, tmp_path)
    assert assert_opens(tmp_path, original).conversion.difference < TOLERANCE
    assert_opens(tmp_path / "model.json", original)


def write_tfjs(model: Any, folder: Path) -> None:
    """Write a layers model as the converter of TensorFlow.js does, with its weights in two files."""
    arrays = [(weight.path, np.asarray(engine.as_array(weight.value))) for weight in model.weights]
    data = b"".join(array.astype("<f4").tobytes() for _, array in arrays)
    (folder / "a.bin").write_bytes(data[:100])
    (folder / "b.bin").write_bytes(data[100:])
    entries = [{"name": name, "shape": list(array.shape), "dtype": "float32"} for name, array in arrays]
    topology = {"keras_version": "3.0", "model_config": json.loads(model.to_json())}
    content: dict[str, Any] = {"format": "layers-model", "modelTopology": topology}
    content["weightsManifest"] = [{"paths": ["a.bin", "b.bin"], "weights": entries}]
    (folder / "model.json").write_text(json.dumps(content))


def test_the_first_layer_that_differs_is_named(small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A check that never fails would be none: the weights of one layer are changed behind its back."""
    translate = network.translate_network

    def wrong(*args, **kwargs):
        module, remarks = translate(*args, **kwargs)
        module.shared.weight.data += 0.5
        return module, remarks

    small.save(tmp_path / "net.keras")
    monkeypatch.setattr("convscope.loaders.keras.assembly.translate_network", wrong)
    with pytest.raises(LoadError, match=r"converted wrongly: .* Keras 3.* first at layer 'shared'"):
        cs.load(tmp_path / "net.keras")


def test_the_first_layer_that_differs_is_named_of_several_inputs(
    keras, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    translate = network.translate_network

    def wrong(*args, **kwargs):
        module, remarks = translate(*args, **kwargs)
        module.known.dense.bias.data += 0.5
        return module, remarks

    original = photo_and_table(keras)
    original.save(tmp_path / "two.keras")
    for opener in ("assembly", "live"):
        monkeypatch.setattr(f"convscope.loaders.keras.{opener}.translate_network", wrong)
    for opened in (tmp_path / "two.keras", original):
        with pytest.raises(LoadError, match=r"converted wrongly: .* Keras 3.* first at layer 'known'"):
            cs.load(opened) if isinstance(opened, Path) else cs.Model(opened)


@pytest.mark.parametrize("other", ["table", "words"])
def test_several_inputs_with_a_layer_without_translation_open_with_their_scores(keras, tmp_path: Path, other: str):
    layers = keras.layers
    photo, second = keras.Input((16, 16, 3), name="photo"), keras.Input((4,), name=other)
    equal = layers.ContrastLimitedAdaptiveHistogramEqualization(value_range=(0, 1), name="equal")(photo)
    known = second if other == "table" else layers.GlobalAveragePooling1D()(layers.Embedding(9, 3)(second))
    features = layers.Concatenate()([layers.GlobalAveragePooling2D()(equal), known])
    original = with_own_weights(keras.Model([photo, second], layers.Dense(2)(features)))
    original.save(tmp_path / "two.keras")
    sample = {"photo": np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8), other: [1, 2, 3, 4]}
    arrays = [sample["photo"][None].astype(np.float32) / 255, np.array([sample[other]], np.float32)]
    expected = engine.as_array(original(arrays, training=False))[0]
    for model in (cs.load(tmp_path / "two.keras"), cs.Model(original)):
        assert isinstance(model.module, ScoresOnly)
        assert "layer 'equal'" in model.module.reason
        joint = cs.occlusion(model, sample, target=1, patch=2, stride=2)
        assert joint.score == pytest.approx(float(expected[1]), rel=1e-4)
        assert joint["photo"].values.any()
        if other == "words":
            assert joint.notes["not explained"].startswith("words (tokens are explained at their embedding, and only")
        with pytest.raises(ConvScopeError, match=r"needs the gradients of .*'equal'"):
            cs.saliency(model, sample)


def test_several_inputs_of_tokens_alone_with_a_layer_without_translation_are_refused(keras):
    class Custom(keras.layers.Layer):  # type: ignore[name-defined]
        def call(self, x):
            return keras.ops.sum(x, 1)

    words = [keras.Input((4,), name=name) for name in ("left", "right")]
    vectors = keras.layers.Concatenate()([keras.layers.Embedding(9, 3)(given) for given in words])
    with pytest.raises(LoadError, match=r"layer 'own' \(Custom\) .*; its inputs are tokens, which are explained at"):
        cs.Model(keras.Model(words, Custom(name="own")(vectors)))


def test_the_meaning_of_keras_2_is_kept(keras, tmp_path: Path):
    """Keras 3 has another hard sigmoid than the Keras with which old networks were trained."""
    import h5py

    model = with_own_weights(keras.Sequential([keras.Input((5,)), keras.layers.Dense(4, activation="hard_sigmoid")]))
    path = tmp_path / "old.h5"
    model.save(path)
    with h5py.File(path, "a") as file:
        file.attrs["keras_version"] = "2.3.1"
    opened = cs.load(path)
    x = torch.linspace(-2, 2, 5)[None]
    kernel, bias = (torch.from_numpy(np.asarray(engine.as_array(w.value))) for w in model.weights)
    torch.testing.assert_close(opened.module(x), (0.2 * (x @ kernel + bias) + 0.5).clamp(0, 1))
    assert opened.conversion is None


def test_formats_are_recognized_by_their_content(small, tmp_path: Path):
    small.save(tmp_path / "net.keras")
    (tmp_path / "net.keras").rename(tmp_path / "net.anything")
    assert_opens(tmp_path / "net.anything", small)
    assert not formats._is_archive(tmp_path / "net.anything", b"PK\x03\x05")


@pytest.mark.parametrize(("ending", "renamed"), [("keras", "net.h5"), ("h5", "net.keras"), ("h5", "net")])
def test_a_file_with_another_name_is_checked_too(small, tmp_path: Path, ending: str, renamed: str):
    """Keras opens a file by its name alone."""
    small.save(tmp_path / f"own.{ending}")
    (tmp_path / f"own.{ending}").rename(tmp_path / renamed)
    assert cs.load(tmp_path / renamed).conversion.difference < TOLERANCE


def test_classes_of_other_packages_are_not_imported_for_the_check(keras, tmp_path: Path):
    """What Keras builds a network from could name any package."""
    stack = [keras.layers.Conv2D(2, 3), keras.layers.GlobalAveragePooling2D()]
    model = keras.Sequential([keras.Input((8, 8, 3)), *stack])
    model.save_weights(tmp_path / "net.weights.h5")
    config = json.loads(model.to_json())
    config["config"]["layers"][1]["module"] = "antigravity"
    (tmp_path / "net.json").write_text(json.dumps(config))
    opened = cs.load(f"{tmp_path}/net.weights.h5?arch={tmp_path}/net.json")
    assert opened.conversion is None
    assert any("names the package 'antigravity', which is not imported" in caveat for caveat in opened.caveats)
    assert "antigravity" not in sys.modules


def test_packages_that_a_file_names_are_not_imported(keras, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Keras up to 3.10 imports whatever package a layer is said to come from."""
    (tmp_path / "hostile_package.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    from tests.loaders.keras import handmade

    conv = {**handmade.CONV, "module": "hostile_package", "registered_name": "conv"}
    config = handmade.functional(handmade.IMAGE, conv, handmade.POOL, handmade.SCORES, output="scores")
    for ending, content in (("keras", handmade.archive_bytes(config)), ("h5", handmade.hdf5_bytes(config))):
        path = tmp_path / f"net.{ending}"
        path.write_bytes(content)
        model = cs.load(path)
        assert model.conversion is None
        assert any("names the package 'hostile_package', which is not imported" in caveat for caveat in model.caveats)
