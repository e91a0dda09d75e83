"""The records of one event file, read as it grows: TFRecord framing, with checksums.

A record is its length (8 bytes), the checksum of the length, the data, and the checksum of the data. A record that is
not complete yet is read when it is: a file that is being written, and one whose writer was killed, look the same.
"""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from convscope.training.store.extra import messages
from convscope.values.facts import Fact

HEADER, CHECKSUM = struct.Struct("<QI"), struct.Struct("<I")


@dataclass
class RecordFile:
    """One event file and how far it has been read.

    Attributes:
        position: where the next record begins.
        records: the number of records that were read.
        skipped: the number of records whose data did not match their checksum.
        broken: why nothing after ``position`` can be read, if that is so.
    """

    path: Path
    position: int = 0
    records: int = 0
    skipped: int = 0
    broken: Fact | None = None
    _file: BinaryIO | None = None

    def new_records(self) -> Iterator[tuple[int, bytes]]:
        """The position and the data of each record that was completed since the last call."""
        if self.broken:
            return
        try:
            with self.path.open("rb", buffering=1 << 20) as file:
                yield from self._records(file, os.fstat(file.fileno()).st_size)
        except OSError as error:
            self.broken = Fact("it cannot be read: {reason}", reason=error.strerror or str(error))

    def _records(self, file: BinaryIO, size: int) -> Iterator[tuple[int, bytes]]:
        checksum = messages().checksum
        read = file.read
        self._file = file
        file.seek(self.position)
        while True:
            start, header = self.position, read(HEADER.size)
            if len(header) < HEADER.size:
                return
            length, expected = HEADER.unpack(header)
            if masked(checksum(header[:8])) != expected:
                self.broken = self._reason_of_break(start, size)
                return
            data = read(length) if start + HEADER.size + length + CHECKSUM.size <= size else b""
            tail = read(CHECKSUM.size)
            if len(data) < length or len(tail) < CHECKSUM.size:
                return
            self.position = start + HEADER.size + length + CHECKSUM.size
            if masked(checksum(data)) != CHECKSUM.unpack(tail)[0]:
                self.skipped += 1
                continue
            self.records += 1
            yield start, data

    def _reason_of_break(self, start: int, size: int) -> Fact:
        if start == 0:
            return Fact("it is no event file of TensorBoard, although its name says so")
        return Fact(
            "it is damaged at byte {position} of {size}; the {records} records before that were read",
            position=f"{start:,}",
            size=f"{size:,}",
            records=f"{self.records:,}",
        )

    def peek(self, size: int) -> bytes:
        """Up to so many bytes that follow the record that was given last, while `new_records` is iterated."""
        assert self._file is not None, "called while the records are iterated"
        content = self._file.read(size)
        self._file.seek(self.position)
        return content

    def pass_over(self, size: int, records: int) -> None:
        """Go on behind bytes that were read by `peek` and hold so many records."""
        assert self._file is not None, "called while the records are iterated"
        self.position += size
        self.records += records
        self._file.seek(self.position)


def read_record(path: Path, position: int) -> bytes:
    """The data of the record that begins at ``position``, which has been read before."""
    with path.open("rb") as file:
        file.seek(position)
        length, _ = HEADER.unpack(file.read(HEADER.size))
        return file.read(int(length))


def masked(checksum: int) -> int:
    """A CRC-32C as event files hold it: rotated, plus a constant, so that checksums of checksums differ."""
    return ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF


def masked_array(checksums: "np.ndarray[Any, np.dtype[np.uint32]]") -> "np.ndarray[Any, np.dtype[np.uint32]]":
    """The same of an array, whose arithmetic is modulo 2³²."""
    rotated = (checksums >> np.uint32(15)) | (checksums << np.uint32(17))
    return np.asarray(rotated + np.uint32(0xA282EAD8), np.uint32)
