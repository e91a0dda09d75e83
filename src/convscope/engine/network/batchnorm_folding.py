"""Batch norms folded into the convolutions before them, for runs of many passes, without changing the module.

In eval mode a batch norm is a scale and a shift per channel, which the preceding convolution can apply at no cost:
w' = w·γ/σ, b' = (b - μ)·γ/σ + β. A pass with its input gradient then takes a seventh less time. The pairs are found
by observing one forward: a convolution whose output is used by one batch norm and by nothing else. While the network
runs, a function mode passes the folded kernels to the convolutions and makes the batch norms identities. If a folded
output is used by anything else after all (a branch that only other inputs take, a hook), it is first overwritten with
the convolution's own output.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from convscope.engine.network.cache import CacheEntry
from convscope.engine.network.model import Model

CONVOLUTIONS = (torch.conv1d, torch.conv2d, torch.conv3d)
MIN_PASSES = 8
"""The number of passes from which folding saves time."""
FOLDABLE_DTYPES = (torch.float32, torch.float64, torch.bfloat16)

_METADATA = {Tensor.dim, Tensor.size, Tensor.numel, Tensor.is_contiguous, Tensor.is_floating_point}
_METADATA |= {getattr(Tensor, name).__get__ for name in ("shape", "ndim", "dtype", "device", "requires_grad")}
"""Functions of a tensor that do not read its values."""

Norm = tuple[Tensor, Tensor, Tensor | None, Tensor | None, float]
"""Running mean and variance, weight, bias and epsilon of a batch norm."""
Pairs = dict[int, tuple[Tensor, Tensor | None, Norm | None, bool]]
"""By the ``id`` of a kernel: the kernel, its bias, the batch norm to fold into it, if any, and whether its outputs are
channels-last, so that a channels-last kernel does not change the memory format of what follows."""

_PAIRS: CacheEntry[Pairs | None] = CacheEntry("pairs", lambda: None)


@contextmanager
def folded_batchnorms(model: Model, sample: Tensor, passes: int) -> Iterator[None]:
    """Run the network inside the context with its batch norms folded, if the number of passes makes that worthwhile.

    Args:
        sample: one prepared input (1, C, …), run to find the pairs. They are kept on the model until one of them proves
            wrong; kernels and norms are read anew each time.
    """
    with batchnorm_folding_mode(model, sample, passes) as mode, mode:
        yield


@contextmanager
def batchnorm_folding_mode(model: Model, sample: Tensor, passes: int) -> Iterator[AbstractContextManager[Any]]:
    """The same for runs with other computations between them: enter the yielded context manager for each run."""
    hooked = any(m._forward_hooks or m._forward_pre_hooks for m in model.module.modules())  # they see layers' outputs
    if passes < MIN_PASSES or hooked or sample.dtype not in FOLDABLE_DTYPES:
        yield nullcontext()
        return
    pairs = model.cache[_PAIRS]
    if pairs is None:  # the memory format is determined first, since that may run the network, unobserved
        to_channels_last = sample.device.type == "cpu" and model.takes_channels_last(sample)
        inputs = (
            sample.detach().clone(memory_format=torch.channels_last) if to_channels_last else model.input_copy(sample)
        )
        with torch.no_grad(), _PairFinder() as finder:
            model.run(inputs)
        model.cache[_PAIRS] = pairs = finder.pairs()
    if all(norm is None and (not relaid or _is_channels_last(kernel)) for kernel, _, norm, relaid in pairs.values()):
        yield nullcontext()  # there is nothing to fold
        return
    mode = _FoldingMode(pairs)
    try:
        yield mode
    finally:
        if mode.mistaken:
            model.cache[_PAIRS] = None


class _PairFinder(TorchFunctionMode):
    """Records which batch norms and other operations use the output of each convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.outputs: dict[int, tuple[Tensor, int]] = {}  # id of an output → (output, kept alive; id of the kernel)
        self.kernels: dict[int, tuple[Tensor, Tensor | None]] = {}
        self.uses: dict[int, list[Norm | None]] = {}  # id of a kernel → the norms or other operations after it
        self.not_channels_last: set[int] = set()  # ids of kernels with an output that was not channels-last

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if func not in _METADATA:
            for tensor in _tensors((*args, *kwargs.values())):
                if id(tensor) in self.outputs:
                    is_input = func is F.batch_norm and tensor is _argument(args, kwargs, 0, "input")
                    self.uses[self.outputs[id(tensor)][1]].append(_norm(args, kwargs) if is_input else None)
        if func in CONVOLUTIONS:
            kernel = _argument(args, kwargs, 1, "weight")
            self.outputs[id(out)] = (out, id(kernel))
            self.kernels[id(kernel)] = (kernel, _argument(args, kwargs, 2, "bias"))
            self.uses.setdefault(id(kernel), [])
            if out.ndim != 4 or out.is_contiguous() or not out.is_contiguous(memory_format=torch.channels_last):
                self.not_channels_last.add(id(kernel))
        return out

    def pairs(self) -> Pairs:
        calls = [kernel for _, kernel in self.outputs.values()]
        return {
            key: (
                *self.kernels[key],
                self.uses[key][0] if self.uses[key] and calls.count(key) == len(self.uses[key]) == 1 else None,
                key not in self.not_channels_last,
            )
            for key in self.kernels
        }


