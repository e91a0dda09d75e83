"""Layouts of layer outputs: every order of axes is converted to the map that the network's author has in mind."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import convscope as cs
from convscope.engine.layers.layer_trace import as_feature_map, layout_of, trace_layers
from convscope.errors import LayerError
from tests.engine.layers.layout_cases import CASES, _build, _layer_output
from tests.engine.networks import seeded
from tests.narrowing import listed


@pytest.mark.parametrize("case", CASES)
def test_an_output_is_read_as_images_channels_and_positions(case: str) -> None:
    model, x, layer, expected = _build(case)
    output = _layer_output(model, x, layer)
    with model.preserve_state():
        feature_map = as_feature_map(model, layer, x, output)
    torch.testing.assert_close(feature_map, expected(output, len(x)))


@pytest.mark.parametrize("case", [case for case in CASES if case.startswith(("after", "gated"))])
def test_the_layout_follows_from_the_operations_without_probing(case: str) -> None:
    model, x, layer, _ = _build(case)
    with model.preserve_state():
        traced = trace_layers(model, x).layers[layer]
    assert traced.has_positions, traced.unknown_reason
    assert not traced.probed


@pytest.mark.parametrize("case", CASES)
def test_from_map_is_the_inverse_of_to_map(case: str) -> None:
    model, x, layer, _ = _build(case)
    output = _layer_output(model, x[:1], layer)
    with model.preserve_state():
        layout = layout_of(model, layer, x)
    maps = layout.to_map(output)
    outputs = layout.from_images(layout.from_map(torch.cat([maps, maps * 2]), output))
    torch.testing.assert_close(layout.to_map(outputs), torch.cat([maps, maps * 2]))
    torch.testing.assert_close(layout.from_images(layout.from_map(maps, output)), output)


@pytest.mark.parametrize("case", CASES)
def test_an_image_has_the_same_map_alone_and_in_a_batch(case: str) -> None:
    model, x, layer, _ = _build(case)
    batch = listed(cs.grad_cam(model, x, layer=layer, target=1, relu=False))
    for image, attribution in zip(x, batch, strict=True):
        single = cs.grad_cam(model, image[None], layer=layer, target=1, relu=False)
        torch.testing.assert_close(attribution.values, single.values, rtol=1e-4, atol=1e-6)
        assert attribution.values.shape == x.shape[2:]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("lens", [cs.ablation_cam, cs.score_cam, cs.eigen_cam, cs.layer_cam, cs.feature_maps])
def test_layer_lenses_accept_every_layout(case: str, lens: Any) -> None:
    model, x, layer, _ = _build(case)
    values = lens(model, x[:2], layer=layer)
    assert len(values) == 2


@pytest.mark.parametrize("case", CASES)
def test_a_unit_is_a_channel_in_every_layout(case: str) -> None:
    model, x, layer, expected = _build(case)
    unit = expected(_layer_output(model, x, layer), len(x))[:, 1].flatten(1).mean(1)
    scores = [attribution.score for attribution in cs.saliency(model, x, target=f"{layer}[1]")]
    torch.testing.assert_close(torch.tensor(scores), unit, rtol=1e-4, atol=1e-5)


class Compares(nn.Module):
    """Attention weights, a flattened map and a similarity of the images of a batch, as modules."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.weights, self.flat, self.pairs = (
            nn.Conv2d(3, 4, 4, 4),
            nn.Softmax(-1),
            nn.Flatten(),
            nn.Identity(),
        )
        self.tanh, self.head = nn.Tanh(), nn.Linear(64, 3)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.conv(x).flatten(2).transpose(1, 2)
        mixed = self.weights(tokens @ tokens.mT) @ tokens
        self.tanh(tokens.mean(1) @ tokens.mean(1).T)
        return self.head(self.flat(mixed))


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("weights", "has positions along two dimensions at once"),
        ("flat", "has no spatial extent"),
        ("tanh", "compares the images of a batch"),
        ("head", "has no spatial extent"),
    ],
)
def test_outputs_that_are_no_maps_are_refused_with_the_reason(layer: str, message: str) -> None:
    with pytest.raises(LayerError, match=message):
        cs.eigen_cam(Compares().eval(), torch.randn(2, 3, 16, 16), layer=layer)
    assert cs.grad_cam(Compares().eval(), torch.randn(1, 3, 16, 16)).layers == ("conv",)


