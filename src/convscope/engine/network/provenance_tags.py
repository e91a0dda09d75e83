"""Tags that say which operation produced a tensor's values, stored by the memory region that holds the values."""

import functools
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef

OUTPUT_KINDS = {"softmax", "sigmoid", "log-softmax", "log-sigmoid", "tanh", "probabilities", "mixed", "unknown"}
"""Kinds that a network's output can have; the other kinds of tags are intermediate results."""
PROBABILITY_KINDS = {"softmax", "sigmoid", "probabilities"}
_TOLERANCE = 1e-3
"""How far a scale or a shift may be from 1, 100 or 0, so that the ε that protects a logarithm is no shift."""

MemoryRegion = tuple[Any, ...]


@dataclass(frozen=True)
class Tag:
    """Where values come from: ``scale`` · kind(source) + ``shift``; kind ``plain`` if their origin does not matter."""

    kind: str
    source: Any
    scale: float = 1.0
    shift: float = 0.0

    def affine(self, scale: float = 1.0, shift: float = 0.0) -> "Tag":
        """The tag of these values times ``scale`` plus ``shift``."""
        tag = replace(self, scale=self.scale * scale, shift=self.shift * scale + shift)
        if tag.kind == "tanh" and is_close(abs(tag.scale), 0.5) and is_close(tag.shift, 0.5):  # (1 + tanh(x / 2)) / 2
            return Tag("sigmoid", tag.source)
        if tag.kind == "softplus" and tag.scale == -1 and tag.shift == 0:
            return Tag("log-sigmoid", tag.source)
        return tag

    @property
    def is_identity(self) -> bool:
        """Whether the values are those of the operation itself, neither scaled nor shifted."""
        return is_close(self.scale, 1) and is_close(self.shift, 0)


class TagStore:
    """The tags of tensors. A tag is valid until its memory is freed or overwritten.

    Args:
        module: the network; its parameters and buffers are the same for every input.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._tags: dict[int, tuple[StorageWeakRef, dict[MemoryRegion, Tag]]] = {}
        self._sources = itertools.count()

    def tag_of(self, tensor: Tensor) -> Tag:
        """The tag of a tensor; an untagged tensor gets a plain one."""
        tag = self.find(tensor)
        if tag is None:
            tag = self.new("plain")
            self.assign(tensor, tag, overwrite=False)
        return tag

    def find(self, tensor: Tensor) -> Tag | None:
        """The tag of a tensor, if it has one."""
        region = _region_of(tensor)
        return None if region is None else self._tags_in(region[0]).get(region)

    def find_overlapping(self, tensor: Tensor) -> Tag | None:
        """The tag of a tensor whose memory was written through another view, of all of it or of a part."""
        region = _region_of(tensor)
        if region is None:
            return None
        tags = {other: tag for other, tag in self._tags_in(region[0]).items() if tag.kind in OUTPUT_KINDS}
        for other, tag in tags.items():
            if other[1] == region[1] and math.prod(other[2]) == tensor.numel():
                return tag
        return self.new("mixed") if tags else None

    def assign(self, output: Any, tag: Tag | None, *, overwrite: bool) -> None:
        """Tag the tensors in an operation's output; ``overwrite`` drops all earlier tags of their memory."""
        for tensor in _tensors(output):
            region = _region_of(tensor)
            if region is None:
                continue
            tags = {} if overwrite else self._tags_in(region[0])
            if tag is not None:
                tags[region] = tag
            self._tags[region[0]] = (StorageWeakRef(tensor.untyped_storage()), tags)  # type: ignore[no-untyped-call]

    def new(self, kind: str, scale: float = 1.0, shift: float = 0.0) -> Tag:
        """A tag with a source of its own: of values whose source is unknown, or that have several."""
        return Tag(kind, next(self._sources), scale, shift)

    def is_constant(self, value: Any) -> bool:
        """Whether this is a tensor whose values are the same for every input."""
        if not isinstance(value, Tensor):
            return False
        kind = self.tag_of(value).kind
        return kind == "constant" or (kind == "plain" and self._belongs_to_network(value))

    def constant_value(self, value: Any) -> float | None:
        """The value of a number, or of a constant tensor with one element; None for everything else."""
        if isinstance(value, (int, float)):
            return float(value)
        if not isinstance(value, Tensor) or value.numel() != 1 or value.is_complex():
            return None
        return float(value.detach()) if self.is_constant(value) else None

    def _tags_in(self, storage: int) -> dict[MemoryRegion, Tag]:
        """The tags of regions in a storage, by its address; none if the tagged storage was freed."""
        entry = self._tags.get(storage)
        return {} if entry is None or entry[0].expired() else entry[1]  # type: ignore[no-untyped-call]

    def _belongs_to_network(self, tensor: Tensor) -> bool:
        region = _region_of(tensor)
        return region is not None and region[0] in self._network_storages

    @functools.cached_property
    def _network_storages(self) -> set[int]:
        """The addresses of the storages of the network's parameters and buffers."""
        tensors = itertools.chain(self._module.parameters(), self._module.buffers())
        return {region[0] for tensor in tensors if (region := _region_of(tensor)) is not None}


def is_close(number: float, target: float) -> bool:
    """Whether a scale or a shift is equal to a target, up to a tolerance."""
    return abs(number - target) <= _TOLERANCE * max(1.0, abs(target))


def _region_of(tensor: Tensor) -> MemoryRegion | None:
    """Where a tensor's values are stored: (storage, offset, shape, strides); None for tensors without such memory."""
    if type(tensor) not in (Tensor, nn.Parameter) or tensor.is_nested or tensor.layout is not torch.strided:
        return None
    storage = tensor.untyped_storage().data_ptr()
    if storage == 0 or tensor.numel() == 0:
        return None
    strides = tuple(stride for stride, size in zip(tensor.stride(), tensor.shape, strict=True) if size > 1)
    return storage, tensor.storage_offset(), tuple(tensor.shape), strides


def _tensors(output: Any) -> Iterator[Tensor]:
    """All tensors in nested lists and tuples."""
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, (list, tuple)):
        for member in output:
            yield from _tensors(member)
