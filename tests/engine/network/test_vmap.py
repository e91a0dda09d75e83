"""Networks that use vmap: their layers are refused, and lenses without layers work."""

import pytest
import torch
from torch import Tensor, nn

import convscope as cs
from convscope.errors import LayerError, NoRule
from tests.engine.networks import seeded


class Mapped(nn.Module):
    """Maps a network for single images over the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(0))

    def forward(self, x: Tensor) -> Tensor:
        return torch.vmap(self.net)(x)


@pytest.mark.parametrize("lens", ["grad_cam", "ablation_cam", "layer_conductance", "lrp", "deep_lift", "full_grad"])
def test_layers_under_vmap_are_refused_with_the_reason(lens: str) -> None:
    model = cs.Model(seeded(Mapped), input=cs.TensorInput((3, 8, 8)))
    options = {} if lens in ("lrp", "deep_lift", "full_grad") else {"layer": "net.0"}
    for layer in (options, {}):
        with pytest.raises((LayerError, NoRule), match=r"runs under torch\.vmap"):
            getattr(cs, lens)(model, torch.rand(2, 3, 8, 8), target=1, **layer)


@pytest.mark.parametrize("lens", ["integrated_gradients", "saliency", "occlusion", "rise"])
def test_lenses_that_need_no_layer_work_under_vmap(lens: str) -> None:
    class Batched(Mapped):
        def forward(self, x: Tensor) -> Tensor:
            return self.net[2](self.net[1](self.net[0](x))).flatten(1)

    images = torch.rand(2, 3, 8, 8)
    mapped, batched = (
        getattr(cs, lens)(cs.Model(seeded(net), input=cs.TensorInput((3, 8, 8))), images, target=1)
        for net in (Mapped, Batched)
    )
    for attribution, expected in zip(mapped, batched, strict=True):
        torch.testing.assert_close(attribution.values, expected.values)
