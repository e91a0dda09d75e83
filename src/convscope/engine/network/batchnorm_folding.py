"""Batch norm folded into the convolution before it, for runs of many passes, with the module left alone.

In eval mode a batch norm is a scale and a shift per channel, which the convolution before it can do at no cost:
w' = w·γ/σ, b' = (b - μ)·γ/σ + β. A pass with its input gradient then takes a seventh less time. The pairs are found
by watching one forward: a convolution whose output goes to one batch norm and nowhere else. While the network runs, a
function mode hands the folded kernels to the convolutions and lets the batch norms pass. Should such an output go
anywhere else after all (a branch taken by other inputs only, a hook), it is first made what it would have been.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from convscope.engine.network.cache import Entry

if TYPE_CHECKING:
    from convscope.engine.network.model import Model

CONVOLUTIONS = (torch.conv1d, torch.conv2d, torch.conv3d)
WORTH_IT = 8
"""Passes from which folding pays for itself."""
FOLDED_IN = (torch.float32, torch.float64, torch.bfloat16)

_QUESTIONS = {Tensor.dim, Tensor.size, Tensor.numel, Tensor.is_contiguous, Tensor.is_floating_point}
_QUESTIONS |= {getattr(Tensor, name).__get__ for name in ("shape", "ndim", "dtype", "device", "requires_grad")}
"""What may be asked of a tensor without looking at its numbers."""

Norm = tuple[Tensor, Tensor, Tensor | None, Tensor | None, float]
"""Running mean and variance, weight, bias and epsilon of a batch norm."""
Pairs = dict[int, tuple[Tensor, Tensor | None, Norm | None, bool]]
"""By the identity of a kernel: the kernel, its bias, the batch norm to fold into it, if any, and whether what it makes
lies channels-last anyhow, so that a channels-last kernel changes nothing for whatever comes behind."""

_PAIRS: Entry[Pairs | None] = Entry("pairs", lambda: None)


@contextmanager
def fused(model: "Model", sample: Tensor, passes: int) -> Iterator[None]:
    """Run the network within with its batch norms folded, if so many passes make that worth it.

    Args:
        sample: one prepared input (1, C, …), run to find the pairs. They are kept on the model until one of them proves
            mistaken; what is folded is read from kernels and norms anew each time.
    """
    with fused_runs(model, sample, passes) as run, run:
        yield


@contextmanager
def fused_runs(model: "Model", sample: Tensor, passes: int) -> Iterator[AbstractContextManager[Any]]:
    """The same for runs between which other things are computed: what is given is entered around each of them."""
    hooked = any(m._forward_hooks or m._forward_pre_hooks for m in model.module.modules())  # they see layers' outputs
    if passes < WORTH_IT or hooked or sample.dtype not in FOLDED_IN:
        yield nullcontext()
        return
    pairs = model.cache[_PAIRS]
    if pairs is None:  # the first look at the memory layout may run the network, which is not to be watched
        relaid = sample.device.type == "cpu" and model.takes_channels_last(sample)
        laid = sample.detach().clone(memory_format=torch.channels_last) if relaid else model.laid_out(sample)
        with torch.no_grad(), _Watch() as watch:
            model.run(laid)
        model.cache[_PAIRS] = pairs = watch.pairs()
    if all(norm is None and (not relaid or _lies_well(kernel)) for kernel, _, norm, relaid in pairs.values()):
        yield nullcontext()  # there is nothing to fold
        return
    mode = _Fused(pairs)
    try:
        yield mode
    finally:
        if mode.mistaken:
            model.cache[_PAIRS] = None


class _Watch(TorchFunctionMode):
    """Notes which convolution's output goes into which batch norm, and where else."""

    def __init__(self) -> None:
        super().__init__()
        self.made: dict[int, tuple[Tensor, int]] = {}  # output → (kept alive, kernel)
        self.kernels: dict[int, tuple[Tensor, Tensor | None]] = {}
        self.uses: dict[int, list[Norm | None]] = {}  # kernel → what its outputs went into
        self.plain: set[int] = set()  # kernels of which some output did not lie channels-last

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if func not in _QUESTIONS:
            for tensor in _tensors((*args, *kwargs.values())):
                if id(tensor) in self.made:
                    is_input = func is F.batch_norm and tensor is _argument(args, kwargs, 0, "input")
                    self.uses[self.made[id(tensor)][1]].append(_norm(args, kwargs) if is_input else None)
        if func in CONVOLUTIONS:
            kernel = _argument(args, kwargs, 1, "weight")
            self.made[id(out)] = (out, id(kernel))
            self.kernels[id(kernel)] = (kernel, _argument(args, kwargs, 2, "bias"))
            self.uses.setdefault(id(kernel), [])
            if out.ndim != 4 or out.is_contiguous() or not out.is_contiguous(memory_format=torch.channels_last):
                self.plain.add(id(kernel))
        return out

    def pairs(self) -> Pairs:
        runs = [kernel for _, kernel in self.made.values()]
        return {
            key: (
                *self.kernels[key],
                self.uses[key][0] if self.uses[key] and runs.count(key) == len(self.uses[key]) == 1 else None,
                key not in self.plain,
            )
            for key in self.kernels
        }


