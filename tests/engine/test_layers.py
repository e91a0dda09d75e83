"""Layer addresses: the right layer by default, a refusal that helps where there is none."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import convscope as cs
from convscope.engine.layers.addresses import parse_unit
from convscope.engine.layers.default_layer import default_layer
from convscope.engine.layers.trace import calls_of, traced
from convscope.errors import ConvScopeError, LayerError, UnknownName
from tests.engine._nets import SIDE, Branches, Dense, Stages, axes_net, condition, made, pictured, seeded, tensor

ONLY_ACTIVATIONS = {"eigen_cam", "fem"}
CAMS = [spec for spec in cs.lenses() if spec.takes_layer and spec.returns == "Attribution"]
OF_ONE_LAYER = ("concept_relevance",)
"""Lenses that look at channels of a single layer."""


def default_of(net: nn.Module, x: Tensor | None = None) -> str:
    model = cs.Model(net)
    with model.untouched():
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


@pytest.mark.parametrize(("layer", "kind", "sentence"), REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("lens", [cs.grad_cam, cs.eigen_cam, cs.smooth_grad_cam_plus_plus])
def test_a_layer_that_cannot_be_meant_is_refused_in_one_sentence(
    lens: Any, layer: Any, kind: type[ConvScopeError], sentence: str
) -> None:
    model = cs.Model(seeded(Stages))
    before = condition(model.module)
    with pytest.raises(kind, match=sentence) as caught:
        lens(model, tensor(), layer=layer)
    assert "\n" not in str(caught.value)
    assert condition(model.module) == before


@pytest.mark.parametrize("spec", CAMS, ids=lambda spec: spec.name)
def test_no_lens_makes_a_map_of_a_layer_without_extent_or_of_one_that_is_never_reached(spec: Any) -> None:
    model = cs.Model(seeded(Branches))
    with pytest.raises(LayerError, match=r"'head' gives shape .* no spatial extent"):
        getattr(cs, spec.name)(model, tensor(), layer="head")
    with pytest.raises(LayerError, match=r"layer 'second' was never reached in this forward \(a branch not taken"):
        getattr(cs, spec.name)(model, tensor(), layer="second")
    if spec.name not in OF_ONE_LAYER:
        with pytest.raises(LayerError, match=r"layer 'second' was never reached"):
            getattr(cs, spec.name)(model, tensor(), layer=["first", "second"])


def test_a_dropped_part_of_an_address_is_suggested() -> None:
    net = nn.Sequential()
    net.add_module("layer4", nn.Sequential(nn.Sequential()))
    net.layer4[0].add_module("conv2", nn.Conv2d(3, 3, 1))
    with pytest.raises(UnknownName, match=r"no layer 'layer4\.conv2' in Sequential; did you mean 'layer4\.0\.conv2'\?"):
        cs.grad_cam(cs.Model(net), tensor(), layer="layer4.conv2")


def test_a_layer_that_gives_whole_numbers_is_refused() -> None:
    class Chooses(Stages):
        def __init__(self) -> None:
            super().__init__()
            self.chosen = nn.MaxPool2d(2, return_indices=True)
            self.only = _Second()

        def forward(self, x: Tensor) -> Tensor:
            maps = self.first(x)
            self.only(self.chosen(maps))
            return self.answer(maps)

    class _Second(nn.Module):
        def forward(self, pair: tuple[Tensor, Tensor]) -> Tensor:
            return pair[1]

    with pytest.raises(LayerError, match="layer 'only' gives"):
        cs.grad_cam(cs.Model(seeded(Chooses)), tensor(), layer="only")


def test_a_unit_above_the_layer_explains_the_layer_and_one_below_it_is_refused() -> None:
    model = cs.Model(made())
    assert not cs.grad_cam(model, tensor(), layer="0", target="2[3]").blank
    with pytest.raises(ConvScopeError, match="target") as caught:
        cs.grad_cam(model, tensor(), layer="2", target="0[3]")
    assert "branch not taken" not in str(caught.value)


def test_a_unit_of_the_first_layer_has_no_layer_before_it() -> None:
    try:
        found = cs.grad_cam(cs.Model(made()), tensor(), target="0[3]")
    except LayerError as error:
        said = str(error)
    else:
        said = f"before nothing: {found.layers}"
    assert "before" in said


@pytest.mark.parametrize("target", ["1[3]", "2[3]"])
def test_a_unit_is_explained_at_the_default_layer_before_it_when_no_layer_is_named(target: str) -> None:
    found = cs.grad_cam(cs.Model(made()), tensor(), target=target)
    assert found.target == target
    assert int(found.layers[0]) <= int(target[0])


# The default


def test_the_last_layer_with_extent_is_the_default() -> None:
    assert default_of(made()) == "3"
    assert default_of(seeded(Stages)) == "second"
    assert default_of(axes_net(1), tensor(1, 2, 30)) == "1"
    assert default_of(axes_net(3), tensor(1, 2, 6, 7, 8)) == "1"


def test_the_answer_laid_out_in_space_is_not_evidence_for_it() -> None:
    """SqueezeNet's last convolution has the classes for channels: the layer before it is meant."""
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


