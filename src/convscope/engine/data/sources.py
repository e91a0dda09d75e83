"""The sources of a data set's members: a folder, a list, samples, a tensor, a torch data set, or a stream.

All but the stream open a member by its index, any number of times. Nothing is prepared for a model here.
"""

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import accumulate, chain, islice
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from torch import Tensor

from convscope.engine.inputs.image_io import image_extensions, open_image
from convscope.engine.inputs.specs import Images
from convscope.errors import InputError
from convscope.spec import SAMPLES

Label = int | str | None
"""The class of one input in the data set: an index, a name (of a subfolder), or None."""


class OpenedMember(NamedTuple):
    """One member: an input that a model can prepare, and its class."""

    input: Any
    label: Label


class Source(Protocol):
    """Members that can be opened by their index, any number of times."""

    name: str

    def __len__(self) -> int:
        """The number of members, including those that cannot be read."""

    def title(self, index: int) -> str:
        """The name of the member at ``index``."""

    def skips(self, index: int) -> bool:
        """Whether that member is skipped if it cannot be read; it is an error if the caller named it."""

    def open(self, index: int) -> OpenedMember:
        """The member at ``index``."""


class FolderSource:
    """All images below a folder, in the order of their paths; the class is the name of the first subfolder.

    Args:
        open_file: opens a member.
        extensions: the endings of the files that count; those of pictures by default.
    """

    def __init__(
        self, root: Path, open_file: Callable[[Path], Any] = open_image, extensions: Collection[str] = ()
    ) -> None:
        self._open_file = open_file
        endings = tuple(extensions or image_extensions())
        files = [path for path in root.rglob("*") if not path.name.startswith(".") and path.is_file()]
        self.root, self.name = root, str(root)
        self.paths = sorted(path for path in files if path.name.lower().endswith(endings))
        if not self.paths:
            content = f"it holds {len(files)} other file{'s' if len(files) > 1 else ''}" if files else "it is empty"
            raise InputError(
                f"there is no picture in the folder {str(root)!r}: {content}; pictures end in .jpg, .png, …"
            )

    def __len__(self) -> int:
        return len(self.paths)

    def title(self, index: int) -> str:
        """The path within the folder."""
        return self.paths[index].relative_to(self.root).as_posix()

    def skips(self, index: int) -> bool:
        """Yes: the caller did not name the files."""
        return True

    def open(self, index: int) -> OpenedMember:
        """The decoded image."""
        parents = self.paths[index].relative_to(self.root).parts[:-1]
        return OpenedMember(self._open_file(self.paths[index]), parents[0] if parents else None)


def has_pictures(root: Path) -> bool:
    """Whether there is a picture below a folder."""
    extensions = image_extensions()
    return any(path.suffix.lower() in extensions for path in root.rglob("*") if not path.name.startswith("."))


class ListSource:
    """A list of images of any kind that a model prepares; samples have a class."""

    def __init__(self, members: Sequence[Any], open_file: Callable[[str | Path], Any] = open_image) -> None:
        self._open_file = open_file
        if not len(members):
            raise InputError("there is no image: the list is empty")
        self.members = members
        self.name = self.title(0) if len(members) == 1 else f"{len(members)} images"

    def __len__(self) -> int:
        return len(self.members)

    def title(self, index: int) -> str:
        """The path or address; for other images their type and index."""
        member = self.members[index]
        return str(member) if isinstance(member, (str, Path)) else f"{type(member).__name__.lower()}[{index}]"

    def skips(self, index: int) -> bool:
        """No: the caller named it."""
        return False

    def open(self, index: int) -> OpenedMember:
        """The member, decoded if it is a file."""
        member = self.members[index]
        if isinstance(member, str) and member.startswith("sample:"):
            return _sample(member, self._open_file)
        return OpenedMember(self._open_file(member) if isinstance(member, (str, Path)) else member, None)


class NamedSource(ListSource):
    """Named images; if there are several, those that cannot be read are skipped."""

    def __init__(
        self, members: Sequence[Any], names: Sequence[str], open_file: Callable[[str | Path], Any] = open_image
    ) -> None:
        self.names = names
        super().__init__(members, open_file)
        if len(members) > 1:
            self.name = "the named images"

    def title(self, index: int) -> str:
        """The name that the caller gave."""
        return self.names[index]

    def skips(self, index: int) -> bool:
        """Yes, if there are others."""
        return len(self.members) > 1


class SampleSource(ListSource):
    """A collection of samples, ``sample:shapes``, or a range of it, ``sample:shapes/0-99``."""

    def __init__(self, address: str, open_file: Callable[[str | Path], Any] = open_image) -> None:
        name, _, range_text = address.removeprefix("sample:").partition("/")
        collection = SAMPLES.find(name)
        first, dash, last = range_text.partition("-")
        keys: Sequence[Any] = range(collection.count) if collection.count else collection.keys
        if dash:
            if not (first.isdecimal() and last.isdecimal() and int(first) <= int(last)):
                raise InputError(f"a range of samples is written sample:{name}/0-99, got {address!r}")
            keys = range(int(first), int(last) + 1)
        super().__init__(_SampleAddresses(name, keys), open_file)
        self.name = f"sample:{name}/{range_text}" if dash else f"sample:{name}"


class _SampleAddresses(Sequence[str]):
    """``sample:NAME/KEY`` for each key, computed on demand."""

    def __init__(self, name: str, keys: Sequence[Any]) -> None:
        self.name, self.keys = name, keys

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: Any) -> Any:
        return f"sample:{self.name}/{self.keys[index]}"


