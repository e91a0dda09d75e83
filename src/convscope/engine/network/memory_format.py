"""The memory format in which a network runs fastest.

Convolutions on a CPU run up to twice as fast on channels-last tensors. A network with channels-last weights (everything
that `convscope.load` opens) always profits. A network with contiguous weights must reorder its kernels at every call,
which is negligible unless a single image meets large kernels and batch norms, which gain nothing from channels-last
(ResNet-50 at batch 1 takes 1.4 times as long; VGG-16 and SqueezeNet take 0.8 and 0.5 of the time). The choice is a rule
and not a timing, so that the same call gives the same bits.

A copy in another memory format must not change what a network accepts or computes. Most operations give the same
values in every format. Exceptions are operations that depend on how a tensor is stored (`is_contiguous`, `stride`,
`as_strided`, `data_ptr`, a storage, NumPy's view of it), that fail in one format (`view`), or that write to a result
that is a view in one format and a copy in the other (`reshape` followed by an in-place operation). Before its first
channels-last input, a network is therefore run once on one under a function mode that detects these operations. A
network that raises or uses any of them gets contiguous inputs from then on. The result is stored by module, not on the
`Model` around it.
"""

import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from convscope.engine.context.metering import count_passes
from convscope.engine.network.torch_context import caller_settings
from convscope.engine.ops.call import Call

_LARGE = 10_000_000
"""Kernel parameters per image from which a network with batch norms and contiguous weights gets contiguous inputs."""


def fastest_memory_format(module: nn.Module, tensor: Tensor) -> torch.memory_format:
    """The memory format in which ``module`` runs fastest on inputs like ``tensor``."""
    kernels = _kernels(module)
    if tensor.ndim != 4 or tensor.device.type == "mps" or not kernels:
        return torch.contiguous_format
    if all(k.is_contiguous(memory_format=torch.channels_last) for k in kernels):
        return torch.channels_last
    if tensor.device.type != "cpu":
        return torch.contiguous_format
    has_batchnorm = any(isinstance(m, nn.BatchNorm2d) for m in module.modules())
    too_large = sum(k.numel() for k in kernels) > _LARGE * len(tensor)
    return torch.contiguous_format if has_batchnorm and too_large else torch.channels_last


def _kernels(module: nn.Module) -> list[Tensor]:
    """The kernels whose memory format matters: a 1×1 kernel is stored the same way in both."""
    convolutions = [m for m in module.modules() if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d))]
    return [m.weight for m in convolutions if m.weight.shape[2:] != (1, 1)]


_DEPENDS_ON_FORMAT = frozenset(
    (
        *("is_contiguous", "stride", "storage_offset", "dim_order"),
        *("data_ptr", "storage", "untyped_storage", "dlpack", "array_interface", "cuda_array_interface"),
        *("as_strided", "as_strided_scatter", "set", "resize", "numpy", "array"),
    )
)
"""Operations, without underscores, whose result depends on how a tensor is stored in memory."""
_VIEW_OR_COPY = frozenset(["reshape", "reshape_as", "flatten", "ravel", "contiguous", "to", "cpu"])
"""Operations that return a view in one memory format and may return a copy in the other."""


@dataclass
class _Findings:
    """For which inputs one network takes channels-last copies, or that it takes none."""

    modules: tuple[tuple[int, type], ...]
    accepted_shapes: set[tuple[int | None, ...]] = field(default_factory=set)
    """Shapes of inputs; a batch size of None stands for any."""
    needs_contiguous: bool = False


_FINDINGS: weakref.WeakKeyDictionary[nn.Module, _Findings] = weakref.WeakKeyDictionary()


def takes_channels_last(module: nn.Module, tensor: Tensor) -> bool:
    """Whether ``module``, in eval mode, computes the same for a channels-last copy of inputs like ``tensor``.

    For the first inputs of each shape it is run on two images, or on the inputs if it does not accept two images.
    """
    if tensor.ndim != 4:
        return False
    findings = _findings_of(module)
    shapes = ((None, *tensor.shape[1:]), tuple(tensor.shape))
    if findings.needs_contiguous or not findings.accepted_shapes.isdisjoint(shapes):
        return not findings.needs_contiguous
    if _has_scripted_parts(module):
        findings.needs_contiguous = True  # its operations are not visible
        return False
    pair = tensor[:1].expand(2, *tensor.shape[1:])
    try:
        findings.needs_contiguous = _depends_on_format(module, pair)
        findings.accepted_shapes.add((None, *tensor.shape[1:]))
    except Exception:
        if not _runs(module, pair) and not _runs(module, tensor):
            return False  # it fails on these inputs in any format, perhaps after the layers that are read
        findings.needs_contiguous = _runs(module, pair) or _depends_on_format_or_fails(module, tensor)
        findings.accepted_shapes.add(tuple(tensor.shape))
    return not findings.needs_contiguous


