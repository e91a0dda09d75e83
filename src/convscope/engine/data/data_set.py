"""Many inputs as one stream of prepared chunks: constant memory, however many there are.

The next chunk of files is decoded by a small pool of threads while the network works on the present one. What cannot
be read in a folder is skipped and written down with the reason. A data set that opens its members by place hands the
few that won out a second time.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
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
    Batch,
    Folder,
    Label,
    Listed,
    Named,
    Rows,
    Samples,
    Several,
    Source,
    Stream,
    is_one_class,
    labels_of,
)
from convscope.engine.inputs.image_io import is_existing_folder
from convscope.engine.inputs.specs import Images, TensorInput, read_images
from convscope.engine.targets.target import class_index
from convscope.errors import InputError, UnknownName

if TYPE_CHECKING:
    from convscope.engine.network.model import Model

_READERS = min(4, os.cpu_count() or 1)


@dataclass(frozen=True)
class Chunk(Images):
    """A few prepared images of a data set, with the class of each and its place in the data set."""

    labels: tuple[Label, ...] = ()
    places: tuple[int, ...] = ()

    def part(self, rows: Tensor) -> "Chunk":
        """The consecutive images ``rows`` of this chunk."""
        here = slice(int(rows[0]), int(rows[-1]) + 1)
        names, labels, places = self.names[here], self.labels[here], self.places[here]
        return Chunk(self.tensor[here], names, False, self.spec, labels, places, remark=self.remark)


@dataclass(frozen=True)
class _Member:
    """One input read but not yet on the model's device; or, without a tensor, why it cannot be read."""

    place: int
    name: str
    tensor: Tensor | None
    label: Label = None
    reason: str = ""


