"""The memory layout in which a network runs fastest.

Convolutions on a processor run up to twice as fast on channels-last tensors. A network whose weights lie that way
(everything `convscope.load` opens) always profits. One whose weights do not pays for reordering its kernels at every
call. That is lost among the rest unless a single image meets large kernels and batch norms, which gain nothing from the
layout (ResNet-50 at batch 1: 1.4 times as slow, where VGG-16 and SqueezeNet run in 0.8 and 0.5 of the time). The choice
is a rule and not a timing, so that the same call gives the same bits.
"""

import torch
from torch import Tensor, nn

_LARGE = 10_000_000
"""Numbers in kernels to reorder for each image, from which a network with batch norms is better left alone."""


def fastest_layout(module: nn.Module, tensor: Tensor) -> torch.memory_format:
    """The layout in which ``module`` runs fastest on inputs like ``tensor``."""
    kernels = _kernels(module)
    if tensor.ndim != 4 or tensor.device.type == "mps" or not kernels:
        return torch.contiguous_format
    if all(k.is_contiguous(memory_format=torch.channels_last) for k in kernels):
        return torch.channels_last
    if tensor.device.type != "cpu":
        return torch.contiguous_format
    normed = any(isinstance(m, nn.BatchNorm2d) for m in module.modules())
    too_large = sum(k.numel() for k in kernels) > _LARGE * len(tensor)
    return torch.contiguous_format if normed and too_large else torch.channels_last


def _kernels(module: nn.Module) -> list[Tensor]:
    """The kernels that a layout means something to: a 1×1 kernel lies the same either way."""
    convolutions = [m for m in module.modules() if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d))]
    return [m.weight for m in convolutions if m.weight.shape[2:] != (1, 1)]
