"""Networks with weights packed as integers: counted, shown and explained, or refused by name."""

import warnings
from collections.abc import Callable, Iterator

import pytest
import torch
import torch.ao.quantization as quantization
from torch import Tensor, nn
from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx

import convscope as cs
from convscope.errors import LayerError, NoGradient
from tests.engine.network.quantized_networks import count, inputs, plain


@pytest.fixture(autouse=True)
def ignore_deprecation_warnings() -> Iterator[None]:
    """Eager-mode quantisation is deprecated in torch."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def static(axes: int = 2, backend: str = "fbgemm") -> nn.Module:
    """Quantised between two stubs, weights per channel."""
    net = nn.Sequential(quantization.QuantStub(), *plain(axes), quantization.DeQuantStub()).eval()
    net.qconfig = quantization.get_default_qconfig(backend)
    prepared = quantization.prepare(net)
    prepared(inputs(axes, 8))
    return quantization.convert(prepared)


def per_tensor() -> nn.Module:
    """The same with one scale per weight tensor."""
    net = nn.Sequential(quantization.QuantStub(), *plain(), quantization.DeQuantStub()).eval()
    net.qconfig = quantization.default_qconfig  # type: ignore[assignment]  # how torch is told of it
    prepared = quantization.prepare(net)
    prepared(inputs(2, 8))
    return quantization.convert(prepared)


def by_graph() -> nn.Module:
    """Quantised as a graph, activations fused into convolutions."""
    prepared = prepare_fx(plain(), quantization.get_default_qconfig_mapping("fbgemm"), (inputs(),))
    prepared(inputs(2, 8))
    return convert_fx(prepared)


def dynamic() -> nn.Module:
    """Only the head computes with integers."""
    return quantization.quantize_dynamic(plain(), {nn.Linear}, torch.qint8)


class Beside(nn.Module):
    """A dynamically quantised layer with a skip connection, through which a part of the gradient passes."""

    def __init__(self) -> None:
        super().__init__()
        body = plain()
        self.body, self.head = body[:6], body[6]
        with torch.random.fork_rng():
            torch.manual_seed(2)
            mixing = nn.Sequential(nn.Linear(8, 8))
        self.mix = quantization.quantize_dynamic(mixing, {nn.Linear}, torch.qint8)

    def forward(self, x: Tensor) -> Tensor:
        features = self.body(x)
        return self.head(features + self.mix(features))


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


@pytest.mark.parametrize("name", ["static", "static, 1-D", "static, 3-D", "per tensor", "by graph", "dynamic"])
def test_parameters_and_flops_of_a_quantised_network_are_those_of_the_original(name: str) -> None:
    build, axes, _ = QUANTISED[name]
    structure, expected = cs.structure(build(), inputs(axes)), cs.structure(plain(axes), inputs(axes))
    assert (structure.parameters, structure.flops) == (expected.parameters, expected.flops)
    assert sum(operation.parameters for operation in structure.operations) == structure.parameters
    assert sum(operation.flops for operation in structure.operations) == structure.flops
    assert "int8" in structure.notes["quantised layers"]
    assert structure.parameter_bytes < expected.parameter_bytes
    assert all("_packed_params" not in module.address for module in structure.modules)


@pytest.mark.parametrize("name", ["static", "static, 1-D", "static, 3-D"])
def test_receptive_fields_of_quantised_convolutions_are_known(name: str) -> None:
    build, axes, _ = QUANTISED[name]
    fields = {module.address: module.field for module in cs.structure(build(), inputs(axes)).modules}
    assert (fields["1"], fields["3"]) == ((3,) * axes, (5,) * axes)


def test_the_weights_of_a_dynamically_quantised_lstm_are_counted() -> None:
    structure = cs.structure(recurrent(), inputs())
    assert structure.parameters == count(Recurrent())
    assert structure.notes["operations without a count of FLOPs"] == {"int8 lstm": 1}


@pytest.mark.parametrize("name", ["static", "static, 1-D", "static, 3-D", "per tensor", "by graph"])
def test_kernels_of_a_quantised_convolution_are_dequantised(name: str) -> None:
    build, axes, address = QUANTISED[name]
    kernels = cs.kernels(build())
    assert list(kernels.weights) == [address]
    original = plain(axes)[0].weight.detach()
    assert kernels.weights[address].shape == original.shape
    torch.testing.assert_close(kernels.weights[address], original, atol=float(original.abs().max()) / 100, rtol=0)
    assert "int8" in kernels.notes[f"weights of {address}"]


@every_quantised
@pytest.mark.parametrize("lens", [cs.saliency, cs.integrated_gradients, cs.lrp, cs.deep_lift, cs.grad_cam])
def test_lenses_with_gradients_are_refused_with_the_name_of_the_quantised_layer(lens: Callable, name: str) -> None:
    build, axes, address = QUANTISED[name]
    options = {"layer": address} if lens is cs.grad_cam else {}
    with pytest.raises((NoGradient, LayerError), match=r"is quantised|no spatial extent") as refusal:
        lens(cs.Model(build()), inputs(axes), target=0, **options)
    if "spatial" not in str(refusal.value):
        assert "eigen-cam" in str(refusal.value)


@pytest.mark.parametrize("name", ["static", "static, 1-D", "static, 3-D", "per tensor", "by graph", "dynamic"])
def test_lenses_without_gradients_work_on_a_quantised_network(name: str) -> None:
    build, axes, address = QUANTISED[name]
    model, x = cs.Model(build()), inputs(axes)
    for lens in (cs.score_cam, cs.ablation_cam, cs.recipro_cam):
        assert lens(model, x, target=0, layer=address).layers == (address,)
    for lens_without_target in (cs.eigen_cam, cs.fem):
        assert lens_without_target(model, x, layer=address).layers == (address,)
    assert not cs.occlusion(model, x, target=0).blank
    assert cs.feature_maps(model, x, layer=address).maps[address].dtype == torch.float32
    layers = [layer.layer for layer in cs.activations(model, inputs(axes, 8)).layers]
    assert address in layers
    assert "6" in layers or "7" in layers


def test_a_layer_after_the_quantised_part_has_a_gradient() -> None:
    """Gradients end only at inputs of quantised operations."""
    net = nn.Sequential(static_stem(), plain()[2], nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
    attribution = cs.grad_cam(cs.Model(net.eval()), inputs(), target=0, layer="1", relu=False)
    assert not attribution.blank
    with pytest.raises(NoGradient, match=r"layer '0\.0' .* is quantised"):
        cs.saliency(cs.Model(net), inputs(), target=0)


def static_stem() -> nn.Module:
    net = nn.Sequential(quantization.QuantStub(), *[*plain()][:2], quantization.DeQuantStub()).eval()
    net.qconfig = quantization.get_default_qconfig("fbgemm")
    prepared = quantization.prepare(net)
    prepared(inputs(2, 8))
    return quantization.convert(prepared)


def test_ablation_of_a_quantised_layer_equals_manual_ablation() -> None:
    net, x = static(), inputs()
    attribution = cs.ablation_cam(cs.Model(net), x, target=0, layer="1", relu=False)
    prefix, suffix = net[:2], net[2:]
    with torch.no_grad():
        maps = prefix(x)
        score = suffix(maps)[0, 0]
        drops = []
        for channel in range(8):
            values = maps.dequantize()
            values[:, channel] = 0
            ablated = torch.quantize_per_tensor(values, maps.q_scale(), maps.q_zero_point(), maps.dtype)
            drops.append(score - suffix(ablated)[0, 0])
    expected = torch.einsum("c,chw->hw", torch.stack(drops), maps.dequantize()[0])
    torch.testing.assert_close(attribution.layer_values["1"], expected, atol=1e-4, rtol=1e-4)


def test_step_through_refuses_integer_arithmetic() -> None:
    with pytest.raises(LayerError, match="layer '1' is quantised"):
        cs.step_through(cs.Model(static()), inputs(), unit="1[0]")


def test_parameter_gradients_of_packed_weights_are_refused() -> None:
    with pytest.raises(LayerError, match="weights of Sequential are quantised"):
        cs.parameter_gradients(cs.Model(static()), inputs())


def test_the_default_layer_of_an_int8_network_is_that_of_the_plain_one() -> None:
    net = nn.Sequential(quantization.QuantStub(), *plain(), quantization.DeQuantStub()).eval()
    net.qconfig = quantization.get_default_qconfig("fbgemm")
    prepared = quantization.prepare(net)
    x = torch.randn(1, 2, 12, 12, generator=torch.Generator().manual_seed(0))
    prepared(x)
    assert cs.eigen_cam(quantization.convert(prepared), x).layers == cs.eigen_cam(net, x).layers


@pytest.mark.parametrize("observing", [True, False])
def test_the_layout_of_maps_is_known_in_quantisation_aware_training(observing: bool) -> None:
    net = nn.Sequential(quantization.QuantStub(), *plain(), quantization.DeQuantStub()).train()
    net.qconfig = quantization.get_default_qat_qconfig("fbgemm")
    prepared = quantization.prepare_qat(net)
    x = torch.randn(2, 2, 12, 12, generator=torch.Generator().manual_seed(0))
    prepared(x)
    if not observing:
        prepared.apply(quantization.disable_observer)
    attributions = cs.grad_cam(prepared.eval(), x, target=1)
    assert not any(attribution.blank for attribution in attributions)
    assert "operations taken to see all they read" not in cs.structure(prepared, x[:1]).notes