class BatchSource:
    """A prepared batch in memory."""

    def __init__(self, images: Images) -> None:
        self.images = images
        self.name = images.names[0] if len(images) == 1 else f"{len(images)} prepared inputs"

    def __len__(self) -> int:
        return len(self.images)

    def title(self, index: int) -> str:
        """The image's name."""
        return self.images.names[index]

    def skips(self, index: int) -> bool:
        """No: the caller named it."""
        return False

    def open(self, index: int) -> OpenedMember:
        """One row, with its batch axis."""
        return OpenedMember(self.images.tensor[index : index + 1], None)


class IndexedSource:
    """An indexed torch ``Dataset`` whose rows are tensors or images, with or without a class."""

    def __init__(self, rows: Any) -> None:
        self.rows, self.name = rows, f"{type(rows).__name__} of {len(rows)}"
        if not len(rows):
            raise InputError(f"there is no image: the {type(rows).__name__} is empty")

    def __len__(self) -> int:
        return len(self.rows)

    def title(self, index: int) -> str:
        """The type of the data set and the index of the row."""
        return f"{type(self.rows).__name__}[{index}]"

    def skips(self, index: int) -> bool:
        """No: the caller named it."""
        return False

    def open(self, index: int) -> OpenedMember:
        """One row; a tensor is a single input and gets its batch axis."""
        row, label = split_pair(self.rows[index])
        if isinstance(row, Tensor):
            return OpenedMember(row[None], labels_of(label, 1)[0])
        return OpenedMember(row, labels_of(label, 1)[0])


class ConcatSource:
    """Several data sets one after another, as for a list of folders."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self.sources, self.name = sources, ", ".join(source.name for source in sources)
        self.starts = list(accumulate((len(source) for source in sources), initial=0))

    def __len__(self) -> int:
        return self.starts[-1]

    def title(self, index: int) -> str:
        """The member's name, preceded by that of its folder if it has one."""
        source, inner = self._locate(index)
        return f"{source.name}/{source.title(inner)}" if isinstance(source, FolderSource) else source.title(inner)

    def skips(self, index: int) -> bool:
        """Files in a folder are skipped, members that the caller named are not."""
        source, inner = self._locate(index)
        return source.skips(inner)

    def open(self, index: int) -> OpenedMember:
        """The member of the data set that contains it."""
        source, inner = self._locate(index)
        return source.open(inner)

    def _locate(self, index: int) -> tuple[Source, int]:
        number = bisect_right(self.starts, index) - 1
        return self.sources[number], index - self.starts[number]


class IterableSource:
    """A ``DataLoader``, or any iterable of tensors or (tensor, class) pairs."""

    def __init__(self, iterable: Iterable[Any]) -> None:
        self.iterable, self.name = iterable, type(iterable).__name__
        self.once = isinstance(iterable, Iterator)
        self.iterator: Iterator[Any] | None = iterable if isinstance(iterable, Iterator) else None
        self.peeked: list[Any] = []

    @property
    def size(self) -> int | None:
        """The number of images, where the sampler of a loader provides it."""
        sampler = getattr(self.iterable, "sampler", None)
        try:
            return len(sampler) if sampler is not None and not getattr(self.iterable, "drop_last", False) else None
        except TypeError:
            return None

    def peek(self) -> tuple[Any, Any]:
        """The first member, which iteration will still return."""
        if not self.peeked:
            self.peeked = list(islice(self._begin(), 1))
        if not self.peeked:
            raise InputError(f"there is no image: the {self.name} is empty")
        return split_pair(self.peeked[0])

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        """Pairs of inputs and classes, batches or single ones."""
        peeked = self.peeked if self.once else []
        rest = self._begin()
        if self.once:
            self.iterator = None
        for member in chain(peeked, rest):
            yield split_pair(member)

    def _begin(self) -> Iterator[Any]:
        """A new iterator; the only one there is if the members can be iterated only once."""
        if not self.once:
            return iter(self.iterable)
        if self.iterator is None:
            raise InputError(f"the {self.name} has been consumed and cannot be iterated again: pass a list or a loader")
        return self.iterator


def split_pair(member: Any) -> tuple[Any, Any]:
    """Split an item of a data set into input and class."""
    if isinstance(member, (tuple, list)) and 1 <= len(member) <= 2:
        return member[0], member[1] if len(member) == 2 else None
    if isinstance(member, (dict, tuple, list)) or member is None:
        kind = f"{type(member).__name__} of {len(member)}" if member is not None else "None"
        raise InputError(
            f"a data set gives inputs or (input, class) pairs, got a {kind}: pass a generator that picks them"
        )
    return member, None


def labels_of(labels: Any, count: int) -> list[Label]:
    """One class per image from an index, a name, a list or a tensor of indices; None where it is not a class."""
    if labels is None:
        return [None] * count
    values = labels.tolist() if hasattr(labels, "tolist") else labels
    values = list(values) if isinstance(values, (list, tuple)) else [values]
    valid = all(isinstance(value, (int, str)) and not isinstance(value, bool) for value in values)
    return values if valid and len(values) == count else [None] * count


def is_one_class(label: Any) -> bool:
    """Whether ``label`` is the class of a single input, which then has no batch axis."""
    return isinstance(label, (int, str)) or getattr(label, "ndim", None) == 0


def _sample(address: str, open_file: Callable[[str | Path], Any]) -> OpenedMember:
    """The content and the class of a sample."""
    name, _, key = address.removeprefix("sample:").partition("/")
    return OpenedMember(open_file(address), SAMPLES.find(name).function(key).label)
