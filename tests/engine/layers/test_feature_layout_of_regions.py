"""Networks that use a part of their input: the map covers that part and nothing else."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import convscope as cs
from convscope.engine.layers.layer_trace import layout_of
from convscope.errors import LayerError


class Crops(nn.Module):
    """Looks at what ``crop`` takes of its input."""

    def __init__(self, crop: Any, axes: int = 2) -> None:
        super().__init__()
        convolution = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[axes - 1]
        self.crop = crop
        self.conv, self.fc = convolution(1, 4, 3, padding=1), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.conv(self.crop(x)).relu().flatten(2).mean(2))


def model_of(crop: Any, shape: tuple[int, ...]) -> cs.Model:
    torch.manual_seed(0)
    return cs.Model(Crops(crop, len(shape) - 1), input=cs.TensorInput(shape))


CROPS: dict[str, tuple[Any, tuple[int, ...], tuple[tuple[int, int], ...]]] = {
    "the centre": (lambda x: x[..., 8:24, 8:24], (1, 32, 32), ((8, 24), (8, 24))),
    "the left half": (lambda x: x[..., :16], (1, 32, 32), ((0, 32), (0, 16))),
    "the centre, enlarged": (
        lambda x: F.interpolate(x[..., 8:24, 8:24], scale_factor=2),
        (1, 32, 32),
        ((8, 24), (8, 24)),
    ),
    "the end of a signal": (lambda x: x[..., 40:], (1, 64), ((40, 64),)),
    "middle slices of a volume": (lambda x: x[:, :, 4:8], (1, 12, 8, 8), ((4, 8), (0, 8), (0, 8))),
    "all": (lambda x: x, (1, 32, 32), ()),
    "every second pixel": (lambda x: x[..., ::2, ::2], (1, 32, 32), ()),
}


@pytest.mark.parametrize("name", CROPS)
def test_a_map_lies_over_what_the_network_takes(name: str) -> None:
    crop, shape, region = CROPS[name]
    model, image = model_of(crop, shape), torch.rand(shape)
    value = cs.grad_cam(model, image, target=1, layer="conv", relu=False)
    layout = layout_of(model, "conv", image[None])
    assert layout.region == region
    assert value.layer_regions == ({"conv": region} if region else {})
    inside = torch.zeros(shape[1:], dtype=torch.bool)
    inside[tuple(slice(*ends) for ends in region) or ...] = True
    assert bool(value.values[inside].any())
    assert not value.values[~inside].any()


@pytest.mark.parametrize("lens", ["grad_cam", "layer_cam", "score_cam", "ablation_cam", "group_cam", "eigen_cam"])
def test_the_strongest_place_is_where_the_spot_is(lens: str) -> None:
    model = model_of(lambda x: x[..., 8:24, 8:24], (1, 32, 32))
    with torch.no_grad():
        model.module.conv.weight.fill_(0.1)
        model.module.conv.bias.zero_()
        model.module.fc.weight.fill_(1)
    image = torch.zeros(1, 32, 32)
    image[0, 9, 9] = 1
    options = {} if lens == "eigen_cam" else {"target": 1}
    values = getattr(cs, lens)(model, image, layer="conv", **options).values
    row, column = divmod(int(values.argmax()), 32)
    assert 8 <= row <= 11
    assert 8 <= column <= 11


SEGMENTS: dict[str, Any] = {
    "with a gap": lambda x: torch.stack([x[..., 0:8], x[..., 16:24]], 1).flatten(0, 1),
    "cut out": lambda x: torch.stack([x[..., 4:12], x[..., 20:28]], 1).flatten(0, 1),
}


class Segments(Crops):
    def forward(self, x: Tensor) -> Tensor:
        features = self.conv(self.crop(x)).relu().flatten(2).mean(2)
        return self.fc(features.unflatten(0, (len(x), -1)).mean(1))


@pytest.mark.parametrize("name", SEGMENTS)
def test_segments_with_gaps_between_them_are_refused_for_that(name: str) -> None:
    model = cs.Model(Segments(SEGMENTS[name], 1), input=cs.TensorInput((1, 32)))
    with pytest.raises(LayerError, match="leaves gaps between the parts of the input that it shows"):
        cs.grad_cam(model, torch.rand(1, 32), target=1, layer="conv")


def test_segments_without_gaps_make_one_map() -> None:
    model = cs.Model(
        Segments(lambda x: torch.stack([x[..., :16], x[..., 16:]], 1).flatten(0, 1), 1), input=cs.TensorInput((1, 32))
    )
    value = cs.grad_cam(model, torch.rand(1, 32), target=1, layer="conv")
    assert value.layer_values["conv"].shape == (32,)


class Mirrored(nn.Module):
    """A map beside its mirror image in the channels, each with filters of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(2, 4, 3, padding=1, groups=2), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.conv(torch.cat([x, x.flip(3)], 1)).relu().flatten(2).mean(2))


