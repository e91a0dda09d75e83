"""The bits and the places of many tensors, noted and put back at little cost.

A version counter misses what is written through ``.data``, through NumPy or by kernels of their own, so bits are
compared. Small tensors and buffers are copied at each call. Large ones, the weights, are copied where a forward is
known to write to them: the first forward is watched, and there they are copied just before they are written to. Of the
others, a sample of the bits is compared.
"""

import functools
import weakref
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

SMALL = 2**14
"""Tensors of at most so many numbers are copied at each call."""
SAMPLE = 256
"""How many numbers of a large tensor are compared where it is not copied."""

_IS_WRITTEN: dict[int, tuple[weakref.ref[Tensor], bool]] = {}
"""Whether a large tensor was found written by a forward, by its ``id``; those not yet watched are absent."""
_BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class TensorContents:
    """What tensors held and where they lay when this was made.

    Args:
        tensors: all that may be written to.
        always: the ``id`` of tensors that are copied whatever their size.
    """

    def __init__(self, tensors: Iterable[Tensor], always: set[int]) -> None:
        self._places: list[tuple[Tensor, Tensor]] = []
        self._odd: list[tuple[Tensor, Tensor, int]] = []
        self._sampled: list[tuple[Tensor, Tensor, int]] = []
        self._unwatched: dict[int, list[tuple[Tensor, Tensor]]] = {}
        self._rescued: dict[int, tuple[Tensor, Tensor, Tensor]] = {}
        self._copies, self._samples = _Bits(), _Bits()
        for tensor in tensors:
            data = tensor.data  # the same memory, without the version counter
            if data.is_meta:
                continue
            flat = _flattened(data)
            if flat is None:
                self._odd.append((tensor, data.clone(), _version(tensor)))
                continue
            self._places.append((tensor, data))
            if flat.numel() <= SMALL or id(tensor) in always or (is_written := _is_written(tensor)):
                self._copies.add(tensor, flat)
                continue
            self._samples.add(tensor, flat[:: flat.numel() // SAMPLE])
            self._sampled.append((tensor, data, _version(tensor)))
            if is_written is None:
                self._unwatched.setdefault(data.untyped_storage().data_ptr(), []).append((tensor, flat))
        self._copies.keep()
        self._samples.keep()

    def first_forward(self) -> AbstractContextManager[object]:
        """To run a forward in; it is watched while it is not known of some large tensor whether one writes to it."""
        return self._watch() if self._unwatched else nullcontext()

    @contextmanager
    def _watch(self) -> Iterator[None]:
        with _CopyBeforeWrites(self._rescue):
            yield
        for tensor, _ in (pair for pairs in self._unwatched.values() for pair in pairs):
            _note(tensor, id(tensor) in self._rescued)
        self._unwatched = {}

    def _rescue(self, written: Tensor) -> None:
        """Copy the large tensors whose memory is about to be written to."""
        if written.layout != torch.strided:
            return
        for tensor, flat in self._unwatched.get(written.untyped_storage().data_ptr(), ()):
            if id(tensor) not in self._rescued:
                self._rescued[id(tensor)] = (tensor, flat, flat.clone())

    def restore(self) -> list[Tensor]:
        """Put every tensor back; those that were written to and of which there was no copy."""
        for tensor, data in self._places:
            if tensor.dtype != data.dtype or not tensor.is_set_to(data):
                with _writing(tensor):
                    tensor.data = data
        for tensor, flat, bits in self._copies.changed():
            with _writing(tensor):
                flat.copy_(bits)
        for tensor, flat, bits in self._rescued.values():
            _note(tensor, True)
            with _writing(tensor):
                flat.copy_(bits)
        for tensor, copy, version in self._odd:
            if _version(tensor) != version or _differs(tensor.data, copy):
                with _writing(tensor):
                    tensor.data.copy_(copy)
        return self._lost()

    def _lost(self) -> list[Tensor]:
        lost = {id(tensor): tensor for tensor, _, _ in self._samples.changed()}
        lost |= {id(tensor): tensor for tensor, _, version in self._sampled if _version(tensor) != version}
        for tensor in lost.values():
            _note(tensor, True)
        return [tensor for key, tensor in lost.items() if key not in self._rescued]


class _CopyBeforeWrites(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Tells of every tensor that an operation is about to write to; below autograd, where ``.data`` hides nothing."""

    def __init__(self, rescue: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._rescue = rescue

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        for position, name in _written_arguments(func):
            value = args[position] if position < len(args) else given.get(name)
            for tensor in value if isinstance(value, (list, tuple)) else (value,):
                if type(tensor) is Tensor or isinstance(tensor, nn.Parameter):
                    with _disable_current_modes():
                        self._rescue(tensor)
        return func(*args, **given)


@functools.cache
def _written_arguments(func: Any) -> tuple[tuple[int, str], ...]:
    """Place and name of the arguments that an operation writes to."""
    arguments = enumerate(func._schema.arguments)
    return tuple((i, a.name) for i, a in arguments if a.alias_info is not None and a.alias_info.is_write)


def _is_written(tensor: Tensor) -> bool | None:
    known = _IS_WRITTEN.get(id(tensor))
    return known[1] if known is not None and known[0]() is tensor else None


def _note(tensor: Tensor, is_written: bool) -> None:
    key = id(tensor)
    _IS_WRITTEN[key] = (weakref.ref(tensor, lambda gone: _forget(key, gone)), is_written)


def _forget(key: int, gone: weakref.ref[Tensor]) -> None:
    known = _IS_WRITTEN.get(key)
    if known is not None and known[0] is gone:
        del _IS_WRITTEN[key]


class _Bits:
    """Flat pieces of tensors, copied and compared in one stroke for all of a kind: networks have hundreds."""

    def __init__(self) -> None:
        self._kinds: dict[tuple[torch.dtype, torch.device], list[tuple[Tensor, Tensor]]] = {}
        self._kept: list[tuple[list[tuple[Tensor, Tensor]], Tensor]] = []

    def add(self, tensor: Tensor, flat: Tensor) -> None:
        self._kinds.setdefault((flat.dtype, flat.device), []).append((tensor, flat))

    def keep(self) -> None:
        self._kept = [(parts, _joined(parts)) for parts in self._kinds.values()]

    def changed(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Each tensor whose piece has other bits than were kept, with the piece and those bits."""
        for parts, kept in self._kept:
            now = _joined(parts)
            if torch.equal(_as_bits(now), _as_bits(kept)):
                continue
            sizes = [flat.numel() for _, flat in parts]
            pieces = zip(parts, torch.split(now, sizes), torch.split(kept, sizes), strict=True)
            for (tensor, flat), present, before in pieces:
                if not torch.equal(_as_bits(present), _as_bits(before)):
                    yield tensor, flat, before


def _joined(parts: list[tuple[Tensor, Tensor]]) -> Tensor:
    return torch.cat([flat for _, flat in parts]) if len(parts) > 1 else parts[0][1].clone()


def _flattened(data: Tensor) -> Tensor | None:
    """A view of all numbers in the order of memory; None for what has no plain memory, or has gaps in it."""
    if data.layout != torch.strided or data.is_quantized or data.is_conj() or data.is_neg():
        return None
    if data.is_contiguous():
        return data.view(-1)
    reach = 1 + sum((size - 1) * stride for size, stride in zip(data.shape, data.stride(), strict=True))
    if reach <= data.numel():  # dense, its axes in another order, or expanded
        return data.as_strided((reach,), (1,))
    return None


def _differs(data: Tensor, copy: Tensor) -> bool:
    """Whether a tensor without plain memory has other numbers; of sparse ones only the version tells."""
    if data.layout != torch.strided:
        return False
    if data.is_quantized:
        return not torch.equal(data, copy)
    return not torch.equal(_as_bits(data.resolve_conj().resolve_neg().flatten()), _as_bits(copy.flatten()))


def _as_bits(flat: Tensor) -> Tensor:
    """The numbers as integers, of which NaN equals NaN and 0 is not -0."""
    flat = torch.view_as_real(flat.resolve_conj()) if flat.is_complex() else flat.resolve_neg()
    return flat.view(_BITS[flat.element_size()])


def _version(tensor: Tensor) -> int:
    """How often the tensor was written to in place; inference tensors do not count that."""
    return -1 if tensor.is_inference() else tensor._version


@contextmanager
def _writing(tensor: Tensor) -> Iterator[None]:
    """Write without recording it; tensors made under inference mode can be written to in that mode alone."""
    with torch.inference_mode(tensor.is_inference()), torch.no_grad():
        yield
