"""Layer addresses: the default layer, resolution of addresses, and error messages."""

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
    LAST_SPATIAL,
    STAGES,
    parse_unit,
    resolve_layers,
    split_brackets,
)
from convscope.engine.layers.default_layer import default_layer
from convscope.engine.layers.trace import call_count, trace_layers
from convscope.errors import ConvScopeError, LayerError, UnknownName
from tests.engine._nets import SIDE, Branches, Dense, Stages, axes_net, condition, made, pictured, seeded, tensor

ONLY_ACTIVATIONS = {"eigen_cam", "fem"}
CAMS = [spec for spec in cs.lenses() if spec.takes_layer and spec.gives_map]
SINGLE_LAYER_LENSES = ("concept_relevance",)
"""Lenses that read the channels of a single layer."""


def default_of(net: nn.Module, x: Tensor | None = None) -> str:
    model = cs.Model(net)
    with model.preserve_state():
        return default_layer(model, tensor() if x is None else x)


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
    model = cs.Model(made())
    assert not cs.grad_cam(model, tensor(), layer="0", target="2[3]").blank
    with pytest.raises(ConvScopeError, match="target") as error:
        cs.grad_cam(model, tensor(), layer="2", target="0[3]")
    assert "branch not taken" not in str(error.value)


def test_a_unit_of_the_first_layer_has_no_layer_before_it() -> None:
    try:
        attribution = cs.grad_cam(cs.Model(made()), tensor(), target="0[3]")
    except LayerError as error:
        message = str(error)
    else:
        message = f"before nothing: {attribution.layers}"
    assert "before" in message


@pytest.mark.parametrize("target", ["1[3]", "2[3]"])
def test_the_default_layer_for_a_target_unit_precedes_its_layer(target: str) -> None:
    attribution = cs.grad_cam(cs.Model(made()), tensor(), target=target)
    assert attribution.target == target
    assert int(attribution.layers[0]) <= int(target[0])


# The default


def test_the_last_layer_with_extent_is_the_default() -> None:
    assert default_of(made()) == "3"
    assert default_of(seeded(Stages)) == "second"
    assert default_of(axes_net(1), tensor(1, 2, 30)) == "1"
    assert default_of(axes_net(3), tensor(1, 2, 6, 7, 8)) == "1"


def test_a_map_of_the_scores_is_not_the_default() -> None:
    """The channels of SqueezeNet's last convolution are the classes: the default is the layer before it."""
    net = nn.Sequential(
        nn.Conv2d(3, 5, 3),
        nn.ReLU(),
        nn.Dropout(),
        nn.Conv2d(5, 4, 1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )
    assert default_of(net.eval()) == "1"
    assert default_of(seeded(Dense)).startswith("decoder")


def test_a_layer_with_as_many_channels_as_classes_is_the_default_if_weights_follow() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 5, 3), nn.Conv2d(5, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 4)
    )
    assert default_of(net.eval()) == "2"


def test_an_auxiliary_head_is_not_the_default() -> None:
    """Segmentation networks run an auxiliary head last, on which the output does not depend."""

    class WithAuxiliaryHead(Stages):
        def __init__(self) -> None:
            super().__init__()
            self.auxiliary = nn.Conv2d(5, 7, 1)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            maps = self.act(self.second(self.first(x)))
            return {"out": self.answer(maps), "aux": self.auxiliary(maps)}

    model = cs.Model(seeded(WithAuxiliaryHead), output="out")
    attribution = cs.grad_cam(model, tensor())
    assert attribution.layers != ("auxiliary",)
    assert not attribution.blank


def test_score_maps_are_not_the_default_beside_an_auxiliary_head() -> None:
    """FCN and DeepLab as published: the output is a map of the classes, and an auxiliary head runs last."""

    class WithAuxiliaryHead(Dense):
        def __init__(self) -> None:
            super().__init__()
            self.auxiliary = nn.Conv2d(6, 4, 1)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            encoded = self.encoder(x)
            scores = nn.functional.interpolate(self.classifier(self.decoder(encoded)), x.shape[2:])
            return {"out": scores, "aux": self.auxiliary(encoded)}

    attribution = cs.grad_cam(cs.Model(seeded(WithAuxiliaryHead), output="out"), tensor(), target=cs.Region(1))
    assert attribution.layers[0].startswith("decoder")


