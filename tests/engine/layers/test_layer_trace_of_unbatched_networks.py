"""Networks that process images one by one, or take a single image without a batch axis."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import convscope as cs
from tests.engine.networks import seeded


class OneByOne(nn.Module):
    """Processes its images one by one, in various ways of writing it."""

    def __init__(self, variant: str) -> None:
        super().__init__()
        self.conv, self.fc, self.variant = nn.Conv2d(3, 6, 3, padding=1), nn.Linear(6, 3), variant

    def forward(self, x: Tensor) -> Tensor:
        match self.variant:
            case "cat":
                return torch.cat([self.fc(self.conv(image[None]).relu().mean((2, 3))) for image in x])
            case "split":
                return torch.cat([self.fc(self.conv(image).relu().mean((2, 3))) for image in x.split(1)])
            case "without a batch":
                return torch.stack([self.fc(self.conv(image).relu().mean((1, 2))) for image in x])
            case "in pairs":
                pairs = [self.conv(x[first : first + 2]) for first in range(0, len(x), 2)]
                return self.fc(torch.cat([pair.relu().mean((2, 3)) for pair in pairs]))
            case "features":
                return self.fc(torch.cat([self.conv(image[None]) for image in x]).relu().mean((2, 3)))
        return self.fc(self.conv(x).relu().mean((2, 3)))


VARIANTS = ["cat", "split", "without a batch", "in pairs", "features"]


LENSES = [
    "grad_cam",
    "ablation_cam",
    "score_cam",
    "saliency",
    "feature_maps",
    "layer_gradient_x_activation",
    "layer_grad_cam",
    "layer_integrated_gradients",
    "layer_conductance",
    "internal_influence",
    "layer_lrp",
    "layer_deep_lift",
]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("lens", LENSES)
def test_networks_that_process_images_one_by_one_give_the_same_results(variant: str, lens: str) -> None:
    images = torch.rand(3, 3, 8, 8)
    options: dict[str, Any] = {} if lens == "feature_maps" else {"target": 1}
    options |= {} if lens == "saliency" else {"layer": "conv"}
    values, expected_values = (
        getattr(cs, lens)(
            cs.Model(seeded(partial(OneByOne, variant_)), input=cs.TensorInput((3, 8, 8))),
            images,
            **options,
        )
        for variant_ in (variant, "as a batch")
    )
    for value, expected in zip(values, expected_values, strict=True):
        numbers = (
            (value.maps["conv"], expected.maps["conv"]) if lens == "feature_maps" else (value.values, expected.values)
        )
        assert torch.allclose(*numbers, atol=1e-5)


class SingleImage(nn.Module):
    """Removes the batch dimension, which must be of size one."""

    def __init__(self, squeezes: bool) -> None:
        super().__init__()
        self.conv, self.fc, self.squeezes = nn.Conv2d(3, 6, 3, padding=1), nn.Linear(6, 3), squeezes

    def forward(self, x: Tensor) -> Tensor:
        if self.squeezes:
            return self.fc(self.conv(x.squeeze(0)).relu().mean((1, 2)))[None]
        return self.fc(self.conv(x).relu().mean((2, 3)))


@pytest.mark.parametrize("lens", [name for name in LENSES if name not in ("layer_lrp", "layer_deep_lift")])
def test_a_network_that_removes_the_batch_dimension_gives_the_same_results(lens: str) -> None:
    image = torch.rand(3, 8, 8)
    options: dict[str, Any] = {} if lens == "feature_maps" else {"target": 1}
    options |= {} if lens == "saliency" else {"layer": "conv"}
    value, expected = (
        getattr(cs, lens)(
            cs.Model(seeded(partial(SingleImage, squeezes)), input=cs.TensorInput((3, 8, 8))),
            image,
            **options,
        )
        for squeezes in (True, False)
    )
    numbers = (value.maps["conv"], expected.maps["conv"]) if lens == "feature_maps" else (value.values, expected.values)
    assert torch.allclose(*numbers, atol=1e-5)
