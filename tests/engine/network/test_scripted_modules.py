"""Networks that PyTorch has packaged: hidden layers are refused with the reason and a remedy that works."""

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.ao.quantization as quantization
from torch import Tensor, nn

import convscope as cs
from convscope.catalogue import lenses
from convscope.errors import ConvScopeError, LayerError, ModelFailed, NoGradient
from tests.nets import DEVICE, seeded

SHAPE = (3, 12, 12)
INPUT = cs.TensorInput(shape=SHAPE)


@pytest.fixture(autouse=True)
def ignore_deprecation_warnings() -> Iterator[None]:
    """TorchScript and eager-mode quantisation are deprecated."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def plain() -> nn.Sequential:
    def build() -> nn.Sequential:
        body = [nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 6, 3), nn.ReLU()]
        return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3))

    return seeded(build)  # type: ignore[arg-type, return-value]


def image() -> Tensor:
    return torch.randn(1, *SHAPE, generator=torch.Generator().manual_seed(1)).to(DEVICE)


def half_traced() -> nn.Module:
    net = plain()
    net[2] = torch.jit.trace(net[2], torch.zeros(1, 4, 10, 10, device=DEVICE))
    return net


def program() -> Any:
    return torch.export.export(plain(), (image(),))


SCRIPTED, EXPORTED = "scripted or traced|traced or scripted", r"exported program \(torch.export\)"
PACKAGED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "scripted": (lambda: torch.jit.script(plain()), SCRIPTED),
    "traced": (lambda: torch.jit.trace(plain(), image()), SCRIPTED),
    "scripted within": (lambda: nn.Sequential(torch.jit.script(plain())), SCRIPTED),
    "traced within": (half_traced, SCRIPTED),
    "exported": (lambda: program().module(), EXPORTED),
    "exported within": (lambda: nn.Sequential(program().module()), EXPORTED),
}
LAYERS = {"scripted within": "0.2", "exported within": "0.2"}


def arguments_for(spec: Any, layer: str | None) -> list[dict[str, Any]]:
    """The arguments for calls of a lens with a hidden layer and a unit of it, or without a layer."""
    arguments: dict[str, Any] = {name: image() for name in spec.required if name in ("image", "guide", "style")}
    arguments |= {"images": [image()[0]]} if "images" in spec.required else {}
    arguments |= {name: 4 for name in ("samples", "steps") if name in spec.parameters}
    if layer is None:
        return [arguments]
    takes_unit = "unit" in spec.inputs or "unit" in spec.parameters
    with_layer = [{**arguments, "layer": layer}] if spec.takes_layer else []
    return with_layer + ([{**arguments, "unit": f"{layer}[1]"}] if takes_unit else [])


@pytest.mark.parametrize("kind", PACKAGED)
def test_every_lens_refuses_a_hidden_layer_with_the_reason(kind: str) -> None:
    build, reason = PACKAGED[kind]
    model, calls = cs.Model(build(), input=INPUT), 0
    for spec in lenses():
        for arguments in arguments_for(spec, LAYERS.get(kind, "2")):
            calls += 1
            with pytest.raises(LayerError, match=reason) as refusal:
                getattr(cs, spec.name)(model, **arguments)
            assert "\n" not in str(refusal.value), spec.name
            assert "from its source" in str(refusal.value), spec.name
    assert calls > 40


@pytest.mark.parametrize("kind", ["scripted", "exported"])
def test_errors_for_networks_without_visible_layers_name_the_packaging(kind: str) -> None:
    build, _ = PACKAGED[kind]
    model = cs.Model(build(), input=INPUT)
    for name in ("grad_cam", "feature_maps", "step_through", "kernels", "activations"):
        spec = next(spec for spec in lenses() if spec.name == name)
        with pytest.raises(LayerError, match=r"torch\.jit|torch\.export"):
            getattr(cs, name)(model, **arguments_for(spec, None)[0])


def test_unflattening_an_exported_program_makes_its_layers_visible() -> None:
    unflattened = cs.Model(torch.export.unflatten(program()), input=INPUT)
    original = cs.Model(plain(), input=INPUT)
    for name in ("grad_cam", "score_cam", "layer_conductance", "feature_maps"):
        lens = getattr(cs, name)
        value, expected = (lens(model, image(), layer="2") for model in (unflattened, original))
        if name == "feature_maps":
            assert torch.allclose(value.maps["2"], expected.maps["2"], atol=1e-6), name
        else:
            assert torch.allclose(value.values, expected.values, atol=1e-6), name
    with pytest.raises(LayerError, match=r"hides its kernels: open it from its source"):
        cs.kernels(unflattened, layer="2")


def test_an_exported_program_is_a_network_with_its_layers() -> None:
    model, original = cs.Model(program()), cs.Model(plain(), input=INPUT)
    assert model.input == INPUT
    for name in ("grad_cam", "lrp", "kernels"):
        arguments = {"layer": "2"} if name != "lrp" else {}
        pictures = () if name == "kernels" else (image(),)
        value, expected = (getattr(cs, name)(m, *pictures, **arguments) for m in (model, original))
        if name != "kernels":
            assert torch.allclose(torch.as_tensor(value.values), torch.as_tensor(expected.values), atol=1e-6), name


@pytest.mark.parametrize("build", [lambda: program().module(), lambda: torch.export.unflatten(program())])
def test_the_error_for_an_export_of_one_size_says_how_to_export_for_others(build: Callable[[], Any]) -> None:
    with pytest.raises(ModelFailed, match=r"for inputs of that size alone: export it with dynamic_shapes$"):
        cs.activation_maximization(cs.Model(build(), input=INPUT), steps=1)


def test_the_error_of_a_script_is_one_line() -> None:
    with pytest.raises(ModelFailed, match="expected input") as failure:
        cs.predict(cs.Model(torch.jit.script(plain())), image()[:, :2])
    assert "\n" not in str(failure.value)


def static() -> nn.Module:
    net = nn.Sequential(quantization.QuantStub(), *plain().cpu(), quantization.DeQuantStub()).eval()
    net.qconfig = quantization.get_default_qconfig("fbgemm")
    prepared = quantization.prepare(net)
    prepared(torch.randn(8, *SHAPE, generator=torch.Generator().manual_seed(2)))
    return quantization.convert(prepared)


def test_an_activation_between_quantised_layers_can_be_stepped_through() -> None:
    """Its values are quantised, but not its computation."""
    model, x = cs.Model(static(), input=INPUT), image().cpu()
    maps = cs.feature_maps(model, x, layer="2", channels=0)
    arithmetic = cs.step_through(model, x, unit="2")
    assert arithmetic.value == pytest.approx(float(maps.maps["2"].max()), abs=1e-6)
    assert arithmetic.steps[0].network == pytest.approx(arithmetic.value)


def test_a_unit_of_a_quantised_network_is_refused() -> None:
    with pytest.raises(NoGradient, match=r"is quantised .* and passes no gradient"):
        cs.neuron_conductance(cs.Model(static(), input=INPUT), image().cpu(), unit="3[1]")


def test_every_lens_refuses_or_explains_a_quantised_layer() -> None:
    model, x = cs.Model(static(), input=INPUT), image().cpu()
    explained = set()
    for spec in lenses():
        for arguments in arguments_for(spec, "3"):
            on_cpu = {name: x if isinstance(value, Tensor) else value for name, value in arguments.items()}
            try:
                getattr(cs, spec.name)(model, **on_cpu)
                explained.add(spec.name)
            except ConvScopeError as error:
                assert "quantised" in str(error), (spec.name, str(error))  # noqa: PT017
    assert {"kernels", "feature_maps", "eigen_cam", "score_cam", "top_inputs", "activations"} <= explained