def test_an_attention_matrix_is_not_a_feature_map() -> None:
    """A layer that mixes attention heads returns (N, tokens, tokens, heads): square like the image, but no map."""

    class MixesHeads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.value, self.head = nn.Conv2d(3, 8, 4, 4), nn.Linear(8, 8), nn.Linear(8, 4)
            self.mix = nn.Linear(2, 2)

        def forward(self, x: Tensor) -> Tensor:
            tokens = self.embed(x).flatten(2).mT
            weights = torch.stack([tokens @ tokens.mT, (tokens @ tokens.mT).square()], dim=3).softmax(2)
            return self.head((self.mix(weights).mean(3) @ self.value(tokens)).mean(1))

    attribution = cs.grad_cam(cs.Model(seeded(MixesHeads)), tensor())
    assert attribution.layers != ("mix",)
    assert attribution.layer_values[attribution.layers[0]].shape == (4, 4)


def test_channels_last_feature_maps_are_recognized() -> None:
    """Swin's layers return (N, height, width, channels): rows must not be summed as channels."""

    class ChannelsLast(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.norm, self.head = nn.Conv2d(3, 12, 4, 4), nn.LayerNorm(12), nn.Linear(12, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.norm(self.embed(x).permute(0, 2, 3, 1)).mean((1, 2)))

    net = seeded(ChannelsLast)
    by_default = cs.grad_cam(cs.Model(net), tensor())
    assert by_default.layer_values[by_default.layers[0]].shape == (4, 4)
    try:
        at_norm = cs.grad_cam(cs.Model(net), tensor(), layer="norm")
    except LayerError:
        return
    assert at_norm.layer_values["norm"].shape == (4, 4)


def test_a_network_without_a_spatial_layer_is_refused() -> None:
    net = seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 4)))
    with pytest.raises(
        LayerError, match=r"no layer of Sequential has an output with spatial extent, which a map needs; lenses"
    ):
        cs.grad_cam(cs.Model(net), tensor())
    assert cs.saliency(cs.Model(net), tensor()).values.shape == (SIDE, SIDE)


def test_the_default_is_searched_once_per_input_shape() -> None:
    model = pictured()
    first, second = (cs.grad_cam(model, tensor()) for _ in range(2))
    assert first.cost.forwards >= 2
    assert (second.cost.forwards, second.cost.backwards) == (1, 1)
    assert torch.equal(first.values, second.values)


# Several layers


@pytest.mark.parametrize(
    "spec", [s for s in CAMS if s.name not in ("cam", *SINGLE_LAYER_LENSES)], ids=lambda spec: spec.name
)
def test_several_layers_in_one_pass_equal_single_layers(spec: Any) -> None:
    model = cs.Model(made(2))
    lens = getattr(cs, spec.name)
    joint = lens(model, tensor(2, 3, SIDE, SIDE), layer=["0", "3"])
    for address in ("0", "3"):
        single = lens(model, tensor(2, 3, SIDE, SIDE), layer=address)
        for from_joint, from_single in zip(joint, single, strict=True):
            assert from_joint.layers == ("0", "3")
            torch.testing.assert_close(from_joint.layer_values[address], from_single.layer_values[address])


def test_a_layer_named_twice_counts_once() -> None:
    model = cs.Model(made(2))
    twice, once = (cs.grad_cam(model, tensor(), layer=layer) for layer in (["3", "3"], ["3"]))
    assert torch.equal(twice.values, once.values)


def test_layers_are_fused_by_the_mean_of_their_normalized_maps() -> None:
    attribution = cs.grad_cam(cs.Model(made(2)), tensor(), layer=["0", "3"])
    resized = [
        nn.functional.interpolate(values[None, None] / 1, (SIDE, SIDE), mode="bilinear")[0, 0]
        for values in attribution.layer_values.values()
    ]
    torch.testing.assert_close(attribution.values, sum(values / values.abs().max() for values in resized) / 2)


# Modules named like a symbolic default


