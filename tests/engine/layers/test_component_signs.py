"""The sign of a principal component does not depend on rounding."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import convscope as cs


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
