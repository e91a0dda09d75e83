"""What stands for images on the command line: files, folders, samples and ranges of them, ``-`` and pipes.

They are looked through before a model is opened, which may take long: a name that is wrong is refused at once.
"""

import io
import stat
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convscope.cli.console import say
from convscope.errors import InputError

if TYPE_CHECKING:
    from convscope.engine.data.data_set import Dataset
    from convscope.engine.inputs.specs import Images
    from convscope.engine.network.model import Model

STANDARD_INPUT = "-"


@dataclass(frozen=True)
class ImageArguments:
    """The images that a person named.

    Attributes:
        words: as they were typed.
        members: one for each image: a path, the address of a sample, or a picture read from a pipe.
        names: what each is called in results.
        single: whether one image was named, and not a folder or a range that may hold one.
    """

    words: tuple[str, ...]
    members: tuple[Any, ...]
    names: tuple[str, ...]
    single: bool

    @property
    def files(self) -> list[str]:
        """The files that are read, which no result may be written over."""
        return [one for one in self.members if isinstance(one, str) and not one.startswith("sample:")]

    def dataset(self, model: "Model") -> "Dataset":
        """The images as a stream for ``model``; of several, those that cannot be read are left out and counted."""
        from convscope.engine.data.data_set import named_images

        return named_images(self.members, self.names, model)

    def batch(self, model: "Model") -> tuple["Images", "Dataset"]:
        """All images together, for what looks at them side by side, and the data set that says what was left out."""
        import torch

        from convscope.engine.inputs.specs import Images

        data = self.dataset(model)
        chunks = list(data.chunks())
        names = tuple(name for chunk in chunks for name in chunk.names)
        return Images(torch.cat([chunk.tensor for chunk in chunks]), names, self.single, chunks[0].spec), data

    def readable(self, data: "Dataset") -> list[Any]:
        """Those images that could be read, for several networks, each of which prepares them in its own way."""
        return [one for one, name in zip(self.members, self.names, strict=True) if name not in data.skipped]

    def as_data(self) -> list[Any]:
        """The words for a lens that takes a data set, with the pictures of pipes in their place."""
        pictures = {name: one for name, one in zip(self.names, self.members, strict=True) if not isinstance(one, str)}
        return [pictures.get(word, word) for word in self.words]


def read_images(words: Sequence[str]) -> ImageArguments:
    """Look through what was named, and read pipes, which can be read but once.

    Raises:
        InputError: a file is missing or empty, a folder holds no picture, or standard input is named twice.
        UnknownName: there is no such sample.
    """
    members: list[Any] = []
    names: list[str] = []
    for number, word in enumerate(words):
        if word == STANDARD_INPUT and word in words[:number]:
            raise InputError("IMAGE names standard input ('-') twice, and it can be read once: name it once")
        found = _members(word, alone=len(words) == 1)
        members += found
        names += [one if isinstance(one, str) else word for one in found]
    single = len(words) == 1 and len(members) == 1 and names[0] == words[0]
    return ImageArguments(tuple(words), tuple(members), tuple(names), single)


def say_skipped(skipped: Mapping[str, str], total: int) -> bool:
    """Tell a person which images could not be read; whether there were any."""
    if not skipped:
        return False
    for name, reason in skipped.items():
        say(f"left out: {reason if name in reason else f'{name}: {reason}'}")
    say(f"convscope: {len(skipped)} of {total} images left out, as they cannot be read")
    return True


def _members(word: str, *, alone: bool) -> list[Any]:
    """The images that one word stands for."""
    from convscope.engine.inputs.image_io import existing_file, is_existing_folder, sample_picture

    if word == STANDARD_INPUT or _is_pipe(word):
        return [_piped(word)]
    if word.startswith("sample:"):
        key = word.partition("/")[2]
        if not key or "-" in key:
            from convscope.engine.data.sources import Samples

            return list(Samples(word).members)
        sample_picture(word)
        return [word]
    if is_existing_folder(word):
        from convscope.engine.data.sources import Folder

        return [str(path) for path in Folder(Path(word).expanduser()).paths]
    if alone or not _is_file(word):
        existing_file(word)
    return [word]


def _is_file(word: str) -> bool:
    """Whether there is such a file: an empty one among others is damaged, and counted with those that are."""
    try:
        return Path(word).expanduser().is_file()
    except (OSError, RuntimeError, ValueError):
        return False


def _is_pipe(word: str) -> bool:
    try:
        return stat.S_ISFIFO(Path(word).stat().st_mode)
    except (OSError, ValueError):
        return False


def _piped(word: str) -> Any:
    """The picture that comes through standard input or a named pipe."""
    from convscope.engine.inputs.image_io import decoded

    name = "standard input" if word == STANDARD_INPUT else word
    if word == STANDARD_INPUT and sys.stdin.isatty():
        raise InputError("'-' reads an image from standard input, which is a terminal: pipe a file into it")
    try:
        sent = sys.stdin.buffer.read() if word == STANDARD_INPUT else Path(word).read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {name}: {error.strerror or error}") from error
    if not sent:
        raise InputError(f"{name} ended before it gave an image (0 bytes): see what writes to it")
    try:
        return decoded(io.BytesIO(sent), name)
    except InputError as error:
        raise InputError(f"{error} ({len(sent)} bytes came): see whether what writes to it was cut short") from error
