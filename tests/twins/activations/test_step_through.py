"""Step through computed a second time, step by step, and compared with the lens."""

import itertools
import math
import random
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import convscope as cs
from convscope.engine.network.hooks import first_tensor
from convscope.errors import LayerError, NotFinite, ParameterError, UnknownName
from tests.nets import PlainNet, ResidualNet, seeded
from tests.twins.activations.arithmetic_inputs import numbers
from tests.twins.binding import twin_of
from tests.twins.results import list_of_values, single_value

TOLERANCE = 1e-5


@twin_of(cs.step_through)
def step_through(layer: nn.Module, x: Tensor, position: tuple[int, ...]) -> tuple[float, Tensor]:
    """The output of a layer at one position, in float64, and its gradient with respect to the input."""
    x = x.double().requires_grad_(True)
    with torch.enable_grad():
        value = layer.double().eval()(x[None])[(0, *position)]
        (gradient,) = torch.autograd.grad(value, x)
    layer.float()
    return float(value.detach()), gradient


def _densenet(torchvision: ModuleType) -> nn.Module:
    return torchvision.models.DenseNet(growth_rate=8, block_config=(2, 3), num_init_features=16, num_classes=10)


NETWORKS: dict[str, tuple[Callable[[ModuleType], Any], tuple[int, ...]]] = {
    "shapes": (lambda _: cs.load("bundled:shapes").module, (3, 96, 96)),
    "digits": (lambda _: cs.load("bundled:digits").module, (1, 8, 8)),
    "resnet18": (lambda library: library.models.resnet18(weights=None), (3, 64, 64)),
    "mobilenet_v2": (lambda library: library.models.mobilenet_v2(weights=None), (3, 64, 64)),
    "densenet": (_densenet, (3, 48, 48)),
}


