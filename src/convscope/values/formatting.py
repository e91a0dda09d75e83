"""Sizes, counts and lists as short text."""

from collections.abc import Sequence
from typing import Any

from convscope.values.facts import Fact


def format_field(extent: Sequence[int | None]) -> str:
    """A receptive field as text: ``427``, ``7×9``, ``whole``."""
    if extent and all(size is None for size in extent):
        return Fact("whole")
    return Fact("{sides:×}", sides=[Fact("whole") if size is None else size for size in extent])


def format_sides(extent: Sequence[Any]) -> str:
    """The side lengths of a shape as text: ``7×9``."""
    texts = [f"{side:g}" if isinstance(side, float) else str(side) for side in extent]
    return "×".join(texts)


def format_list(items: Sequence[Any], most: int = 16, comma: str = ", ") -> str:
    """The first ``most`` items, joined, and the number of remaining ones."""
    rest = f" and {len(items) - most} more" if len(items) > most else ""
    return comma.join(str(item) for item in items[:most]) + rest


def format_count(number: float) -> str:
    """A large number with an SI prefix: ``25.6 M``, ``8.18 G``."""
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g} {letter}"
    return f"{number:g}"


def format_bytes(number: int) -> str:
    """A number of bytes as text: ``97.5 MB``."""
    for size, unit in ((2**30, "GB"), (2**20, "MB"), (2**10, "kB")):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number} B"
