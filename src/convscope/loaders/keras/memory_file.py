"""Files in memory: for content that other processes read too, and that no disk should hold."""

import os
import tempfile
from typing import IO


def memory_file() -> IO[bytes]:
    """An empty file in memory; a nameless one on disk where the system has none in memory."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("convscope"), "w+b")
    return tempfile.TemporaryFile()