def _network(name: str, torchvision: ModuleType) -> tuple[nn.Module, Tensor]:
    """A network with non-trivial norms, and an image."""
    build, shape = NETWORKS[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = build(torchvision).eval()
        for module in net.modules():
            if not isinstance(module, nn.BatchNorm2d):
                continue
            assert module.running_mean is not None
            assert module.running_var is not None
            if float(module.running_mean.abs().max()) == 0:
                nn.init.uniform_(module.running_mean, -0.3, 0.3)
                nn.init.uniform_(module.running_var, 0.2, 1)
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.uniform_(module.bias, -0.2, 0.2)
    return net, numbers(1, *shape)


def _outputs(net: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """The output of every layer without children at its last call, copied immediately."""
    outputs: dict[str, Tensor] = {}
    store = lambda name: lambda _m, _i, output: outputs.update({name: first_tensor(output).clone()})  # noqa: E731
    leaves = [(name, m) for name, m in net.named_modules() if not list(m.children())]
    handles = [m.register_forward_hook(store(name)) for name, m in leaves if not isinstance(m, nn.Dropout)]
    with torch.no_grad():
        net(x.clone())
    for handle in handles:
        handle.remove()
    return outputs


@pytest.mark.parametrize("name", NETWORKS)
def test_the_value_equals_that_of_the_network_at_forty_random_positions(name: str, torchvision: ModuleType) -> None:
    """Two hundred positions in five networks, compared with the outputs recorded by plain hooks."""
    net, x = _network(name, torchvision)
    outputs, rng = _outputs(net, x), random.Random(0)
    model, operations = cs.Model(net), set()
    for address in rng.choices([a for a in outputs if not isinstance(net.get_submodule(a), nn.Flatten)], k=40):
        output = outputs[address]
        position = [rng.randrange(n) for n in output.shape[1:]]
        result = cs.step_through(model, x, unit=f"{address}[{', '.join(map(str, position))}]")
        expected = float(output[(0, *position)])
        assert abs(result.value - expected) <= TOLERANCE * max(1, abs(expected)), (address, position)
        for step in result.steps:
            assert step.network is not None
            assert abs(step.value - step.network) <= TOLERANCE * max(1, abs(step.network)), (address, step)
            operations.add(step.operation)
    assert {"conv2d"} < operations


def test_the_following_steps_are_the_outputs_of_the_next_layers_at_that_position(torchvision: ModuleType) -> None:
    """Convolution, norm, the residual sum, and its ReLU, which is used twice."""
    net, x = _network("resnet18", torchvision)
    outputs = _outputs(net, x)
    result = cs.step_through(cs.Model(net), x, unit="layer2.1.conv2[5, 3, 4]")
    assert [s.operation for s in result.steps] == ["conv2d", "batch_norm", "add", "relu"]
    assert [s.follows for s in result.steps] == [False, True, True, True]
    for step, address in zip(
        (result.steps[0], result.steps[1], result.steps[3]), ("conv2", "bn2", "relu"), strict=True
    ):
        assert step.value == pytest.approx(float(outputs[f"layer2.1.{address}"][0, 5, 3, 4]), rel=1e-4, abs=1e-5)
    assert result.steps[2].given == pytest.approx(result.steps[1].value, rel=1e-5)


LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "conv1d": (lambda: nn.Conv1d(3, 4, 5, stride=2, padding=3, dilation=2), (3, 17)),
    "conv2d": (lambda: nn.Conv2d(3, 4, (3, 2), stride=(2, 1), padding=(2, 1)), (3, 9, 8)),
    "conv2d, same": (lambda: nn.Conv2d(3, 4, (4, 3), padding="same", dilation=2), (3, 9, 8)),
    "conv2d, grouped": (lambda: nn.Conv2d(6, 4, 3, groups=2, padding=1, bias=False), (6, 7, 8)),
    "conv2d, depthwise": (lambda: nn.Conv2d(4, 8, 3, groups=4), (4, 6, 6)),
    "conv3d": (lambda: nn.Conv3d(2, 3, 3, stride=2, padding=1, dilation=2), (2, 7, 8, 9)),
    "transposed, one axis": (lambda: nn.ConvTranspose1d(4, 6, 4, stride=3, padding=1, groups=2), (4, 7)),
    "transposed": (lambda: nn.ConvTranspose2d(3, 4, 3, stride=2, padding=1, output_padding=1), (3, 5, 6)),
    "transposed, dilated": (lambda: nn.ConvTranspose2d(4, 6, (3, 2), dilation=2, groups=2), (4, 5, 6)),
    "transposed volume": (lambda: nn.ConvTranspose3d(2, 3, 2, stride=2), (2, 3, 4, 3)),
    "linear": (lambda: nn.Linear(7, 3), (7,)),
    "average": (lambda: nn.AvgPool2d(3, 2, padding=1), (2, 8, 9)),
    "average, padding not counted": (lambda: nn.AvgPool2d(3, 2, padding=1, count_include_pad=False), (2, 8, 9)),
    "average, ceil": (lambda: nn.AvgPool2d(3, 2, padding=1, ceil_mode=True), (2, 8, 9)),
    "average, divisor": (lambda: nn.AvgPool2d(2, divisor_override=3), (2, 6, 6)),
    "average, one axis": (lambda: nn.AvgPool1d(4, 3, ceil_mode=True), (2, 15)),
    "average of volumes": (lambda: nn.AvgPool3d(2, 2, padding=1), (2, 5, 6, 5)),
    "adaptive average": (lambda: nn.AdaptiveAvgPool2d((3, 2)), (2, 8, 9)),
    "largest": (lambda: nn.MaxPool2d(3, 2, padding=1), (2, 8, 9)),
    "largest, dilated, ceil": (lambda: nn.MaxPool2d(2, 2, padding=1, dilation=2, ceil_mode=True), (2, 8, 9)),
    "largest, with indices": (lambda: nn.MaxPool1d(3, return_indices=True), (2, 11)),
    "largest of volumes": (lambda: nn.MaxPool3d(2), (2, 4, 6, 4)),
    "adaptive largest": (lambda: nn.AdaptiveMaxPool2d((3, 2)), (2, 8, 9)),
    "batch norm": (lambda: _randomized(nn.BatchNorm2d(4)), (4, 5, 6)),
    "batch norm of the batch": (lambda: _randomized(nn.BatchNorm2d(4, track_running_stats=False)), (4, 5, 6)),
    "instance norm": (lambda: _randomized(nn.InstanceNorm2d(4, affine=True)), (4, 5, 6)),
    "instance norm, kept": (
        lambda: _randomized(nn.InstanceNorm2d(4, affine=True, track_running_stats=True)), (4, 5, 6)
    ),
    "group norm": (lambda: _randomized(nn.GroupNorm(2, 4)), (4, 5, 6)),
    "layer norm": (lambda: _randomized(nn.LayerNorm((4, 5, 6))), (4, 5, 6)),
    "RMS norm": (lambda: _randomized(nn.RMSNorm((6,))), (4, 5, 6)),
    "local response": (lambda: nn.LocalResponseNorm(3, alpha=0.5, k=2), (5, 4, 3)),
    "prelu": (lambda: nn.PReLU(4, init=0.3), (4, 5, 6)),
    "softmax": (lambda: nn.Softmax(1), (9,)),
    "log-softmax": (lambda: nn.LogSoftmax(1), (9,)),
    "softmax of channels": (lambda: nn.Softmax2d(), (4, 3, 3)),
    **{
        kind.__name__: (kind, (2, 3, 3))
        for kind in (
            nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Softplus, nn.Tanh,
            nn.Sigmoid, nn.Hardtanh, nn.Hardswish, nn.Hardsigmoid, nn.Softsign, nn.Tanhshrink, nn.LogSigmoid,
        )
    },
}  # fmt: skip


def _randomized(norm: nn.Module) -> nn.Module:
    """A norm with parameters and statistics different from the initial ones."""
    generator = torch.Generator().manual_seed(1)
    for tensor in (*norm.parameters(), *norm.buffers()):
        if tensor.is_floating_point():
            tensor.data.uniform_(0.3, 1.7, generator=generator)
    return norm


class FirstOutput(nn.Module):
    """The first output of a layer."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        output = first_tensor(self.layer(x))
        assert output is not None
        return output


@pytest.mark.parametrize("name", LAYERS)
def test_every_kind_of_layer_equals_the_reference(name: str) -> None:
    """At corners and in between: where windows overlap padding, where groups begin and end."""
    build, shape = LAYERS[name]
    torch.manual_seed(0)
    net, x = FirstOutput(build()), numbers(*shape) * 2
    extent = net.eval()(x[None]).shape[1:]
    rng = random.Random(0)
    corners = [tuple(n - 1 for n in extent), (0,) * len(extent)]
    for position in corners + [tuple(rng.randrange(n) for n in extent) for _ in range(4)]:
        value, gradient = step_through(net, x, position)
        result = cs.step_through(net, x[None], unit=f"layer[{', '.join(map(str, position))}]")
        assert result.value == pytest.approx(value, rel=1e-5, abs=1e-6)
        assert len(result.steps) == 1
        step = result.steps[0]
        if "slope" in step.facts:
            assert step.facts["slope"] == pytest.approx(float(gradient[position]), rel=1e-4, abs=1e-6)
            assert step.given == pytest.approx(float(x[position]), rel=1e-6)
        elif "kernel" in result.numbers and len(shape) > 1:
            np.testing.assert_allclose(_coefficients(single_value(result), x.shape), gradient, rtol=1e-5, atol=1e-6)
        elif "winner" in step.facts:
            assert gradient[(position[0], *step.facts["winner"])] == 1
        elif "divisor" in step.facts:
            share = float(gradient.max())
            assert share == pytest.approx(1 / step.facts["divisor"])
            assert int((gradient > 0).sum()) == int(result.numbers["inside"].sum())


def _coefficients(result: cs.Arithmetic, shape: tuple[int, ...]) -> Tensor:
    """The kernel at the position of the window: the coefficient of each input value."""
    coefficients = torch.zeros(shape, dtype=torch.float64)
    kernel, inside, first = result.numbers["kernel"], result.numbers["inside"], result.steps[0].facts["first channel"]
    positions = [result.numbers[f"positions {axis}"] for axis in range(len(shape) - 1)]
    for cell in itertools.product(*map(range, inside.shape)):
        if inside[cell]:
            position = tuple(int(axis_positions[i]) for axis_positions, i in zip(positions, cell, strict=True))
            for channel in range(len(kernel)):
                coefficients[(first + channel, *position)] += kernel[(channel, *cell)]
    return coefficients


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_non_zero_padding_is_computed_and_marked(mode: Literal["reflect", "replicate", "circular"]) -> None:
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Conv2d(2, 3, 3, padding=(2, 1), padding_mode=mode)), numbers(2, 6, 5)
    for position in ((0, 0, 0), (2, 7, 4), (1, 3, 2)):
        result = cs.step_through(net, x[None], unit=f"0[{', '.join(map(str, position))}]")
        assert result.value == pytest.approx(step_through(net, x, position)[0], rel=1e-5)
        assert result.steps[0].facts["padding mode"] == mode
        rows = [position[1] - 2 + k for k in range(3)]
        columns = [position[2] - 1 + k for k in range(3)]
        assert result.numbers["positions 0"].tolist() == rows
        assert result.numbers["inside"].tolist() == [
            [int(0 <= row < 6 and 0 <= column < 5) for column in columns] for row in rows
        ]
        assert result.numbers["input"].shape[1:] == (6, 5)


def test_all_operations_of_a_sequential_module_are_steps() -> None:
    """Convolution, norm and an in-place activation: the last value is that of the module."""
    torch.manual_seed(0)
    block = nn.Sequential(nn.Conv2d(3, 4, 3), _randomized(nn.BatchNorm2d(4)), nn.LeakyReLU(0.1, inplace=True))
    net, x = nn.Sequential(block, nn.Softmax2d()), numbers(3, 6, 6)
    result = cs.step_through(net, x[None], unit="0[2, 1, 3]")
    assert [(s.operation, s.follows) for s in result.steps] == [
        ("conv2d", False), ("batch_norm", False), ("leaky_relu", False), ("softmax", True)
    ]  # fmt: skip
    assert result.value == pytest.approx(step_through(block, x, (2, 1, 3))[0], rel=1e-5)
    assert result.steps[0].value == pytest.approx(step_through(block[0], x, (2, 1, 3))[0], rel=1e-5)


class MovedAxes(nn.Module):
    """Norms over channels with permuted axes, as in ConvNeXt; a reused layer; tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, 3, 3, padding=1), LayerNorm2d(3), nn.Linear(3, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(self.conv(x))
        x = self.norm(x).permute(0, 2, 3, 1)
        return F.gelu(self.head(x)).mean((1, 2))


class LayerNorm2d(nn.LayerNorm):
    """A layer norm over channels in a channels-first tensor."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def test_values_are_followed_through_permutations_of_axes() -> None:
    net, x = seeded(MovedAxes), numbers(2, 3, 6, 7)
    _randomized(net.get_submodule("norm"))
    outputs = _outputs(net, x)
    for row, result in enumerate(list_of_values(cs.step_through(net, x, unit="conv[1, 2, 3]"))):
        assert [s.operation for s in result.steps] == ["conv2d", "layer_norm"]
        assert result.value == pytest.approx(float(outputs["conv"][row, 1, 2, 3]), rel=1e-5), "the last call"
        assert result.steps[1].value == pytest.approx(float(outputs["norm"][row, 1, 2, 3]), rel=1e-5)
    for row, result in enumerate(list_of_values(cs.step_through(net, x, unit="norm[1, 2, 3]"))):
        assert result.value == pytest.approx(float(outputs["norm"][row, 1, 2, 3]), rel=1e-5)
    for row, result in enumerate(list_of_values(cs.step_through(net, x, unit="head[4, 2, 3]"))):
        assert [s.operation for s in result.steps] == ["linear", "gelu"]
        assert result.value == pytest.approx(float(outputs["head"][row, 2, 3, 4]), rel=1e-5)


def test_the_default_position_is_the_strongest() -> None:
    net, x = seeded(PlainNet), numbers(2, 3, 16, 16)
    activation = _outputs(net, x)["features.2"]
    for row, result in enumerate(list_of_values(cs.step_through(net, x, unit="features.2[5]"))):
        assert result.value == pytest.approx(float(activation[row, 5].max()), rel=1e-5)
        assert float(activation[(row, 5, *result.position)]) == float(activation[row, 5].max())
    for row, result in enumerate(list_of_values(cs.step_through(net, x, unit="features.2"))):
        assert result.value == pytest.approx(float(activation[row].max()), rel=1e-5)
    assert cs.step_through(net, x[:1]).unit.startswith("features.0[")


def test_missing_units_and_positions_are_refused() -> None:
    model, x = cs.Model(seeded(PlainNet)), numbers(1, 3, 16, 16)
    with pytest.raises(UnknownName, match=r"no unit features.2\[8\]: 'features.2' has units 0 to 7"):
        cs.step_through(model, x, unit="features.2[8]")
    with pytest.raises(UnknownName, match=r"no position \(8, 0\) in 'features.2': its map is \(8, 8\)"):
        cs.step_through(model, x, unit="features.2[1, 8, 0]")
    with pytest.raises(UnknownName, match=r"no position \(1,\) in 'features.2'"):
        cs.step_through(model, x, unit="features.2[1, 1]")
    with pytest.raises(UnknownName, match=r"no layer 'feature.2'"):
        cs.step_through(model, x, unit="feature.2[1]")
    with pytest.raises(ParameterError, match="one unit is stepped through at a time, got 2"):
        cs.step_through(model, x, unit=["features.0[1]", "features.2[1]"])


def test_a_block_is_refused_with_its_parts() -> None:
    message = (
        r"layer 'layer2.0' \(BasicBlock\) is made of parts: step through one of 'layer2.0.conv1', 'layer2.0.bn1', "
    )
    with pytest.raises(LayerError, match=message):
        cs.step_through(cs.load("bundled:shapes"), "sample:shapes/7", unit="layer2.0")
    with pytest.raises(LayerError, match=r"'dropout' \(Dropout\) has no operation that can be evaluated"):
        cs.step_through(seeded(ResidualNet), numbers(1, 3, 16, 16), unit="dropout")


def test_a_value_that_is_not_finite_is_refused() -> None:
    net = nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU())
    net[0].bias.data.fill_(math.inf)
    with pytest.raises(
        NotFinite, match=r"is NaN or infinite after the operation 'conv2d' \(the network overflows first"
    ):
        cs.step_through(net, numbers(1, 1, 3, 3), unit="0[0, 1, 1]")


def test_steps_can_be_saved_and_loaded(tmp_path: Path) -> None:
    result = cs.step_through(cs.load("bundled:digits"), "sample:digits/3")
    loaded = cs.Arithmetic.load(result.save(tmp_path / "steps.npz"))
    assert [(s.title, s.value, s.follows) for s in loaded.steps] == [
        (s.title, s.value, s.follows) for s in result.steps
    ]
    assert loaded.position == result.position
    assert all(torch.equal(loaded.numbers[name], result.numbers[name]) for name in result.numbers)
    assert loaded.lines() == result.lines()