def test_as_many_channels_as_classes_are_no_answer_while_weights_follow() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 5, 3), nn.Conv2d(5, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 4)
    )
    assert default_of(net.eval()) == "2"


def test_a_layer_beside_the_answer_is_not_the_default() -> None:
    """Networks for segmentation run an auxiliary head last; the answer does not depend on it."""

    class WithAuxiliaryHead(Stages):
        def __init__(self) -> None:
            super().__init__()
            self.auxiliary = nn.Conv2d(5, 7, 1)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            maps = self.act(self.second(self.first(x)))
            return {"out": self.answer(maps), "aux": self.auxiliary(maps)}

    model = cs.Model(seeded(WithAuxiliaryHead), output="out")
    found = cs.grad_cam(model, tensor())
    assert found.layers != ("auxiliary",)
    assert not found.blank


def test_a_head_beside_the_answer_does_not_make_the_answer_evidence() -> None:
    """FCN and DeepLab as they are published: the classes laid out in space, and an auxiliary head that runs last."""

    class WithAuxiliaryHead(Dense):
        def __init__(self) -> None:
            super().__init__()
            self.auxiliary = nn.Conv2d(6, 4, 1)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            encoded = self.encoder(x)
            scores = nn.functional.interpolate(self.classifier(self.decoder(encoded)), x.shape[2:])
            return {"out": scores, "aux": self.auxiliary(encoded)}

    found = cs.grad_cam(cs.Model(seeded(WithAuxiliaryHead), output="out"), tensor(), target=cs.Region(1))
    assert found.layers[0].startswith("decoder")


def test_an_attention_matrix_is_not_taken_for_a_map() -> None:
    """A layer that mixes attention heads gives (N, tokens, tokens, heads): square as the picture, and no map."""

    class MixesHeads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.value, self.head = nn.Conv2d(3, 8, 4, 4), nn.Linear(8, 8), nn.Linear(8, 4)
            self.mix = nn.Linear(2, 2)

        def forward(self, x: Tensor) -> Tensor:
            tokens = self.embed(x).flatten(2).mT
            weights = torch.stack([tokens @ tokens.mT, (tokens @ tokens.mT).square()], dim=3).softmax(2)
            return self.head((self.mix(weights).mean(3) @ self.value(tokens)).mean(1))

    found = cs.grad_cam(cs.Model(seeded(MixesHeads)), tensor())
    assert found.layers != ("mix",)
    assert found.layer_values[found.layers[0]].shape == (4, 4)