def test_mirrored_channels_of_a_grouped_convolution_lie_where_they_came_from() -> None:
    torch.manual_seed(0)
    net, image = Mirrored(), torch.rand(1, 8, 8)
    value = cs.hires_cam(cs.Model(net, input=cs.TensorInput((1, 8, 8))), image, target=1, layer="conv", relu=False)
    maps = net.conv(torch.cat([image, image.flip(2)])[None])
    by_hand = net.fc.weight[1][:, None, None] / 64 * maps[0].relu()
    expected = by_hand[:2].sum(0) + by_hand[2:].flip(2).sum(0)
    assert torch.allclose(value.layer_values["conv"], expected.detach(), atol=1e-6)


class Resampled(Crops):
    """Looks at its input through a grid, as a spatial transformer does."""

    def __init__(self, grid: Any) -> None:
        super().__init__(self.sampled)
        self.grid = grid
        self.look, self.where = nn.Conv2d(1, 4, 7), nn.Linear(4, 6)

    def sampled(self, x: Tensor) -> Tensor:
        if self.grid is None:  # as PyTorch's tutorial does
            theta = self.where(self.look(x).relu().mean((2, 3))).view(-1, 2, 3)
        else:
            theta = torch.tensor(self.grid).expand(len(x), 2, 3)
        return F.grid_sample(x, F.affine_grid(theta, list(x.shape), align_corners=False), align_corners=False)


def spot_model(grid: Any, **options: Any) -> tuple[cs.Model, Tensor]:
    """A network that is moved by brightness, and an image that is bright in rows 20 to 22, columns 24 to 26."""
    torch.manual_seed(0)
    net = Resampled(grid).eval()
    with torch.no_grad():
        net.conv.weight.fill_(0.1)
        net.conv.bias.zero_()
        net.fc.weight.fill_(1)
    image = torch.zeros(1, 28, 28)
    image[:, 20:23, 24:27] = 1
    return cs.Model(net, input=cs.TensorInput((1, 28, 28)), **options), image


GRIDS = {
    "as it is": ([[1.0, 0, 0], [0, 1, 0]], ()),
    "enlarged": ([[0.5, 0, 0.5], [0, 0.5, 0.5]], ((13, 28), (13, 28))),
    "transposed": ([[0.0, 1, 0], [1, 0, 0]], ()),
    "mirrored": ([[-1.0, 0, 0], [0, 1, 0]], ()),
}


@pytest.mark.parametrize("name", GRIDS)
def test_a_map_goes_back_through_a_grid_that_is_the_same_for_every_input(name: str) -> None:
    grid, region = GRIDS[name]
    model, image = spot_model(grid)
    value = cs.grad_cam(model, image, target=1)
    assert list(value.layer_values) == ["conv"]
    assert layout_of(model, "conv", image[None]).region == region
    row, column = divmod(int(value.values.argmax()), 28)
    assert 20 <= row <= 22
    assert 24 <= column <= 26


@pytest.mark.parametrize("grid", [None, [[0.8, 0.6, 0], [-0.6, 0.8, 0]]], ids=["learned", "turned"])
@pytest.mark.parametrize("options", [{}, {"layer": "conv"}], ids=["by default", "named"])
def test_behind_another_grid_a_map_is_refused_unless_a_person_says_how_it_lies(grid: Any, options: Any) -> None:
    model, image = spot_model(grid)
    with pytest.raises(LayerError, match=r"'conv' is a map of an image that the network has resampled"):
        cs.grad_cam(model, image, target=1, **options)
    if grid is None:
        assert cs.grad_cam(model, image, target=1, layer="look").values.shape == (28, 28)
    declared_model, _ = spot_model(grid, layouts={"conv": "N C H W"})
    assert list(cs.grad_cam(declared_model, image, target=1, **options).layer_values) == ["conv"]
