"""Image arguments of the command line: files, folders, samples and ranges of them, ``-`` and pipes.

They are checked before a model is opened, which may take long, so that a wrong name is refused immediately.
"""

import io
import re
import stat
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convscope.cli.console import print_message
from convscope.errors import InputError

if TYPE_CHECKING:
    from convscope.engine.data.data_set import Dataset
    from convscope.engine.inputs.specs import Images
    from convscope.engine.network.model import Model

STANDARD_INPUT = "-"
_NUMBERS = re.compile(r"[-+.\de]+(,[-+.\de]+)+")
"""Numbers between commas, ``63,88,1.5``."""


@dataclass(frozen=True)
class ImageArguments:
    """The images of a command.

    Attributes:
        arguments: the arguments as typed.
        members: one per image: a path, the address of a sample, or a picture read from a pipe.
        names: the name of each image in results.
        single: whether one image was given, and not a folder or a range that happens to contain one.
    """

    arguments: tuple[str, ...]
    members: tuple[Any, ...]
    names: tuple[str, ...]
    single: bool

    @property
    def inputs_by_name(self) -> Mapping[str, str]:
        """The inputs of one sample of a network that takes several, where they are named; empty otherwise."""
        return _names_inputs(self.members[0]) if len(self.members) == 1 else {}

    @property
    def files(self) -> list[str]:
        """The input files, which no result may overwrite."""
        if self.inputs_by_name:
            return [address for address in self.inputs_by_name.values() if _is_file(address)]
        return [image for image in self.members if isinstance(image, str) and not image.startswith("sample:")]

    def dataset(self, model: "Model") -> "Dataset":
        """The images as a stream for ``model``; if there are several, unreadable ones are skipped and counted."""
        from convscope.engine.data.data_set import named_images

        return named_images(self.members, self.names, model)

    def batch(self, model: "Model") -> tuple["Images | str", Mapping[str, str]]:
        """All images as one batch, or the sample of several inputs as it is written; and why images were left out."""
        if self.inputs_by_name:
            return str(self.members[0]), {}
        import torch

        from convscope.engine.inputs.specs import Images

        data = self.dataset(model)
        chunks = list(data.chunks())
        names = tuple(name for chunk in chunks for name in chunk.names)
        grids = tuple(grid for chunk in chunks for grid in chunk.grids)
        sizes = tuple(size for chunk in chunks for size in chunk.sizes)
        tensor = torch.cat([chunk.tensor for chunk in chunks])
        facts: dict[str, Any] = {"remark": data.remark, "grids": grids, "sizes": sizes}
        return Images(tensor, names, self.single, chunks[0].spec, **facts), data.skipped

    def readable(self, skipped: Mapping[str, str]) -> Any:
        """What could be read, unprepared, for several networks with different preprocessing."""
        if self.inputs_by_name:
            return self.members[0]
        return [image for image, name in zip(self.members, self.names, strict=True) if name not in skipped]

    def as_data(self) -> list[Any]:
        """The arguments for a lens that takes a data set, with pipes replaced by the pictures read from them."""
        images = zip(self.names, self.members, strict=True)
        pictures = {name: image for name, image in images if not isinstance(image, str)}
        return [pictures.get(argument, argument) for argument in self.arguments]


def parse_images(arguments: Sequence[str]) -> ImageArguments:
    """Check image arguments, and read pipes, which can be read only once.

    Raises:
        InputError: a file is missing or empty, a folder contains no picture, or standard input is named twice.
        UnknownName: there is no such sample.
    """
    members: list[Any] = []
    names: list[str] = []
    named = _inputs_by_name(arguments)
    if named:
        return ImageArguments(tuple(arguments), (named,), (named,), True)
    for index, argument in enumerate(arguments):
        if argument == STANDARD_INPUT and argument in arguments[:index]:
            raise InputError("IMAGE names standard input ('-') twice, but it can be read only once: name it once")
        images = _members(argument, only=len(arguments) == 1)
        members += images
        names += [image if isinstance(image, str) else argument for image in images]
    single = len(arguments) == 1 and len(members) == 1 and names[0] == arguments[0]
    return ImageArguments(tuple(arguments), tuple(members), tuple(names), single)


def report_skipped(skipped: Mapping[str, str], total: int) -> bool:
    """Report which images could not be read.

    Returns:
        Whether there were any.
    """
    if not skipped:
        return False
    for name, reason in skipped.items():
        print_message(f"left out: {reason if name in reason else f'{name}: {reason}'}")
    print_message(f"convscope: {len(skipped)} of {total} images left out, as they cannot be read")
    return True