class _FoldingMode(TorchFunctionMode):
    """Runs convolutions with folded kernels and returns the input of the batch norms after them unchanged."""

    def __init__(self, pairs: Pairs) -> None:
        super().__init__()
        self.kernels = {key: (pair[0], *_fold(*pair)) for key, pair in pairs.items()}
        self.norms = {key: _identity(norm) for key, (_, _, norm, _) in pairs.items() if norm is not None}
        self.pending: dict[int, tuple[Tensor, Any, Callable[[], Any]]] = {}
        """Id of a folded output → (output, kept alive; identity of its norm; the unfolded convolution)."""
        self.mistaken = False
        """Whether a folded output was used by anything but its norm."""

    def __exit__(self, *raised: Any) -> None:
        self.pending.clear()  # a run that ended early leaves some
        super().__exit__(*raised)  # type: ignore[no-untyped-call]

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        if self.pending and func not in _METADATA:
            norm_input = _argument(args, kwargs, 0, "input")
            if func is F.batch_norm and self._is_folded(norm_input, args, kwargs):
                del self.pending[id(norm_input)]
                return norm_input
            for tensor in _tensors((*args, *kwargs.values())):
                self._unfold(tensor)
        if func in CONVOLUTIONS:
            return self._convolve(func, args, dict(kwargs))
        return func(*args, **kwargs)

    def _is_folded(self, norm_input: Any, args: Any, kwargs: Mapping[str, Any]) -> bool:
        """Whether this is the batch norm, in eval mode, whose scale and shift ``norm_input`` already has."""
        norm = _norm(args, kwargs)
        key = id(norm_input)
        return norm is not None and key in self.pending and self.pending[key][1] == _identity(norm)

    def _unfold(self, tensor: Tensor) -> None:
        """Overwrite a folded output with that of the unfolded convolution, differentiably."""
        if id(tensor) in self.pending:
            _, _, unfolded = self.pending.pop(id(tensor))
            tensor.copy_(unfolded())
            self.mistaken = True

    def _convolve(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        kernel = _argument(args, kwargs, 1, "weight")
        if id(kernel) not in self.kernels or self.kernels[id(kernel)][0] is not kernel:
            return func(*args, **kwargs)
        _, weight, bias = self.kernels[id(kernel)]
        conv_input = _argument(args, kwargs, 0, "input")
        rest = {name: value for name, value in kwargs.items() if name not in ("input", "weight", "bias")}
        out = func(conv_input, weight, bias, *args[3:], **rest)
        if id(kernel) in self.norms:
            self.pending[id(out)] = (out, self.norms[id(kernel)], lambda: func(*args, **kwargs))
        return out


def _fold(weight: Tensor, bias: Tensor | None, norm: Norm | None, relaid: bool) -> tuple[Tensor, Tensor | None]:
    """A kernel and bias with the batch norm folded in; ``relaid``: in channels-last format, like its outputs."""
    with torch.no_grad():
        if norm is not None:
            mean, variance, gamma, beta, epsilon = norm
            scale = torch.rsqrt(variance + epsilon)
            scale = scale if gamma is None else scale * gamma
            shift = -mean * scale if bias is None else (bias - mean) * scale
            bias = (shift if beta is None else shift + beta).to(weight)
            weight = (weight * scale.view(-1, *[1] * (weight.ndim - 1))).to(weight)  # the norm may be in float32
        if relaid and weight.ndim == 4:
            weight = weight.contiguous(memory_format=torch.channels_last)
    return weight.detach(), None if bias is None else bias.detach()


def _is_channels_last(kernel: Tensor) -> bool:
    """Whether a kernel has the memory format that `_fold` would give it."""
    return kernel.ndim != 4 or kernel.is_contiguous(memory_format=torch.channels_last)


def _norm(args: Any, kwargs: Mapping[str, Any]) -> Norm | None:
    """The batch norm of a call in eval mode; None for one that computes statistics of the batch."""
    if _argument(args, kwargs, 5, "training", False):
        return None
    mean, variance = _argument(args, kwargs, 1, "running_mean"), _argument(args, kwargs, 2, "running_var")
    gamma, beta = _argument(args, kwargs, 3, "weight"), _argument(args, kwargs, 4, "bias")
    return None if mean is None else (mean, variance, gamma, beta, _argument(args, kwargs, 7, "eps", 1e-5))


def _identity(norm: Norm) -> tuple[Any, ...]:
    """The identity of a batch norm: the ids of its tensors, and its epsilon."""
    return (*(id(tensor) for tensor in norm[:4]), norm[4])


def _argument(args: Any, kwargs: Mapping[str, Any], position: int, name: str, default: Any = None) -> Any:
    return args[position] if len(args) > position else kwargs.get(name, default)


def _tensors(arguments: Any) -> Iterator[Tensor]:
    for argument in arguments:
        if isinstance(argument, Tensor):
            yield argument
        elif isinstance(argument, (list, tuple)):
            yield from _tensors(argument)
