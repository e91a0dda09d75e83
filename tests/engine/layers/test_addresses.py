"""Layer addresses: parsing, defaults with symbolic names, and errors with a suggestion."""

import copy
import pickle
from collections import OrderedDict
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import convscope as cs
from convscope.engine.layers.addresses import (
    EVERY_LAYER,
    FIRST_CONVOLUTION,
    FIRST_FEATURES,
    LAST_SPATIAL,
    STAGES,
    parse_unit,
    resolve_layers,
    split_brackets,
)
from convscope.errors import ConvScopeError, LayerError, UnknownName
from tests.engine.networks import Branches, Stages, condition, seeded, small_network, tensor

ONLY_ACTIVATIONS = {"eigen_cam", "fem"}


CAMS = [spec for spec in cs.lenses() if spec.takes_layer and spec.gives_map and "attention" not in spec.needs]


SINGLE_LAYER_LENSES = ("concept_relevance",)
"""Lenses that read the channels of a single layer."""


REFUSED: dict[str, tuple[Any, type[ConvScopeError], str]] = {
    "a misspelt layer": (
        "secnd",
        UnknownName,
        r"no layer 'secnd' in Stages; did you mean 'second'\? \(it has 4; model\.layers\(\)",
    ),
    "a layer of nothing": ("transformer.h.3", UnknownName, r"no layer 'transformer\.h\.3' in Stages \(it has 4"),
    "an empty address": ("", UnknownName, r"no layer '' in Stages"),
    "one of two misspelt": (["first", "thrid"], UnknownName, r"no layer 'thrid' in Stages"),
    "no layer at all": ([], LayerError, r"no layer was named: the list is empty"),
    "nothing": (None, UnknownName, r"layer.*None"),
    "a number": (3, UnknownName, r"layer.*3"),
    "a number in a list": ([3], UnknownName, r"no layer 3 in Stages"),
    "a linear layer": (
        "head",
        LayerError,
        r"layer 'head' gives shape \(1, 4\), which has no spatial extent: choose an earlier layer",
    ),
    "a linear layer beside another": (
        ["first", "head"],
        LayerError,
        r"layer 'head' gives shape \(1, 4\), which has no spatial",
    ),
}


