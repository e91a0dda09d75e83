"""Image files for tests."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image


def png(side: int = 40, seed: int = 0) -> bytes:
    """The contents of a small PNG file."""
    stored = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)).save(stored, "PNG")
    return stored.getvalue()


def picture_file(path: Path) -> Path:
    """A small image file."""
    Image.open(io.BytesIO(png())).save(path)
    return path


def claims_to_be_huge() -> bytes:
    """A PNG of a few bytes whose header declares 90 000 × 90 000 pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 90_000, 90_000, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b"")
