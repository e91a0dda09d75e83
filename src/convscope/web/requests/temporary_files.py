"""A folder for temporary files, in memory if the system allows it, otherwise on disk."""

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from convscope.errors import CannotWrite

MEMORY = Path("/dev/shm")
"""The file system in memory, if the system has one."""

Result = TypeVar("Result")


class NoRoom(CannotWrite):
    """The server has no space left for a temporary file."""


def in_temporary_folder(use: Callable[[Path], Result]) -> Result:
    """What ``use`` returns for an empty folder, which is removed afterwards.

    Raises:
        NoRoom: the server has no space left for a temporary file.
        CannotWrite: ``use`` itself refuses.
    """
    errors: list[OSError] = []
    for place in (str(MEMORY), None) if os.access(MEMORY, os.W_OK) else (None,):
        try:
            return _in_folder(Path(tempfile.mkdtemp(dir=place, prefix="convscope-")), use)
        except OSError as error:
            if isinstance(error, CannotWrite) and error.__cause__ is None:
                raise  # the value itself cannot be saved in this format
            errors.append(error)
    cause = errors[-1].__cause__ if isinstance(errors[-1], CannotWrite) else errors[-1]
    reason = getattr(cause, "strerror", None) or cause
    raise NoRoom(f"the server has no room to make this file ({reason}): free some on its disk and try again") from cause


def _in_folder(folder: Path, use: Callable[[Path], Result]) -> Result:
    try:
        return use(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
