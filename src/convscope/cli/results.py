"""Where results are written: decided and checked before any work, never over what is read, made only at the end."""

import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from convscope.cli.image_arguments import STANDARD_INPUT
from convscope.errors import CannotWrite
from convscope.values import Value, writable

Writer = Callable[[Path], Any]
"""Refuses a path with an ending that cannot be written."""


def is_folder(out: str) -> bool:
    """Whether ``--out`` names a folder: one that is there, one with a slash, or a name without an ending."""
    try:
        exists = Path(out).expanduser().is_dir()
    except (OSError, RuntimeError, ValueError) as error:
        raise CannotWrite(f"cannot write to --out {out[:80]!r}: {error.args[-1] if error.args else error}") from error
    return exists or out.endswith(("/", os.sep)) or not Path(out).suffix


def one_place(out: str | None, default: str, writer: Writer, inputs: Iterable[str]) -> Path:
    """Where a single result goes.

    Args:
        out: what was said with ``--out``: a file, or a folder to write ``default`` into.
        writer: refuses what this kind of result cannot be written as.
        inputs: what is read, and must not be written over.

    Raises:
        CannotWrite: the place cannot be written, or is one of the inputs.
    """
    if out is not None and is_folder(out):
        return many_places(out, [default], inputs)[0]
    place = writable(out or default)
    writer(place)
    _refuse_inputs([place], inputs)
    return place


def many_places(out: str | None, names: Sequence[str], inputs: Iterable[str]) -> list[Path]:
    """Where several results go: into the folder ``out``, or the present one; nothing is made yet.

    Raises:
        CannotWrite: the folder is a file, or cannot be made or written to; or a place is one of the inputs.
    """
    if out is not None and not is_folder(out):
        raise CannotWrite(f"{len(names)} images cannot all be written to --out {out}: name a folder, as in --out maps/")
    folder = Path(out or "").expanduser()
    _refuse_unmakeable(folder)
    places = [folder / name for name in names]
    for place in places if folder.is_dir() else ():
        writable(place)
    _refuse_inputs(places, inputs)
    return places


def save(value: Value, place: Path) -> None:
    """Write a value; its folder is made now, when there is something to put into it."""
    make_folder(place)
    value.save(place)


def make_folder(place: Path) -> None:
    """Make the folder of a result that is there to be written."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotWrite(f"cannot make the folder {str(place.parent)!r}: {error.strerror or error}") from error


def named_after(*parts: str) -> str:
    """A file name without its ending from what it shows; what is empty is left out."""
    return "-".join(part for part in parts if part)


def told(*given: Any) -> str:
    """What was explained (a target, units, layers) as part of a file name: ``layer4-17``, ``cat-minus-dog``."""
    several = [one for part in given if part for one in ([part] if isinstance(part, str) else part)]
    text = "-".join(str(one).replace(" - ", " minus ") for one in several)
    return re.sub(r"[^\w]+", "-", text).strip("-")[:60].rstrip("-")


def stem(image: str) -> str:
    """The name of an image for use in file names."""
    if image in (STANDARD_INPUT, "/dev/stdin"):
        return "stdin"
    return image.removeprefix("sample:").replace("/", "-") if image.startswith("sample:") else Path(image).stem


def distinct_stems(images: Sequence[str]) -> list[str]:
    """Names for files, no two alike: of images of one name with their folder, their ending, or a number."""
    stems = [stem(image) for image in images]
    for spelt in (_with_folder, _with_ending):
        longer = [spelt(name, image) for name, image in zip(stems, images, strict=True)]
        groups: dict[str, set[str]] = {}
        for name, other in zip(stems, longer, strict=True):
            groups.setdefault(name.casefold(), set()).add(other.casefold())
        stems = [other if len(groups[name.casefold()]) > 1 else name for name, other in zip(stems, longer, strict=True)]
    taken: set[str] = set()
    for place, one in enumerate(stems):
        numbered = (one, *(f"{one}-{number}" for number in range(2, len(stems) + 2)))
        stems[place] = next(name for name in numbered if name.casefold() not in taken)
        taken.add(stems[place].casefold())
    return stems


def _with_folder(name: str, image: str) -> str:
    return named_after("" if image.startswith("sample:") else Path(image).parent.name, name)


def _with_ending(name: str, image: str) -> str:
    return named_after(name, "" if image.startswith("sample:") else Path(image).suffix.removeprefix("."))


def _refuse_unmakeable(folder: Path) -> None:
    """Refuse a folder that is a file, or that could not be made; it is made when there is something to put into it."""
    place = folder
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir():
        raise CannotWrite(f"cannot write into --out {str(folder)!r}: {str(place)!r} is a file, name a folder")
    if not os.access(place, os.W_OK):
        raise CannotWrite(f"cannot write into --out {str(folder)!r}: no permission to write to {str(place)!r}")


def _refuse_inputs(places: Iterable[Path], inputs: Iterable[str]) -> None:
    """Refuse to write over what is read."""
    read = {Path(name).expanduser().resolve(): name for name in inputs if name and not name.startswith("sample:")}
    for place in places:
        over = read.get(place.resolve())
        if over is not None:
            raise CannotWrite(f"the result would be written over its own input {over!r}: name another place with --out")
