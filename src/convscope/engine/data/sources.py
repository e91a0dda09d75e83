"""Where the members of a data set come from: a folder, a list, samples, a tensor, a torch data set, or a stream.

All but the stream open a member by its place, any number of times. Nothing here prepares anything for a model.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, chain, islice
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from PIL import Image as Pillow
from torch import Tensor

from convscope.engine.inputs.image_io import open_picture, picture_endings
from convscope.engine.inputs.specs import Images
from convscope.errors import InputError
from convscope.spec import SAMPLES

Label = int | str | None
"""The class of one input as the data set gives it: a number, a name (of a sub-folder), or nothing."""


class Opened(NamedTuple):
    """One member: what a model can prepare, and its class."""

    given: Any
    label: Label


class Source(Protocol):
    """Members that can be opened by their place, any number of times."""

    name: str

    def __len__(self) -> int:
        """How many members there are, those that cannot be read included."""

    def title(self, place: int) -> str:
        """What the member at ``place`` is called."""

    def skips(self, place: int) -> bool:
        """Whether that member is skipped if it cannot be read; where the caller named it, it is an error."""

    def open(self, place: int) -> Opened:
        """The member at ``place``."""


class Folder:
    """All pictures below a folder, in the order of their paths; the first sub-folder on the way is the class."""

    def __init__(self, root: Path) -> None:
        endings = picture_endings()
        files = [path for path in root.rglob("*") if not path.name.startswith(".") and path.is_file()]
        self.root, self.name = root, str(root)
        self.paths = sorted(path for path in files if path.suffix.lower() in endings)
        if not self.paths:
            other = f"it holds {len(files)} other file{'s' if len(files) > 1 else ''}" if files else "it is empty"
            raise InputError(f"there is no picture in the folder {str(root)!r}: {other}; pictures end in .jpg, .png, …")

    def __len__(self) -> int:
        return len(self.paths)

    def title(self, place: int) -> str:
        """The path within the folder."""
        return self.paths[place].relative_to(self.root).as_posix()

    def skips(self, place: int) -> bool:
        """Nobody named it."""
        return True

    def open(self, place: int) -> Opened:
        """The decoded picture."""
        parents = self.paths[place].relative_to(self.root).parts[:-1]
        return Opened(open_picture(self.paths[place]), parents[0] if parents else None)


class Listed:
    """Images that the caller listed, of any kind that a model prepares; a sample address has its class."""

    def __init__(self, members: Sequence[Any]) -> None:
        if not len(members):
            raise InputError("there is no image: the list is empty")
        self.members = members
        self.name = self.title(0) if len(members) == 1 else f"{len(members)} images"

    def __len__(self) -> int:
        return len(self.members)

    def title(self, place: int) -> str:
        """The path or address; the kind and number of what has none."""
        one = self.members[place]
        return str(one) if isinstance(one, (str, Path)) else f"{type(one).__name__.lower()}[{place}]"

    def skips(self, place: int) -> bool:
        """The caller named it."""
        return False

    def open(self, place: int) -> Opened:
        """The member as it was given, a file decoded."""
        one = self.members[place]
        if isinstance(one, str) and one.startswith("sample:"):
            return _sample(one)
        return Opened(open_picture(one) if isinstance(one, (str, Path)) else one, None)


class Named(Listed):
    """Images under the names that a person gave them; of several, one that cannot be read is left out."""

    def __init__(self, members: Sequence[Any], names: Sequence[str]) -> None:
        self.names = names
        super().__init__(members)
        if len(members) > 1:
            self.name = "what was named"

    def title(self, place: int) -> str:
        """The name that was given."""
        return self.names[place]

    def skips(self, place: int) -> bool:
        """The others can still be looked at."""
        return len(self.members) > 1


class Samples(Listed):
    """A whole collection of samples, ``sample:shapes``, or a range of it, ``sample:shapes/0-99``."""

    def __init__(self, address: str) -> None:
        name, _, asked = address.removeprefix("sample:").partition("/")
        found = SAMPLES.find(name)
        first, dash, last = asked.partition("-")
        keys: Sequence[Any] = range(found.count) if found.count else found.keys
        if dash:
            if not (first.isdecimal() and last.isdecimal() and int(first) <= int(last)):
                raise InputError(f"a range of samples is written sample:{name}/0-99, got {address!r}")
            keys = range(int(first), int(last) + 1)
        super().__init__(_Addresses(name, keys))
        self.name = f"sample:{name}/{asked}" if dash else f"sample:{name}"


class _Addresses(Sequence[str]):
    """``sample:NAME/KEY`` for each key, made when it is asked for."""

    def __init__(self, name: str, keys: Sequence[Any]) -> None:
        self.name, self.keys = name, keys

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, place: Any) -> Any:
        return f"sample:{self.name}/{self.keys[place]}"


class Batch:
    """A prepared batch that is in memory already."""

    def __init__(self, images: Images) -> None:
        self.images = images
        self.name = images.names[0] if len(images) == 1 else f"{len(images)} prepared inputs"

    def __len__(self) -> int:
        return len(self.images)

    def title(self, place: int) -> str:
        """The image's name."""
        return self.images.names[place]

    def skips(self, place: int) -> bool:
        """The caller named it."""
        return False

    def open(self, place: int) -> Opened:
        """One row, with its batch axis."""
        return Opened(self.images.tensor[place : place + 1], None)


