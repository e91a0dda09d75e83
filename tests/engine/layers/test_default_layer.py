"""The default layer: the last one with spatial positions on every path to the output."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import convscope as cs
from convscope.engine.layers.default_layer import default_layer, layers_to_default
from convscope.errors import LayerError
from tests.engine.networks import SIDE, Dense, Stages, axes_net, pictured, seeded, small_network, tensor


def default_of(net: nn.Module, x: Tensor | None = None) -> str:
    model = cs.Model(net)
    with model.preserve_state():
        return default_layer(model, tensor() if x is None else x)


def test_the_last_layer_with_extent_is_the_default() -> None:
    assert default_of(small_network()) == "3"
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


def test_a_map_of_the_scores_is_the_default_where_there_is_no_other_layer() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert default_of(net.eval()) == "0"
    x = tensor()
    covered = net[0](x)[0, 2].relu() / (net[0](x).shape[2] * net[0](x).shape[3])
    ((_, values),) = cs.grad_cam(cs.Model(net), x, target=2).layer_values.items()
    torch.testing.assert_close(values.relu(), covered.detach())


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

        def forward(self, x: Tensor) -> Any:
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

        def forward(self, x: Tensor) -> Any:
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


class Pooling(nn.Module):
    """A backbone that returns its feature maps together with their mean, as those of transformers do."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 3)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        maps = self.last(self.first(x).relu())
        return {"maps": maps, "pooled": maps.relu().mean((2, 3))}


class Pooled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.head = Pooling(), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.backbone(x)["pooled"])


def test_a_container_that_pools_its_own_output_is_not_the_default() -> None:
    """Its maps are replaced only after they were pooled, so that nothing would reach the score."""
    model = cs.Model(seeded(Pooled))
    attribution = cs.grad_cam(model, tensor(), target=1)
    assert attribution.layers == ("backbone.last",)
    assert attribution.values.abs().max() > 0


def test_the_layers_that_lead_to_the_default_are_on_every_path() -> None:
    model = cs.Model(seeded(Stages))
    with model.preserve_state():
        assert layers_to_default(model, tensor(), most=12) == ("first", "act", "second")
    deep = cs.Model(nn.Sequential(*(nn.Conv2d(3, 3, 3, padding=1) for _ in range(9)), nn.Flatten(), nn.LazyLinear(2)))
    deep.module(tensor())
    with deep.preserve_state():
        assert layers_to_default(deep, tensor(), most=3) == ("0", "4", "8")
