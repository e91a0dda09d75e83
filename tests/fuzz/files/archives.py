"""Changes to zip archives: records changed with correct sums, renamed, repeated, left out, or of false size."""

import functools
import io
import random
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable

_CENTRAL_ENTRY = b"PK\x01\x02"
_CENTRAL_SIZES, _CENTRAL_OFFSET = (20, 24), 42
"""Where an entry of the central directory holds the packed and the unpacked size, and the place of its record."""
_TELLING = (".json", ".pkl", ".py", ".pt", ".h5")
_MAX_BYTES = 16 * 2**20
_BOMB_BYTES = 160 * 2**20
_HOSTILE_NAMES = ("../../outside.bin", "/etc/passwd", "code/__torch__.py", "data.pkl", "config.json", "", "a" * 300)


def mutated_archive(content: bytes, rng: random.Random, mutate: Callable[[bytes], bytes]) -> bytes:
    """The archive with one change.

    Args:
        mutate: changes the content of a record.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if sum(info.file_size for info in archive.infolist()) > _MAX_BYTES:  # an earlier change made a bomb of it
                return content
            records = [(info.filename, archive.read(info)) for info in archive.infolist()]
    except (zipfile.BadZipFile, zlib.error, ValueError, NotImplementedError, OSError, EOFError, RuntimeError):
        return mutate(content[4:])
    if not records:
        return content
    kind = rng.random()
    if kind < 0.7:
        index = _telling_record(records, rng)
        name, record = records[index]
        records[index] = name, mutate(record) if record else record
    elif kind < 0.78:
        index = rng.randrange(len(records))
        records[index] = rng.choice((*_HOSTILE_NAMES, records[index][0] + "x")), records[index][1]
    elif kind < 0.84:
        records.append((rng.choice(records)[0], rng.choice(records)[1]))
    elif kind < 0.9:
        del records[rng.randrange(len(records))]
    elif kind < 0.93:
        return _with_bomb(records, rng.randrange(len(records)), rng)
    else:
        return _with_false_sizes(_written(records), rng)
    return _written(records)


def _telling_record(records: list[tuple[str, bytes]], rng: random.Random) -> int:
    """A record to change: mostly one that describes the network, and not one of numbers."""
    telling = [i for i, (name, record) in enumerate(records) if name.endswith(_TELLING) and record]
    return rng.choice(telling) if telling and rng.random() < 0.9 else rng.randrange(len(records))


def _written(records: list[tuple[str, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w") as archive:
        warnings.simplefilter("ignore")  # names that are there twice
        for name, record in records:
            archive.writestr(name or "empty", record)
    return buffer.getvalue()


def _with_bomb(records: list[tuple[str, bytes]], index: int, rng: random.Random) -> bytes:
    """An archive in which one record is zeros, compressed to nearly nothing, with its true size or a false one."""
    name = records[index][0]
    packed, checksum = _zeros()
    content = bytearray(_written([*records[:index], *records[index + 1 :], (name, packed)]))
    size = rng.choice((_BOMB_BYTES, _BOMB_BYTES, 1000))
    local, central = content.rfind(b"PK\x03\x04"), content.rfind(_CENTRAL_ENTRY)
    for place, method, sums in ((local, 8, 14), (central, 10, 16)):
        struct.pack_into("<H", content, place + method, zipfile.ZIP_DEFLATED)
        struct.pack_into("<III", content, place + sums, checksum, len(packed), size)
    return bytes(content)


@functools.cache
def _zeros() -> tuple[bytes, int]:
    """Compressed zeros, and their sum."""
    packer, chunk, checksum = zlib.compressobj(9, zlib.DEFLATED, -15), bytes(2**20), 0
    parts = []
    for _ in range(_BOMB_BYTES // len(chunk)):
        parts.append(packer.compress(chunk))
        checksum = zlib.crc32(chunk, checksum)
    return b"".join([*parts, packer.flush()]), checksum


def _with_false_sizes(content: bytes, rng: random.Random) -> bytes:
    """The archive with a number of its directory changed: a size, or where a record begins."""
    entries = [i for i in range(len(content)) if content.startswith(_CENTRAL_ENTRY, i)]
    place = rng.choice(entries) + rng.choice((*_CENTRAL_SIZES, _CENTRAL_OFFSET))
    number = rng.choice((0, 1, 2**16, 2**31, 2**32 - 1, len(content)))
    return content[:place] + struct.pack("<I", number) + content[place + 4 :]
