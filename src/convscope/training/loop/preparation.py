"""From pixels to what the network of a training receives."""

import torch
from torch import Tensor

from convscope.engine.inputs.specs import ImageInput
from convscope.engine.network.model import Model


def prepared(model: Model, images: Tensor) -> Tensor:
    """Images uint8 (N, C, H, W) with the mean and the standard deviation of the network taken out."""
    spec = model.input
    assert isinstance(spec, ImageInput), "the loop made it"
    mean, std = (torch.tensor(v, dtype=torch.float32, device="cpu").view(1, -1, 1, 1) for v in (spec.mean, spec.std))
    return (images.float() / 255 - mean) / std