def test_a_network_that_takes_a_single_image_is_read_from_it_alone() -> None:
    class Single(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 5, 3), nn.Linear(5, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.conv(x).view(1, 5, -1).mean(2))

    torch.manual_seed(0)
    attribution = cs.grad_cam(Single().eval(), torch.randn(1, 3, 8, 8))
    assert attribution.layer_values["conv"].shape == (6, 6)


def test_the_network_is_recorded_once_per_input_shape() -> None:
    model, x, layer, _ = _build("channels last, an image")
    runs: list[int] = []
    model.module.stem.register_forward_hook(lambda *_: runs.append(1))
    with model.preserve_state():
        for _ in range(3):
            trace_layers(model, x)
            layout_of(model, layer, x)
    assert len(runs) == 1


class Views(nn.Module):
    """Several views of each image run through the same convolutions, and their features are averaged."""

    def __init__(self, views: Any, axes: int, apart: bool, stride: int = 1) -> None:
        super().__init__()
        convolution = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[axes - 1]
        self.views, self.apart = views, apart
        self.first, self.second = convolution(3, 6, 3, padding=1), convolution(6, 4, 3, stride, padding=1)
        self.fc = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        views = [view(x) for view in self.views]
        maps = torch.cat(views) if self.apart else torch.stack(views, 1).flatten(0, 1)
        features = self.second(self.first(maps).relu()).relu().flatten(2).mean(2)
        by_image = features.unflatten(0, (-1, len(x)) if self.apart else (len(x), -1))
        return self.fc(by_image.mean(0 if self.apart else 1))


def as_is(x: Tensor) -> Tensor:
    return x


TRANSFORMS: dict[str, tuple[int, Any, Any]] = {
    "mirrored signal": (1, lambda x: x.flip(-1), lambda m: m.flip(-1)),
    "mirrored": (2, lambda x: x.flip(3), lambda m: m.flip(-1)),
    "rotated by 180 degrees": (2, lambda x: x.flip(2, 3), lambda m: m.flip(-2, -1)),
    "rotated by 90 degrees": (2, lambda x: torch.rot90(x, 1, (2, 3)), lambda m: torch.rot90(m, -1, (-2, -1))),
    "transposed": (2, lambda x: x.transpose(2, 3), lambda m: m.transpose(-2, -1)),
    "rolled": (2, lambda x: x.roll(3, 3), lambda m: m.roll(-3, -1)),
    "mirrored volume": (3, lambda x: x.flip(2), lambda m: m.flip(-3)),
}


@pytest.mark.parametrize("apart", [True, False], ids=["views concatenated", "views of an image together"])
@pytest.mark.parametrize("name", TRANSFORMS)
def test_maps_of_transformed_views_are_transformed_back(name: str, apart: bool) -> None:
    axes, transform, invert = TRANSFORMS[name]
    net, shape = seeded(lambda: Views((as_is, transform), axes, apart)), (3, *[8, 8, 8][:axes])
    images = torch.rand(2, *shape)
    for layer in ("first", "second"):
        attributions = cs.hires_cam(cs.Model(net, input=cs.TensorInput(shape)), images, target=1, layer=layer)
        for attribution, image in zip(listed(attributions), images, strict=True):
            activations: list[Tensor] = []
            handle = net.get_submodule(layer).register_forward_hook(
                lambda *arguments, activations=activations: activations.append(arguments[2])
            )
            score = net(image[None])[0, 1]
            handle.remove()
            (gradient,) = torch.autograd.grad(score, activations)
            plain, transformed = (activations[0] * gradient).sum(1).detach()
            assert torch.allclose(attribution.layer_values[layer], torch.stack([plain, invert(transformed)]), atol=1e-6)


def test_concatenated_copies_are_several_maps() -> None:
    class Wide(Views):
        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.second(self.first(torch.cat([x, x.flip(3)], 3)).relu()).flatten(2).mean(2))

    model = cs.Model(seeded(lambda: Wide((), 2, apart=False)), input=cs.TensorInput((3, 8, 8)))
    value = cs.grad_cam(model, torch.rand(3, 8, 8), target=1, layer="first")
    assert value.layer_values["first"].shape == (2, 8, 8)


def test_overlapping_views_are_refused() -> None:
    crops = (lambda x: x[..., :6, :6], lambda x: x[..., 2:, 2:])
    model = cs.Model(seeded(lambda: Views(crops, 2, apart=True)), input=cs.TensorInput((3, 8, 8)))
    with pytest.raises(LayerError, match="shows some positions of the input more often than others, as overlapping"):
        cs.grad_cam(model, torch.rand(2, 3, 8, 8), target=1, layer="first")
