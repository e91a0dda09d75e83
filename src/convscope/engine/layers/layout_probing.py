"""How a layer's output lies, found by running the network on other inputs where its operations do not tell.

A network that goes through NumPy, a compiled function or an operation of its own leaves no record of what depends on
what. Then the sizes of the layer's output are compared: between batches of two and of three images, and between the
input and the input repeated along each of its axes. A batch whose images have several rows is read by changing one
image and seeing which rows change. Nothing is concluded from a single run's sizes or values.
"""

from contextlib import suppress
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from convscope.engine.graph.dependence import Dependence
from convscope.engine.layers.feature_layout import FeatureLayout, UnknownLayout, read_layout
from convscope.engine.network.hooks import first_tensor, on_forward
from convscope.errors import ModelFailed

if TYPE_CHECKING:
    from convscope.engine.network.model import Model


def probe_layout(model: "Model", address: str, tensor: Tensor) -> FeatureLayout:
    """The layout of a layer's output for inputs like ``tensor``.

    Raises:
        UnknownLayout: it does not follow from how the output changes.
    """
    image = tensor[:1]
    other = _shuffled(image)
    two = _output(model, address, torch.cat([image, image]))
    three = _output(model, address, torch.cat([image, image, image]))
    if two is None or three is None or two.ndim != three.ndim:
        raise UnknownLayout("cannot be read for several images at once")
    scaled = [d for d in range(two.ndim) if three.shape[d] * 2 == two.shape[d] * 3]
    if [d for d in range(two.ndim) if two.shape[d] != three.shape[d]] != scaled or len(scaled) != 1:
        raise UnknownLayout("has no dimension that grows with the batch")
    (dim,) = scaled
    rows = torch.arange(2, device="cpu")
    if two.shape[dim] > 2:
        changed = _output(model, address, torch.cat([image, other]))
        assert changed is not None, "the same network ran on as many images before"
        rows = (two != changed).movedim(dim, 0).flatten(1).any(1).long()
    axes = [_axis(model, address, image, axis, two, dim) for axis in range(2, tensor.ndim)]
    return read_layout(tuple(two.shape), axes, _lying_along(rows, dim, two.ndim), 2)


def _axis(model: "Model", address: str, image: Tensor, axis: int, two: Tensor, batch: int) -> Dependence:
    """Where an axis of the input lies in the output: along the one dimension that grows when the input does."""
    longer = _output(model, address, torch.cat([image, image], axis).repeat(2, *[1] * (image.ndim - 1)))
    if longer is None or longer.ndim != two.ndim:
        raise UnknownLayout("cannot be read for inputs of another size, so that its axes stay unknown")
    grown = [d for d in range(two.ndim) if longer.shape[d] != two.shape[d]]
    if len(grown) > 1 or batch in grown:
        raise UnknownLayout("has an axis of the input along several of its dimensions")
    if not grown:
        return _lying_along(torch.full((1,), -1, device="cpu"), 0, two.ndim)
    return _lying_along(torch.arange(two.shape[grown[0]], device="cpu"), grown[0], two.ndim)


def _lying_along(places: Tensor, dim: int, ndim: int) -> Dependence:
    along = [1] * ndim
    along[dim] = len(places)
    place = places.to(torch.float64).view(along)
    return Dependence(place, place, place, None)


def _output(model: "Model", address: str, batch: Tensor) -> Tensor | None:
    """What the layer gives at its last call, also where the network fails later; None where it does not get there."""
    outputs: list[Tensor] = []

    def keep(_module: object, _inputs: object, output: object) -> None:
        tensor = first_tensor(output)
        if tensor is not None:
            outputs.append(tensor.detach().clone())

    handle = on_forward(model.module, address, keep)
    try:
        with torch.no_grad(), suppress(ModelFailed):  # as a head of fixed size raises, when the layer has answered
            model.run_plainly(model.laid_out(batch))
    finally:
        handle.remove()
    return outputs[-1] if outputs else None


def _shuffled(image: Tensor) -> Tensor:
    """Another image of the same numbers."""
    order = torch.randperm(image.numel(), generator=torch.Generator().manual_seed(0), device="cpu")
    return image.flatten()[order.to(image.device)].view(image.shape)
