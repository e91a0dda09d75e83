"""Walks through an HDF5 file in a process of its own, where a damaged file may crash or never end.

The library that reads HDF5 is written in C and follows addresses in the file; damaged ones can lead it in circles. The
file is therefore walked through once by ``python hdf5_probe.py PATH``, or with a file on standard input for PATH
``-``, before this process reads it. Errors that the library itself reports are left to the reading.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

SECONDS = 10
"""The seconds after which a walk through a small file is given up."""
BYTES_PER_SECOND = 20 * 2**20
"""Larger files get as much more time."""
MAX_BYTES = 2**26
"""Compressed or chunked arrays of up to so many bytes are read too, because their index may be damaged."""


def ends_well(source: Path | IO[bytes]) -> bool:
    """Whether a process walks through the file, or an open one from its start, without crashing and in time."""
    size = source.stat().st_size if isinstance(source, Path) else os.fstat(source.fileno()).st_size
    name = str(source.resolve()) if isinstance(source, Path) else "-"
    command = [sys.executable, "-P", __file__, name]  # -P: modules beside the script or in the working folder stay out
    content = subprocess.DEVNULL if isinstance(source, Path) else source
    try:
        walk = subprocess.run(
            command, stdin=content, capture_output=True, check=False, timeout=SECONDS + size / BYTES_PER_SECOND
        )
    except subprocess.TimeoutExpired:
        return False
    return walk.returncode == 0


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
