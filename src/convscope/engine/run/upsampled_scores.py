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
    """A node of the graph that enlarges maps (N, C, …), and the edge that leads on from it.

    Attributes:
        selected: the node that selects one channel of the enlarged maps, where nothing else reads them.
    """

    node: Any
    behind: GradientEdge
    selected: Any = None

    @property
    def edge(self) -> GradientEdge:
        """Where the gradient is formed that `backward` takes."""
        return GradientEdge(self.node if self.selected is None else self.selected, 0)

    def backward(self, gradient: Tensor) -> Tensor:
        """The gradient (N, C, h, w) to the maps before they were enlarged."""
        function, settings = _BACKWARDS[self.node.name()]
        input_size = self.node._saved_self_sym_sizes
        channels, narrow = _read_channels(gradient) if self.selected is None else self._selected_channel(gradient)
        values = [getattr(self.node, name) for name in settings]
        size = (input_size[0], len(channels), *input_size[2:])
        result = gradient.new_zeros(input_size)
        if len(channels):
            result.index_copy_(1, channels, function(narrow, self.node._saved_output_size, size, *values))
        return result

    def _selected_channel(self, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """The selected channel (1,), and the gradient (N, 1, H, W) to it."""
        index, channels = self.selected._saved_index, self.node._saved_self_sym_sizes[1]
        if index >= channels:  # a negative index is saved as an unsigned number
            index += channels - 2**64
        return torch.tensor([index], device=gradient.device), gradient.unsqueeze(1).contiguous()


def _read_channels(gradient: Tensor) -> tuple[Tensor, Tensor]:
    """The channels whose gradient is not zero everywhere, and the gradient to them."""
    maps = gradient.flatten(2)
    is_read = (maps.amax(2) != 0) | (maps.amin(2) != 0)  # a third of the time of a comparison of each number
    channels = is_read.any(0).nonzero()[:, 0]
    return channels, gradient.index_select(1, channels).contiguous()


def gradients_through_upsampling(
    total: Tensor, to: Sequence[Tensor], *, output: Tensor | None = None, retain_graph: bool
) -> tuple[Tensor | None, ...] | None:
    """The gradients of ``total`` to tensors behind an upsampling through which all of it passes.

    Args:
        output: what the network gave, if ``total`` is formed of it; a channel that is selected of it then gets its
            gradient alone, not as one of many channels.

    Returns:
        What `torch.autograd.grad` gives with ``allow_unused=True``; None where there is no such upsampling, and nothing
        was computed.
    """
    upsampling = _last_upsampling(total, to, output)
    if upsampling is None:
        return None
    (gradient,) = torch.autograd.grad(total, [upsampling.edge], retain_graph=retain_graph)
    return torch.autograd.grad(
        [upsampling.behind], list(to), [upsampling.backward(gradient)], allow_unused=True, retain_graph=retain_graph
    )


def _last_upsampling(total: Tensor, to: Sequence[Tensor], output: Tensor | None) -> _Upsampling | None:
    """The upsampling before which the graph has no branch and none of the tensors to which gradients are formed."""
    ends = {tensor.grad_fn for tensor in to}
    reader, node = None, total.grad_fn
    while node is not None and node not in ends:
        following = [(behind, number) for behind, number in node.next_functions if behind is not None]
        if len(following) != 1:
            return None
        ((behind, number),) = following
        if node.name() in _BACKWARDS:
            selected = reader if _selects_channel(reader, node, output) else None
            return _Upsampling(node, GradientEdge(behind, number), selected)
        reader, node = node, behind
    return None


def _selects_channel(reader: Any, node: Node, output: Tensor | None) -> bool:
    """Whether a node selects a channel of the output of the network, which has no hook that would be left out."""
    is_last = output is not None and output.grad_fn is node and not output._backward_hooks
    return is_last and reader is not None and reader.name() == "SelectBackward0" and reader._saved_dim == 1
