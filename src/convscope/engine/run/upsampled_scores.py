"""The gradient through the upsampling at the end of a segmenter, for the channels alone that the score reads.

A segmenter enlarges the maps of all its classes, and the score of a class reads one of them. Autograd passes the zero
gradients of all the others through the upsampling as well, which is a quarter of a light network's forward pass.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, Node

aten = torch.ops.aten
_BACKWARDS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "UpsampleNearest2DBackward0": (aten.upsample_nearest2d_backward, ("_saved_scales_h", "_saved_scales_w")),
    "UpsampleBilinear2DBackward0": (
        aten.upsample_bilinear2d_backward,
        ("_saved_align_corners", "_saved_scales_h", "_saved_scales_w"),
    ),
    "UpsampleBicubic2DBackward0": (
        aten.upsample_bicubic2d_backward,
        ("_saved_align_corners", "_saved_scales_h", "_saved_scales_w"),
    ),
}
"""By the name of a node of the graph: the function of its backward, and its settings after the two sizes."""


@dataclass(frozen=True)
class _Upsampling:
    """A node of the graph that enlarges maps (N, C, …), and the edge that leads on from it."""

    node: Any
    behind: GradientEdge

    def backward(self, gradient: Tensor) -> Tensor:
        """The gradient (N, C, h, w) to the maps before they were enlarged."""
        function, settings = _BACKWARDS[self.node.name()]
        input_size = self.node._saved_self_sym_sizes
        largest = torch.linalg.vector_norm(gradient.flatten(2), torch.inf, dim=2)  # one pass over a large tensor
        channels = (largest != 0).any(0).nonzero()[:, 0]
        narrow = gradient.index_select(1, channels).contiguous()
        values = [getattr(self.node, name) for name in settings]
        size = (input_size[0], len(channels), *input_size[2:])
        result = gradient.new_zeros(input_size)
        if len(channels):
            result.index_copy_(1, channels, function(narrow, self.node._saved_output_size, size, *values))
        return result


def gradients_through_upsampling(
    total: Tensor, to: Sequence[Tensor], *, retain_graph: bool
) -> tuple[Tensor | None, ...] | None:
    """The gradients of ``total`` to tensors behind an upsampling through which all of it passes.

    Returns:
        What `torch.autograd.grad` gives with ``allow_unused=True``; None where there is no such upsampling, and nothing
        was computed.
    """
    upsampling = _last_upsampling(total, to)
    if upsampling is None:
        return None
    edge = GradientEdge(upsampling.node, 0)
    (gradient,) = torch.autograd.grad(total, [edge], retain_graph=retain_graph)
    return torch.autograd.grad(
        [upsampling.behind], list(to), [upsampling.backward(gradient)], allow_unused=True, retain_graph=retain_graph
    )


def _last_upsampling(total: Tensor, to: Sequence[Tensor]) -> _Upsampling | None:
    """The upsampling before which the graph has no branch and none of the tensors to which gradients are formed."""
    ends = {tensor.grad_fn for tensor in to}
    node: Node | None = total.grad_fn
    while node is not None and node not in ends:
        following = [(behind, number) for behind, number in node.next_functions if behind is not None]
        if len(following) != 1:
            return None
        ((behind, number),) = following
        if node.name() in _BACKWARDS:
            return _Upsampling(node, GradientEdge(behind, number))
        node = behind
    return None
