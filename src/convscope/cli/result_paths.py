"""The paths of results: checked before any computation, never those of inputs, with folders created at the end."""

import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from convscope.cli.image_arguments import STANDARD_INPUT
from convscope.errors import CannotWrite
from convscope.values import Value, check_writable

Writer = Callable[[Path], Any]
"""A function that refuses paths with an extension that cannot be written."""


def names_a_folder(out: str) -> bool:
    """Whether ``--out`` names a folder: it exists, ends in a slash, or has no extension."""
    try:
        exists = Path(out).expanduser().is_dir()
    except (OSError, RuntimeError, ValueError) as error:
        raise CannotWrite(f"cannot write to --out {out[:80]!r}: {error.args[-1] if error.args else error}") from error
    return exists or out.endswith(("/", os.sep)) or not Path(out).suffix


def output_path(out: str | None, default: str, writer: Writer, inputs: Iterable[str]) -> Path:
    """The path of a single result.

    Args:
        out: the value of ``--out``: a file, or a folder in which ``default`` is written.
        default: the file name if ``out`` is None or a folder.
        writer: refuses extensions that this kind of result cannot be written as.
        inputs: the input files, which must not be overwritten.

    Raises:
        CannotWrite: the path cannot be written, or is one of the inputs.
    """
    if out is not None and names_a_folder(out):
        return output_paths(out, [default], inputs)[0]
    path = check_writable(out or default)
    writer(path)
    _refuse_inputs([path], inputs)
    return path


def output_paths(out: str | None, names: Sequence[str], inputs: Iterable[str]) -> list[Path]:
    """The paths of several results in the folder ``out`` or the current one; nothing is created yet.

    Raises:
        CannotWrite: the folder is a file, or cannot be created or written to; or a path is one of the inputs.
    """
    if out is not None and not names_a_folder(out):
        raise CannotWrite(f"{len(names)} images cannot all be written to --out {out}: name a folder, as in --out maps/")
    folder = Path(out or "").expanduser()
    _check_folder(folder)
    paths = [folder / name for name in names]
    for path in paths if folder.is_dir() else ():
        check_writable(path)
    _refuse_inputs(paths, inputs)
    return paths


def save_value(value: Value, path: Path) -> None:
    """Write a value, and create its folder if it does not exist."""
    make_parent_folder(path)
    value.save(path)


def make_parent_folder(path: Path) -> None:
    """Create the folder of a result."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotWrite(f"cannot make the folder {str(path.parent)!r}: {error.strerror or error}") from error


def join_name_parts(*parts: str) -> str:
    """A file name without extension, joined from its nonempty parts."""
    return "-".join(part for part in parts if part)


def target_slug(*parts: Any) -> str:
    """Targets, units and layers in a form for file names: ``layer4-17``, ``cat-minus-dog``."""
    items = [item for part in parts if part for item in ([part] if isinstance(part, str) else part)]
    text = "-".join(str(item).replace(" - ", " minus ") for item in items)
    return re.sub(r"[^\w]+", "-", text).strip("-")[:60].rstrip("-")


def image_stem(image: str) -> str:
    """The name of an image in a form for file names."""
    if image in (STANDARD_INPUT, "/dev/stdin"):
        return "stdin"
    return image.removeprefix("sample:").replace("/", "-") if image.startswith("sample:") else Path(image).stem


def unique_stems(images: Sequence[str]) -> list[str]:
    """Distinct names for files: images with the same name are told apart by folder, extension or a number."""
    stems = [image_stem(image) for image in images]
    for extended in (_with_folder, _with_extension):
        longer = [extended(name, image) for name, image in zip(stems, images, strict=True)]
        groups: dict[str, set[str]] = {}
        pairs = list(zip(stems, longer, strict=True))
        for name, long in pairs:
            groups.setdefault(name.casefold(), set()).add(long.casefold())
        stems = [long if len(groups[name.casefold()]) > 1 else name for name, long in pairs]
    taken: set[str] = set()
    for index, stem in enumerate(stems):
        numbered = (stem, *(f"{stem}-{number}" for number in range(2, len(stems) + 2)))
        stems[index] = next(name for name in numbered if name.casefold() not in taken)
        taken.add(stems[index].casefold())
    return stems


def _with_folder(name: str, image: str) -> str:
    return join_name_parts("" if image.startswith("sample:") else Path(image).parent.name, name)


def _with_extension(name: str, image: str) -> str:
    return join_name_parts(name, "" if image.startswith("sample:") else Path(image).suffix.removeprefix("."))


def _check_folder(folder: Path) -> None:
    """Refuse a folder that is a file or that could not be created; it is created when the first result is written."""
    existing = folder
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir():
        raise CannotWrite(f"cannot write into --out {str(folder)!r}: {str(existing)!r} is a file, name a folder")
    if not os.access(existing, os.W_OK):
        raise CannotWrite(f"cannot write into --out {str(folder)!r}: no permission to write to {str(existing)!r}")


def _refuse_inputs(paths: Iterable[Path], inputs: Iterable[str]) -> None:
    """Refuse paths of input files."""
    resolved = {Path(name).expanduser().resolve(): name for name in inputs if name and not name.startswith("sample:")}
    for path in paths:
        name = resolved.get(path.resolve())
        if name is not None:
            raise CannotWrite(f"the result would be written over its own input {name!r}: name another file with --out")
