"""The bits and the places of many tensors, noted and put back at little cost.

A version counter misses what is written through ``.data``, through NumPy or by kernels of their own, so bits are
compared. Small tensors and buffers are copied at each call. Large ones (the weights) are copied at the first call that
meets them; those it finds written are copied from then on, of the others only a sample of the bits is compared.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

SMALL = 2**14
"""Tensors of at most so many numbers are copied at each call."""
SAMPLE = 256
"""How many numbers of a large tensor are compared where it is not copied."""
FIRST_COPIES = 2**30
"""Bytes that are copied at most, at a time, of large tensors met for the first time."""

_IS_WRITTEN = WeakTensorKeyDictionary()
"""Whether a large tensor was found written by a call; those that no call has watched yet are absent."""
_BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class TensorContents:
    """What tensors held and where they lay when this was made.

    Args:
        tensors: all that may be written to.
        always: the ``id`` of tensors that are copied whatever their size.
    """

    def __init__(self, tensors: Iterable[Tensor], always: set[int]) -> None:
        self._places: list[tuple[Tensor, Tensor, int]] = []
        self._odd: list[tuple[Tensor, Tensor, int]] = []
        self._unwatched: list[Tensor] = []
        copied, sampled, budget = _Bits(), _Bits(), FIRST_COPIES
        for tensor in tensors:
            data = tensor.data  # the same memory, without the version counter
            if data.is_meta:
                continue
            flat = _flattened(data)
            if flat is None:
                self._odd.append((tensor, data.clone(), _version(tensor)))
                continue
            self._places.append((tensor, data, _version(tensor)))
            if flat.numel() <= SMALL or id(tensor) in always:
                copied.add(tensor, flat)
                continue
            is_written = _IS_WRITTEN.get(tensor)
            if is_written is None and (budget := budget - data.nbytes) >= 0:
                self._unwatched.append(tensor)
                is_written = True
            if is_written:
                copied.add(tensor, flat, apart=True)
            else:
                sampled.add(tensor, flat[:: flat.numel() // SAMPLE])
        self._copied, self._sampled = copied, sampled
        copied.keep()
        sampled.keep()

    def restore(self) -> list[Tensor]:
        """Put every tensor back; those that were written to and of which there was no copy."""
        for tensor, data, _ in self._places:
            if tensor.dtype != data.dtype or not tensor.is_set_to(data):
                with _writing(tensor):
                    tensor.data = data
        changed = set()
        for tensor, flat, bits in self._copied.changed():
            changed.add(id(tensor))
            with _writing(tensor):
                flat.copy_(bits)
        for tensor, copy, version in self._odd:
            if _version(tensor) != version or _differs(tensor.data, copy):
                with _writing(tensor):
                    tensor.data.copy_(copy)
        for tensor in self._unwatched:
            _IS_WRITTEN[tensor] = id(tensor) in changed
        return self._lost()

    def _lost(self) -> list[Tensor]:
        sampled = {id(tensor) for tensor, _ in self._sampled.parts()}
        lost = {id(tensor): tensor for tensor, _, _ in self._sampled.changed()}
        for tensor, _, version in self._places:
            if id(tensor) in sampled and _version(tensor) != version:
                lost[id(tensor)] = tensor
        for tensor in lost.values():
            _IS_WRITTEN[tensor] = True
        return list(lost.values())


class _Bits:
    """Flat pieces of tensors, copied and compared in one stroke for all of a kind: networks have hundreds."""

    def __init__(self) -> None:
        self._kinds: dict[tuple[object, ...], list[tuple[Tensor, Tensor]]] = {}
        self._kept: dict[tuple[object, ...], Tensor] = {}

    def add(self, tensor: Tensor, flat: Tensor, *, apart: bool = False) -> None:
        kind = (flat.dtype, flat.device, id(tensor) if apart else 0)
        self._kinds.setdefault(kind, []).append((tensor, flat))

    def parts(self) -> Iterator[tuple[Tensor, Tensor]]:
        for parts in self._kinds.values():
            yield from parts

    def keep(self) -> None:
        self._kept = {kind: _joined(parts) for kind, parts in self._kinds.items()}

    def changed(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Each tensor whose piece has other bits than were kept, with the piece and those bits."""
        for kind, parts in self._kinds.items():
            kept = self._kept[kind]
            if len(parts) == 1 and torch.equal(_as_bits(parts[0][1]), _as_bits(kept)):
                continue
            now = _joined(parts)
            if torch.equal(_as_bits(now), _as_bits(kept)):
                continue
            sizes = [flat.numel() for _, flat in parts]
            for (tensor, flat), present, before in zip(parts, now.split(sizes), kept.split(sizes), strict=True):
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
    flat = torch.view_as_real(flat) if flat.is_complex() else flat
    return flat.view(_BITS[flat.element_size()])


def _version(tensor: Tensor) -> int:
    """How often the tensor was written to in place; inference tensors do not count that."""
    return -1 if tensor.is_inference() else tensor._version


@contextmanager
def _writing(tensor: Tensor) -> Iterator[None]:
    """Write without recording it; tensors made under inference mode can be written to in that mode alone."""
    with torch.inference_mode(tensor.is_inference()), torch.no_grad():
        yield
