"""One generator of mutations for model files of all formats: bytes, and the structures that the bytes hold.

An archive is taken apart, and so are protocol buffers, JSON, safetensors and HDF5 headers inside it; sums and lengths
around what was changed are correct again, so that the change reaches the code behind the checks of the container.
"""

import copy
import json
import random
import re
import struct
from collections.abc import Callable, Iterator
from typing import Any

from tests.fuzz.files.archives import mutated_archive
from tests.fuzz.files.messages import is_message, mutated_message

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_HDF5_BLOCKS = re.compile(rb"OHDR|OCHK|FRHP|FHDB|BTHD|BTLF|TREE|HEAP|SNOD|GCOL|\x89HDF")
_NUMBER = re.compile(rb"(?<![\w.])\d+(?![\w.])")
_WORD = re.compile(rb"[A-Za-z_][A-Za-z_0-9.]{2,}")
_LARGE_TEXT_NUMBERS = (b"-1", b"0", b"7", b"65536", b"2147483647", b"99999999999999")

CANARY = "canary_module"
"""A module that can be imported while files are opened; whoever imports it has run code that a file names."""
HOSTILE_WORDS = (
    CANARY.encode(),
    f"{CANARY}.strike".encode(),
    b"os.system",
    b"builtins.exec",
    b"subprocess.Popen",
    b"../../outside.bin",
    b"/etc/passwd",
    b"__import__('canary_module')",
    b"torch.load",
    b"Lambda",
)
"""Names of code, of files and of places outside of the folder."""
HOSTILE_VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 2**16, 2**31, 2**63, 1e308, float("nan"), "", "linear", [], {}, [[]], [None] * 4, "x" * 500,
    {"0": "a"}, {"height": 10**9, "width": 1}, *(word.decode() for word in HOSTILE_WORDS),
)  # fmt: skip
"""Values that no setting of a layer should have."""

Mutation = Callable[[bytes, random.Random], bytes]


def mutated(content: bytes, rng: random.Random, others: tuple[bytes, ...] = ()) -> bytes:
    """The content with one to three changes, each to its bytes or to a structure in it.

    Args:
        content: a file, or the record of an archive.
        rng: decides everything.
        others: other files, of which blocks may be inserted.
    """
    for _ in range(rng.choice((1, 1, 2, 3))):
        content = _mutated_once(content, rng, others) or b"\0"
    return content


def _mutated_once(content: bytes, rng: random.Random, others: tuple[bytes, ...]) -> bytes:
    if not content or rng.random() < 0.2:
        return _mutated_bytes(content or b"\0", rng, others)
    if content.startswith(b"PK\x03\x04"):
        return mutated_archive(content, rng, lambda record: mutated(record, rng, others))
    if content.startswith(HDF5_SIGNATURE):
        return rng.choice((_change_hdf5_block, _change_embedded_json, swap_words))(content, rng)
    if content.lstrip()[:1] in (b"{", b"["):
        return _change_json(content, rng)
    if content[8:9] == b"{":
        return _change_safetensors(content, rng)
    if is_message(content):
        return mutated_message(content, rng)
    return _mutated_bytes(content, rng, others)


def _mutated_bytes(content: bytes, rng: random.Random, others: tuple[bytes, ...]) -> bytes:
    if others and rng.random() < 0.1:
        return splice(content, rng, rng.choice(others))
    return rng.choice(BYTE_MUTATIONS)(content, rng)


