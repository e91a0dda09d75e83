"""Networks and lenses that the tests of backward rules share."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import convscope as cs
from tests.narrowing import tensor_in
from tests.nets import seeded

EVERY = ("lrp", "attn_lrp", "deep_lift", "guided_backprop", "deconvnet", "rectified_gradient", "full_grad")
"""Lenses of backward rules that take a network and an input."""
SPEC: dict[str, Any] = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


# Conservation on common networks

CONVNETS = {
    "vgg11": 32, "vgg11_bn": 32, "resnet18": 48, "resnet50": 48, "densenet121": 48, "googlenet": 48,
    "inception_v3": 80, "squeezenet1_1": 48, "mobilenet_v2": 48, "mobilenet_v3_small": 48, "efficientnet_b0": 48,
    "convnext_tiny": 48, "regnet_y_400mf": 48,
}  # fmt: skip


def alive(net: nn.Module, side: int) -> cs.Model:
    """A random network whose scores depend on the input: batch norms have statistics of data, biases are not zero.

    With the default initialization, deep networks give scores of about 1e-14 for every input.
    """
    generator = torch.Generator().manual_seed(0)
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None  # the plain mean over batches
        norm.reset_running_stats()
    with torch.no_grad():
        net.eval()
        for norm in norms:
            norm.train()
        if norms:
            net(torch.randn(4, 3, side, side, generator=generator))
        for norm in norms:
            norm.weight.uniform_(0.7, 1.3, generator=generator)
            norm.bias.uniform_(-0.2, 0.2, generator=generator)
        for layer in net.modules():
            if isinstance(layer, nn.LayerNorm):
                layer.bias.uniform_(-0.2, 0.2, generator=generator)
        for name, constant in net.named_parameters():
            if name.endswith(("class_token", "cls_token")):
                constant.normal_(generator=generator)
        heads = [layer for layer in net.modules() if isinstance(layer, nn.Linear)]
        if heads and not heads[-1].weight.any():  # torchvision's ViT begins with a head of zeros
            nn.init.normal_(heads[-1].weight, std=0.05, generator=generator)
    return cs.Model(net.eval(), input=cs.ImageInput(size=side, **SPEC))


def images(side: int, count: int = 1) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(7)) * 4 - 2


# Unusual operations and spellings


class Body(nn.Module):
    """A convolution with its ReLU, the operations of ``middle``, and a linear head on the mean."""

    def __init__(self, middle: Callable[["Body", Tensor], Tensor]) -> None:
        super().__init__()
        self.middle = middle
        self.first, self.conv, self.head = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1), nn.Linear(8, 4)
        self.norm, self.group, self.instance = nn.BatchNorm2d(8), nn.GroupNorm(2, 8), nn.InstanceNorm2d(8, affine=True)
        self.layer, self.attention = nn.LayerNorm(8), nn.MultiheadAttention(8, 2, batch_first=True)
        self.up = nn.ConvTranspose2d(8, 8, 3, stride=2, padding=1, output_padding=1, groups=2)
        self.same, self.wide = (
            nn.Conv2d(8, 8, (2, 4), padding="same"),
            nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=8),
        )
        self.line, self.solid = nn.Conv1d(8, 8, 3, padding=1, groups=4), nn.Conv3d(1, 1, 3, padding=1)
        self.prelu, self.local, self.embedding = nn.PReLU(8), nn.LocalResponseNorm(3), nn.Embedding(3, 8)
        self.kept = nn.InstanceNorm2d(8, affine=True, track_running_stats=True)
        for norm in (self.norm, self.kept):
            nn.init.uniform_(tensor_in(norm.running_mean), -0.5, 0.5)
            nn.init.uniform_(tensor_in(norm.running_var), 0.5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.middle(self, F.relu(self.first(x))).flatten(2).square().mean(2))


def body(middle: Callable[[Body, Tensor], Tensor]) -> nn.Module:
    return seeded(Body, middle)


def _apart(actual: Tensor, expected: Tensor) -> float:
    return float((actual - expected).norm() / expected.norm())


class _left_alone:
    """Checks that hooks and flags of a network are the same afterwards."""

    def __init__(self, net: nn.Module) -> None:
        self.net = net

    def __enter__(self) -> None:
        self.before = self._state()

    def __exit__(self, *_: object) -> None:
        assert self._state() == self.before

    def _state(self) -> list[Any]:
        return [
            (name, module.training, [len(hooks) for kind, hooks in vars(module).items() if kind.endswith("hooks")])
            for name, module in self.net.named_modules()
        ] + [(name, weight.requires_grad, weight.grad is None) for name, weight in self.net.named_parameters()]
