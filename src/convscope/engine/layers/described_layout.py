"""The notation for the layout of a layer's output: ``"N C H W"``, ``"T N C"``, ``"N 1+H14*W14 C"``, ``"N*F C H W"``.

It has one word for each dimension of the output. ``N`` is the batch, ``C`` channels, ``F`` frames, views or heads,
``1`` a dimension of size one; the axes of the input are ``T`` (or ``W``) for signals, ``H W`` for images, ``D H W`` or
``T H W`` for volumes and video. ``*`` joins what is folded into one dimension, the first varying slowest, with a size
after all letters but one; a number and ``+`` in front give the number of tokens that have no position.
"""

import math
import re
from collections.abc import Sequence

import torch

from convscope.engine.graph.dependence import Dependence
from convscope.engine.layers.feature_layout import FeatureLayout, Shape
from convscope.engine.layers.layout_reading import UnknownLayout, read_layout
from convscope.errors import LayerError

_AXES = {1: {"T": 0, "W": 0, "L": 0}, 2: {"H": 0, "W": 1}, 3: {"D": 0, "T": 0, "H": 1, "W": 2}}
_WORD = re.compile(r"^(?:(\d+)\+)?((?:[A-Z]\d*\*)*[A-Z]\d*)$")
_PARTS = re.compile(r"([A-Z])(\d*)")


def parse_layout(text: str, address: str, shape: Shape, images: int, axes: int) -> FeatureLayout:
    """Parse the declared layout of an output.

    Args:
        text: the layout in the notation above.
        address: the layer, for messages.
        shape: the shape of the output for ``images`` images.
        axes: the number of spatial axes of the input.

    Raises:
        LayerError: the text does not fit the output; the message says what does.
    """
    words = text.replace(",", " ").split()
    if len(words) != len(shape):
        raise LayerError(
            f"the layout {text!r} of layer {address!r} has {len(words)} words and its output {len(shape)} dimensions, "
            f"shape {shape}: write one for each, such as 'N C H W'"
        )
    codes: dict[str, int] = {"N": -1, "C": -2, "F": -2, **_AXES.get(axes, {})}
    positions: dict[int, tuple[torch.Tensor, int]] = {}
    for dim, (word, size) in enumerate(zip(words, shape, strict=True)):
        if word == "1" and size == 1:
            continue
        for letter, indices in _parse_word(word, size, text, address, images, codes).items():
            positions[codes[letter]] = (indices, dim)
    if -1 not in positions:
        raise LayerError(f"the layout {text!r} of layer {address!r} names no batch: one of its words has an N")
    try:
        return read_layout(
            shape,
            [_dependence(positions.get(axis), len(shape)) for axis in range(axes)],
            _dependence(positions[-1], len(shape)),
            images,
        )
    except UnknownLayout as error:
        raise LayerError(f"the layout {text!r} of layer {address!r} does not fit: the output {error}") from error


def _parse_word(
    word: str, size: int, text: str, address: str, images: int, codes: dict[str, int]
) -> dict[str, torch.Tensor]:
    """For each letter of a word, the coordinate of every index of the dimension, -1 where it has none."""
    match = _WORD.match(word)
    letters = _PARTS.findall(match[2]) if match else []
    if not match or any(letter not in codes for letter, _ in letters):
        raise LayerError(
            f"the layout {text!r} of layer {address!r} has the word {word!r}: a word is made of {', '.join(codes)}, as "
            "in 'N', 'H', '1+H14*W14' or 'N*F'"
        )
    prefix = int(match[1] or 0)
    sizes = [images if letter == "N" else int(number or 0) for letter, number in letters]
    if sizes.count(0) > 1:
        raise LayerError(
            f"the layout {text!r} of layer {address!r} leaves several sizes open in {word!r}: say all but one"
        )
    product = math.prod(n for n in sizes if n)
    sizes = [n or (size - prefix) // product for n in sizes]
    if math.prod(sizes) != size - prefix:
        raise LayerError(f"the layout {text!r} of layer {address!r} gives {word!r} to a dimension of size {size}")
    unraveled = torch.unravel_index(torch.arange(size - prefix, device="cpu"), tuple(sizes))
    prefix_positions = torch.full((prefix,), -1, device="cpu")
    return {
        letter: torch.cat([prefix_positions, indices])
        for (letter, _), indices in zip(letters, unraveled, strict=True)
        if codes[letter] != -2
    }


def _dependence(position: tuple[torch.Tensor, int] | None, ndim: int) -> Dependence:
    indices, dim = position if position is not None else (torch.full((1,), -1, device="cpu"), 0)
    shape: Sequence[int] = [len(indices) if d == dim else 1 for d in range(ndim)]
    values = indices.to(torch.float64).view(tuple(shape))
    return Dependence(values, values, values, None)
