"""Sizes and counts as people write them."""

from collections.abc import Sequence
from typing import Any


def field_words(extent: Sequence[int | None]) -> str:
    """A receptive field in words: ``427``, ``7×9``, ``whole``."""
    if extent and all(size is None for size in extent):
        return "whole"
    return sides(["whole" if size is None else size for size in extent])


def sides(extent: Sequence[Any]) -> str:
    """Numbers as people write the sides of a map; a square field's only once."""
    words = [f"{side:g}" if isinstance(side, float) else str(side) for side in extent]
    return "×".join(words)


def listed(items: Sequence[Any], most: int = 16, comma: str = ", ") -> str:
    """Items in a row; of many the first ones, and how many more there are."""
    rest = f" and {len(items) - most} more" if len(items) > most else ""
    return comma.join(str(one) for one in items[:most]) + rest


def many(number: float) -> str:
    """A large number for people: ``25.6 M``, ``8.18 G``."""
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g} {letter}"
    return f"{number:g}"


def storage(number: int) -> str:
    """Bytes for people: ``97.5 MB``."""
    for size, unit in ((2**30, "GB"), (2**20, "MB"), (2**10, "kB")):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number} B"
