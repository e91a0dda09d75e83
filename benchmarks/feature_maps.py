"""What looking inside costs: feature maps of every convolution in one forward.

python -m benchmarks feature_maps
"""

from functools import partial

import torch
from torch import nn

import convscope as cs
from benchmarks.contenders import network, ours, plain
from benchmarks.measure import Row, interleaved, rows_of


def feature_maps(rounds: int) -> list[Row]:
    """The strongest 32 maps of all convolutions of ResNet-50 for one image, against a plain forward."""
    module, x = network("resnet50"), torch.randn(1, 3, 224, 224)
    layers = [address for address, layer in module.named_modules() if isinstance(layer, nn.Conv2d)]
    works = {who: partial(cs.feature_maps, m, x, layer=layers) for who, m in ours(module).items()}
    found = interleaved(plain(module, x), works, rounds=rounds)
    return rows_of(f"Feature maps of all {len(layers)} convolutions, resnet50, one image", found, 1.1)
