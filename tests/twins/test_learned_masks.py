"""What the lenses that learn a mask have in common."""

import torch
from torch import Tensor

import convscope as cs
from tests.nets import SIDE


def test_learned_masks_find_the_only_place_that_matters() -> None:
    """A network that looks at one corner: it is what is deleted, and what is kept."""

    class Corner(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x[:, :, :5, :5].mean((1, 2, 3))[:, None] * torch.tensor([1.0, -1.0])

    model = cs.Model(Corner())
    images = torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    deleted = cs.meaningful_perturbation(model, images, target=0, baseline="black", cells=8).values
    kept = cs.extremal_perturbation(model, images, target=0, baseline="black", width=0.2).values
    for mask in (deleted, kept):
        assert float(mask[:3, :3].min()) > 0.4
        assert float(mask[8:, 8:].max()) < 0.1
