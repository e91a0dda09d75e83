"""Walks through an HDF5 file in a process of its own, where a damaged file may crash or never end.

The library that reads HDF5 is written in C and follows addresses in the file; damaged ones can lead it in circles. The
file is therefore walked through once by ``python hdf5_probe.py PATH``, or with a file on standard input for PATH
``-``, before this process reads it. Errors that the library itself reports are left to the reading.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO, Any

SECONDS = 10
"""The seconds after which a walk through a small file is given up."""
BYTES_PER_SECOND = 20 * 2**20
"""Larger files get as much more time."""
MAX_BYTES = 2**26
"""Compressed or chunked arrays of up to so many bytes are read too, because their index may be damaged."""


def ends_well(source: Path | bytes) -> bool:
    """Whether a process walks through the file without crashing and in time."""
    size = len(source) if isinstance(source, bytes) else source.stat().st_size
    name = "-" if isinstance(source, bytes) else str(source.resolve())
    command = [sys.executable, "-P", __file__, name]  # -P: modules beside the script or in the working folder stay out
    with _as_file(source) as file:
        try:
            walk = subprocess.run(
                command, stdin=file, capture_output=True, check=False, timeout=SECONDS + size / BYTES_PER_SECOND
            )
        except subprocess.TimeoutExpired:
            return False
    return walk.returncode == 0


def _as_file(source: Path | bytes) -> IO[bytes]:
    """Bytes as a file in memory, since a pipe carries a few kilobytes at a time; an empty one for a path."""
    in_memory = hasattr(os, "memfd_create")
    file: IO[bytes] = os.fdopen(os.memfd_create("hdf5"), "w+b") if in_memory else tempfile.TemporaryFile()  # noqa: SIM115 - its caller closes it
    if isinstance(source, bytes):
        file.write(source)
        file.seek(0)
    return file


def _walk(group: Any) -> None:
    """Read the attributes of all members, and the arrays whose pieces are found by an index."""
    import h5py

    waiting, visited = [group], set()
    while waiting:
        member = waiting.pop()
        if member.id in visited:  # ids of h5py are equal for the same object in the file
            continue
        visited.add(member.id)
        for name in member.attrs:
            member.attrs[name]
        if isinstance(member, h5py.Dataset):
            if member.chunks and member.nbytes <= MAX_BYTES and not member.external and not member.is_virtual:
                member[()]
        elif isinstance(member, h5py.Group):
            waiting += [member[name] for name in member if isinstance(member.get(name, getlink=True), h5py.HardLink)]


def _main(name: str) -> None:
    import h5py

    source = sys.stdin.buffer if name == "-" else name
    try:
        with h5py.File(source, "r") as file:
            _walk(file)
    except Exception:  # whatever the library reports, the reading reports it again
        return


if __name__ == "__main__":
    _main(sys.argv[1])
