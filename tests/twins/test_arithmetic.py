"""Single numbers of a layer reimplemented: by the gradient of the layer, and by nested loops over a matrix."""

import itertools
import math
import random
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import convscope as cs
from convscope.engine.network.hooks import first_tensor
from convscope.errors import InputError, LayerError, NotFinite, ParameterError, UnknownName
from convscope.render import arithmetic as drawing
from convscope.render import arithmetic_operands
from convscope.render.canvas import Canvas
from tests.nets import PlainNet, ResidualNet, seeded

TOLERANCE = 1e-5


def numbers(*shape: int) -> Tensor:
    """Random numbers with a fixed seed."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def step_through(layer: nn.Module, x: Tensor, position: tuple[int, ...]) -> tuple[float, Tensor]:
    """The output of a layer at one position, in float64, and its gradient with respect to the input."""
    x = x.double().requires_grad_(True)
    with torch.enable_grad():
        value = layer.double().eval()(x[None])[(0, *position)]
        (gradient,) = torch.autograd.grad(value, x)
    layer.float()
    return float(value.detach()), gradient


def convolve(
    matrix: list[list[float]], kernel: list[list[float]], stride: int, padding: int, dilation: int, bias: float
) -> list[list[float]]:
    """The sum at every position where the kernel fits."""
    width = len(matrix[0]) + 2 * padding
    rows = [[0.0] * width for _ in range(padding)]
    padded = rows + [[0.0] * padding + list(row) + [0.0] * padding for row in matrix] + rows
    sums = []
    for top in range(0, len(padded) - dilation * (len(kernel) - 1), stride):
        sums.append([])
        for left in range(0, width - dilation * (len(kernel[0]) - 1), stride):
            total = bias
            for a, weights in enumerate(kernel):
                for b, weight in enumerate(weights):
                    total += weight * padded[top + a * dilation][left + b * dilation]
            sums[-1].append(total)
    return sums


# Whole networks


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
            if isinstance(module, nn.BatchNorm2d) and float(module.running_mean.abs().max()) == 0:
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


# Every kind of layer


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
        return first_tensor(self.layer(x))


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
            np.testing.assert_allclose(_coefficients(result, x.shape), gradient, rtol=1e-5, atol=1e-6)
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
def test_non_zero_padding_is_computed_and_marked(mode: str) -> None:
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
    _randomized(net.norm)
    outputs = _outputs(net, x)
    for row, result in enumerate(cs.step_through(net, x, unit="conv[1, 2, 3]")):
        assert [s.operation for s in result.steps] == ["conv2d", "layer_norm"]
        assert result.value == pytest.approx(float(outputs["conv"][row, 1, 2, 3]), rel=1e-5), "the last call"
        assert result.steps[1].value == pytest.approx(float(outputs["norm"][row, 1, 2, 3]), rel=1e-5)
    for row, result in enumerate(cs.step_through(net, x, unit="norm[1, 2, 3]")):
        assert result.value == pytest.approx(float(outputs["norm"][row, 1, 2, 3]), rel=1e-5)
    for row, result in enumerate(cs.step_through(net, x, unit="head[4, 2, 3]")):
        assert [s.operation for s in result.steps] == ["linear", "gelu"]
        assert result.value == pytest.approx(float(outputs["head"][row, 2, 3, 4]), rel=1e-5)


# The position


def test_the_default_position_is_the_strongest() -> None:
    net, x = seeded(PlainNet), numbers(2, 3, 16, 16)
    activation = _outputs(net, x)["features.2"]
    for row, result in enumerate(cs.step_through(net, x, unit="features.2[5]")):
        assert result.value == pytest.approx(float(activation[row, 5].max()), rel=1e-5)
        assert float(activation[(row, 5, *result.position)]) == float(activation[row, 5].max())
    for row, result in enumerate(cs.step_through(net, x, unit="features.2")):
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


@pytest.mark.parametrize("unit", ["stem", "bn1", "relu", "fc", "conv[2, 0, 0]"])
def test_every_kind_of_step_can_be_drawn(unit: str) -> None:
    result = cs.step_through(seeded(ResidualNet), numbers(1, 3, 16, 16), unit=unit)
    assert result.unit in result.picture(theme="dark" if unit in ("bn1", "fc") else "light").alt


def test_steps_can_be_saved_and_loaded(tmp_path: Path) -> None:
    result = cs.step_through(cs.load("bundled:digits"), "sample:digits/3")
    loaded = cs.Arithmetic.load(result.save(tmp_path / "steps.npz"))
    assert [(s.title, s.value, s.follows) for s in loaded.steps] == [
        (s.title, s.value, s.follows) for s in result.steps
    ]
    assert loaded.position == result.position
    assert all(torch.equal(loaded.numbers[name], result.numbers[name]) for name in result.numbers)
    assert loaded.lines() == result.lines()


# Convolution of a given matrix

EXAMPLE = "1 0 2 1 0 / 0 1 0 2 1 / 1 1 0 0 2 / 2 0 1 1 0 / 1 2 0 0 1", "1 0 1 / 1 1 0 / 0 1 1"


def _rows(text: str) -> list[list[float]]:
    return [[float(n) for n in row.split()] for row in text.split("/")]


def test_a_5x5_input_and_a_3x3_kernel_give_a_3x3_output() -> None:
    result = cs.convolve(*EXAMPLE)
    assert result.output.shape == (3, 3)
    assert result.output[0, 0] == 5
    assert result.output.tolist() == convolve(*map(_rows, EXAMPLE), 1, 0, 1, 0.0)
    assert result.workings[0] == "row 0, column 0: 1·1 + 0·0 + 2·1 + 0·1 + 1·1 + 0·0 + 1·0 + 1·1 + 0·1 = 5"
    assert cs.convolve().output.tolist() == result.output.tolist()


@pytest.mark.parametrize(
    "options",
    [{}, {"padding": 2}, {"stride": 2}, {"dilation": 2}, {"stride": 3, "padding": 1, "dilation": 2, "bias": -1.5}],
)
def test_every_sum_equals_that_of_nested_loops(options: dict[str, Any]) -> None:
    settings = {"stride": 1, "padding": 0, "dilation": 1, "bias": 0.0, **options}
    expected = convolve(*map(_rows, EXAMPLE), **settings)
    result = cs.convolve(*EXAMPLE, **options)
    assert result.output.tolist() == expected
    totals = [float(line.rpartition("= ")[2].replace("−", "-")) for line in result.workings]
    assert totals == list(itertools.chain(*expected))
    for row, column in np.ndindex(result.output.shape):
        result_at = cs.convolve(*EXAMPLE, **options, position=f"{row},{column}")
        assert result_at.value == expected[row][column]
        assert float(result_at.numbers["products"].sum()) + settings["bias"] == result_at.value


@pytest.mark.parametrize(
    "matrix", ["1 2 3 / 4 5 6", "1,2,3;4,5,6", [[1, 2, 3], [4, 5, 6]], np.arange(1, 7).reshape(2, 3)]
)
def test_a_matrix_can_be_text_or_an_array(matrix: Any) -> None:
    assert cs.convolve(matrix, "1 1").output.tolist() == [[3, 5], [9, 11]]
    assert cs.convolve(matrix, torch.tensor([[2.0]])).output.tolist() == [[2, 4, 6], [8, 10, 12]]


def test_a_single_row_is_a_signal() -> None:
    assert cs.convolve("1 2 3", [1, -1]).output.tolist() == [[-1, -1]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"matrix": "1 2 / 3"}, "the rows of matrix have 2, 1 numbers: all must have as many"),
        ({"kernel": "1 a"}, "kernel holds 'a', which is no number"),
        ({"kernel": "1 inf"}, "kernel holds 'inf': only finite numbers"),
        ({"matrix": ""}, "matrix is empty: write rows of numbers"),
        ({"matrix": []}, "matrix is empty: write rows of numbers"),
        ({"matrix": np.zeros((2, 2, 2))}, "matrix holds .*, which is no number"),
        ({"matrix": np.float64(3)}, "matrix must be a text"),
        ({"matrix": np.zeros((40, 2))}, "matrix is 40×2: every sum is written out for up to 32×32"),
        ({"matrix": "1 2"}, r"a kernel that covers 3×3 does not fit into 1×2 \(the matrix with its padding\)"),
        ({"dilation": 3}, "a kernel that covers 7×7 does not fit into 5×5"),
        ({"position": "3,0"}, "position must lie in the 3×3 output, got '3,0'"),
        ({"position": "first"}, "position must be whole numbers, each 0 to 95, joined by ',', got 'first'"),
    ],
)
def test_invalid_convolutions_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises((InputError, ParameterError), match=message):
        cs.convolve(**arguments)


def test_a_small_convolution_is_drawn() -> None:
    for theme in ("light", "dark"):
        picture = cs.convolve(padding=1, stride=2, position="0,2").picture(theme=theme)
        assert "output[0, 2]" in picture.alt


# Printed numbers


SUMS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "conv1d": (lambda: nn.Conv1d(6, 4, 3, padding=1), (6, 17)),
    "conv1d, grouped, dilated": (lambda: nn.Conv1d(12, 4, 3, padding=2, dilation=2, groups=2), (12, 17)),
    "conv2d": (lambda: nn.Conv2d(9, 4, 3, padding=1), (9, 9, 8)),
    "conv2d, strided": (lambda: nn.Conv2d(2, 4, 3, stride=2), (2, 9, 8)),
    "conv3d": (lambda: nn.Conv3d(6, 3, 3, padding=1), (6, 7, 8, 9)),
    "conv3d, one channel": (lambda: nn.Conv3d(1, 3, (2, 3, 3)), (1, 7, 8, 9)),
    "conv3d, flat": (lambda: nn.Conv3d(6, 3, (1, 3, 3)), (6, 7, 8, 9)),
    "conv3d, grouped": (lambda: nn.Conv3d(12, 4, 3, groups=2, dilation=2, stride=2), (12, 7, 8, 9)),
    "transposed, one axis": (lambda: nn.ConvTranspose1d(6, 6, 4, stride=3, padding=1), (6, 7)),
    "transposed": (lambda: nn.ConvTranspose2d(6, 4, 3, stride=2, padding=1), (6, 5, 6)),
    "transposed volume": (lambda: nn.ConvTranspose3d(6, 4, 3, stride=2, padding=1, groups=2), (6, 4, 5, 6)),
    "linear": (lambda: nn.Linear(40, 3), (40,)),
}


@pytest.mark.parametrize("kind", SUMS)
def test_printed_numbers_sum_to_the_value(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The products in the cells, and all that are left out, with their sum."""
    build, shape = SUMS[kind]
    net = nn.Sequential(seeded(build))
    result = cs.step_through(
        cs.Model(net, input=cs.TensorInput(shape=shape) if len(shape) > 1 else None), batch(shape), unit="0"
    )
    texts, matrices = printed(result, monkeypatch)
    total = result.steps[0].facts["sum"]
    size = float(result.numbers["products"].abs().sum())
    if kind == "linear":
        sums = [to_float(text[2:]) for text in texts if text.startswith("= ")]
    else:
        sums = [to_float(after) for text, after in itertools.pairwise(texts) if text == "sum"]
        products = matrices[2::3]
        assert len(products) == len(sums)
        for order, cells in enumerate(products):
            parts = [to_float(b) for a, b in itertools.pairwise(texts) if a.startswith(("sum of slice", "the other"))]
            slices = parts[2 * order : 2 * order + 2] or [sums[order]]
            assert float(cells.sum()) == pytest.approx(slices[0], abs=0.01 * size)
            assert sum(slices) == pytest.approx(sums[order], abs=0.01 * size)
    left_out = [to_float(text.partition(" sum to ")[2].rstrip(".")) for text in texts if " sum to " in text]
    assert sum(sums) + sum(left_out) == pytest.approx(total, abs=0.01 * size)


