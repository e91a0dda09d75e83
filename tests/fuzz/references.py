"""Slow reference implementations for random networks: in float64, one image and one forward at a time.

The formulas are those of ``tests/twins``. This module adds access to layers with known layouts, and references that
need a copy of the network with other modules.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from tests.fuzz.networks import RandomNetwork
from tests.fuzz.spellings import is_activation, replace_modules
from tests.twins.slow import Slow


def scores_of(net: nn.Module, x: Tensor) -> Tensor:
    """The scores of one image (C, …).

    With instance norm, a batch of two copies is used: its gradient in PyTorch 2.13 on the CPU is wrong for a single
    image if the incoming gradient is channels-last.
    """
    has_instance_norm = any(isinstance(m, nn.modules.instancenorm._InstanceNorm) for m in net.modules())
    return net(torch.stack([x, x]) if has_instance_norm else x[None])[0]


class ReferenceImage(Slow):
    """One image of a random network; activations and gradients of layers are maps (C, positions …)."""

    def __init__(self, network: RandomNetwork, row: int) -> None:
        super().__init__(network.module, network.images[row], network.targets[row])
        self.layouts = network.layouts

    def _score(self, x: Tensor) -> Tensor:
        return scores_of(self.net, x.double())[self.target]

    def seen_at(self, address: str, x: Tensor) -> tuple[Tensor, Tensor]:
        activation, gradient = self.outputs_at(address, x)
        layout = self.layouts[address]
        return layout.to_map(activation)[0], layout.to_map(gradient)[0]

    def outputs_at(self, address: str, x: Tensor) -> tuple[Tensor, Tensor]:
        """The output of a layer, and the gradient of the score with respect to it."""
        outputs: list[Tensor] = []

        def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
            outputs.append(output)
            return output.clone()

        with torch.enable_grad():
            handle = self.net.get_submodule(address).register_forward_hook(hook)
            score = self._score(x.clone().requires_grad_())
            handle.remove()
            (gradient,) = torch.autograd.grad(score, outputs[-1])
        return outputs[-1].detach(), gradient

    def answer_given(self, address: str, activation: Tensor) -> Tensor:
        """The scores with ``activation`` as the map of the layer; tokens without a position are not changed."""
        layout = self.layouts[address]

        def replace(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
            return layout.to_output(activation[None], output).clone()

        handle = self.net.get_submodule(address).register_forward_hook(replace)
        try:
            return self.net(self.x[None])[0]
        finally:
            handle.remove()


def slow_images(network: RandomNetwork) -> list[ReferenceImage]:
    """The reference implementations for both images of a network."""
    return [ReferenceImage(network, row) for row in range(len(network.images))]


class GuidedActivation(nn.Module):
    """An activation whose backward pass clamps the gradient at zero before applying the derivative."""

    def __init__(self, activation: nn.Module) -> None:
        super().__init__()
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.activation(x.clone())
        y.register_hook(lambda gradient: gradient.clamp(min=0))
        return y


class _DeconvnetFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, activation: nn.Module) -> Tensor:
        y: Tensor = activation(x.clone())
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient.clamp(min=0), None


class DeconvnetActivation(GuidedActivation):
    """An activation whose backward pass only clamps the gradient at zero, without its derivative."""

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = _DeconvnetFunction.apply(x, self.activation)
        return y


def guided_backprop(slow: ReferenceImage) -> Tensor:
    return _modified_gradient(slow, GuidedActivation)


def deconvnet(slow: ReferenceImage) -> Tensor:
    return _modified_gradient(slow, DeconvnetActivation)


def _modified_gradient(slow: ReferenceImage, build: type[nn.Module]) -> Tensor:
    net = replace_modules(slow.net, is_activation, build)
    x = slow.x.clone().requires_grad_()
    return torch.autograd.grad(scores_of(net, x)[slow.target], x)[0]


def layer_output(network: RandomNetwork, address: str) -> Tensor:
    """The output of a layer for both images at its last call, copied before it may be overwritten."""
    outputs: list[Tensor] = []
    handle = network.module.get_submodule(address).register_forward_hook(
        lambda m, i, o: outputs.append(o.detach().clone())
    )
    with torch.no_grad():
        network.module(network.images)
    handle.remove()
    return outputs[-1]


def flops(network: RandomNetwork) -> int:
    """The FLOPs for one image by PyTorch's counter, with attention decomposed into matrix products."""
    from tests.twins.structure.test_structure import as_it_is_written

    with torch.no_grad(), as_it_is_written(), FlopCounterMode(display=False) as counter:
        network.module(network.images[:1])
    return int(counter.get_total_flops())


def dependence(network: RandomNetwork, address: str, position: tuple[int, ...], draws: int = 3) -> Tensor:
    """The input positions on which a position of a layer depends: nonzero gradient for any of several inputs.

    The inputs are the images of the network and random ones.
    """
    layout, net = network.layouts[address], network.module
    dependent = torch.zeros(network.images.shape[2:], dtype=torch.bool)
    random = torch.randn(draws, *network.images.shape[1:], generator=torch.Generator().manual_seed(0)).double()
    for index, image in enumerate(torch.cat([network.images, random])):
        x = image[None].clone().requires_grad_()
        outputs: list[Tensor] = []
        handle = net.get_submodule(address).register_forward_hook(
            lambda m, i, o, outputs=outputs: outputs.append(o.clone())
        )
        with torch.enable_grad():
            net(x)
        handle.remove()
        activation = layout.to_map(outputs[-1])[(0, slice(None), *position)]
        weights = torch.randn(activation.shape, generator=torch.Generator().manual_seed(index), dtype=torch.double)
        (gradient,) = torch.autograd.grad((activation * weights).sum(), x)
        dependent |= (gradient[0] != 0).any(0)
    return dependent
