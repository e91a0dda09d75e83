"""Slow obvious versions for random networks: in float64, one image and one forward at a time, without the engine.

The formulas are those of the twins. What is added here is a view of a network that knows where the axes of its layers
are, and references that need a copy of the network with other parts.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from tests.fuzz.networks import Network
from tests.fuzz.spellings import lets_through_what_is_large, replaced
from tests.twins.slow import Slow


def answer_of(net: nn.Module, x: Tensor) -> Tensor:
    """The scores of one image (C, …).

    Two copies go through an instance norm: torch's gradient of it is wrong for a single image where it comes back
    channels-last (torch 2.13 on a processor).
    """
    normed = any(isinstance(m, nn.modules.instancenorm._InstanceNorm) for m in net.modules())
    return net(torch.stack([x, x]) if normed else x[None])[0]


class Known(Slow):
    """One image of a random network: activations and gradients of its layers come as maps (C, places …)."""

    def __init__(self, network: Network, row: int) -> None:
        super().__init__(network.module, network.images[row], network.targets[row])
        self.layouts = network.layouts

    def _score(self, x: Tensor) -> Tensor:
        return answer_of(self.net, x.double())[self.target]

    def seen_at(self, address: str, x: Tensor) -> tuple[Tensor, Tensor]:
        activation, gradient = self.outputs_at(address, x)
        layout = self.layouts[address]
        return layout.to_map(activation)[0], layout.to_map(gradient)[0]

    def outputs_at(self, address: str, x: Tensor) -> tuple[Tensor, Tensor]:
        """A layer's output as it is, and the gradient of the score to it."""
        kept: list[Tensor] = []

        def keep(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
            kept.append(output)
            return output.clone()

        with torch.enable_grad():
            handle = self.net.get_submodule(address).register_forward_hook(keep)
            score = self._score(x.clone().requires_grad_())
            handle.remove()
            (gradient,) = torch.autograd.grad(score, kept[-1])
        return kept[-1].detach(), gradient

    def answer_given(self, address: str, activation: Tensor) -> Tensor:
        """The scores with this map in place of the layer's own; tokens that are no places stay what they were."""
        layout = self.layouts[address]

        def replace(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
            return layout.to_output(activation[None], output).clone()

        handle = self.net.get_submodule(address).register_forward_hook(replace)
        try:
            return self.net(self.x[None])[0]
        finally:
            handle.remove()


def known(network: Network) -> list[Known]:
    """Both images of a network."""
    return [Known(network, row) for row in range(len(network.images))]


class Guided(nn.Module):
    """An activation through which only what is positive flows back, on top of its own derivative."""

    def __init__(self, activation: nn.Module) -> None:
        super().__init__()
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.activation(x.clone())
        y.register_hook(lambda gradient: gradient.clamp(min=0))
        return y


class _Deconvolved(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, activation: nn.Module) -> Tensor:
        y: Tensor = activation(x.clone())
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient.clamp(min=0), None


class Deconvolved(Guided):
    """An activation through which only what is positive flows back, whatever its derivative."""

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = _Deconvolved.apply(x, self.activation)
        return y


def guided_backprop(slow: Known) -> Tensor:
    return _modified(slow, Guided)


def deconvnet(slow: Known) -> Tensor:
    return _modified(slow, Deconvolved)


def _modified(slow: Known, build: type[nn.Module]) -> Tensor:
    net = replaced(slow.net, lets_through_what_is_large, build)
    x = slow.x.clone().requires_grad_()
    return torch.autograd.grad(answer_of(net, x)[slow.target], x)[0]


def output_of(network: Network, address: str) -> Tensor:
    """What a layer gives for both images at its last call, copied before it is overwritten."""
    kept: list[Tensor] = []
    handle = network.module.get_submodule(address).register_forward_hook(
        lambda m, i, o: kept.append(o.detach().clone())
    )
    with torch.no_grad():
        network.module(network.images)
    handle.remove()
    return kept[-1]


def flops(network: Network) -> int:
    """What torch's own counter counts for one image, with attention by its products."""
    from tests.twins.test_structure import as_it_is_written

    with torch.no_grad(), as_it_is_written(), FlopCounterMode(display=False) as counter:
        network.module(network.images[:1])
    return int(counter.get_total_flops())


def dependence(network: Network, address: str, place: tuple[int, ...], draws: int = 3) -> Tensor:
    """Which input positions move a place of a layer's map: where the gradient is not zero, at any of several inputs.

    The network's own images are among them.
    """
    layout, net = network.layouts[address], network.module
    touched = torch.zeros(network.images.shape[2:], dtype=torch.bool)
    random = torch.randn(draws, *network.images.shape[1:], generator=torch.Generator().manual_seed(0)).double()
    for number, image in enumerate(torch.cat([network.images, random])):
        x = image[None].clone().requires_grad_()
        kept: list[Tensor] = []
        handle = net.get_submodule(address).register_forward_hook(lambda m, i, o, kept=kept: kept.append(o.clone()))
        with torch.enable_grad():
            net(x)
        handle.remove()
        at = layout.to_map(kept[-1])[(0, slice(None), *place)]
        weights = torch.randn(at.shape, generator=torch.Generator().manual_seed(number), dtype=torch.double)
        (gradient,) = torch.autograd.grad((at * weights).sum(), x)
        touched |= (gradient[0] != 0).any(0)
    return touched
