"""Changes to fields of protocol buffers, which need no description of the message: as in the files of ONNX."""

import random

Field = tuple[int, int, int | bytes]
"""The number of a field, the kind of its encoding, and its value: a whole number, or bytes."""

_VARINT, _EIGHT, _LENGTH, _FOUR = 0, 1, 2, 5
_NUMBERS = (0, 1, 2, 3, 7, 255, 2**16, 2**31 - 1, 2**31, 2**40, 2**63 - 1, 2**64 - 1)
_MAX_DEPTH = 8


def is_message(content: bytes) -> bool:
    """Whether the bytes can be read as fields to their end."""
    return bool(_fields(content))


def mutated_message(content: bytes, rng: random.Random, depth: int = 0) -> bytes:
    """The message with one of its fields, or a field of a message in it, changed; lengths around it are correct."""
    fields = _fields(content)
    if not fields:
        return content
    index = rng.randrange(len(fields))
    number, kind, value = fields[index]
    inner = isinstance(value, bytes) and kind == _LENGTH and depth < _MAX_DEPTH and len(_fields(value)) > 0
    if inner and rng.random() < 0.85:
        assert isinstance(value, bytes), "a field with a length holds bytes"
        fields[index] = number, kind, mutated_message(value, rng, depth + 1)
    else:
        fields = _changed(fields, index, rng)
    return b"".join(_encoded(field) for field in fields)


def _changed(fields: list[Field], index: int, rng: random.Random) -> list[Field]:
    """The fields with one removed, repeated, exchanged with another, renumbered, or given another value."""
    number, kind, value = fields[index]
    match rng.randrange(6):
        case 0:
            return fields[:index] + fields[index + 1 :]
        case 1:
            return fields[:index] + [fields[index]] * rng.choice((2, 2, 50)) + fields[index + 1 :]
        case 2:
            other = rng.randrange(len(fields))
            return [*fields[:index], (number, *fields[other][1:]), *fields[index + 1 :]]
        case 3:
            return [*fields[:index], (rng.randrange(1, 26), kind, value), *fields[index + 1 :]]
        case _:
            return [*fields[:index], (number, kind, _other_value(value, rng)), *fields[index + 1 :]]


def _other_value(value: int | bytes, rng: random.Random) -> int | bytes:
    if isinstance(value, int):
        return rng.choice((*_NUMBERS, value + 1, max(value - 1, 0)))
    data = bytearray(value or b"\0")
    match rng.randrange(5):
        case 0:
            return b""
        case 1:
            return bytes(data[: rng.randrange(len(data))])
        case 2:
            return bytes(data * 2)
        case 3:  # of a list of whole numbers: a large one
            return bytes(data) + rng.choice((b"\x00", b"\xff\xff\xff\xff\x07", b"\xff" * 9 + b"\x01"))
        case _:
            data[rng.randrange(len(data))] = rng.randrange(256)
            return bytes(data)


def _fields(content: bytes) -> list[Field]:
    """The fields of a message; none if the bytes are none."""
    fields: list[Field] = []
    position = 0
    while position < len(content):
        key, position = _varint(content, position)
        number, kind = key >> 3, key & 7
        if not 0 < number < 2**12:
            return []
        if kind == _VARINT:
            value, position = _varint(content, position)
            fields.append((number, kind, value))
        elif kind in (_EIGHT, _FOUR, _LENGTH):
            length = {_EIGHT: 8, _FOUR: 4}.get(kind, -1)
            if length < 0:
                length, position = _varint(content, position)
            fields.append((number, kind, content[position : position + length]))
            position += length
        else:
            return []
    return fields if position == len(content) else []


def _varint(content: bytes, position: int) -> tuple[int, int]:
    """A whole number of variable length, and the position after it; beyond the end where it is cut off."""
    value = shift = 0
    while position < len(content) and shift < 70:
        byte = content[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return value, position
    return 0, len(content) + 1


def _encoded(field: Field) -> bytes:
    number, kind, value = field
    key = _encoded_varint(number << 3 | kind)
    if isinstance(value, int):
        return key + _encoded_varint(value % 2**64)
    return key + (_encoded_varint(len(value)) if kind == _LENGTH else b"") + value


def _encoded_varint(value: int) -> bytes:
    parts = bytearray()
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])
