"""Many inputs as one stream of prepared chunks, in constant memory.

A small pool of threads decodes the next files while the network processes the current chunk. Files in a folder that
cannot be read are skipped and recorded with the reason. A data set whose members are indexed can reopen some of them.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image as Pillow
from torch import Tensor
from torch.utils.data import IterableDataset

from convscope.engine.context.chunking import chunk_size, in_chunks
from convscope.engine.context.metering import report_progress
from convscope.engine.data.sources import (
    BatchSource,
    ConcatSource,
    FolderSource,
    IndexedSource,
    IterableSource,
    Label,
    ListSource,
    NamedSource,
    SampleSource,
    Source,
    is_one_class,
    labels_of,
)
from convscope.engine.inputs.grid import Grid
from convscope.engine.inputs.image_io import is_existing_folder
from convscope.engine.inputs.preparation import read_images
from convscope.engine.inputs.specs import Images, InputSpec, TensorInput
from convscope.engine.targets.classes import class_index
from convscope.errors import InputError, UnknownName
from convscope.values.facts import Fact

if TYPE_CHECKING:
    from convscope.engine.network.model import Model

_READER_THREADS = min(4, os.cpu_count() or 1)


@dataclass(frozen=True)
class Chunk(Images):
    """A few prepared images of a data set, with the class of each and its index in the data set."""

    labels: tuple[Label, ...] = ()
    indices: tuple[int, ...] = ()

    def part(self, rows: Tensor) -> "Chunk":
        """The consecutive images ``rows`` of this chunk."""
        span = slice(int(rows[0]), int(rows[-1]) + 1)
        names, labels, indices = self.names[span], self.labels[span], self.indices[span]
        facts: dict[str, Any] = {"remark": self.remark, "grids": self.grids[span], "sizes": self.sizes[span]}
        return Chunk(self.tensor[span], names, False, self.spec, labels, indices, **facts)


@dataclass(frozen=True)
class _Member:
    """One input that was read but is not yet on the model's device; without a tensor, why it could not be read."""

    index: int
    name: str
    tensor: Tensor | None
    label: Label = None
    reason: str = ""
    grid: Grid = field(default_factory=Grid)
    size: tuple[int, ...] = ()