class _Fused(TorchFunctionMode):
    """Runs convolutions with folded kernels and lets the batch norms behind them pass."""

    def __init__(self, pairs: Pairs) -> None:
        super().__init__()
        self.kernels = {key: (pair[0], *_folded(*pair)) for key, pair in pairs.items()}
        self.norms = {key: _identity(norm) for key, (_, _, norm, _) in pairs.items() if norm is not None}
        self.awaited: dict[int, tuple[Tensor, Any, Any]] = {}  # folded output → (kept alive, its norm, plain run)
        self.mistaken = False

    def __exit__(self, *raised: Any) -> None:
        self.awaited.clear()  # a run that ended early left them behind
        super().__exit__(*raised)  # type: ignore[no-untyped-call]

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        if self.awaited and func not in _QUESTIONS:
            given = _argument(args, kwargs, 0, "input")
            if func is F.batch_norm and self._expected(given, args, kwargs):
                del self.awaited[id(given)]
                return given
            for tensor in _tensors((*args, *kwargs.values())):
                self._make_plain(tensor)
        if func in CONVOLUTIONS:
            return self._convolve(func, args, dict(kwargs))
        return func(*args, **kwargs)

    def _expected(self, given: Any, args: Any, kwargs: Mapping[str, Any]) -> bool:
        """Whether this is the very norm in eval mode whose scale and shift ``given`` already has."""
        norm = _norm(args, kwargs)
        return norm is not None and id(given) in self.awaited and self.awaited[id(given)][1] == _identity(norm)

    def _make_plain(self, tensor: Tensor) -> None:
        """Overwrite a folded output with what the convolution alone gives; gradients follow."""
        if id(tensor) in self.awaited:
            _, _, plain = self.awaited.pop(id(tensor))
            tensor.copy_(plain())
            self.mistaken = True

    def _convolve(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        kernel = _argument(args, kwargs, 1, "weight")
        if id(kernel) not in self.kernels or self.kernels[id(kernel)][0] is not kernel:
            return func(*args, **kwargs)
        _, weight, bias = self.kernels[id(kernel)]
        given = _argument(args, kwargs, 0, "input")
        rest = {name: value for name, value in kwargs.items() if name not in ("input", "weight", "bias")}
        out = func(given, weight, bias, *args[3:], **rest)
        if id(kernel) in self.norms:
            self.awaited[id(out)] = (out, self.norms[id(kernel)], lambda: func(*args, **kwargs))
        return out


def _folded(weight: Tensor, bias: Tensor | None, norm: Norm | None, relaid: bool) -> tuple[Tensor, Tensor | None]:
    """A kernel and bias with the batch norm in them; ``relaid``: channels-last, as the maps are that it makes."""
    with torch.no_grad():
        if norm is not None:
            mean, variance, gamma, beta, epsilon = norm
            scale = torch.rsqrt(variance + epsilon)
            scale = scale if gamma is None else scale * gamma
            shift = -mean * scale if bias is None else (bias - mean) * scale
            bias = (shift if beta is None else shift + beta).to(weight)
            weight = (weight * scale.view(-1, *[1] * (weight.ndim - 1))).to(weight)  # a norm may be more precise
        if relaid and weight.ndim == 4:
            weight = weight.contiguous(memory_format=torch.channels_last)
    return weight.detach(), None if bias is None else bias.detach()


def _lies_well(kernel: Tensor) -> bool:
    """Whether a kernel lies in memory as `_folded` would lay it out."""
    return kernel.ndim != 4 or kernel.is_contiguous(memory_format=torch.channels_last)


def _norm(args: Any, kwargs: Mapping[str, Any]) -> Norm | None:
    """The batch norm of a call in eval mode; None for one that computes its own statistics."""
    if _argument(args, kwargs, 5, "training", False):
        return None
    mean, variance = _argument(args, kwargs, 1, "running_mean"), _argument(args, kwargs, 2, "running_var")
    gamma, beta = _argument(args, kwargs, 3, "weight"), _argument(args, kwargs, 4, "bias")
    return None if mean is None else (mean, variance, gamma, beta, _argument(args, kwargs, 7, "eps", 1e-5))


def _identity(norm: Norm) -> tuple[Any, ...]:
    """What makes a batch norm that one: the very tensors it holds, and its epsilon."""
    return (*(id(part) for part in norm[:4]), norm[4])


def _argument(args: Any, kwargs: Mapping[str, Any], place: int, name: str, default: Any = None) -> Any:
    return args[place] if len(args) > place else kwargs.get(name, default)


def _tensors(things: Any) -> Iterator[Tensor]:
    for thing in things:
        if isinstance(thing, Tensor):
            yield thing
        elif isinstance(thing, (list, tuple)):
            yield from _tensors(thing)
