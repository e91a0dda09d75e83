"""The layout of a layer's output, found by running the network on other inputs.

This is for networks whose recorded operations do not determine it: NumPy, a compiled function or a custom operation
leaves no record of dependences. Then the sizes of
the layer's output are compared: between batches of two and of three images, and between the input and the input
repeated along each of its axes. Where an image has several rows in the batch, one image is changed to see which rows
change. Nothing is concluded from the sizes or values of a single run.
"""

from contextlib import suppress
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from convscope.engine.graph.dependence import Dependence
from convscope.engine.layers.feature_layout import FeatureLayout
from convscope.engine.layers.layout_reading import UnknownLayout, read_layout
from convscope.engine.network.hooks import first_tensor, on_forward
from convscope.errors import ModelFailed

if TYPE_CHECKING:
    from convscope.engine.network.model import Model


def probe_layout(model: "Model", address: str, tensor: Tensor) -> FeatureLayout:
    """The layout of a layer's output for inputs like ``tensor``.

    Raises:
        UnknownLayout: the changes of the output do not determine it.
    """
    image = tensor[:1]
    shuffled = _shuffled(image)
    output_of_2 = _run_to_layer(model, address, torch.cat([image, image]))
    output_of_3 = _run_to_layer(model, address, torch.cat([image, image, image]))
    if output_of_2 is None or output_of_3 is None or output_of_2.ndim != output_of_3.ndim:
        raise UnknownLayout("cannot be read for several images at once")
    batch_dims = [d for d in range(output_of_2.ndim) if output_of_3.shape[d] * 2 == output_of_2.shape[d] * 3]
    if [d for d in range(output_of_2.ndim) if output_of_2.shape[d] != output_of_3.shape[d]] != batch_dims or len(
        batch_dims
    ) != 1:
        raise UnknownLayout("has no dimension that grows with the batch")
    (dim,) = batch_dims
    rows = torch.arange(2, device="cpu")
    if output_of_2.shape[dim] > 2:
        changed = _run_to_layer(model, address, torch.cat([image, shuffled]))
        assert changed is not None, "the same network ran on as many images before"
        rows = (output_of_2 != changed).movedim(dim, 0).flatten(1).any(1).long()
    axes = [_probe_axis(model, address, image, axis, output_of_2, dim) for axis in range(2, tensor.ndim)]
    return read_layout(tuple(output_of_2.shape), axes, _dependence_along(rows, dim, output_of_2.ndim), 2)


def _probe_axis(model: "Model", address: str, image: Tensor, axis: int, output_of_2: Tensor, batch: int) -> Dependence:
    """Find an axis of the input in the output: it is the one dimension that grows when the input does."""
    enlarged = _run_to_layer(model, address, torch.cat([image, image], axis).repeat(2, *[1] * (image.ndim - 1)))
    if enlarged is None or enlarged.ndim != output_of_2.ndim:
        raise UnknownLayout("cannot be read for inputs of another size, so that its axes stay unknown")
    grown_dims = [d for d in range(output_of_2.ndim) if enlarged.shape[d] != output_of_2.shape[d]]
    if len(grown_dims) > 1 or batch in grown_dims:
        raise UnknownLayout("has an axis of the input along several of its dimensions")
    if not grown_dims:
        return _dependence_along(torch.full((1,), -1, device="cpu"), 0, output_of_2.ndim)
    return _dependence_along(
        torch.arange(output_of_2.shape[grown_dims[0]], device="cpu"), grown_dims[0], output_of_2.ndim
    )


def _dependence_along(positions: Tensor, dim: int, ndim: int) -> Dependence:
    shape = [1] * ndim
    shape[dim] = len(positions)
    position = positions.to(torch.float64).view(shape)
    return Dependence(position, position, position, None)


def _run_to_layer(model: "Model", address: str, batch: Tensor) -> Tensor | None:
    """The layer's output at its last call, even if the network fails later; None if it fails before the layer runs."""
    outputs: list[Tensor] = []

    def keep(_module: object, _inputs: object, output: object) -> None:
        tensor = first_tensor(output)
        if tensor is not None:
            outputs.append(tensor.detach().clone())

    handle = on_forward(model.module, address, keep)
    try:
        with torch.no_grad(), suppress(ModelFailed):  # a head of fixed size may raise after the layer has run
            model.run_module(model.input_copy(batch))
    finally:
        handle.remove()
    return outputs[-1] if outputs else None


def _shuffled(image: Tensor) -> Tensor:
    """An image of the same numbers in random order."""
    order = torch.randperm(image.numel(), generator=torch.Generator().manual_seed(0), device="cpu")
    return image.flatten()[order.to(image.device)].view(image.shape)