def test_maps_with_their_channels_last_are_not_taken_for_maps_with_their_channels_first() -> None:
    """Swin keeps (N, height, width, channels): rows must not be summed as channels, nor channels drawn as columns."""

    class ChannelsLast(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.norm, self.head = nn.Conv2d(3, 12, 4, 4), nn.LayerNorm(12), nn.Linear(12, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.norm(self.embed(x).permute(0, 2, 3, 1)).mean((1, 2)))

    net = seeded(ChannelsLast)
    found = cs.grad_cam(cs.Model(net), tensor())
    assert found.layer_values[found.layers[0]].shape == (4, 4)
    try:
        named = cs.grad_cam(cs.Model(net), tensor(), layer="norm")
    except LayerError:
        return
    assert named.layer_values["norm"].shape == (4, 4)


def test_a_network_without_a_spatial_layer_says_so() -> None:
    net = seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 4)))
    with pytest.raises(
        LayerError, match=r"no layer of Sequential has an output with spatial extent, which a map needs; lenses"
    ):
        cs.grad_cam(cs.Model(net), tensor())
    assert cs.saliency(cs.Model(net), tensor()).values.shape == (SIDE, SIDE)


def test_the_default_is_found_once_per_input_shape() -> None:
    model = pictured()
    first, second = (cs.grad_cam(model, tensor()) for _ in range(2))
    assert first.cost.forwards >= 2
    assert (second.cost.forwards, second.cost.backwards) == (1, 1)
    assert torch.equal(first.values, second.values)


# Several layers


@pytest.mark.parametrize("spec", [s for s in CAMS if s.name not in ("cam", *OF_ONE_LAYER)], ids=lambda spec: spec.name)
def test_several_layers_in_one_pass_equal_single_layers(spec: Any) -> None:
    model = cs.Model(made(2))
    lens = getattr(cs, spec.name)
    together = lens(model, tensor(2, 3, SIDE, SIDE), layer=["0", "3"])
    for address in ("0", "3"):
        alone = lens(model, tensor(2, 3, SIDE, SIDE), layer=address)
        for one, other in zip(together, alone, strict=True):
            assert one.layers == ("0", "3")
            torch.testing.assert_close(one.layer_values[address], other.layer_values[address])


def test_a_layer_named_twice_counts_once() -> None:
    model = cs.Model(made(2))
    twice, once = (cs.grad_cam(model, tensor(), layer=layer) for layer in (["3", "3"], ["3"]))
    assert torch.equal(twice.values, once.values)


def test_layers_are_fused_by_their_mean_in_units_of_each_ones_peak() -> None:
    found = cs.grad_cam(cs.Model(made(2)), tensor(), layer=["0", "3"])
    resized = [
        nn.functional.interpolate(v[None, None] / 1, (SIDE, SIDE), mode="bilinear")[0, 0]
        for v in found.layer_values.values()
    ]
    torch.testing.assert_close(found.values, sum(v / v.abs().max() for v in resized) / 2)


# Reading addresses


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("layer4.1.conv2[17]", ("layer4.1.conv2", 17, ())),
        ("layer4.1.conv2[17, 3, 5]", ("layer4.1.conv2", 17, (3, 5))),
        ("0[1,2]", ("0", 1, (2,))),
        ("a [3]", ("a", 3, ())),
    ],
)
def test_a_unit_is_read_as_pytorch_writes_it(text: str, read: tuple[Any, ...]) -> None:
    unit = parse_unit(text)
    assert unit is not None
    assert (unit.layer, unit.unit, unit.position) == read


@pytest.mark.parametrize(
    "text", ["layer4", "layer4[]", "layer4[-1]", "layer4[a]", "layer4[1", "layer4[1.5]", "layer4[1] "]
)
def test_what_is_no_unit_is_not_read_as_one(text: str) -> None:
    assert parse_unit(text) is None