def flip_bytes(content: bytes, rng: random.Random) -> bytes:
    """Replace some bytes, or single bits of them."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 3, 20))):
        place = rng.randrange(len(data))
        data[place] = rng.randrange(256) if rng.random() < 0.5 else data[place] ^ 1 << rng.randrange(8)
    return bytes(data)


def cut(content: bytes, rng: random.Random) -> bytes:
    """Leave out the end."""
    return content[: rng.randrange(len(content))]


def change_block(content: bytes, rng: random.Random) -> bytes:
    """Remove, repeat or overwrite a block."""
    start = rng.randrange(len(content))
    end = min(start + rng.choice((1, 2, 4, 8, 64, 1024)), len(content))
    block = rng.choice(
        (b"", content[start:end] * rng.randrange(2, 5), b"\xff" * (end - start), b"\0" * (end - start),
         rng.randbytes(end - start))
    )  # fmt: skip
    return content[:start] + block + content[end:]


def splice(content: bytes, rng: random.Random, other: bytes | None = None) -> bytes:
    """Write a block of another place, or of another file, over the content or between it."""
    source = content if other is None else other
    first = rng.randrange(len(source))
    block = source[first : first + rng.randrange(1, 400)]
    start = rng.randrange(len(content))
    return content[:start] + block + content[start + rng.choice((0, len(block))) :]


def enlarge_numbers(content: bytes, rng: random.Random) -> bytes:
    """Replace a decimal number of a text, a small number of a pickle, or four or eight bytes of a header."""
    kind = rng.randrange(3)
    texts = [match.span() for match in _NUMBER.finditer(content)] if kind == 0 else []
    if texts:
        start, end = rng.choice(texts)
        return content[:start] + rng.choice(_LARGE_TEXT_NUMBERS) + content[end:]
    pickled = [match.start() for match in re.finditer(rb"K[\x00-\xff]", content)] if kind == 1 else []
    if pickled:
        start = rng.choice(pickled)
        large = (b"J\xff\xff\xff\x7f", b"J\xff\xff\xff\xff", b"K\xff", b"M\xff\xff", b"N")
        return content[:start] + rng.choice(large) + content[start + 2 :]
    return set_header_number(content, rng, rng.randrange(len(content)))


def set_header_number(content: bytes, rng: random.Random, place: int) -> bytes:
    """Write a binary number of two to eight bytes at a place."""
    format_ = rng.choice("HIQ")
    width = struct.calcsize("<" + format_)
    number = rng.choice((0, 1, 2**15, 2**31, 2**40, 2**63, 2**64 - 1, len(content))) % 2 ** (8 * width)
    return content[:place] + struct.pack("<" + format_, number) + content[place + width :]


def swap_words(content: bytes, rng: random.Random) -> bytes:
    """Replace a name by another one of the file, or by one of code or of a place elsewhere."""
    words = [match.span() for match in _WORD.finditer(content)]
    if len(words) < 2:
        return flip_bytes(content, rng)
    (start, end), (other_start, other_end) = rng.sample(words, 2)
    word = content[other_start:other_end] if rng.random() < 0.5 else rng.choice(HOSTILE_WORDS)
    if rng.random() < 0.5:  # of the same length, so that counted strings around it stay readable
        word = word.ljust(end - start, b"_")[: end - start]
    return content[:start] + word + content[end:]


BYTE_MUTATIONS: tuple[Mutation, ...] = (flip_bytes, cut, change_block, splice, enlarge_numbers, swap_words)


def _change_hdf5_block(content: bytes, rng: random.Random) -> bytes:
    """Change numbers close behind the signature of a block: sizes, addresses, kinds of messages."""
    blocks = [match.end() for match in _HDF5_BLOCKS.finditer(content)]
    place = min(rng.choice(blocks) + rng.randrange(96), len(content) - 9)
    if rng.random() < 0.5:
        return set_header_number(content, rng, place)
    data = bytearray(content)
    data[place] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, data[place] ^ 1 << rng.randrange(8)))
    return bytes(data)


def _change_embedded_json(content: bytes, rng: random.Random) -> bytes:
    """Change a JSON text that stands among other bytes, and keep its length with spaces where it can be kept."""
    start = content.find(b'{"')
    if start < 0:
        return flip_bytes(content, rng)
    try:
        tree, length = json.JSONDecoder().raw_decode(content[start:].decode("latin-1"))
    except ValueError:
        return flip_bytes(content, rng)
    changed = json.dumps(mutated_tree(tree, rng)).encode()[:length]
    return content[:start] + changed.ljust(length) + content[start + length :]


def _change_json(content: bytes, rng: random.Random) -> bytes:
    try:
        tree = json.loads(content)
    except (ValueError, RecursionError):
        return _mutated_bytes(content, rng, ())
    if rng.random() < 0.03:
        return b"[" * 20_000 + content
    return json.dumps(mutated_tree(tree, rng)).encode()


def _change_safetensors(content: bytes, rng: random.Random) -> bytes:
    """Change the header of a safetensors file; its length is that of the new header, or a hostile number."""
    (length,) = struct.unpack("<Q", content[:8])
    try:
        tree = json.loads(content[8 : 8 + length])
    except (ValueError, RecursionError):
        return flip_bytes(content, rng)
    header = json.dumps(mutated_tree(tree, rng)).encode()
    stated = len(header) if rng.random() < 0.9 else rng.choice((0, 2**31, 2**63, len(content) * 2))
    return struct.pack("<Q", stated) + header + content[8 + length :]


def mutated_tree(tree: Any, rng: random.Random) -> Any:
    """The JSON value with some of its members replaced by hostile ones, removed or exchanged."""
    changed = copy.deepcopy(tree)
    for _ in range(rng.randint(1, 3)):
        places = list(_places(changed))
        if not places:
            return changed
        container, key = rng.choice(places)
        kind = rng.choice(("hostile", "hostile", "number", "remove", "exchange"))
        if kind == "remove":
            del container[key]
        elif kind == "exchange":
            other, other_key = rng.choice(places)
            container[key] = copy.deepcopy(other[other_key])
        elif kind == "number" and isinstance(container[key], int):
            container[key] = rng.choice((-container[key], container[key] + 1, container[key] * 1000, 2**33))
        else:
            container[key] = copy.deepcopy(rng.choice(HOSTILE_VALUES))
    return changed


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    members: Any = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, member in members:
        yield tree, key
        yield from _places(member)
