"""A layer's layout as a person writes it: ``"N C H W"``, ``"T N C"``, ``"N 1+H14*W14 C"``, ``"N*F C H W"``.

One word for each dimension of the layer's output. ``N`` is the batch, ``C`` channels, ``F`` frames, views or heads,
``1`` a dimension of size one; the axes of the input are ``T`` (or ``W``) for signals, ``H W`` for images, ``D H W`` or
``T H W`` for volumes and video. ``*`` joins what lies on one dimension, the first varying slowest, with a size behind
each letter but one; a number and ``+`` in front say how many tokens lie at no place.
"""

import math
import re
from collections.abc import Sequence

import torch

from convscope.engine.graph.dependence import Dependence
from convscope.engine.layers.feature_layout import FeatureLayout, Shape, UnknownLayout, read_layout
from convscope.errors import LayerError

_AXES = {1: {"T": 0, "W": 0, "L": 0}, 2: {"H": 0, "W": 1}, 3: {"D": 0, "T": 0, "H": 1, "W": 2}}
_WORD = re.compile(r"^(?:(\d+)\+)?((?:[A-Z]\d*\*)*[A-Z]\d*)$")
_PARTS = re.compile(r"([A-Z])(\d*)")


def layout_given(text: str, address: str, shape: Shape, images: int, axes: int) -> FeatureLayout:
    """The layout that ``text`` says of an output of that shape for so many images.

    Args:
        axes: how many spatial axes the input has.

    Raises:
        LayerError: the text does not fit the output; the message says what does.
    """
    words = text.replace(",", " ").split()
    if len(words) != len(shape):
        raise LayerError(
            f"the layout {text!r} of layer {address!r} has {len(words)} words and its output {len(shape)} dimensions, "
            f"shape {shape}: write one for each, such as 'N C H W'"
        )
    known: dict[str, int] = {"N": -1, "C": -2, "F": -2, **_AXES.get(axes, {})}
    places: dict[int, tuple[torch.Tensor, int]] = {}
    for dim, (word, size) in enumerate(zip(words, shape, strict=True)):
        if word == "1" and size == 1:
            continue
        for letter, along in _read(word, size, text, address, images, known).items():
            places[known[letter]] = (along, dim)
    if -1 not in places:
        raise LayerError(f"the layout {text!r} of layer {address!r} names no batch: one of its words has an N")
    try:
        return read_layout(
            shape, [_seen(places.get(a), len(shape)) for a in range(axes)], _seen(places[-1], len(shape)), images
        )
    except UnknownLayout as error:
        raise LayerError(f"the layout {text!r} of layer {address!r} does not fit: the output {error}") from error


def _read(word: str, size: int, text: str, address: str, images: int, known: dict[str, int]) -> dict[str, torch.Tensor]:
    """For each letter of a word, the place of every position of the dimension, -1 where it has none."""
    match = _WORD.match(word)
    letters = _PARTS.findall(match[2]) if match else []
    if not match or any(letter not in known for letter, _ in letters):
        raise LayerError(
            f"the layout {text!r} of layer {address!r} has the word {word!r}: a word is made of {', '.join(known)}, as "
            "in 'N', 'H', '1+H14*W14' or 'N*F'"
        )
    prefix = int(match[1] or 0)
    sizes = [images if letter == "N" else int(number or 0) for letter, number in letters]
    if sizes.count(0) > 1:
        raise LayerError(
            f"the layout {text!r} of layer {address!r} leaves several sizes open in {word!r}: say all but one"
        )
    rest = math.prod(n for n in sizes if n)
    sizes = [n or (size - prefix) // rest for n in sizes]
    if math.prod(sizes) != size - prefix:
        raise LayerError(f"the layout {text!r} of layer {address!r} gives {word!r} to a dimension of size {size}")
    counted = torch.unravel_index(torch.arange(size - prefix, device="cpu"), tuple(sizes))
    blank = torch.full((prefix,), -1, device="cpu")
    return {
        letter: torch.cat([blank, along])
        for (letter, _), along in zip(letters, counted, strict=True)
        if known[letter] != -2
    }


def _seen(place: tuple[torch.Tensor, int] | None, ndim: int) -> Dependence:
    along, dim = place if place is not None else (torch.full((1,), -1, device="cpu"), 0)
    shape: Sequence[int] = [len(along) if d == dim else 1 for d in range(ndim)]
    laid = along.to(torch.float64).view(tuple(shape))
    return Dependence(laid, laid, laid, None)
