"""One network by every road of PyTorch: the same scores, maps, structure, FLOPs and rules for its operations."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import convscope as cs
from convscope.catalogue import lenses
from convscope.engine.network.parametrized import class_name
from convscope.errors import ConvScopeError
from convscope.loaders.torch_files.exported import read_program
from convscope.loaders.torch_files.scripted import read_script
from convscope.spec import LensSpec
from tests.lens_calls import call_lens_as_list, collect_tensors
from tests.loaders.torch_files.networks import (
    SHAPE,
    as_graph,
    as_operators,
    exported,
    images,
    save,
    saved_net,
    scripted,
    traced,
    unflattened,
)

ROADS = ("pt2", "scripted", "traced", "fx")
INPUT = cs.TensorInput(shape=SHAPE)
LABELS = ("ant", "bee", "cat", "dog")


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The network as it was built, and as it comes back from files."""
    folder, net = tmp_path_factory.mktemp("roads"), saved_net()
    save(exported(net), folder / "net.pt2")
    save(scripted(net), folder / "scripted.pt")
    save(traced(net), folder / "traced.pt")
    scripts = {name: read_script(folder / f"{name}.pt", trust=False).network for name in ("scripted", "traced")}
    return {"eager": net, "pt2": read_program(Path(folder / "net.pt2")), **scripts, "fx": as_graph(net)}


@pytest.fixture
def models(networks: dict[str, Any]) -> dict[str, cs.Model]:
    return {road: cs.Model(network, input=INPUT, labels=LABELS) for road, network in networks.items()}


@pytest.mark.parametrize("road", ROADS)
def test_scores_are_the_same(models: dict[str, cs.Model], road: str) -> None:
    expected, scores = (models[name].module(images(3)) for name in ("eager", road))
    assert torch.allclose(scores, expected, atol=1e-5)


@pytest.fixture(scope="module")
def expected(networks: dict[str, Any]) -> dict[str, Any]:
    """What each lens gives for the network as it was built: numbers by name, or the error that refuses it."""
    model = cs.Model(networks["eager"], input=INPUT, labels=LABELS)
    return {spec.name: numbers_or_error(spec, model) for spec in lenses()}


def numbers_or_error(spec: LensSpec, model: cs.Model, **given: Any) -> list[dict[str, Tensor]] | type[ConvScopeError]:
    try:
        return [collect_tensors(value) for value in call_lens_as_list(spec, model, images(), **given)]
    except ConvScopeError as refusal:
        return type(refusal)


def assert_same(spec: LensSpec, values: Any, reference: Any) -> None:
    if isinstance(values, type) or isinstance(reference, type):
        assert values is reference, spec.name
        return
    for ours, theirs in zip(values, reference, strict=True):
        assert {*ours} == {*theirs}, spec.name
        for name, tensor in theirs.items():
            scale = float(tensor.double().nan_to_num(0, 0, 0).abs().max()) if tensor.numel() else 0.0
            actual, tolerance = ours[name].double(), 1e-4 * scale + 1e-9
            assert torch.allclose(actual, tensor.double(), 0, tolerance, equal_nan=True), (spec.name, name)


@pytest.mark.parametrize("road", ["pt2", "scripted", "traced"])
def test_every_lens_gives_the_same(models: dict[str, cs.Model], expected: dict[str, Any], road: str) -> None:
    for spec in lenses():
        assert_same(spec, numbers_or_error(spec, models[road]), expected[spec.name])
    without_attention = [expected[spec.name] for spec in lenses() if "attention" not in spec.needs]
    assert sum(not isinstance(values, type) for values in without_attention) > 0.9 * len(without_attention)


def test_a_lens_of_every_family_gives_the_same_for_a_graph(models: dict[str, cs.Model]) -> None:
    """A graph by torch.fx has no modules that only contain others, so that a layer is given."""
    first = {spec.family: spec for spec in reversed(lenses()) if spec.name != "structure"}
    for spec in first.values():
        values, reference = (numbers_or_error(spec, models[road], layer="gate") for road in ("fx", "eager"))
        assert_same(spec, values, reference)
    assert len(first) >= 7


@pytest.mark.parametrize("road", ROADS)
def test_the_structure_is_the_same_up_to_names(models: dict[str, cs.Model], road: str) -> None:
    structures = [cs.structure(models[name], images(1)) for name in ("eager", road)]
    assert len({(s.parameters, s.flops, s.norm_flops, s.parameter_bytes) for s in structures}) == 1
    kinds = [[(o.kind, o.shape, o.flops, o.parameters) for o in s.operations] for s in structures]
    assert kinds[0] == kinds[1]
    if road != "fx":
        owners = [[operation.module for operation in s.operations] for s in structures]
        modules = [{m.address: m.kind for m in s.modules if m.address} for s in structures]
        assert (owners[0], modules[0]) == (owners[1], modules[1])


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("lens", ["lrp", "deep_lift", "guided_backprop", "deconvnet", "full_grad", "attn_lrp"])
def test_operations_are_treated_by_the_same_rules(models: dict[str, cs.Model], road: str, lens: str) -> None:
    rules = [getattr(cs, lens)(models[name], images(1)).notes["rules"] for name in ("eager", road)]
    assert rules[0]
    assert rules[0] == rules[1]


@pytest.mark.parametrize("build", [unflattened, as_operators])
def test_operators_of_aten_have_the_rules_of_functions(build: Any) -> None:
    """Also in a network that consists of operators of ATen alone."""
    for lens in ("lrp", "deep_lift", "guided_backprop"):
        values = [getattr(cs, lens)(net, images(1)) for net in (saved_net(), build(saved_net()))]
        assert values[0].notes["rules"] == values[1].notes["rules"], lens
        assert torch.allclose(torch.as_tensor(values[0].values), torch.as_tensor(values[1].values), atol=1e-5), lens


@pytest.mark.parametrize("road", ["pt2", "scripted", "traced"])
def test_layers_are_ordinary_layers_with_their_names(models: dict[str, cs.Model], road: str) -> None:
    original = dict(models["eager"].module.named_modules())
    layers = dict(models[road].module.named_modules())
    assert list(layers) == [address for address in original if address in layers]
    for address, layer in original.items():
        assert class_name(layers[address]) == type(layer).__name__
        if not list(layer.children()):
            assert type(layers[address]) is type(layer), address
            assert all(torch.equal(a, b) for a, b in zip(layers[address].parameters(), layer.parameters(), strict=True))
