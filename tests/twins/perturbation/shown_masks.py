"""Masks read off the inputs that the network was given."""

from torch import Tensor

NETS = ["plain", "residual", "flatten", "signal", "volume", "digits"]


def masks_of(inputs: list[Tensor], x: Tensor, baseline: Tensor) -> list[Tensor]:
    """The share of the image in each input, read off the channel in which image and baseline differ most."""
    difference = x.double() - baseline
    channel = difference.abs().argmax(0, keepdim=True)
    largest = difference.gather(0, channel)[0]
    return [((image.double() - baseline).gather(0, channel)[0]) / largest for image in inputs]


def mean_colour(x: Tensor) -> Tensor:
    return x.double().flatten(1).mean(1).view(-1, *[1] * (x.ndim - 1)).expand_as(x)


def variants_seen(network_inputs: list[Tensor], count: int, images: int) -> list[list[Tensor]]:
    """The last inputs of a run, by image: the variants, after whatever was run to settle the scores."""
    variants = network_inputs[-count * images :]
    return [variants[i * count : (i + 1) * count] for i in range(images)]