def is_channels_last_untested(module: nn.Module, tensor: Tensor) -> bool:
    """Whether channels-last is fastest for inputs like ``tensor`` and ``module`` was not yet tested with it."""
    if fastest_memory_format(module, tensor) is not torch.channels_last or _has_scripted_parts(module):
        return False
    findings = _findings_of(module)
    return not findings.needs_contiguous and (None, *tensor.shape[1:]) not in findings.accepted_shapes


def remember_channels_last(module: nn.Module, tensor: Tensor, *, takes: bool) -> None:
    """Store whether ``module`` takes channels-last copies of inputs like ``tensor``."""
    findings = _findings_of(module)
    findings.needs_contiguous = not takes
    findings.accepted_shapes.add((None, *tensor.shape[1:]))


def _has_scripted_parts(module: nn.Module) -> bool:
    return any(isinstance(m, torch.jit.ScriptModule) for m in module.modules())


def copy_findings(copied: nn.Module, module: nn.Module) -> None:
    """Store for a copy of ``module`` what is known about ``module``."""
    source, target = _findings_of(module), _findings_of(copied)
    target.accepted_shapes, target.needs_contiguous = set(source.accepted_shapes), source.needs_contiguous


def _findings_of(module: nn.Module) -> _Findings:
    modules = tuple((id(m), type(m)) for m in module.modules())
    findings = _FINDINGS.get(module)
    if findings is None or findings.modules != modules:  # a layer was replaced: start again
        findings = _FINDINGS[module] = _Findings(modules)
    return findings


def _depends_on_format(module: nn.Module, tensor: Tensor) -> bool:
    """Whether a forward on a channels-last copy depends on the memory format; its exceptions are passed on."""
    watcher = MemoryFormatWatcher(module)
    with watcher:
        _run(module, tensor.detach().clone(memory_format=torch.channels_last))
    return watcher.depends_on_format


def _depends_on_format_or_fails(module: nn.Module, tensor: Tensor) -> bool:
    """The same for inputs on which ``module`` runs if they are contiguous: an exception shows dependence."""
    try:
        return _depends_on_format(module, tensor)
    except Exception:
        return True


def _runs(module: nn.Module, tensor: Tensor) -> bool:
    """Whether a forward on a contiguous copy raises nothing."""
    try:
        _run(module, tensor.detach().clone(memory_format=torch.contiguous_format))
    except Exception:
        return False
    return True


def _run(module: nn.Module, tensor: Tensor) -> None:
    """A forward without side effects: no graph, random state restored, the package's own hooks disabled."""
    count_passes(forwards=len(tensor))
    devices = [tensor.device] if tensor.device.type == "cuda" else []
    with torch.random.fork_rng(devices), torch.no_grad(), _without_own_hooks(module), caller_settings():
        module(tensor)


@contextmanager
def _without_own_hooks(module: nn.Module) -> Iterator[None]:
    """Remove the hooks of running lenses from the network inside the context, which are meant for other forwards."""
    tables = [table for m in module.modules() for table in (m._forward_hooks, m._forward_pre_hooks) if table]
    saved = [(table, dict(table)) for table in tables]
    try:
        for table, hooks in saved:
            for key, hook in hooks.items():
                if (getattr(hook, "__module__", None) or "").startswith("convscope."):
                    del table[key]
        yield
    finally:
        for table, hooks in saved:
            table.clear()
            table.update(hooks)


class MemoryFormatWatcher(TorchFunctionMode):
    """Detects operations whose result depends on how their arguments are stored in memory."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        weights = (t for m in module.modules() for table in (m._parameters, m._buffers) for t in table.values())
        self.weight_ids = {id(t) for t in weights if t is not None}  # their format does not depend on the input's
        self.storages: dict[int, Tensor] = {}
        """Storages of tensors that may be views in one memory format and copies in the other."""
        self.depends_on_format = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        if self.depends_on_format:
            return func(*args, **kwargs)
        call = Call(func, args, kwargs)
        inputs = [t for t in call.tensors() if id(t) not in self.weight_ids and t.layout is torch.strided]
        if (inputs and call.name in _DEPENDS_ON_FORMAT) or _is_foreign(func):
            self.depends_on_format = True
        written = [kwargs["out"]] if isinstance(kwargs.get("out"), Tensor) else inputs[:1] if call.inplace else []
        if any(_storage(t) in self.storages for t in written):
            self.depends_on_format = True
        out = func(*args, **kwargs)
        formats_differ = any(sum(n > 1 for n in t.shape) > 2 for t in inputs)  # all formats agree for fewer axes
        if formats_differ and call.name in _VIEW_OR_COPY and isinstance(out, Tensor):
            self.storages.update((_storage(t), t) for t in (*inputs, out))  # kept alive: addresses stay unique
        return out


def _is_foreign(func: Any) -> bool:
    """Whether this is an operation of another library, which may access memory directly."""
    namespace = getattr(func, "namespace", None) or getattr(func, "_qualified_op_name", "aten::").split("::")[0]
    return isinstance(namespace, str) and namespace not in ("aten", "prim", "prims")


def _storage(tensor: Tensor) -> int:
    """The identity of a tensor's storage."""
    return int(tensor.untyped_storage()._cdata)
