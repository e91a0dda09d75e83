"""Cost of feature maps of every convolution in one forward pass.

python -m benchmarks feature_maps
"""

from functools import partial

import torch
from torch import nn

import convscope as cs
from benchmarks.contenders import network, ours, plain
from benchmarks.measure import Row, interleaved, rows_of


def feature_maps(rounds: int) -> list[Row]:
    """The strongest 32 maps of all convolutions of ResNet-50 for one image, relative to a plain forward pass."""
    module, x = network("resnet50"), torch.randn(1, 3, 224, 224)
    layers = [address for address, layer in module.named_modules() if isinstance(layer, nn.Conv2d)]
    contenders = {contender: partial(cs.feature_maps, m, x, layer=layers) for contender, m in ours(module).items()}
    ratios = interleaved(plain(module, x), contenders, rounds=rounds)
    return rows_of(f"Feature maps of all {len(layers)} convolutions, resnet50, one image", ratios, 1.1)
