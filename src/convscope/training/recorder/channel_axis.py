"""Which axis of the output of a layer holds its channels: axis 1 after a convolution, the last after a linear layer."""

from collections.abc import Iterable

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from convscope.training.recorder.layer_graph import LayerNode

_FIRST = (_ConvNd, _NormBase, nn.GroupNorm, nn.LocalResponseNorm)
_LAST = (nn.Linear, nn.Bilinear, nn.Embedding, nn.RMSNorm, nn.RNNBase)


def channel_axis(module: nn.Module, output: Tensor, sources: Iterable[tuple[LayerNode, int]]) -> int:
    """1 or -1; a layer that does not say itself, as an activation function, is like the layers that it reads.

    Args:
        sources: the layers that its input comes from, each with the axis of its channels.
    """
    if output.ndim < 3 or isinstance(module, _FIRST):
        return 1
    if isinstance(module, _LAST):
        return -1
    if isinstance(module, nn.LayerNorm):
        channels = module.normalized_shape
        moves_axes = type(module).forward is not nn.LayerNorm.forward  # as torchvision's LayerNorm2d
        return 1 if len(channels) > 1 or (moves_axes and output.shape[1] == channels[0]) else -1
    axes = {axis for node, axis in sources if node.shape[axis] == output.shape[axis]}
    return -1 if axes == {-1} else 1
