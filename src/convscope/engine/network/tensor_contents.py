"""The bits and the memory of many tensors, saved and restored at low cost.

A version counter misses writes through ``.data``, through NumPy or by custom kernels, so bits are compared. Small
tensors and buffers are copied at each call. Large tensors, the weights, are copied if a forward is known to write to
them: the first forward is observed, and copies are made just before a write. Of all other large tensors a sample of the
bits is compared.
"""

import functools
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import _disable_current_modes

from convscope.engine.ops.dispatch_mode import DispatchMode

SMALL = 2**14
"""Tensors of at most this many elements are copied at each call."""
SAMPLE = 256
"""The number of elements of a large tensor that are compared if it is not copied."""

_IS_WRITTEN: dict[int, tuple[weakref.ref[Tensor], bool]] = {}
"""By the ``id`` of a large tensor, whether a forward writes to it; tensors not yet observed are absent."""
_INTEGER_DTYPES = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
"""Integer dtypes by element size."""


class TensorContents:
    """The contents and the memory of tensors at the time of construction.

    Args:
        tensors: all tensors that a forward may write to.
        always: the ids of tensors to copy regardless of their size.
    """

    def __init__(self, tensors: Iterable[Tensor], always: set[int]) -> None:
        self._memory: list[tuple[Tensor, Tensor]] = []
        """Each tensor with a second tensor on the same memory."""
        self._irregular: list[tuple[Tensor, Tensor, int]] = []
        """Tensors that are not strided or have gaps, each with a copy and its version."""
        self._sampled: list[tuple[Tensor, int]] = []
        """Large tensors that are compared by a sample, each with its version."""
        self._unobserved: dict[int, list[tuple[Tensor, Tensor]]] = {}
        """By the address of their storage, large tensors not known to be written to or not, each with a flat view."""
        self._copied_before_write: dict[int, tuple[Tensor, Tensor, Tensor]] = {}
        """By ``id``, a tensor, its flat view and a copy of that."""
        self._copies, self._samples = _BitCopies(), _BitCopies()
        for tensor in tensors:
            data = tensor.data  # the same memory, without the version counter
            if data.is_meta:
                continue
            flat = _flat_view(data)
            if flat is None:
                self._irregular.append((tensor, data.clone(), _version(tensor)))
                continue
            self._memory.append((tensor, data))
            if flat.numel() <= SMALL or id(tensor) in always or (is_written := _is_written(tensor)):
                self._copies.add(tensor, flat)
                continue
            self._samples.add(tensor, flat[:: flat.numel() // SAMPLE])
            self._sampled.append((tensor, _version(tensor)))
            if is_written is None:
                self._unobserved.setdefault(data.untyped_storage().data_ptr(), []).append((tensor, flat))
        self._copies.save()
        self._samples.save()

    def first_forward(self) -> AbstractContextManager[object]:
        """The context for a forward, which observes writes if there are large tensors not yet observed."""
        return self._observe_writes() if self._unobserved else nullcontext()

    @contextmanager
    def _observe_writes(self) -> Iterator[None]:
        with _WriteWatcher(self._copy_before_write):
            yield
        for tensor, _ in (pair for pairs in self._unobserved.values() for pair in pairs):
            _set_is_written(tensor, id(tensor) in self._copied_before_write)
        self._unobserved = {}

    def _copy_before_write(self, target: Tensor) -> None:
        """Copy the large tensors that share memory with ``target``, which is about to be written to."""
        if target.layout != torch.strided:
            return
        for tensor, flat in self._unobserved.get(target.untyped_storage().data_ptr(), ()):
            if id(tensor) not in self._copied_before_write:
                self._copied_before_write[id(tensor)] = (tensor, flat, flat.clone())

    def restore(self) -> list[Tensor]:
        """Restore every tensor; return those that were written to and of which there is no copy."""
        for tensor, data in self._memory:
            if tensor.dtype != data.dtype or not tensor.is_set_to(data):
                with _writing(tensor):
                    tensor.data = data
        for tensor, flat, bits in self._copies.changed():
            with _writing(tensor):
                flat.copy_(bits)
        for tensor, flat, bits in self._copied_before_write.values():
            _set_is_written(tensor, True)
            with _writing(tensor):
                flat.copy_(bits)
        for tensor, copy, version in self._irregular:
            if _version(tensor) != version or _differs(tensor.data, copy):
                with _writing(tensor):
                    tensor.data.copy_(copy)
        return self._lost()

    def _lost(self) -> list[Tensor]:
        lost = {id(tensor): tensor for tensor, _, _ in self._samples.changed()}
        lost |= {id(tensor): tensor for tensor, version in self._sampled if _version(tensor) != version}
        for tensor in lost.values():
            _set_is_written(tensor, True)
        return [tensor for key, tensor in lost.items() if key not in self._copied_before_write]


class _WriteWatcher(DispatchMode):
    """Calls ``before_write`` with every tensor that an operation is about to write to.

    It works below autograd, where writes through ``.data`` are visible too.
    """

    def __init__(self, before_write: Callable[[Tensor], None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._before_write = before_write

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        for position, name in _written_arguments(func):
            value = args[position] if position < len(args) else kwargs.get(name)
            for tensor in value if isinstance(value, (list, tuple)) else (value,):
                if type(tensor) is Tensor or isinstance(tensor, nn.Parameter):
                    with _disable_current_modes():
                        self._before_write(tensor)
        return func(*args, **kwargs)


@functools.cache
def _written_arguments(func: Any) -> tuple[tuple[int, str], ...]:
    """Position and name of the arguments that an operation writes to."""
    arguments = enumerate(func._schema.arguments)
    return tuple((i, a.name) for i, a in arguments if a.alias_info is not None and a.alias_info.is_write)


def _is_written(tensor: Tensor) -> bool | None:
    """Whether a forward writes to a large tensor; None if it was not yet observed."""
    entry = _IS_WRITTEN.get(id(tensor))
    return entry[1] if entry is not None and entry[0]() is tensor else None


def _set_is_written(tensor: Tensor, is_written: bool) -> None:
    key = id(tensor)
    _IS_WRITTEN[key] = (weakref.ref(tensor, lambda reference: _remove(key, reference)), is_written)


def _remove(key: int, reference: weakref.ref[Tensor]) -> None:
    entry = _IS_WRITTEN.get(key)
    if entry is not None and entry[0] is reference:
        del _IS_WRITTEN[key]


class _BitCopies:
    """Copies of flat views of tensors, made and compared at once for all tensors of a dtype and device."""

    def __init__(self) -> None:
        self._groups: dict[tuple[torch.dtype, torch.device], list[tuple[Tensor, Tensor]]] = {}
        self._saved: list[tuple[list[tuple[Tensor, Tensor]], Tensor]] = []

    def add(self, tensor: Tensor, flat: Tensor) -> None:
        self._groups.setdefault((flat.dtype, flat.device), []).append((tensor, flat))

    def save(self) -> None:
        self._saved = [(group, _concatenate(group)) for group in self._groups.values()]

    def changed(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Each tensor whose flat view no longer has the saved bits, with the view and those bits."""
        for group, saved in self._saved:
            current = _concatenate(group)
            if torch.equal(_as_bits(current), _as_bits(saved)):
                continue
            sizes = [flat.numel() for _, flat in group]
            pieces = zip(group, torch.split(current, sizes), torch.split(saved, sizes), strict=True)
            for (tensor, flat), after, before in pieces:
                if not torch.equal(_as_bits(after), _as_bits(before)):
                    yield tensor, flat, before


def _concatenate(group: list[tuple[Tensor, Tensor]]) -> Tensor:
    return torch.cat([flat for _, flat in group]) if len(group) > 1 else group[0][1].clone()


def _flat_view(data: Tensor) -> Tensor | None:
    """A view of all elements in the order of memory; None for tensors that are not strided or have gaps."""
    if data.layout != torch.strided or data.is_quantized or data.is_conj() or data.is_neg():
        return None
    if data.is_contiguous():
        return data if data.ndim == 1 else data.view(-1)
    extent = 1 + sum((size - 1) * stride for size, stride in zip(data.shape, data.stride(), strict=True))
    if extent <= data.numel():  # dense with permuted axes, or expanded
        return data.as_strided((extent,), (1,))
    return None


def _differs(data: Tensor, copy: Tensor) -> bool:
    """Whether an irregular tensor has other values than its copy; for sparse ones only the version tells."""
    if data.layout != torch.strided:
        return False
    if data.is_quantized:
        return not torch.equal(data, copy)
    return not torch.equal(_as_bits(data.resolve_conj().resolve_neg().flatten()), _as_bits(copy.flatten()))


def _as_bits(flat: Tensor) -> Tensor:
    """The bits as integers, so that NaN equals NaN and 0 differs from -0."""
    flat = torch.view_as_real(flat.resolve_conj()) if flat.is_complex() else flat.resolve_neg()
    return flat.view(_INTEGER_DTYPES[flat.element_size()])


def _version(tensor: Tensor) -> int:
    """The version counter of a tensor; -1 for inference tensors, which have none."""
    return -1 if tensor.is_inference() else tensor._version


@contextmanager
def _writing(tensor: Tensor) -> Iterator[None]:
    """Write to a tensor without recording it; inference tensors can be written to only in inference mode."""
    with torch.inference_mode(tensor.is_inference()), torch.no_grad():
        yield
