"""Numbers that callers write in specifications, checked and made uniform."""

import math
from typing import Any

from convscope.errors import InputError


def whole_numbers(name: str, value: Any) -> tuple[int, ...]:
    """One number or several as a tuple of positive integers."""
    numbers = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    if not numbers or any(isinstance(n, bool) or not hasattr(n, "__index__") or n.__index__() < 1 for n in numbers):
        raise InputError(f"{name} must be made of whole numbers above zero, got {value!r}")
    return tuple(n.__index__() for n in numbers)


def finite_numbers(name: str, value: Any) -> tuple[float, ...]:
    """One finite number per channel or axis as a tuple."""
    if value is None:
        return ()
    try:
        numbers = tuple(float(n) for n in value)
    except (TypeError, ValueError):
        numbers = (math.nan,)
    if not numbers or not all(math.isfinite(n) for n in numbers):
        unit = {"spacing": " per axis", "rate": ""}.get(name, " per channel")
        raise InputError(f"{name} is one finite number{unit}, got {value!r}")
    return numbers
