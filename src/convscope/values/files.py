"""Files that are written whole or not at all: beside their place first, and renamed when they are finished."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from convscope.errors import CannotWrite


def writable(path: str | Path) -> Path:
    """``path``, once it is sure that a file can be written there; checked before long work begins."""
    try:
        path = Path(path).expanduser()
        if path.is_dir():
            raise CannotWrite(f"cannot write {str(path)!r}: it is a folder")
        if not path.parent.is_dir():
            raise CannotWrite(f"cannot write {str(path)!r}: there is no folder {str(path.parent)!r}")
        place = path if path.exists() and not os.access(path, os.W_OK) else path.resolve().parent
    except CannotWrite:
        raise
    except (OSError, RuntimeError, ValueError) as error:
        raise CannotWrite(f"cannot write {str(path)[:80]!r}: {error.args[-1] if error.args else error}") from error
    if not os.access(place, os.W_OK):
        raise CannotWrite(f"cannot write {str(path)!r}: no permission to write to {str(place)!r}")
    return path


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A place beside ``path`` with the same ending, which takes its name when what is within has succeeded.

    Of what fails nothing is left, and a file that was there stays as it was.

    Raises:
        CannotWrite: the system refuses, as where a disk is full.
    """
    place = path.resolve()  # a link stays a link
    draft = place.with_name(f".{secrets.token_hex(6)}{path.suffix}")
    try:
        yield draft
        draft.replace(place)
    except CannotWrite:
        raise
    except OSError as error:
        raise CannotWrite(f"cannot write {str(path)!r}: {error.strerror or error}") from error
    finally:
        draft.unlink(missing_ok=True)