class Dataset:
    """A stream of prepared images for one model.

    Attributes:
        name: what the record says of it.
        size: how many images it has, at most ``most``; None where that shows only at the end.
        skipped: what could not be read, name → reason; it fills as the data are streamed.
        remark: what must be said of tensors that seem not to be prepared, once one has been read.
        reopens: whether `again` can hand a member out a second time.
    """

    def __init__(self, source: Source | Stream, model: "Model", most: int | None = None) -> None:
        self.name = source.name
        self.skipped: dict[str, str] = {}
        self.remark = source.images.remark if isinstance(source, Batch) else ""
        self.reopens = not isinstance(source, Stream)
        self._source, self._model, self._most = source, model, most
        known = source.size if isinstance(source, Stream) else len(source)
        self.size = known if most is None else most if known is None else min(known, most)

    def __repr__(self) -> str:
        return f"Dataset({self.name}, {'unknown' if self.size is None else self.size} images)"

    def chunks(self) -> Iterator[Chunk]:
        """All images, a few at a time, prepared and on the model's device.

        Raises:
            InputError: there is none, or not one of them can be read.
        """
        source, found = self._source, 0
        for chunk in self._passing(source) if isinstance(source, Stream) else self._opened(source):
            yield chunk
            found += len(chunk)
        if not found:
            raise self._nothing()

    def each(self, step: Callable[[Chunk], None]) -> int:
        """Call ``step`` with every chunk, with fewer images where memory runs out, and report progress; how many.

        Args:
            step: works on one chunk; it must not keep anything before it has succeeded.
        """
        done = 0
        for chunk in self.chunks():
            _with_what_fits(chunk, step)
            done += len(chunk)
            report_progress(done, max(done, self.size or 0))
        return done

    def first(self) -> Chunk:
        """The first image alone, to trace the network with; nothing of a stream that passes once is lost by it."""
        if isinstance(self._source, Stream):
            members = self._members([self._source.peek()])
            return self._chunk([next(members)])
        for member in islice(self._readable(self._source), 1):
            return self._chunk([member])
        raise self._nothing()

    def again(self, places: Sequence[int]) -> Chunk:
        """The members at these places, opened once more."""
        assert not isinstance(self._source, Stream), "a stream passes once"
        return self._chunk([self._read(self._source, place) for place in places])

    def classes(self, labels: Sequence[Label]) -> list[int | None]:
        """The model's class for each label; None where the model has no class of that name."""
        return [_class(label, self._model) for label in labels]

    def notes(self) -> Mapping[str, Any]:
        """What a value must say of its data: how much was skipped, and why."""
        if not self.skipped:
            return {}
        first = "; ".join(f"{name}: {reason}" for name, reason in islice(self.skipped.items(), 3))
        return {"skipped files": f"{len(self.skipped)} that cannot be read ({first})"}

    def _nothing(self) -> InputError:
        name, reason = next(iter(self.skipped.items()), ("", ""))
        why = f"none of its {len(self.skipped)} pictures can be read; {name}: {reason}" if name else "it is empty"
        return InputError(f"there is no image in {self.name}: {why}")

    def _opened(self, source: Source) -> Iterator[Chunk]:
        """Chunks of members opened by place, the next being read while this one is worked on."""
        ready: list[_Member] = []
        size = 0
        for member in islice(self._readable(source), self._most):
            assert member.tensor is not None
            size = size or self._chunk_size(member.tensor)
            if ready and member.tensor.shape != _shape(ready):
                yield self._chunk(ready)
                ready = []
            ready.append(member)
            if len(ready) == size:
                yield self._chunk(ready)
                ready = []
        if ready:
            yield self._chunk(ready)

    def _readable(self, source: Source) -> Iterator[_Member]:
        """The members that can be read, in order; the others are written down."""
        for member in _ahead(lambda place: self._read(source, place), len(source), self._most):
            if member.tensor is None:
                self.skipped[member.name] = member.reason
            else:
                yield member

    def _read(self, source: Source, place: int) -> _Member:
        """One member as the model wants it, still where it came from."""
        name = source.title(place)
        try:
            given, label = source.open(place)
            device, dtype = torch.device("cpu"), torch.float32
            if isinstance(given, Tensor):
                device, dtype = given.device, given.dtype
            images = read_images(given, self._model.input, device=device, dtype=dtype)
        except InputError as error:
            if not source.skips(place):
                raise
            return _Member(place, name, None, reason=str(error))
        if len(images) != 1:
            raise InputError(f"{name} holds {len(images)} images where a single one was expected")
        if not isinstance(source, Batch):  # of which it is known
            self.remark = self.remark or images.remark
        return _Member(place, name, images.tensor[0], label)

    def _passing(self, stream: Stream) -> Iterator[Chunk]:
        """Chunks of what passes by: batches are cut, single inputs gathered."""
        ready: list[_Member] = []
        for member in islice(self._members(stream), self._most):
            assert member.tensor is not None
            if ready and (member.tensor.shape != _shape(ready) or len(ready) == self._chunk_size(member.tensor)):
                yield self._chunk(ready)
                ready = []
            ready.append(member)
        if ready:
            yield self._chunk(ready)

    def _members(self, pairs: Iterable[tuple[Any, Any]]) -> Iterator[_Member]:
        """The single inputs of batches and single inputs as they come."""
        place = 0
        for given, label in pairs:
            lone = isinstance(given, Tensor) and self._model.input == TensorInput() and is_one_class(label)
            images = self._model.prepare(given[None] if lone else given)
            self.remark, tensor = self.remark or images.remark, images.tensor
            for row, one in zip(tensor, labels_of(label, len(tensor)), strict=True):
                yield _Member(place, f"{self._source.name}[{place}]", row, one)
                place += 1

    def _chunk(self, members: Sequence[_Member]) -> Chunk:
        prepared = self._model.prepare(torch.stack([one.tensor for one in members if one.tensor is not None]))
        names, labels = tuple(one.name for one in members), tuple(one.label for one in members)
        places = tuple(one.place for one in members)
        return Chunk(prepared.tensor, names, False, prepared.spec, labels, places, remark=self.remark)

    def _chunk_size(self, one: Tensor) -> int:
        return chunk_size(torch.empty((), device=self._model.device, dtype=torch.float32).expand(one.shape), light=True)


def as_dataset(given: Any, model: "Model", *, most: int | None = None) -> Dataset:
    """Whatever a caller calls a data set, as a stream of inputs for ``model``.

    Args:
        given: a folder, one image, a list of folders or of images as `Model.prepare` takes them, ``sample:shapes`` (a
            collection) or ``sample:shapes/0-99`` (a range of it), a prepared tensor (N, C, …), prepared `Images`, a
            torch ``Dataset`` or ``DataLoader``, or any iterable of tensors or (tensor, class) pairs.
        most: stop after so many.

    Raises:
        InputError: it is none of these, or there is no image in it.
    """
    if isinstance(given, Dataset):
        return given
    return Dataset(_source(given, model), model, most)