def _inputs_by_name(arguments: Sequence[str]) -> str:
    """The inputs of one sample as text, where all arguments name an input, ``photo=a.jpg``; otherwise empty.

    Raises:
        InputError: an input is named twice.
    """
    from convscope.engine.inputs.named_inputs import write_inputs

    if not arguments or not all(_names_inputs(argument) for argument in arguments):
        return ""
    if len(arguments) == 1:
        return arguments[0]  # as typed: a network of tokens may take it as a text
    pairs = [pair for argument in arguments for pair in _names_inputs(argument).items()]
    for name, address in pairs:
        if [other for other, _ in pairs].count(name) > 1:
            raise InputError(f"the input {name!r} is named twice, as {address!r} too: name each input once")
    return write_inputs(dict(pairs))


def _names_inputs(argument: Any) -> Mapping[str, str]:
    """The inputs that an argument names; empty if it is a file or folder whose name holds an equals sign."""
    from convscope.engine.inputs.named_inputs import written_inputs

    named = written_inputs(argument)
    if any("?" in name for name in named):  # the option of a file, which may be missing: scan.nii.gz?frame=0
        return {}
    return {} if named and any(_exists(path) for path in (argument, argument.rpartition("?")[0])) else named


def _is_text(argument: str) -> bool:
    """Whether an argument is a text for a network of tokens, or the numbers of a row or of tokens.

    It has several words, or numbers between commas, is no file or folder and looks like no path.
    """
    if len(argument.split()) < 2 and not _NUMBERS.fullmatch(argument):
        return False
    from convscope.engine.inputs.image_io import image_extensions, is_existing_folder
    from convscope.engine.inputs.input_files import input_extensions

    path = argument.partition("?")[0]
    parent, slash, _ = path.rpartition("/")
    is_in_folder = bool(slash) and is_existing_folder(parent or "/")
    has_ending = path.lower().endswith((*image_extensions(), *input_extensions()))
    return not (_is_file(argument) or is_existing_folder(path) or is_in_folder or has_ending)


def _members(argument: str, *, only: bool) -> list[Any]:
    """The images that one argument stands for."""
    if not argument.strip():  # as a path it would be the current folder
        raise InputError("IMAGE is empty: name a file, a folder or a sample, or write a text in quotes")
    if _is_text(argument):
        return [argument]
    from convscope.engine.inputs.image_io import is_existing_folder, require_file
    from convscope.engine.inputs.input_files import read_input, split_address

    if argument == STANDARD_INPUT or _is_pipe(argument):
        return [_read_pipe(argument)]
    if argument.startswith("sample:"):
        key = argument.partition("/")[2]
        if not key or "-" in key:
            from convscope.engine.data.sources import SampleSource

            return list(SampleSource(argument).members)
        read_input(argument)
        return [argument]
    path, _ = split_address(argument)
    if is_existing_folder(path):
        return _members_of_folder(argument, path.expanduser())
    if only or not _is_file(str(path)):
        require_file(path)
    return [argument]


def _members_of_folder(argument: str, folder: Path) -> list[Any]:
    """The pictures of a folder, or other inputs if it holds no picture; slices of a volume are one input."""
    from convscope.engine.data.sources import FolderSource, has_pictures
    from convscope.engine.inputs.input_files import holds_slices, input_extensions

    if holds_slices(folder):
        return [argument]
    extensions = () if has_pictures(folder) else input_extensions()
    return [str(file) for file in FolderSource(folder, extensions=extensions).paths]


def _exists(path: str) -> bool:
    try:
        return bool(path) and Path(path).expanduser().exists()
    except (OSError, RuntimeError, ValueError):
        return False


def _is_file(argument: str) -> bool:
    """Whether the file exists; an empty one among several images counts as damaged and is skipped later."""
    try:
        return Path(argument).expanduser().is_file()
    except (OSError, RuntimeError, ValueError):
        return False


def _is_pipe(argument: str) -> bool:
    try:
        return stat.S_ISFIFO(Path(argument).stat().st_mode)
    except (OSError, ValueError):
        return False


def _read_pipe(argument: str) -> Any:
    """The picture read from standard input or a named pipe."""
    from convscope.engine.inputs.image_io import decode_image

    name = "standard input" if argument == STANDARD_INPUT else argument
    if argument == STANDARD_INPUT and sys.stdin.isatty():
        raise InputError("'-' reads an image from standard input, which is a terminal: pipe a file into it")
    try:
        received = sys.stdin.buffer.read() if argument == STANDARD_INPUT else Path(argument).read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {name}: {error.strerror or error}") from error
    if not received:
        raise InputError(f"{name} ended before sending an image (0 bytes): check the program that writes to it")
    try:
        return decode_image(io.BytesIO(received), name)
    except InputError as error:
        raise InputError(
            f"{error} ({len(received)} bytes received): check whether the program that writes to it stopped early"
        ) from error