class Rows:
    """A torch ``Dataset`` that is indexed: its rows are tensors or pictures, alone or with a class."""

    def __init__(self, rows: Any) -> None:
        self.rows, self.name = rows, f"{type(rows).__name__} of {len(rows)}"
        if not len(rows):
            raise InputError(f"there is no image: the {type(rows).__name__} is empty")

    def __len__(self) -> int:
        return len(self.rows)

    def title(self, place: int) -> str:
        """The number of the row."""
        return f"{type(self.rows).__name__}[{place}]"

    def skips(self, place: int) -> bool:
        """The caller named it."""
        return False

    def open(self, place: int) -> Opened:
        """One row; a tensor is a single input and gets its batch axis."""
        given, label = pair_of(self.rows[place])
        if isinstance(given, Tensor):
            return Opened(given[None], labels_of(label, 1)[0])
        return Opened(given, labels_of(label, 1)[0])


class Several:
    """Some data sets one after the other, as when several folders are named."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self.sources, self.name = sources, ", ".join(source.name for source in sources)
        self.starts = list(accumulate((len(source) for source in sources), initial=0))

    def __len__(self) -> int:
        return self.starts[-1]

    def title(self, place: int) -> str:
        """The member's name, with that of its data set before it where it is a folder."""
        source, inner = self._at(place)
        return f"{source.name}/{source.title(inner)}" if isinstance(source, Folder) else source.title(inner)

    def skips(self, place: int) -> bool:
        """What lies in a folder may be skipped, what was named may not."""
        source, inner = self._at(place)
        return source.skips(inner)

    def open(self, place: int) -> Opened:
        """The member of one of them."""
        source, inner = self._at(place)
        return source.open(inner)

    def _at(self, place: int) -> tuple[Source, int]:
        number = bisect_right(self.starts, place) - 1
        return self.sources[number], place - self.starts[number]


class Stream:
    """What can only be walked through: a ``DataLoader``, or any iterable of tensors or (tensor, class) pairs."""

    def __init__(self, given: Iterable[Any]) -> None:
        self.given, self.name = given, type(given).__name__
        self.once = isinstance(given, Iterator)
        self.walk: Iterator[Any] | None = given if isinstance(given, Iterator) else None
        self.peeked: list[Any] = []

    @property
    def size(self) -> int | None:
        """How many images pass by, where that is known beforehand: a loader's sampler knows."""
        sampler = getattr(self.given, "sampler", None)
        try:
            return len(sampler) if sampler is not None and not getattr(self.given, "drop_last", False) else None
        except TypeError:
            return None

    def peek(self) -> tuple[Any, Any]:
        """What comes first, which will still come when all is walked through."""
        if not self.peeked:
            self.peeked = list(islice(self._begun(), 1))
        if not self.peeked:
            raise InputError(f"there is no image: the {self.name} is empty")
        return pair_of(self.peeked[0])

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        """Inputs and classes, batches or single as they come."""
        held = self.peeked if self.once else []
        walk = self._begun()
        if self.once:
            self.walk = None
        for member in chain(held, walk):
            yield pair_of(member)

    def _begun(self) -> Iterator[Any]:
        """A fresh walk; the only one of what can be walked through once."""
        if not self.once:
            return iter(self.given)
        if self.walk is None:
            raise InputError(
                f"the {self.name} has been walked through and cannot be begun again: pass a list or a loader"
            )
        return self.walk


def pair_of(member: Any) -> tuple[Any, Any]:
    """The input and the class of what a data set gives."""
    if isinstance(member, (tuple, list)) and 1 <= len(member) <= 2:
        return member[0], member[1] if len(member) == 2 else None
    if isinstance(member, (dict, tuple, list)) or member is None:
        kind = f"{type(member).__name__} of {len(member)}" if member is not None else "None"
        raise InputError(
            f"a data set gives inputs or (input, class) pairs, got a {kind}: pass a generator that picks them"
        )
    return member, None


def labels_of(given: Any, count: int) -> list[Label]:
    """One class per image from a number, a name, a list or a tensor of numbers; nothing where it is no class."""
    if given is None:
        return [None] * count
    several = given.tolist() if hasattr(given, "tolist") else given
    several = list(several) if isinstance(several, (list, tuple)) else [several]
    plain = all(isinstance(one, (int, str)) and not isinstance(one, bool) for one in several)
    return several if plain and len(several) == count else [None] * count


def is_one_class(label: Any) -> bool:
    """Whether this is the class of a single input, so that what it belongs to has no batch axis."""
    return isinstance(label, (int, str)) or getattr(label, "ndim", None) == 0


def _sample(address: str) -> Opened:
    """A sample's pixels and its class."""
    name, _, key = address.removeprefix("sample:").partition("/")
    found = SAMPLES.find(name).function(key)
    return Opened(Pillow.fromarray(np.asarray(found.image)), found.label)