def test_the_run_order_is_that_in_which_layers_finish() -> None:
    trace = traced(cs.Model(made()), tensor())
    assert list(trace.order) == list("0123456")
    assert trace.layers["2"].shape == (1, 6, SIDE // 2, SIDE // 2)
    assert trace.classes == 4


class Views(nn.Module):
    """It insists on ``view``, which fails on channels-last tensors: its forward is begun again on plain ones."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4 * 14 * 14, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.conv(x).view(len(x), -1))


def test_a_forward_that_is_begun_again_counts_once() -> None:
    assert calls_of(cs.Model(seeded(Views)), "conv", tensor()) == 1


class Watching(nn.Module):
    """Looks at what it is given and hands it on, as observers do; nobody takes it from there."""

    def forward(self, x: Tensor) -> Tensor:
        self.mean = float(x.mean())
        return x


class Watched(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.watching, self.head = nn.Conv2d(3, 4, 3), Watching(), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        self.watching(y)
        return self.head(y.relu().mean((2, 3)))


def test_a_layer_that_hands_on_what_it_was_given_is_not_the_default() -> None:
    found = cs.grad_cam(Watched().eval(), torch.randn(1, 3, 10, 10), target=1)
    assert found.layers == ("conv",)


class Folded(nn.Module):
    """Patches are cut out, mixed each, and put back."""

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


def test_places_are_kept_through_fold() -> None:
    net, x = Folded().eval(), torch.randn(2, 3, 8, 8)
    assert cs.grad_cam(net, x)[1].layers == ("last",)
    assert cs.structure(net, x[:1]).module("last").box((3, 4), (8, 8)) == ((2, 3), (4, 5))


def test_a_network_frozen_by_torch_runs_and_names_of_its_layers_are_refused() -> None:
    net, x = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.LazyLinear(3)).eval(), torch.randn(1, 3, 8, 8)
    net(x)
    frozen = torch.jit.freeze(torch.jit.trace(net, x))
    torch.testing.assert_close(cs.saliency(frozen, x, target=1).values, cs.saliency(net, x, target=1).values)
    with pytest.raises(LayerError, match="traced or scripted"):
        cs.grad_cam(frozen, x, target=1)


def test_nothing_to_look_at_is_refused() -> None:
    net = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3)).eval()
    with pytest.raises(ConvScopeError, match="no spatial axes"):
        cs.deep_dream(net, torch.randn(1, 8), unit="0[1]", steps=2)
    with pytest.raises(ConvScopeError, match="a data set is"):
        cs.top_inputs(net, None, unit="0[1]")


class Again(nn.Module):
    """One activation behind two convolutions, of other sizes and with the channels last at first."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 5, 3), nn.Conv2d(5, 6, 3)
        self.act, self.head = nn.ReLU(), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.first(x).movedim(1, -1)).movedim(-1, 1)
        return self.head(self.act(self.second(y)).mean((2, 3)))


def test_a_layer_that_runs_again_is_described_call_by_call() -> None:
    net, x = seeded(Again), tensor()
    first = net.first(x).relu().mean((0, 2, 3))
    told = cs.activations(net, x)
    assert {"act", "act, call 2"} <= set(told.channels)
    torch.testing.assert_close(told.channels["act"][:, 0], first.detach(), rtol=1e-4, atol=1e-6)
    assert len(told.channels["act, call 2"]) == 6


@pytest.mark.parametrize("lens", [cs.eigen_cam, cs.feature_maps])
def test_the_sign_of_a_component_is_not_left_to_rounding(lens: Any) -> None:
    """Behind a layer norm channels add to zero at every position: their sum says nothing of a component's sign."""

    class Normed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm, self.head = nn.Conv1d(2, 6, 3), nn.LayerNorm(6), nn.Linear(6, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.norm(self.conv(x).transpose(1, 2)).relu().mean(1))

    torch.manual_seed(0)
    net, x = Normed().eval(), torch.randn(16, 2, 20)
    options = {"view": "colours"} if lens is cs.feature_maps else {}
    together = lens(net, x, layer="norm", **options)
    for row, image in enumerate(x):
        alone = lens(net, image[None], layer="norm", **options)
        a, b = (v.values if lens is cs.eigen_cam else v.colours["norm"] for v in (together[row], alone))
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)
