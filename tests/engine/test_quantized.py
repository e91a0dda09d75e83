"""Networks whose weights are no plain parameters: packed as integers, pruned, or computed from others."""

import warnings
from collections.abc import Callable, Iterator

import pytest
import torch
import torch.ao.quantization as quantization
from torch import Tensor, nn
from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx
from torch.nn.utils import parametrizations, parametrize, prune

import convscope as cs
from convscope.errors import LayerError, NoGradient

CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
POOLS = {1: nn.AdaptiveAvgPool1d, 2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d}


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Torch says of its own quantisation that it is old."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def plain(axes: int = 2) -> nn.Sequential:
    """Two convolutions and a head, always with the same weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        convolution = CONVOLUTIONS[axes]
        layers = [convolution(2, 8, 3), nn.ReLU(), convolution(8, 8, 3, groups=2), nn.ReLU()]
        return nn.Sequential(*layers, POOLS[axes](1), nn.Flatten(), nn.Linear(8, 4)).eval()


def inputs(axes: int = 2, count: int = 1) -> Tensor:
    return torch.randn(count, 2, *[8] * axes, generator=torch.Generator().manual_seed(1))


def static(axes: int = 2, backend: str = "fbgemm") -> nn.Module:
    """Quantised between two stubs, weights per channel."""
    net = nn.Sequential(quantization.QuantStub(), *plain(axes), quantization.DeQuantStub()).eval()
    net.qconfig = quantization.get_default_qconfig(backend)
    prepared = quantization.prepare(net)
    prepared(inputs(axes, 8))
    return quantization.convert(prepared)


def per_tensor() -> nn.Module:
    """The same with one scale a weight."""
    net = nn.Sequential(quantization.QuantStub(), *plain(), quantization.DeQuantStub()).eval()
    net.qconfig = quantization.default_qconfig
    prepared = quantization.prepare(net)
    prepared(inputs(2, 8))
    return quantization.convert(prepared)


def by_graph() -> nn.Module:
    """Quantised as a graph, activations fused into convolutions."""
    prepared = prepare_fx(plain(), quantization.get_default_qconfig_mapping("fbgemm"), (inputs(),))
    prepared(inputs(2, 8))
    return convert_fx(prepared)


def dynamic() -> nn.Module:
    """The head alone computes with integers."""
    return quantization.quantize_dynamic(plain(), {nn.Linear}, torch.qint8)


class Beside(nn.Module):
    """A dynamically quantised layer beside a connection that skips it: half of the gradient would pass."""

    def __init__(self) -> None:
        super().__init__()
        body = plain()
        self.body, self.head = body[:6], body[6]
        with torch.random.fork_rng():
            torch.manual_seed(2)
            mixing = nn.Sequential(nn.Linear(8, 8))
        self.mix = quantization.quantize_dynamic(mixing, {nn.Linear}, torch.qint8)

    def forward(self, x: Tensor) -> Tensor:
        seen = self.body(x)
        return self.head(seen + self.mix(seen))


class Recurrent(nn.Module):
    """A convolution and an LSTM over its columns."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.rnn, self.head = nn.Conv2d(2, 4, 3, padding=1), nn.LSTM(4, 5, batch_first=True), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(self.conv(x).relu().mean(2).transpose(1, 2))[0].mean(1))


def recurrent() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return quantization.quantize_dynamic(Recurrent().eval(), {nn.LSTM, nn.Linear}, torch.qint8)


QUANTISED: dict[str, tuple[Callable[[], nn.Module], int, str]] = {
    "static": (static, 2, "1"),
    "static, 1-D": (lambda: static(1), 1, "1"),
    "static, 3-D": (lambda: static(3), 3, "1"),
    "per tensor": (per_tensor, 2, "1"),
    "by graph": (by_graph, 2, "0"),
    "dynamic": (dynamic, 2, "1"),
    "beside a skip": (lambda: Beside().eval(), 2, "body.1"),
    "recurrent": (recurrent, 2, "conv"),
}
every_quantised = pytest.mark.parametrize("name", QUANTISED)


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("name", ["static", "static, 1-D", "static, 3-D", "per tensor", "by graph", "dynamic"])
def test_parameters_and_flops_of_a_quantised_network_are_those_of_the_network_it_was(name: str) -> None:
    build, axes, _ = QUANTISED[name]
    found, true = cs.structure(build(), inputs(axes)), cs.structure(plain(axes), inputs(axes))
    assert (found.parameters, found.flops) == (true.parameters, true.flops)
    assert sum(operation.parameters for operation in found.operations) == found.parameters
    assert sum(operation.flops for operation in found.operations) == found.flops
    assert "int8" in found.notes["quantised layers"]
    assert found.parameter_bytes < true.parameter_bytes
    assert all("_packed_params" not in module.address for module in found.modules)