class Dataset:
    """A stream of prepared images for one model.

    Attributes:
        name: its name in records of results.
        size: the number of images, at most ``most``; None where it is not known beforehand.
        skipped: the members that could not be read, name → reason; filled while the data are streamed.
        remark: a warning about tensors that seem not to be prepared, once one has been read.
        can_reopen: whether `reopen` can open members a second time.
    """

    def __init__(self, source: Source | IterableSource, model: "Model", most: int | None = None) -> None:
        self.name = source.name
        self.skipped: dict[str, str] = {}
        self.remark = source.images.remark if isinstance(source, BatchSource) else ""
        self.can_reopen = not isinstance(source, IterableSource)
        self._source, self._model, self._limit = source, model, most
        source_size = source.size if isinstance(source, IterableSource) else len(source)
        self.size = source_size if most is None else most if source_size is None else min(source_size, most)

    def __repr__(self) -> str:
        return f"Dataset({self.name}, {'unknown' if self.size is None else self.size} images)"

    def chunks(self) -> Iterator[Chunk]:
        """All images, a few at a time, prepared and on the model's device.

        Raises:
            InputError: there are none, or none of them can be read.
        """
        source, count = self._source, 0
        for chunk in (
            self._streamed_chunks(source) if isinstance(source, IterableSource) else self._indexed_chunks(source)
        ):
            yield chunk
            count += len(chunk)
        if not count:
            raise self._no_image_error()

    def for_each_chunk(self, step: Callable[[Chunk], None]) -> int:
        """Call ``step`` with every chunk and report progress; returns the number of images.

        Where memory runs out, a chunk is split and ``step`` is called again with its parts.

        Args:
            step: processes one chunk; it must not store any result before it has succeeded.
        """
        done = 0
        for chunk in self.chunks():
            _run_in_parts(chunk, step)
            done += len(chunk)
            report_progress(done, max(done, self.size or 0))
        return done

    def first(self) -> Chunk:
        """The first image, to trace the network with; it is not consumed, even if a stream can be read only once."""
        if isinstance(self._source, IterableSource):
            members = self._streamed_members([self._source.peek()])
            return self._chunk([next(members)])
        for member in islice(self._read_all(self._source), 1):
            return self._chunk([member])
        raise self._no_image_error()

    def reopen(self, indices: Sequence[int]) -> Chunk:
        """The members at these indices, opened a second time."""
        assert not isinstance(self._source, IterableSource), "a stream can be read only once"
        return self._chunk([self._read(self._source, index) for index in indices])

    def classes(self, labels: Sequence[Label]) -> list[int | None]:
        """The model's class for each label; None where the model has no class of that name."""
        return [_class_of(label, self._model) for label in labels]

    def notes(self) -> Mapping[str, Any]:
        """Notes on the data for a result: how many files were skipped, and why."""
        if not self.skipped:
            return {}
        first = "; ".join(f"{name}: {reason}" for name, reason in islice(self.skipped.items(), 3))
        return {"skipped files": Fact("{count} that cannot be read ({why})", count=len(self.skipped), why=first)}

    def _no_image_error(self) -> InputError:
        name, reason = next(iter(self.skipped.items()), ("", ""))
        why = f"none of its {len(self.skipped)} pictures can be read; {name}: {reason}" if name else "it is empty"
        return InputError(f"there is no image in {self.name}: {why}")

    def _indexed_chunks(self, source: Source) -> Iterator[Chunk]:
        """Chunks of indexed members; the next members are read while this chunk is processed."""
        pending: list[_Member] = []
        size = 0
        for member in islice(self._read_all(source), self._limit):
            assert member.tensor is not None
            size = size or self._chunk_size(member.tensor)
            if pending and member.tensor.shape != _shape_of(pending):
                yield self._chunk(pending)
                pending = []
            pending.append(member)
            if len(pending) == size:
                yield self._chunk(pending)
                pending = []
        if pending:
            yield self._chunk(pending)

    def _read_all(self, source: Source) -> Iterator[_Member]:
        """The members that can be read, in order; the others are recorded in ``skipped``."""
        for member in _read_ahead(lambda index: self._read(source, index), len(source), self._limit):
            if member.tensor is None:
                self.skipped[member.name] = member.reason
            else:
                yield member

    def _read(self, source: Source, index: int) -> _Member:
        """Read and prepare one member, on the device it came from."""
        name = source.title(index)
        try:
            member, label = source.open(index)
            device, dtype = torch.device("cpu"), torch.float32
            if isinstance(member, Tensor):
                device, dtype = member.device, member.dtype
            images = read_images(member, self._model.input, device=device, dtype=dtype)
        except InputError as error:
            if not source.skips(index):
                raise
            return _Member(index, name, None, reason=str(error))
        if len(images) != 1:
            raise InputError(f"{name} holds {len(images)} images where a single one was expected")
        if not isinstance(source, BatchSource):  # whose remark is known already
            self.remark = self.remark or images.remark
        grid, size = images.grids[0] if images.grids else Grid(), images.sizes[0] if images.sizes else ()
        return _Member(index, name, images.tensor[0], label, grid=grid, size=size)

    def _streamed_chunks(self, stream: IterableSource) -> Iterator[Chunk]:
        """Chunks of a stream: batches are split, single inputs are collected."""
        pending: list[_Member] = []
        for member in islice(self._streamed_members(stream), self._limit):
            assert member.tensor is not None
            if pending and (
                member.tensor.shape != _shape_of(pending) or len(pending) == self._chunk_size(member.tensor)
            ):
                yield self._chunk(pending)
                pending = []
            pending.append(member)
        if pending:
            yield self._chunk(pending)

    def _streamed_members(self, pairs: Iterable[tuple[Any, Any]]) -> Iterator[_Member]:
        """The single inputs of a stream of batches or single inputs."""
        index = 0
        for member, label in pairs:
            is_single = isinstance(member, Tensor) and self._model.input == TensorInput() and is_one_class(label)
            images = self._model.prepare(member[None] if is_single else member)
            self.remark, tensor = self.remark or images.remark, images.tensor
            for row, row_label in zip(tensor, labels_of(label, len(tensor)), strict=True):
                yield _Member(index, f"{self._source.name}[{index}]", row, row_label)
                index += 1

    def _chunk(self, members: Sequence[_Member]) -> Chunk:
        prepared = self._model.prepare(torch.stack([member.tensor for member in members if member.tensor is not None]))
        names, labels = tuple(member.name for member in members), tuple(member.label for member in members)
        indices = tuple(member.index for member in members)
        grids, sizes = tuple(member.grid for member in members), tuple(member.size for member in members)
        facts: dict[str, Any] = {"remark": self.remark, "grids": grids, "sizes": sizes}
        return Chunk(prepared.tensor, names, False, prepared.spec, labels, indices, **facts)

    def _chunk_size(self, image: Tensor) -> int:
        return chunk_size(
            torch.empty((), device=self._model.device, dtype=torch.float32).expand(image.shape), light=True
        )


def as_dataset(data: Any, model: "Model", *, most: int | None = None) -> Dataset:
    """Convert any kind of data set to a stream of inputs for ``model``.

    Args:
        data: a folder, one image, a list of folders or of images as `Model.prepare` takes them, ``sample:shapes`` (a
            collection) or ``sample:shapes/0-99`` (a range of it), a prepared tensor (N, C, …), prepared `Images`, a
            torch ``Dataset`` or ``DataLoader``, or any iterable of tensors or (tensor, class) pairs.
        most: the maximum number of images.

    Raises:
        InputError: it is none of these, or contains no image.
    """
    if isinstance(data, Dataset):
        return data
    return Dataset(_make_source(data, model), model, most)


