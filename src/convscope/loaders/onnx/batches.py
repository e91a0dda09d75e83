"""Graphs that were exported for one batch size: run with others where that gives the same, else in parts."""

import torch
from torch import Tensor

from convscope.loaders.onnx.network import OnnxNetwork
from convscope.loaders.onnx.operators.shapes import Reshaping
from convscope.values.facts import Fact

_TOLERANCE = 1e-3
"""The largest difference, relative to the largest output, by which an image may depend on its company."""


def settle_batch_size(
    network: OnnxNetwork, pair: Tensor, size: int, alone: dict[str, Tensor]
) -> tuple[Fact | None, dict[str, Tensor] | None]:
    """Make a network run on batches of any size.

    Args:
        network: as it was built.
        pair: two different inputs of the graph.
        size: the batch size for which the network was built.
        alone: the outputs for the second input in a batch of that size.

    Returns:
        A remark for every result if the graph runs on batches of that size alone, and otherwise None and the outputs
        for both inputs.
    """
    with torch.no_grad():
        if together := _outputs_as_alone(network, pair, alone, size):
            return None, together
        reshapes = [module for module in network.modules() if isinstance(module, Reshaping)]
        for module in reshapes:
            module.rebatches = True
        if reshapes and (together := _outputs_as_alone(network, pair, alone, size)):
            return None, together
        for module in reshapes:
            module.rebatches = False
    network.batch_size = size
    if size == 1:
        return Fact("the network was exported for a batch of 1: images run one by one"), None
    remark = Fact("the network was exported for a batch of {size}: images run in batches of that size", size=size)
    return remark, None


def _outputs_as_alone(
    network: OnnxNetwork, pair: Tensor, alone: dict[str, Tensor], size: int
) -> dict[str, Tensor] | None:
    """The outputs for two inputs, of which the second gives the same as alone; None if it does not."""
    try:
        together = network.run_graph(pair)
    except Exception:  # whatever torch raises for shapes that do not fit
        return None
    return together if all(_is_second(together[name], output, size) for name, output in alone.items()) else None


def _is_second(together: Tensor, alone: Tensor, size: int) -> bool:
    """Whether an output for two inputs holds that for the second one alone."""
    if alone.ndim == 0 or len(alone) != size:  # an output without a batch, such as a list of boxes
        return together.shape[1:] == alone.shape[1:]
    if together.shape != (2, *alone.shape[1:]):
        return False
    second, single = together[1].double(), alone[0].double()
    scale = single.abs().nan_to_num(posinf=0).max().clamp_min(1e-12) if single.numel() else 1
    return bool(((second - single).abs().nan_to_num() <= _TOLERANCE * scale).all())
