"""Damaged and hostile versions of a file, each from a seed."""

import copy
import random
from collections.abc import Iterator
from typing import Any

HOSTILE: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    2**31,
    2**63,
    1e308,
    float("nan"),
    "",
    "../../etc/passwd",
    "linear",
    [],
    {},
    [[]],
    [None] * 4,
    "x" * 500,
)
"""Values that no setting of a layer should have."""


def mutated_bytes(content: bytes, seed: int) -> bytes:
    """The content with some bytes changed, cut off, repeated, removed or set to extremes."""
    generator = random.Random(seed)
    data = bytearray(content)
    for _ in range(generator.randint(1, 4)):
        start = generator.randrange(len(data))
        length = min(generator.choice((1, 2, 4, 8, 64, 1024)), len(data) - start)
        kind = generator.choice(("flip", "random", "zeros", "ones", "cut", "remove", "repeat"))
        if kind == "flip":
            data[start] ^= 1 << generator.randrange(8)
        elif kind == "random":
            data[start : start + length] = generator.randbytes(length)
        elif kind in ("zeros", "ones"):
            data[start : start + length] = (b"\x00" if kind == "zeros" else b"\xff") * length
        elif kind == "cut":
            del data[max(start, 1) :]
        elif kind == "remove":
            del data[start : start + length]
        else:
            data[start:start] = data[start : start + length]
        if not data:
            return b""
    return bytes(data)


def mutated_tree(tree: Any, seed: int) -> Any:
    """The JSON value with some of its members replaced by hostile ones, removed or exchanged."""
    generator = random.Random(seed)
    changed = copy.deepcopy(tree)
    for _ in range(generator.randint(1, 3)):
        places = list(_places(changed))
        if not places:
            return changed
        container, key = generator.choice(places)
        kind = generator.choice(("hostile", "hostile", "remove", "exchange"))
        if kind == "remove":
            del container[key]
        elif kind == "exchange":
            other, other_key = generator.choice(places)
            container[key] = copy.deepcopy(other[other_key])
        else:
            container[key] = copy.deepcopy(generator.choice(HOSTILE))
    return changed


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    members: Any = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, member in members:
        yield tree, key
        yield from _places(member)
