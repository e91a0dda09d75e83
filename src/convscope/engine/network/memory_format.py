"""The memory layout in which a network runs fastest.

Convolutions on a processor run up to twice as fast on channels-last tensors. A network whose weights lie that way
(everything `convscope.load` opens) always profits. One whose weights do not pays for reordering its kernels at every
call. That is lost among the rest unless a single image meets large kernels and batch norms, which gain nothing from the
layout (ResNet-50 at batch 1: 1.4 times as slow, where VGG-16 and SqueezeNet run in 0.8 and 0.5 of the time). The choice
is a rule and not a timing, so that the same call gives the same bits.

A copy in another layout must not change what a network accepts or computes. Most operations mean the same numbers in
every layout. Those do not that ask how a tensor lies in memory (`is_contiguous`, `stride`, `as_strided`, `data_ptr`, a
storage, NumPy's view of it), that refuse one layout (`view`), or that write into what is a view in one layout and a
copy in the other (`reshape` followed by an in-place operation). So before a network gets its first channels-last input,
it runs once on one under a function mode that sees these operations. A network that raises or does any of them is run
on plainly laid out tensors from then on. What was learned is kept with the network, not with the `Model` around it.
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
from convscope.engine.network.torch_context import put_back
from convscope.engine.ops.call import Call

_LARGE = 10_000_000
"""Numbers in kernels to reorder for each image, from which a network with batch norms is better left alone."""


def fastest_layout(module: nn.Module, tensor: Tensor) -> torch.memory_format:
    """The layout in which ``module`` runs fastest on inputs like ``tensor``."""
    kernels = _kernels(module)
    if tensor.ndim != 4 or tensor.device.type == "mps" or not kernels:
        return torch.contiguous_format
    if all(k.is_contiguous(memory_format=torch.channels_last) for k in kernels):
        return torch.channels_last
    if tensor.device.type != "cpu":
        return torch.contiguous_format
    normed = any(isinstance(m, nn.BatchNorm2d) for m in module.modules())
    too_large = sum(k.numel() for k in kernels) > _LARGE * len(tensor)
    return torch.contiguous_format if normed and too_large else torch.channels_last


def _kernels(module: nn.Module) -> list[Tensor]:
    """The kernels that a layout means something to: a 1×1 kernel lies the same either way."""
    convolutions = [m for m in module.modules() if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d))]
    return [m.weight for m in convolutions if m.weight.shape[2:] != (1, 1)]


_ASKS_FOR_LAYOUT = frozenset(
    (
        *("is_contiguous", "stride", "storage_offset", "dim_order"),
        *("data_ptr", "storage", "untyped_storage", "dlpack", "array_interface", "cuda_array_interface"),
        *("as_strided", "as_strided_scatter", "set", "resize", "numpy", "array"),
    )
)
"""Operations, without underscores, whose answer depends on how a tensor lies in memory."""
_VIEW_OR_COPY = frozenset(["reshape", "reshape_as", "flatten", "ravel", "contiguous", "to", "cpu"])
"""Operations that give a view in one layout and may give a copy in the other."""


@dataclass
class _Learned:
    """What is known of one network: of which inputs it takes channels-last copies, or that it takes none."""

    modules: tuple[tuple[int, type], ...]
    taken: set[tuple[int | None, ...]] = field(default_factory=set)
    """Shapes of inputs; a first number of None stands for batches of any size."""
    insists_on_plain: bool = False


_LEARNED: weakref.WeakKeyDictionary[nn.Module, _Learned] = weakref.WeakKeyDictionary()


def takes_channels_last(module: nn.Module, tensor: Tensor) -> bool:
    """Whether ``module``, in eval mode, does the same to a channels-last copy of inputs like ``tensor``.

    The first time for inputs of that shape, it is run on two images; a network that takes no two of them, on these.
    """
    if tensor.ndim != 4:
        return False
    learned = _learned_about(module)
    if learned.insists_on_plain or not learned.taken.isdisjoint(((None, *tensor.shape[1:]), tuple(tensor.shape))):
        return not learned.insists_on_plain
    if _has_scripted_parts(module):
        learned.insists_on_plain = True  # its operations are not seen
        return False
    pair = tensor[:1].expand(2, *tensor.shape[1:])
    try:
        learned.insists_on_plain = _minds_the_layout(module, pair)
        learned.taken.add((None, *tensor.shape[1:]))
    except Exception:
        if not _runs(module, pair) and not _runs(module, tensor):
            return False  # it fails on these inputs however they lie, perhaps behind the layers that are looked at
        learned.insists_on_plain = _runs(module, pair) or _minds_the_layout_of_one(module, tensor)
        learned.taken.add(tuple(tensor.shape))
    return not learned.insists_on_plain


def is_undecided(module: nn.Module, tensor: Tensor) -> bool:
    """Whether inputs like ``tensor`` would best lie channels-last and it is not known whether ``module`` takes that."""
    if fastest_layout(module, tensor) is not torch.channels_last or _has_scripted_parts(module):
        return False
    learned = _learned_about(module)
    return not learned.insists_on_plain and (None, *tensor.shape[1:]) not in learned.taken


def learn(module: nn.Module, tensor: Tensor, *, takes: bool) -> None:
    """Keep whether ``module`` takes channels-last copies of inputs like ``tensor``."""
    learned = _learned_about(module)
    learned.insists_on_plain = not takes
    learned.taken.add((None, *tensor.shape[1:]))


def _has_scripted_parts(module: nn.Module) -> bool:
    return any(isinstance(m, torch.jit.ScriptModule) for m in module.modules())


def learned_as(copied: nn.Module, module: nn.Module) -> None:
    """Have what is known of ``module`` be known of a copy of it."""
    learned, fresh = _learned_about(module), _learned_about(copied)
    fresh.taken, fresh.insists_on_plain = set(learned.taken), learned.insists_on_plain


def _learned_about(module: nn.Module) -> _Learned:
    modules = tuple((id(m), type(m)) for m in module.modules())
    learned = _LEARNED.get(module)
    if learned is None or learned.modules != modules:  # a layer was exchanged: begin anew
        learned = _LEARNED[module] = _Learned(modules)
    return learned


def _minds_the_layout(module: nn.Module, tensor: Tensor) -> bool:
    """Whether a forward on a channels-last copy does what depends on the layout; what it raises is raised."""
    watch = LayoutWatch(module)
    with watch:
        _run(module, tensor.detach().clone(memory_format=torch.channels_last))
    return watch.minds


def _minds_the_layout_of_one(module: nn.Module, tensor: Tensor) -> bool:
    """The same on inputs that run when they lie plainly: to raise is to mind."""
    try:
        return _minds_the_layout(module, tensor)
    except Exception:
        return True


def _runs(module: nn.Module, tensor: Tensor) -> bool:
    """Whether a forward on a plain copy raises nothing."""
    try:
        _run(module, tensor.detach().clone(memory_format=torch.contiguous_format))
    except Exception:
        return False
    return True


def _run(module: nn.Module, tensor: Tensor) -> None:
    """A forward that leaves no trace: no graph, no random numbers drawn, nothing for the hooks of lenses in hand."""
    count_passes(forwards=len(tensor))
    devices = [tensor.device] if tensor.device.type == "cuda" else []
    with torch.random.fork_rng(devices), torch.no_grad(), _without_own_hooks(module), put_back():
        module(tensor)


@contextmanager
def _without_own_hooks(module: nn.Module) -> Iterator[None]:
    """Take the hooks of lenses in hand off the network within: this run is not what they wait for."""
    tables = [table for m in module.modules() for table in (m._forward_hooks, m._forward_pre_hooks) if table]
    kept = [(table, dict(table)) for table in tables]
    try:
        for table, hooks in kept:
            for key, hook in hooks.items():
                if (getattr(hook, "__module__", None) or "").startswith("convscope."):
                    del table[key]
        yield
    finally:
        for table, hooks in kept:
            table.clear()
            table.update(hooks)


class LayoutWatch(TorchFunctionMode):
    """Notices operations whose outcome depends on how what they are given lies in memory."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        held = (t for m in module.modules() for table in (m._parameters, m._buffers) for t in table.values())
        self.held = {id(t) for t in held if t is not None}  # weights lie as they lie, whatever the input's layout
        self.storages: dict[int, Tensor] = {}
        self.minds = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        if self.minds:
            return func(*args, **kwargs)
        call = Call(func, args, kwargs)
        given = [t for t in call.tensors() if id(t) not in self.held and t.layout is torch.strided]
        if (given and call.name in _ASKS_FOR_LAYOUT) or _is_foreign(func):
            self.minds = True
        written = [kwargs["out"]] if isinstance(kwargs.get("out"), Tensor) else given[:1] if call.inplace else []
        if any(_storage(t) in self.storages for t in written):
            self.minds = True
        out = func(*args, **kwargs)
        ordered = any(sum(n > 1 for n in t.shape) > 2 for t in given)  # with fewer axes all layouts are one
        if ordered and call.name in _VIEW_OR_COPY and isinstance(out, Tensor):
            self.storages.update((_storage(t), t) for t in (*given, out))  # kept, so that no memory is used twice
        return out


def _is_foreign(func: Any) -> bool:
    """Whether this is an operation of some other library, which may read memory as it likes."""
    space = getattr(func, "namespace", None) or getattr(func, "_qualified_op_name", "aten::").split("::")[0]
    return isinstance(space, str) and space not in ("aten", "prim", "prims")


def _storage(tensor: Tensor) -> int:
    """The memory that a tensor lies in."""
    return int(tensor.untyped_storage()._cdata)