def _with_module_named(name: str) -> nn.Module:
    """Three convolutions, of which the first has a finer resolution and the second has that name."""
    convolutions = {"stem": nn.Conv2d(3, 4, 3), name: nn.Conv2d(4, 4, 3, 2), "last": nn.Conv2d(4, 4, 3, padding=1)}
    head = {"pool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "head": nn.Linear(4, 5)}
    return seeded(lambda: nn.Sequential(OrderedDict({**convolutions, **head})))


@pytest.mark.parametrize("default", [LAST_SPATIAL, FIRST_CONVOLUTION, EVERY_LAYER, STAGES], ids=str)
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


@pytest.mark.parametrize("default", [LAST_SPATIAL, FIRST_CONVOLUTION, EVERY_LAYER, STAGES], ids=str)
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


def test_the_run_order_is_that_in_which_layers_finish() -> None:
    trace = trace_layers(cs.Model(made()), tensor())
    assert list(trace.order) == list("0123456")
    assert trace.layers["2"].shape == (1, 6, SIDE // 2, SIDE // 2)
    assert trace.classes == 4


class Views(nn.Module):
    """It uses ``view``, which fails on channels-last tensors: the forward pass is restarted on contiguous ones."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4 * 14 * 14, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.conv(x).view(len(x), -1))


def test_a_restarted_forward_pass_counts_once() -> None:
    assert call_count(cs.Model(seeded(Views)), "conv", tensor()) == 1


class Observer(nn.Module):
    """Reads its input and returns it unchanged, as observers do; the network does not use the returned tensor."""

    def forward(self, x: Tensor) -> Tensor:
        self.mean = float(x.mean())
        return x


class Observed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.observer, self.head = nn.Conv2d(3, 4, 3), Observer(), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        self.observer(y)
        return self.head(y.relu().mean((2, 3)))


def test_a_layer_that_returns_its_input_is_not_the_default() -> None:
    attribution = cs.grad_cam(Observed().eval(), torch.randn(1, 3, 10, 10), target=1)
    assert attribution.layers == ("conv",)


class Folded(nn.Module):
    """Unfolds patches, mixes each of them, and folds them back."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.mix, self.last, self.head = (
            nn.Conv2d(3, 4, 1),
            nn.Linear(16, 16),
            nn.Conv2d(4, 4, 1),
            nn.Linear(4, 3),
        )

    def forward(self, x: Tensor) -> Tensor:
        columns = nn.functional.unfold(self.stem(x), 2, stride=2).transpose(1, 2)
        y = nn.functional.fold(self.mix(columns).transpose(1, 2), x.shape[2:], 2, stride=2)
        return self.head(self.last(y).relu().mean((2, 3)))


def test_positions_are_tracked_through_fold() -> None:
    net, x = Folded().eval(), torch.randn(2, 3, 8, 8)
    assert cs.grad_cam(net, x)[1].layers == ("last",)
    assert cs.structure(net, x[:1]).module("last").box((3, 4), (8, 8)) == ((2, 3), (4, 5))


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


class Reused(nn.Module):
    """One activation function after two convolutions, with different sizes, first with channels last."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 5, 3), nn.Conv2d(5, 6, 3)
        self.act, self.head = nn.ReLU(), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.first(x).movedim(1, -1)).movedim(-1, 1)
        return self.head(self.act(self.second(y)).mean((2, 3)))


def test_a_reused_layer_is_described_call_by_call() -> None:
    net, x = seeded(Reused), tensor()
    first = net.first(x).relu().mean((0, 2, 3))
    distribution = cs.activations(net, x)
    assert {"act", "act, call 2"} <= set(distribution.channels)
    torch.testing.assert_close(distribution.channels["act"][:, 0], first.detach(), rtol=1e-4, atol=1e-6)
    assert len(distribution.channels["act, call 2"]) == 6


@pytest.mark.parametrize("lens", [cs.eigen_cam, cs.feature_maps])
def test_the_sign_of_a_component_does_not_depend_on_rounding(lens: Any) -> None:
    """After a layer norm channels add to zero at every position: their sum does not determine a component's sign."""

    class Normed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm, self.head = nn.Conv1d(2, 6, 3), nn.LayerNorm(6), nn.Linear(6, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.norm(self.conv(x).transpose(1, 2)).relu().mean(1))

    torch.manual_seed(0)
    net, x = Normed().eval(), torch.randn(16, 2, 20)
    options = {"view": "colours"} if lens is cs.feature_maps else {}
    batch = lens(net, x, layer="norm", **options)
    for row, image in enumerate(x):
        single = lens(net, image[None], layer="norm", **options)
        from_batch, from_single = (
            value.values if lens is cs.eigen_cam else value.colours["norm"] for value in (batch[row], single)
        )
        torch.testing.assert_close(from_batch, from_single, rtol=1e-3, atol=1e-4)
