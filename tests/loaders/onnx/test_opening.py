"""An opened ONNX file is the network that it was exported from: the same scores, maps, features and structure."""

import copy
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import convscope as cs
from convscope.errors import LoadError, OutputError
from convscope.loaders.onnx.runtime import RuntimeNetwork
from tests.loaders.onnx.onnx_files import export, helper, onnx, save_graph

TOLERANCE = 1e-4


class ResidualNet(nn.Module):
    """A stem, a residual block with batch norms of which one is not folded away, and a head with GELU."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 5, stride=2, padding=2), nn.ReLU(), nn.MaxPool2d(2))
        self.conv1, self.norm1 = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.conv2, self.norm2 = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.last = nn.BatchNorm2d(8)
        self.hidden, self.head = nn.Linear(8, 5), nn.Linear(5, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        x = F.relu(x + self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x))))))
        x = F.adaptive_avg_pool2d(self.last(x), 1).flatten(1)
        return self.head(F.gelu(self.hidden(x)))


def residual_net() -> nn.Module:
    torch.manual_seed(0)
    net = ResidualNet().eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = torch.randn(module.num_features)
            module.running_var = torch.rand(module.num_features) + 0.5
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    return net


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[cs.Model, cs.Model]:
    """A network of PyTorch and the same one opened from its ONNX file, both in double precision."""
    net = residual_net()
    path = export(net, torch.rand(1, 3, 32, 32), tmp_path_factory.mktemp("onnx") / "residual.onnx")
    opened = cs.load(path)
    opened.module.double()
    return cs.Model(net.double(), input=cs.ImageInput(size=32)), opened


def difference(first: object, second: object) -> float:
    first, second = np.asarray(first), np.asarray(second)
    return float(np.abs(first - second).max() / np.abs(first).max())


def test_layers_are_ordinary_modules_named_as_the_nodes(pair: tuple[cs.Model, cs.Model]) -> None:
    modules = dict(pair[1].module.named_modules())
    assert type(modules["/stem/stem.0/Conv"]) is nn.Conv2d
    assert type(modules["/stem/stem.1/Relu"]) is nn.ReLU
    assert type(modules["/stem/stem.2/MaxPool"]) is nn.MaxPool2d
    assert type(modules["/last/BatchNormalization"]) is nn.BatchNorm2d
    assert type(modules["/GlobalAveragePool"]) is nn.AdaptiveAvgPool2d
    assert type(modules["/head/Gemm"]) is nn.Linear
    assert not pair[1].module.training


@pytest.mark.parametrize(
    "lens",
    ["saliency", "integrated-gradients", "lrp", "deep-lift", "guided-backprop", "grad-cam", "score-cam", "occlusion"],
)
def test_maps_are_those_of_the_original(pair: tuple[cs.Model, cs.Model], lens: str) -> None:
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    function = getattr(cs, lens.replace("-", "_"))
    maps = [function(model, images, target=1) for model in pair]
    for original, opened in zip(*maps, strict=True):
        assert difference(original.values, opened.values) < TOLERANCE


def test_structure_and_feature_maps_are_those_of_the_original(pair: tuple[cs.Model, cs.Model]) -> None:
    image = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(1))
    original, opened = (cs.structure(model, image) for model in pair)
    assert original.flops == opened.flops
    features = [
        cs.feature_maps(model, image, layer=layer).maps[layer]
        for model, layer in zip(pair, ("stem.0", "/stem/stem.0/Conv"), strict=True)
    ]
    assert difference(*features) < TOLERANCE


def test_the_conversion_is_checked_against_onnx_runtime(pair: tuple[cs.Model, cs.Model]) -> None:
    pytest.importorskip("onnxruntime")
    conversion = pair[1].conversion
    assert conversion is not None
    assert conversion.engine.startswith("ONNX Runtime")
    assert conversion.difference < TOLERANCE


def test_a_wrong_conversion_names_the_first_layer_that_differs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    from convscope.loaders.onnx.operators.declaration import FUNCTIONS, OperatorFunction

    wrong = OperatorFunction(torch.cos, (), True, frozenset(), frozenset(), frozenset())
    monkeypatch.setitem(FUNCTIONS, "Sin", wrong)
    nodes = [
        helper.make_node("Abs", ["x"], ["a"], name="first"),
        helper.make_node("Sin", ["a"], ["b"], name="second"),
        helper.make_node("Flatten", ["b"], ["y"]),
    ]
    path = save_graph(tmp_path / "net.onnx", nodes, [1, 3, 8, 8])
    with pytest.raises(LoadError, match=r"differs from ONNX Runtime .* first at layer 'second'"):
        cs.load(path)


def test_an_opened_network_is_copied_and_pickled(pair: tuple[cs.Model, cs.Model]) -> None:
    image = torch.rand(1, 3, 32, 32, dtype=torch.float64)
    restored, copied = pickle.loads(pickle.dumps(pair[1])), copy.deepcopy(pair[1].module)
    expected = pair[1].module(image)
    assert torch.equal(restored.module(image), expected)
    assert torch.equal(copied(image), expected)


def test_preprocessing_that_the_file_does_not_say_is_a_caveat(pair: tuple[cs.Model, cs.Model]) -> None:
    assert "images are prepared as for networks that take pixels in 0 … 1" in pair[1].caveats[0]
    given = cs.load(f"{pair[1].source}?size=32&mean=0.5,0.5,0.5&std=0.25,0.25,0.25")
    assert given.caveats == ()
    assert given.input.mean == (0.5, 0.5, 0.5)


def test_a_bias_that_is_added_after_a_product_belongs_to_the_linear_layer(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Conv1d(2, 4, 3), nn.Linear(6, 3))
    model = cs.load(export(net, torch.rand(1, 2, 8), tmp_path / "net.onnx"))
    linear = [module for module in model.module.modules() if isinstance(module, nn.Linear)]
    assert len(linear) == 1
    assert torch.equal(linear[0].bias, net[1].get_parameter("bias"))
    assert len(model.layers()) == 2


def two_headed(tmp_path: Path, names: tuple[str, str] = ("scores", "7")) -> Path:
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["mean"]),
        helper.make_node("Flatten", ["mean"], [names[0]]),
        helper.make_node("Neg", [names[0]], [names[1]]),
    ]
    return save_graph(tmp_path / "net.onnx", nodes, ["N", 3, 8, 8], outputs=names)


def test_one_of_several_outputs_is_selected_by_name_or_number(tmp_path: Path) -> None:
    path = two_headed(tmp_path)
    image = torch.rand(1, 3, 8, 8)
    with pytest.raises(OutputError, match="keys 'scores', '7'"):
        cs.predict(cs.load(path), image)
    scores, by_number, by_digit = (cs.load(f"{path}?output={selector}").run(image) for selector in ("scores", "0", "7"))
    assert torch.equal(scores, by_number)
    assert torch.equal(by_digit, -scores)


def test_images_with_channels_last_are_given_channels_first(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Transpose", ["x"], ["nchw"], perm=[0, 3, 1, 2]),
        helper.make_node("ReduceMax", ["nchw"], ["y"], axes=[2, 3], keepdims=0),
    ]
    model = cs.load(save_graph(tmp_path / "net.onnx", nodes, [1, 16, 20, 3]))
    assert model.input.size == (16, 20)
    image = torch.rand(2, 3, 16, 20)
    assert torch.equal(model.module(image), image.amax((2, 3)))


def test_pixels_given_as_whole_numbers_need_no_assumption(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["floats"], to=1),
        helper.make_node("GlobalAveragePool", ["floats"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["y"]),
    ]
    model = cs.load(save_graph(tmp_path / "net.onnx", nodes, [1, 3, 8, 8], element=2))
    white = np.full((8, 8, 3), 255, np.uint8)
    assert model.run(model.prepare(white).tensor).flatten().tolist() == [255, 255, 255]
    assert model.caveats == ()


def test_labels_are_read_from_the_metadata(tmp_path: Path) -> None:
    path = two_headed(tmp_path)
    proto = onnx.load(path)
    entry = proto.metadata_props.add()
    entry.key, entry.value = "names", "{0: 'cat', 1: 'dog', 2: 'bird'}"
    path.write_bytes(proto.SerializeToString())
    assert cs.load(path).labels == ("cat", "dog", "bird")


def test_weights_beside_the_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="holds its own weights"):
        cs.load(two_headed(tmp_path), "other.safetensors")


def test_what_cannot_be_translated_opens_for_its_scores_alone(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("RandomUniformLike", ["flat"], ["ones"], low=1.0, high=1.0),
        helper.make_node("RandomUniformLike", ["ones"], ["again"], low=1.0, high=1.0),
        helper.make_node("ReduceMax", ["again"], ["most"], keepdims=0),
        helper.make_node("Mul", ["flat", "most"], ["y"]),
    ]
    model = cs.load(save_graph(tmp_path / "net.onnx", nodes, [1, 3, 8, 8]))
    image = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    means = image.mean((2, 3))
    assert torch.allclose(model.run(image), means)
    assert cs.occlusion(model, image, target=0).values.shape == (8, 8)
    with pytest.raises(cs.ConvScopeError, match=r"does not translate RandomUniformLike \(2 nodes\)"):
        cs.grad_cam(model, image)
    restored = pickle.loads(pickle.dumps(model))
    assert torch.equal(restored.run(image), model.run(image))


def test_without_onnx_runtime_the_untranslated_operators_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from convscope.loaders.onnx import opening

    monkeypatch.setattr(opening, "is_installed", lambda: False)
    nodes = [helper.make_node("RandomUniformLike", ["x"], ["y"])]
    with pytest.raises(
        LoadError, match=r"does not translate: RandomUniformLike \(1 node\); with ONNX Runtime .*pip install"
    ):
        cs.load(save_graph(tmp_path / "net.onnx", nodes, [1, 3, 8, 8]))


def test_operators_that_nothing_knows_are_named_with_their_count(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    nodes = [helper.make_node("Unheard", ["x"], ["a"]), helper.make_node("Unheard", ["a"], ["y"])]
    with pytest.raises(LoadError, match=r"does not translate: Unheard \(2 nodes\); and ONNX Runtime refuses") as caught:
        cs.load(save_graph(tmp_path / "net.onnx", nodes, [1, 3, 8, 8]))
    assert "\n" not in str(caught.value)


def test_outputs_without_numbers_for_each_input_are_passed_over(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["loss"], keepdims=0),
        helper.make_node("NonZero", ["x"], ["places"]),
        helper.make_node("Cast", ["places"], ["boxes"], to=onnx.TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["x", "axes"], ["y"], keepdims=0),
    ]
    weights = {"axes": np.array([2, 3])}
    images = torch.zeros(2, 3, 4, 4)
    images[1, 1, 2, 2] = 1
    both = save_graph(tmp_path / "net.onnx", [nodes[0], nodes[3]], [1, 3, 4, 4], weights=weights, outputs=["loss", "y"])
    model = cs.load(f"{both}?output=y")
    assert model.conversion is not None
    assert torch.equal(model.run(images), images.sum((2, 3)))
    path = save_graph(tmp_path / "boxes.onnx", nodes, [1, 3, 4, 4], weights=weights, outputs=["loss", "boxes", "y"])
    assert torch.equal(cs.load(f"{path}?output=y").run(images), images.sum((2, 3)))
    assert np.array_equal(RuntimeNetwork(path, "x", {}, "y", 1, False, "float32")(images.numpy()), images.sum((2, 3)))
    with pytest.raises(OutputError, match=r"the output 'boxes' has the shape \(4, 0\) for 2 inputs: export one"):
        RuntimeNetwork(path, "x", {}, "boxes", 1, False, "float32")(images.numpy())