@pytest.mark.parametrize(
    ("layer", "label"), [(nn.AvgPool3d(3), "sum of slice"), (nn.MaxPool3d(3), "the largest is framed")]
)
def test_the_slice_of_a_pooled_volume_is_named(layer: nn.Module, label: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shape = (2, 6, 6, 6)
    result = cs.step_through(cs.Model(nn.Sequential(layer), input=cs.TensorInput(shape=shape)), batch(shape), unit="0")
    texts, (cells,) = printed(result, monkeypatch)
    assert any(label in text for text in texts)
    depth = int(next(text for text in texts if text.startswith("slice ")).split()[1])
    assert np.array_equal(cells, np.asarray(result.numbers["window"][0][depth], np.float32))
    if label == "sum of slice":
        parts = [
            float(text.partition(": ")[2].replace("−", "-"))
            for text in texts
            if text.startswith(("sum of slice", "the other"))
        ]
        assert sum(parts[:2]) == pytest.approx(result.steps[0].facts["sum"], abs=0.1)


def test_the_window_of_a_transposed_convolution_is_framed_in_the_input(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shape = (2, 4, 5, 6)
    net = nn.Sequential(seeded(lambda: nn.ConvTranspose3d(2, 4, 3, stride=2, padding=1)))
    result = cs.step_through(cs.Model(net, input=cs.TensorInput(shape=shape)), batch(shape), unit="0[1, 3, 4, 5]")
    frames: list[Any] = []
    monkeypatch.setattr(drawing, "_draw_frame", lambda _sheet, _x, _y, window: frames.append(window))
    texts, _ = printed(result, monkeypatch)
    left, top, width, height = frames[0]  # output 4 = 2·i + k − 1: rows 2 alone (k = 1); column 5: 2 and 3
    zoom = 220 / 6
    assert (left, top, width, height) == pytest.approx((2 * zoom, 2 * zoom, 2 * zoom, zoom), abs=1)
    assert any("channel" in text and "slice 2 of axis 0" in text for text in texts)  # output 3: 1 and 2


def batch(shape: tuple[int, ...]) -> Tensor:
    return numbers(1, *shape)


def printed(result: cs.Arithmetic, monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], list[Any]]:
    """The texts of a picture in order, and the matrices of numbers that it shows."""
    texts: list[str] = []
    matrices: list[Any] = []
    write, fill = Canvas.text, drawing.draw_matrix
    monkeypatch.setattr(
        Canvas, "text", lambda self, x, y, words, **o: (texts.append(words), write(self, x, y, words, **o))[1]
    )
    for module in (drawing, arithmetic_operands):
        monkeypatch.setattr(
            module,
            "draw_matrix",
            lambda sheet, x, y, v, *a, **o: (matrices.append(v), fill(sheet, x, y, v, *a, **o))[1],
        )
    result.picture()
    return texts, matrices


def to_float(text: str) -> float:
    """A number in the format used in pictures."""
    digits, _, power = text.replace("−", "-").partition("·10")
    exponent = power.translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789"))
    return float(digits) * 10 ** int(exponent or 0)
