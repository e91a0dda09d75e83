"""Files in memory: for content that other readers and other processes open, and that no disk should hold."""

import os
import tempfile
from pathlib import Path
from typing import IO


def memory_file() -> IO[bytes]:
    """An empty file in memory; a nameless one on disk where the system has none in memory."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("convscope"), "w+b")
    return tempfile.TemporaryFile()  # noqa: SIM115 - its caller closes it


def path_of(file: IO[bytes]) -> Path | None:
    """A path at which this process can open a file in memory again; None where the system has none."""
    path = Path(f"/proc/self/fd/{file.fileno()}")
    return path if path.exists() else None
