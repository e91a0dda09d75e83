"""What installed packages add by their entry points: lenses, kinds of values, their pictures and kinds of inputs."""

import functools
import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from convscope.errors import LoadError

LENSES, VALUES, PICTURES, INPUTS = "lenses", "values", "pictures", "inputs"
"""The groups: a package names an entry ``[project.entry-points."convscope.lenses"]``, and so on."""


@functools.cache
def entries(group: str) -> Mapping[str, str]:
    """The entry points of a group in all installed packages, as ``module`` or ``module:object``; nothing is imported.

    Raises:
        LoadError: two packages declare the same name.
    """
    if not _any_installed():
        return {}
    from importlib.metadata import entry_points

    entries_by_name: dict[str, str] = {}
    for entry in entry_points(group=f"convscope.{group}"):
        if entries_by_name.setdefault(entry.name, entry.value) != entry.value:
            raise LoadError(
                f"two packages add {entry.name!r} to the {group} of convscope, as {entries_by_name[entry.name]} and as "
                f"{entry.value}: uninstall one"
            )
    return entries_by_name


def load(group: str, name: str) -> Any:
    """The object of an entry point; a module where the entry names no object in it.

    Raises:
        LoadError: it cannot be imported.
    """
    value = entries(group)[name]
    module_name, _, attribute = value.partition(":")
    module = import_module(module_name)
    if attribute and not hasattr(module, attribute):
        raise LoadError(
            f"an installed package adds {name!r} to the {group} of convscope as {value}, which is not there"
        )
    return getattr(module, attribute) if attribute else module


def import_module(name: str) -> ModuleType:
    """A module of this package, or of one that adds something to it.

    Raises:
        LoadError: the module of another package cannot be imported.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        if name.partition(".")[0] == "convscope":
            raise
        raise LoadError(
            f"{name}, which an installed package adds to convscope, cannot be imported ({error}): uninstall it"
        ) from error


@functools.cache
def _any_installed() -> bool:
    """Whether any package adds something; only then `importlib.metadata` is imported, which takes some time."""
    folders = [Path(entry) for entry in dict.fromkeys(sys.path) if entry and Path(entry).is_dir()]
    files = (file for folder in folders for file in folder.glob("*-info/entry_points.txt"))
    return any("convscope." in file.read_text("utf-8", "replace") for file in files)
