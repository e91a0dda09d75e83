"""Which files are ONNX models, decided by their first bytes; nothing is imported for it."""

from pathlib import Path

_MODEL_FIELDS = {1: 0, 2: 2, 3: 2, 4: 2, 5: 0, 6: 2, 7: 2, 8: 2, 14: 2, 20: 2, 25: 2}
"""The fields of a model in the file, by their number, with the kind of their encoding."""


def is_onnx(path: Path, head: bytes) -> bool:
    """Whether a file begins as an ONNX model does: with its version, then with fields that a model has."""
    if len(head) < 4 or head[0] != 0x08 or not 0 < head[1] < 0x80:
        return False
    position = 0
    while position < len(head):
        key, position = _varint(head, position)
        field, encoding = key >> 3, key & 7
        if _MODEL_FIELDS.get(field) != encoding:
            return position > len(head)
        value, position = _varint(head, position)
        if field == 7:
            return True
        position += value if encoding == 2 else 0
    return path.suffix.lower() == ".onnx"


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """A whole number of variable length, and the position after it; beyond the end where the data ends in it."""
    value = shift = 0
    while position < len(data) and shift < 64:
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if not byte & 0x80:
            return value, position
    return value, len(data) + 1
