"""Named pipes that stop a network in another process until a test lets it continue.

The network reads the pipe, which blocks until somebody opens it for writing and closes it again: neither side polls.
"""

import os
from pathlib import Path


def block(path: Path) -> None:
    """Stop every network that reaches this barrier from now on."""
    os.mkfifo(path)


def release(path: Path) -> None:
    """Let the networks at the barrier continue, and those that come later pass; nothing happens if there is none."""
    if not path.exists():
        return
    pipe = os.open(path, os.O_RDWR)  # for reading too, which never blocks, even if no network has come this far
    path.unlink()
    os.close(pipe)
