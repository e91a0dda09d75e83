"""The dtype of a network's input.

Most networks hold all parameters in one dtype, which is that of their input. Some are mixed: a scale in float64 before
layers in float32, or layers in bfloat16 with norms in float32. The dtype of the input is then found by running the
network: that of its first kernel is tried first, then the others. The result is stored by network.
"""

import weakref
from collections.abc import Callable

import torch
from torch import Tensor, nn

_INPUT_DTYPES: weakref.WeakKeyDictionary[nn.Module, tuple[tuple[torch.dtype, ...], torch.dtype]]
_INPUT_DTYPES = weakref.WeakKeyDictionary()
"""By network: the dtypes of its parameters when it was run, and the dtype of input that it accepted."""


def input_dtype(module: nn.Module, runs: Callable[[torch.dtype], bool] | None = None) -> torch.dtype | None:
    """The dtype of the input of ``module``; None for a network without floating-point parameters and buffers.

    Args:
        runs: whether the network runs on an input of a dtype, called if its dtypes are mixed; without it the most
            likely dtype is returned.
    """
    dtypes = _float_dtypes(module)
    if len(dtypes) < 2:
        return dtypes[0] if dtypes else None
    known = _INPUT_DTYPES.get(module)
    if known is not None and known[0] == dtypes:
        return known[1]
    if runs is None:
        return dtypes[0]
    accepted = next((dtype for dtype in dtypes if runs(dtype)), dtypes[0])  # if none runs, the network's error shows
    _INPUT_DTYPES[module] = dtypes, accepted
    return accepted


def _float_dtypes(module: nn.Module) -> tuple[torch.dtype, ...]:
    """The floating-point dtypes of parameters and buffers, that of the first kernel first."""
    modules = tuple(module.modules())
    tensors: list[Tensor] = [t for m in modules for t in m._parameters.values() if t is not None]
    kernels = [t for t in tensors if t.ndim > 1]
    tensors += [t for m in modules for t in m._buffers.values() if t is not None]
    dtypes = dict.fromkeys(t.dtype for t in (*kernels, *tensors))
    return tuple(dtype for dtype in dtypes if dtype.is_floating_point)
