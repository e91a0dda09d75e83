"""The precision in which a network takes its input.

Most networks hold their numbers in one precision, and that is it. Some are mixed: a scale in float64 before layers in
float32, or layers in bfloat16 with norms in float32. Which one the input must have is then found by running the
network: the precision of its first kernel is tried first, then the others. What was found is kept with the network.
"""

import weakref
from collections.abc import Callable

import torch
from torch import Tensor, nn

_FOUND: weakref.WeakKeyDictionary[nn.Module, tuple[tuple[torch.dtype, ...], torch.dtype]] = weakref.WeakKeyDictionary()
"""By network: the precisions it held when it was run, and the one that it took."""


def input_dtype(module: nn.Module, runs: Callable[[torch.dtype], bool] | None = None) -> torch.dtype | None:
    """The precision in which ``module`` takes its input; None for a network without numbers of its own.

    Args:
        runs: whether the network takes an input in a precision, to be asked where it is mixed; without it the likeliest
            is given.
    """
    held = _held(module)
    if len(held) < 2:
        return held[0] if held else None
    known = _FOUND.get(module)
    if known is not None and known[0] == held:
        return known[1]
    if runs is None:
        return held[0]
    taken = next((dtype for dtype in held if runs(dtype)), held[0])  # where none does, the network says why not
    _FOUND[module] = held, taken
    return taken


def _held(module: nn.Module) -> tuple[torch.dtype, ...]:
    """The floating-point precisions of parameters and buffers, that of the first kernel first."""
    tensors: list[Tensor] = [t for m in module.modules() for t in m._parameters.values() if t is not None]
    kernels = [t for t in tensors if t.ndim > 1]
    tensors += [t for m in module.modules() for t in m._buffers.values() if t is not None]
    return tuple(dict.fromkeys(t.dtype for t in (*kernels, *tensors) if t.is_floating_point()))
