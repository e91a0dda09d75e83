"""A kind of input: a rectangle of the image, written as ``top,left,bottom,right``."""

from typing import Any

from convscope.errors import ParameterError
from convscope.spec import InputKind


def read_area(text: Any, model: Any) -> tuple[int, ...]:
    """The rectangle as four numbers, of which the lower right corner is outside."""
    numbers = tuple(int(part) for part in str(text).split(",") if part.strip().isdecimal())
    if len(numbers) != 4 or numbers[0] >= numbers[2] or numbers[1] >= numbers[3]:
        raise ParameterError(f"area must be top,left,bottom,right in pixels, as in '8,8,24,24', got {text!r}")
    return numbers


AREA = InputKind(
    "area",
    "Area",
    "address",
    help="the rectangle of the image that is kept, as top,left,bottom,right in pixels",
    hint="The rectangle that is kept, as in 8,8,24,24. Empty: the whole image.",
    metavar="RECTANGLE",
    prepare=read_area,
)