@pytest.mark.parametrize("name", ["static", "static, 1-D", "static, 3-D"])
def test_receptive_fields_of_quantised_convolutions_are_known(name: str) -> None:
    build, axes, _ = QUANTISED[name]
    fields = {module.address: module.field for module in cs.structure(build(), inputs(axes)).modules}
    assert (fields["1"], fields["3"]) == ((3,) * axes, (5,) * axes)


def test_the_weights_of_a_dynamically_quantised_lstm_are_counted() -> None:
    found = cs.structure(recurrent(), inputs())
    assert found.parameters == count(Recurrent())
    assert found.notes["operations without a count of FLOPs"] == {"int8 lstm": 1}


@pytest.mark.parametrize("name", ["static", "static, 1-D", "static, 3-D", "per tensor", "by graph"])
def test_kernels_of_a_quantised_convolution_are_the_numbers_that_its_weights_stand_for(name: str) -> None:
    build, axes, address = QUANTISED[name]
    found = cs.kernels(build())
    assert list(found.weights) == [address]
    true = plain(axes)[0].weight.detach()
    assert found.weights[address].shape == true.shape
    torch.testing.assert_close(found.weights[address], true, atol=float(true.abs().max()) / 100, rtol=0)
    assert "int8" in found.notes[f"weights of {address}"]


@every_quantised
@pytest.mark.parametrize("lens", [cs.saliency, cs.integrated_gradients, cs.lrp, cs.deep_lift, cs.grad_cam])
def test_what_needs_a_gradient_is_refused_by_the_name_of_the_quantised_layer(lens: Callable, name: str) -> None:
    build, axes, address = QUANTISED[name]
    given = {"layer": address} if lens is cs.grad_cam else {}
    with pytest.raises((NoGradient, LayerError), match=r"is quantised|no spatial extent") as refusal:
        lens(cs.Model(build()), inputs(axes), target=0, **given)
    if "spatial" not in str(refusal.value):
        assert "eigen-cam" in str(refusal.value)


@pytest.mark.parametrize("name", ["static", "static, 1-D", "static, 3-D", "per tensor", "by graph", "dynamic"])
def test_what_needs_no_gradient_works_on_a_quantised_network(name: str) -> None:
    build, axes, address = QUANTISED[name]
    model, x = cs.Model(build()), inputs(axes)
    for lens in (cs.score_cam, cs.ablation_cam, cs.recipro_cam):
        assert lens(model, x, target=0, layer=address).layers == (address,)
    for lens in (cs.eigen_cam, cs.fem):
        assert lens(model, x, layer=address).layers == (address,)
    assert not cs.occlusion(model, x, target=0).blank
    assert cs.feature_maps(model, x, layer=address).maps[address].dtype == torch.float32
    told = [layer.layer for layer in cs.activations(model, inputs(axes, 8)).layers]
    assert address in told
    assert "6" in told or "7" in told