@pytest.mark.parametrize(("layer", "kind", "message"), REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("lens", [cs.grad_cam, cs.eigen_cam, cs.smooth_grad_cam_plus_plus])
def test_an_unusable_layer_raises_a_one_line_error(
    lens: Any, layer: Any, kind: type[ConvScopeError], message: str
) -> None:
    model = cs.Model(seeded(Stages))
    before = condition(model.module)
    with pytest.raises(kind, match=message) as error:
        lens(model, tensor(), layer=layer)
    assert "\n" not in str(error.value)
    assert condition(model.module) == before


@pytest.mark.parametrize("spec", CAMS, ids=lambda spec: spec.name)
def test_all_cam_lenses_refuse_layers_without_extent_and_layers_that_never_run(spec: Any) -> None:
    model = cs.Model(seeded(Branches))
    with pytest.raises(LayerError, match=r"'head' gives shape .* no spatial extent"):
        getattr(cs, spec.name)(model, tensor(), layer="head")
    with pytest.raises(LayerError, match=r"layer 'second' was never reached in this forward \(a branch not taken"):
        getattr(cs, spec.name)(model, tensor(), layer="second")
    if spec.name not in SINGLE_LAYER_LENSES:
        with pytest.raises(LayerError, match=r"layer 'second' was never reached"):
            getattr(cs, spec.name)(model, tensor(), layer=["first", "second"])


def test_an_address_with_a_missing_part_gets_a_suggestion() -> None:
    net = nn.Sequential()
    net.add_module("layer4", nn.Sequential(nn.Sequential()))
    net.layer4[0].add_module("conv2", nn.Conv2d(3, 3, 1))
    with pytest.raises(UnknownName, match=r"no layer 'layer4\.conv2' in Sequential; did you mean 'layer4\.0\.conv2'\?"):
        cs.grad_cam(cs.Model(net), tensor(), layer="layer4.conv2")


def test_a_layer_with_integer_output_is_refused() -> None:
    class ReturnsIndices(Stages):
        def __init__(self) -> None:
            super().__init__()
            self.pool = nn.MaxPool2d(2, return_indices=True)
            self.indices = _Indices()

        def forward(self, x: Tensor) -> Tensor:
            maps = self.first(x)
            self.indices(self.pool(maps))
            return self.answer(maps)

    class _Indices(nn.Module):
        def forward(self, pair: tuple[Tensor, Tensor]) -> Tensor:
            return pair[1]

    with pytest.raises(LayerError, match="layer 'indices' gives"):
        cs.grad_cam(cs.Model(seeded(ReturnsIndices)), tensor(), layer="indices")


def test_a_target_unit_after_the_layer_is_explained_and_one_before_it_is_refused() -> None:
    model = cs.Model(small_network())
    assert not cs.grad_cam(model, tensor(), layer="0", target="2[3]").blank
    with pytest.raises(ConvScopeError, match="target") as error:
        cs.grad_cam(model, tensor(), layer="2", target="0[3]")
    assert "branch not taken" not in str(error.value)


def test_a_unit_of_the_first_layer_has_no_layer_before_it() -> None:
    try:
        attribution = cs.grad_cam(cs.Model(small_network()), tensor(), target="0[3]")
    except LayerError as error:
        message = str(error)
    else:
        message = f"before nothing: {attribution.layers}"
    assert "before" in message


@pytest.mark.parametrize("target", ["1[3]", "2[3]"])
def test_the_default_layer_for_a_target_unit_precedes_its_layer(target: str) -> None:
    attribution = cs.grad_cam(cs.Model(small_network()), tensor(), target=target)
    assert attribution.target == target
    assert int(attribution.layers[0]) <= int(target[0])


# Modules named like a symbolic default


def _with_module_named(name: str) -> nn.Module:
    """Three convolutions, of which the first has a finer resolution and the second has that name."""
    convolutions = {"stem": nn.Conv2d(3, 4, 3), name: nn.Conv2d(4, 4, 3, 2), "last": nn.Conv2d(4, 4, 3, padding=1)}
    head = {"pool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "head": nn.Linear(4, 5)}
    return seeded(lambda: nn.Sequential(OrderedDict({**convolutions, **head})))


@pytest.mark.parametrize("default", [LAST_SPATIAL, FIRST_CONVOLUTION, FIRST_FEATURES, EVERY_LAYER, STAGES], ids=str)
def test_a_module_named_like_a_default_is_found_by_its_name(default: Any) -> None:
    net = _with_module_named(str(default))
    (layer,) = cs.activations(net, tensor(), layer=str(default)).layers
    assert layer.layer == str(default)


def test_defaults_work_in_a_network_with_modules_of_their_names() -> None:
    model = cs.Model(_with_module_named("stages"))
    with model.preserve_state():
        assert resolve_layers(model, STAGES, tensor) == ("stem", "last")
        assert resolve_layers(model, "stages", tensor) == ("stages",)
        assert resolve_layers(model, "every layer", tensor) == resolve_layers(model, EVERY_LAYER, tensor)


def test_only_maps_are_shown_of_a_recurrent_layer_by_default() -> None:
    """A recurrent layer has no kernels, and is no single operation."""
    model = cs.load("bundled:sequence")
    assert next(iter(cs.feature_maps(model, "sample:sequence/1").maps)) == "gru"  # type: ignore[union-attr]
    for lens in (lambda: cs.kernels(model), lambda: cs.step_through(model, "sample:sequence/1")):
        with pytest.raises(LayerError, match="has no layer with convolution kernels"):
            lens()


@pytest.mark.parametrize("default", [LAST_SPATIAL, FIRST_CONVOLUTION, FIRST_FEATURES, EVERY_LAYER, STAGES], ids=str)
def test_there_is_one_instance_of_each_default(default: Any) -> None:
    assert pickle.loads(pickle.dumps(default)) is default
    assert copy.deepcopy(default) is default
    assert {default: 1}[default] == 1
    assert default != str(default)
    assert repr(default) == f"<{default}>"


# Parsing addresses


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("layer4.1.conv2[17]", ("layer4.1.conv2", 17, ())),
        ("layer4.1.conv2[17, 3, 5]", ("layer4.1.conv2", 17, (3, 5))),
        ("0[1,2]", ("0", 1, (2,))),
        ("a [3]", ("a", 3, ())),
    ],
)
def test_unit_addresses_are_parsed(text: str, expected: tuple[Any, ...]) -> None:
    unit = parse_unit(text)
    assert unit is not None
    assert (unit.layer, unit.unit, unit.position) == expected


@pytest.mark.parametrize(
    "text", ["layer4", "layer4[]", "layer4[-1]", "layer4[a]", "layer4[1", "layer4[1.5]", "layer4[1] "]
)
def test_other_texts_are_not_parsed_as_units(text: str) -> None:
    assert parse_unit(text) is None


def test_brackets_are_split_at_commas_whatever_they_contain() -> None:
    assert split_brackets("layer3 [12, center]") == ("layer3", ("12", "center"))
    assert split_brackets("layer3[0:8]") == ("layer3", ("0:8",))
    assert split_brackets("layer3[]") == ("layer3", ("",))
    assert split_brackets("layer3") is None


def test_a_frozen_network_runs_but_its_layers_are_refused() -> None:
    net, x = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.LazyLinear(3)).eval(), torch.randn(1, 3, 8, 8)
    net(x)
    frozen = torch.jit.freeze(torch.jit.trace(net, x))
    torch.testing.assert_close(cs.saliency(frozen, x, target=1).values, cs.saliency(net, x, target=1).values)
    with pytest.raises(LayerError, match="traced or scripted"):
        cs.grad_cam(frozen, x, target=1)


def test_inputs_without_spatial_axes_and_missing_data_sets_are_refused() -> None:
    net = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3)).eval()
    with pytest.raises(ConvScopeError, match="no spatial axes"):
        cs.deep_dream(net, torch.randn(1, 8), unit="0[1]", steps=2)
    with pytest.raises(ConvScopeError, match="a data set is"):
        cs.top_inputs(net, None, unit="0[1]")