def named_images(members: Sequence[Any], names: Sequence[str], model: "Model") -> Dataset:
    """Images under names of their own as a stream; of several, one that cannot be read is skipped and written down.

    Args:
        members: paths, sample addresses, pictures.

    Raises:
        InputError: the network takes no pictures, or there is none.
    """
    _refuse_pictures_for_tensors(model)
    return Dataset(Named(members, names), model)


def is_data_set(given: Any) -> bool:
    """Whether this is a stream of inputs: a folder, a range of samples, a torch data set or loader, an iterable.

    One image, a list of images and a tensor are not; a list with folders or ranges in it is.
    """
    if isinstance(given, Dataset) or _is_collection(given):
        return True
    if isinstance(given, (list, tuple)):
        return any(_is_collection(one) for one in given)
    if isinstance(given, (str, Path, Pillow.Image, np.ndarray, Tensor, Images, Mapping, bytes)):
        return False
    return hasattr(given, "__iter__") or (hasattr(given, "__getitem__") and hasattr(given, "__len__"))


def _source(given: Any, model: "Model") -> Source | Stream:
    if isinstance(given, Images):
        return Batch(given)
    if isinstance(given, Tensor) or (isinstance(given, np.ndarray) and given.ndim == 4):
        return Batch(model.prepare(given))
    if _is_collection(given) and str(given).startswith("sample:"):
        return Samples(str(given))
    if _is_collection(given):
        _refuse_pictures_for_tensors(model)
        return Folder(Path(given).expanduser())
    if isinstance(given, (str, Path, Pillow.Image, np.ndarray)):
        return Listed([given])
    if isinstance(given, (list, tuple)):
        return _listed(given, model)
    indexed = hasattr(given, "__getitem__") and hasattr(given, "__len__") and not isinstance(given, (Mapping, bytes))
    if indexed and not isinstance(given, IterableDataset):
        return Rows(given)
    if hasattr(given, "__iter__") and not isinstance(given, (Mapping, bytes)):
        return Stream(given)
    raise InputError(
        "a data set is a folder, a list of images, a prepared tensor, a torch Dataset or DataLoader, "
        f"or an iterable of tensors, got {type(given).__name__}"
    )


def _listed(given: Sequence[Any], model: "Model") -> Source | Stream:
    """A list of images; a list of pairs or of batches is walked through."""
    if given and isinstance(given[0], (tuple, list)):
        return Stream(given)
    if any(_is_collection(one) for one in given):
        sources = [_source(one, model) for one in given]
        return sources[0] if len(sources) == 1 else Several([one for one in sources if not isinstance(one, Stream)])
    batches = given and isinstance(given[0], Tensor) and len(model.prepare(given[0])) > 1
    return Stream(given) if batches else Listed(given)


def _is_collection(given: Any) -> bool:
    """Whether this is a folder, ``sample:NAME`` or a range ``sample:NAME/0-99``."""
    if isinstance(given, str) and given.startswith("sample:"):
        key = given.partition("/")[2]
        return not key or "-" in key
    return isinstance(given, (str, Path)) and is_existing_folder(given)


def _ahead(read: Callable[[int], _Member], count: int, most: int | None) -> Iterator[_Member]:
    """``read(0)``, ``read(1)`` … in order, some of them ahead of their turn in threads of their own."""
    if count == 1 or most == 1:
        yield from map(read, range(count))
        return
    places = iter(range(count))
    with ThreadPoolExecutor(_READERS, thread_name_prefix="convscope-read") as pool:
        waiting: deque[Future[_Member]] = deque()
        try:
            waiting.extend(pool.submit(read, place) for place in islice(places, 4 * _READERS))
            while waiting:
                yield waiting.popleft().result()
                waiting.extend(pool.submit(read, place) for place in islice(places, 1))
        finally:
            for future in waiting:
                future.cancel()


def _with_what_fits(chunk: Chunk, step: Callable[[Chunk], None]) -> None:
    in_chunks(len(chunk), chunk.tensor[0], lambda rows: step(chunk.part(rows)), size=len(chunk), quiet=True)


def _shape(members: Sequence[_Member]) -> torch.Size:
    assert members[0].tensor is not None
    return members[0].tensor.shape


def _class(label: Label, model: "Model") -> int | None:
    if label is None:
        return None
    try:
        return class_index(label, model)
    except UnknownName:
        return None


def _refuse_pictures_for_tensors(model: "Model") -> None:
    if isinstance(model.input, TensorInput):
        model.input.prepare(Pillow.new("L", (8, 8)))