def test_a_layer_behind_the_quantised_part_has_its_gradient() -> None:
    """Only what leads into integers loses its gradient."""
    net = nn.Sequential(static_stem(), plain()[2], nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
    found = cs.grad_cam(cs.Model(net.eval()), inputs(), target=0, layer="1", relu=False)
    assert not found.blank
    with pytest.raises(NoGradient, match=r"layer '0\.0' .* is quantised"):
        cs.saliency(cs.Model(net), inputs(), target=0)


def static_stem() -> nn.Module:
    net = nn.Sequential(quantization.QuantStub(), *plain()[:2], quantization.DeQuantStub()).eval()
    net.qconfig = quantization.get_default_qconfig("fbgemm")
    prepared = quantization.prepare(net)
    prepared(inputs(2, 8))
    return quantization.convert(prepared)


def test_ablation_of_a_quantised_layer_is_what_ablation_by_hand_gives() -> None:
    net, x = static(), inputs()
    found = cs.ablation_cam(cs.Model(net), x, target=0, layer="1", relu=False)
    first, rest = net[:2], net[2:]
    with torch.no_grad():
        seen = first(x)
        clean = rest(seen)[0, 0]
        drops = []
        for channel in range(8):
            values = seen.dequantize()
            values[:, channel] = 0
            left = torch.quantize_per_tensor(values, seen.q_scale(), seen.q_zero_point(), seen.dtype)
            drops.append(clean - rest(left)[0, 0])
    true = torch.einsum("c,chw->hw", torch.stack(drops), seen.dequantize()[0])
    torch.testing.assert_close(found.layer_values["1"], true, atol=1e-4, rtol=1e-4)


def test_step_through_refuses_the_arithmetic_of_integers() -> None:
    with pytest.raises(LayerError, match="layer '1' is quantised"):
        cs.step_through(cs.Model(static()), inputs(), unit="1[0]")


def test_parameter_gradients_of_packed_weights_are_refused_by_name() -> None:
    with pytest.raises(LayerError, match="weights of Sequential are quantised"):
        cs.parameter_gradients(cs.Model(static()), inputs())


# Weights that are computed from others


class LowRank(nn.Module):
    """A low-rank addition to a weight."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.left = nn.Parameter(torch.full((weight.shape[0], 1), 0.1))
        self.right = nn.Parameter(torch.full((1, weight[0].numel()), 0.2))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + (self.left @ self.right).view_as(weight)


def low_rank(layer: nn.Module) -> nn.Module:
    parametrize.register_parametrization(layer, "weight", LowRank(layer.weight))
    return layer


COMPUTED: dict[str, Callable[[nn.Module], nn.Module]] = {
    "weight norm": parametrizations.weight_norm,
    "weight norm by hook": torch.nn.utils.weight_norm,
    "spectral norm": parametrizations.spectral_norm,
    "spectral norm by hook": torch.nn.utils.spectral_norm,
    "orthogonal": parametrizations.orthogonal,
    "low rank": low_rank,
    "pruned": lambda layer: prune.l1_unstructured(layer, "weight", 0.5),
}
every_computed = pytest.mark.parametrize("name", COMPUTED)


def computed(name: str, axes: int = 2) -> nn.Sequential:
    net = plain(axes)
    with warnings.catch_warnings(), torch.random.fork_rng():
        warnings.simplefilter("ignore")
        torch.manual_seed(3)
        net[0], net[2] = COMPUTED[name](net[0]), COMPUTED[name](net[2])
    return net.eval()


@every_computed
@pytest.mark.parametrize("axes", [1, 2])
def test_a_layer_with_a_computed_weight_is_described_like_any_other(name: str, axes: int) -> None:
    net = computed(name, axes)
    told = [(layer.layer, layer.kind) for layer in cs.activations(net, inputs(axes, 4)).layers]
    true = [(layer.layer, layer.kind) for layer in cs.activations(plain(axes), inputs(axes, 4)).layers]
    assert told == true
    assert [layer.layer for layer in cs.parameter_gradients(net, inputs(axes, 4)).layers] == ["0", "2", "6"]
    modules = cs.structure(net, inputs(axes)).modules
    assert [(m.address, m.kind, m.leaf) for m in modules] == [
        (m.address, m.kind, m.leaf) for m in cs.structure(plain(axes), inputs(axes)).modules
    ]


@every_computed
def test_kernels_are_the_weight_that_the_next_forward_uses(name: str) -> None:
    net = computed(name)
    with torch.no_grad():
        for parameter in net[0].parameters():  # since the last forward: a weight kept from then would be another
            parameter.mul_(1.5)
    used: list[Tensor] = []
    found = cs.kernels(cs.Model(net)).weights["0"]
    handle = net[0].register_forward_hook(lambda layer, _inputs, _output: used.append(layer.weight.detach().clone()))
    net(inputs())
    handle.remove()
    torch.testing.assert_close(found, used[0])


@every_computed
def test_a_number_of_a_layer_with_a_computed_weight_is_worked_out(name: str) -> None:
    found = cs.step_through(cs.Model(computed(name)), inputs(), unit="0[3, 2, 2]")
    assert [step.operation for step in found.steps] == ["conv2d", "relu"]
    assert found.difference < 1e-5


def test_pruned_weights_are_counted_and_said() -> None:
    net = computed("pruned")
    found = cs.structure(net, inputs())
    assert found.parameters == count(net)
    masked = int(sum((mask == 0).sum() for name, mask in net.named_buffers() if name.endswith("_mask")))
    assert f"{masked} of" in found.notes["pruned layers"]
    assert "masked" in cs.kernels(cs.Model(net)).notes["pruned of 0"]


def test_the_default_layer_of_an_int8_network_is_that_of_the_plain_one() -> None:
    net = nn.Sequential(quantization.QuantStub(), *plain(), quantization.DeQuantStub()).eval()
    net.qconfig = quantization.get_default_qconfig("fbgemm")
    ready = quantization.prepare(net)
    x = torch.randn(1, 2, 12, 12, generator=torch.Generator().manual_seed(0))
    ready(x)
    assert cs.eigen_cam(quantization.convert(ready), x).layers == cs.eigen_cam(net, x).layers


@pytest.mark.parametrize("observing", [True, False])
def test_a_network_in_training_for_int8_keeps_its_places(observing: bool) -> None:
    net = nn.Sequential(quantization.QuantStub(), *plain(), quantization.DeQuantStub()).train()
    net.qconfig = quantization.get_default_qat_qconfig("fbgemm")
    ready = quantization.prepare_qat(net)
    x = torch.randn(2, 2, 12, 12, generator=torch.Generator().manual_seed(0))
    ready(x)
    if not observing:
        ready.apply(quantization.disable_observer)
    values = cs.grad_cam(ready.eval(), x, target=1)
    assert not any(value.blank for value in values)
    assert "operations taken to see all they read" not in cs.structure(ready, x[:1]).notes
