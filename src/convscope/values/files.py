"""Atomic file writes: into a temporary file in the same folder, which is renamed when it is complete."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from convscope.errors import CannotWrite


def check_writable(path: str | Path) -> Path:
    """``path``, after checking that a file can be written there; called before a long computation starts.

    Raises:
        CannotWrite: the folder is missing or not writable, or ``path`` is a folder.
    """
    try:
        path = Path(path).expanduser()
        if path.is_dir():
            raise CannotWrite(f"cannot write {str(path)!r}: it is a folder")
        if not path.parent.is_dir():
            raise CannotWrite(f"cannot write {str(path)!r}: there is no folder {str(path.parent)!r}")
        target = path if path.exists() and not os.access(path, os.W_OK) else path.resolve().parent
    except CannotWrite:
        raise
    except (OSError, RuntimeError, ValueError) as error:
        raise CannotWrite(f"cannot write {str(path)[:80]!r}: {error.args[-1] if error.args else error}") from error
    if not os.access(target, os.W_OK):
        raise CannotWrite(f"cannot write {str(path)!r}: no permission to write to {str(target)!r}")
    return path


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Context manager that gives a temporary path in the folder of ``path``, renamed to it when the body succeeds.

    If the body fails, the temporary file is removed and an existing file stays unchanged.

    Raises:
        CannotWrite: the operating system refuses, for example because the disk is full.
    """
    target = path.resolve()  # a symbolic link is kept and its target replaced
    draft = target.with_name(f".{os.urandom(6).hex()}{path.suffix}")
    try:
        yield draft
        draft.replace(target)
    except CannotWrite:
        raise
    except OSError as error:
        raise CannotWrite(f"cannot write {str(path)!r}: {error.strerror or error}") from error
    finally:
        draft.unlink(missing_ok=True)
