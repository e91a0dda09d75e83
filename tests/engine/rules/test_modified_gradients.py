"""Guided backprop and DeconvNet without activations are the gradient."""

import convscope as cs
from tests.conftest import picture_model
from tests.engine.rules.networks import _apart
from tests.nets import LinearNet, seeded


def test_guided_backprop_and_deconvnet_without_activations_are_the_gradient(picture) -> None:
    model = picture_model(seeded(LinearNet))
    weight = model.module.fc.weight[2].detach().view(3, 16, 16)
    for lens in ("guided_backprop", "deconvnet"):
        assert _apart(getattr(cs, lens)(model, picture, target=2).channels, weight) < 1e-6