def named_images(members: Sequence[Any], names: Sequence[str], model: "Model") -> Dataset:
    """Named images as a stream; if there are several, those that cannot be read are skipped and recorded.

    Args:
        members: paths, sample addresses, Pillow images.

    Raises:
        InputError: the network takes no images, or ``members`` is empty.
    """
    _require_file_input(model)
    return Dataset(NamedSource(members, names, model.input.open), model)


def is_data_set(data: Any, spec: InputSpec) -> bool:
    """Whether ``data`` is a stream of inputs: a folder, a range of samples, a torch data set or loader, an iterable.

    One image, a list of images and a tensor are not; a list that contains folders or ranges is. A folder that holds the
    slices of one volume or the frames of one clip is a single input, if ``spec`` takes such inputs.
    """
    if isinstance(data, Dataset) or _is_collection(data, spec):
        return True
    if isinstance(data, (list, tuple)):
        return any(_is_collection(member, spec) for member in data)
    if isinstance(data, (str, Path, Pillow.Image, np.ndarray, Tensor, Images, Mapping, bytes)):
        return False
    return hasattr(data, "__iter__") or (hasattr(data, "__getitem__") and hasattr(data, "__len__"))


def _make_source(data: Any, model: "Model") -> Source | IterableSource:
    if isinstance(data, Images):
        return BatchSource(data)
    if isinstance(data, Tensor) or (isinstance(data, np.ndarray) and data.ndim == 4):
        return BatchSource(model.prepare(data))
    spec = model.input
    if _is_collection(data, spec) and str(data).startswith("sample:"):
        return SampleSource(str(data), spec.open)
    if _is_collection(data, spec):
        _require_file_input(model)
        return FolderSource(Path(data).expanduser(), spec.open, spec.file_extensions())
    if isinstance(data, (str, Path, Pillow.Image, np.ndarray)):
        return ListSource([data], spec.open)
    if isinstance(data, (list, tuple)):
        return _list_source(data, model)
    indexed = hasattr(data, "__getitem__") and hasattr(data, "__len__") and not isinstance(data, (Mapping, bytes))
    if indexed and not isinstance(data, IterableDataset):
        return IndexedSource(data)
    if hasattr(data, "__iter__") and not isinstance(data, (Mapping, bytes)):
        return IterableSource(data)
    raise InputError(
        "a data set is a folder, a list of images, a prepared tensor, a torch Dataset or DataLoader, "
        f"or an iterable of tensors, got {type(data).__name__}"
    )


def _list_source(data: Sequence[Any], model: "Model") -> Source | IterableSource:
    """The source for a list: of images, of collections, or a stream for a list of pairs or of batches."""
    if data and isinstance(data[0], (tuple, list)):
        return IterableSource(data)
    if any(_is_collection(member, model.input) for member in data):
        sources = [_make_source(member, model) for member in data]
        if len(sources) == 1:
            return sources[0]
        return ConcatSource([source for source in sources if not isinstance(source, IterableSource)])
    batches = data and isinstance(data[0], Tensor) and len(model.prepare(data[0])) > 1
    return IterableSource(data) if batches else ListSource(data, model.input.open)


def _is_collection(data: Any, spec: InputSpec) -> bool:
    """Whether ``data`` is a folder of inputs, ``sample:NAME`` or a range ``sample:NAME/0-99``."""
    if isinstance(data, str) and data.startswith("sample:"):
        key = data.partition("/")[2]
        return not key or "-" in key
    return isinstance(data, (str, Path)) and is_existing_folder(data) and not spec.takes_folder(data)


def _read_ahead(read_member: Callable[[int], _Member], count: int, most: int | None) -> Iterator[_Member]:
    """The members 0, 1, … in order, with the next ones read ahead in threads."""
    if count == 1 or most == 1:
        yield from map(read_member, range(count))
        return
    indices = iter(range(count))
    with ThreadPoolExecutor(_READER_THREADS, thread_name_prefix="convscope-read") as pool:
        futures: deque[Future[_Member]] = deque()
        try:
            futures.extend(pool.submit(read_member, index) for index in islice(indices, 4 * _READER_THREADS))
            while futures:
                yield futures.popleft().result()
                futures.extend(pool.submit(read_member, index) for index in islice(indices, 1))
        finally:
            for future in futures:
                future.cancel()


def _run_in_parts(chunk: Chunk, step: Callable[[Chunk], None]) -> None:
    in_chunks(len(chunk), chunk.tensor[0], lambda rows: step(chunk.part(rows)), size=len(chunk), quiet=True)


def _shape_of(members: Sequence[_Member]) -> torch.Size:
    assert members[0].tensor is not None
    return members[0].tensor.shape


def _class_of(label: Label, model: "Model") -> int | None:
    if label is None:
        return None
    try:
        return class_index(label, model)
    except UnknownName:
        return None


def _require_file_input(model: "Model") -> None:
    """Refuse files for a network of which nothing says how they are prepared."""
    if not model.input.file_extensions():
        model.input.prepare(Pillow.new("L", (8, 8)))
