"""The inputs that a lens may have: parameters with a fixed meaning on every surface."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class InputKind:
    """A parameter with a fixed meaning, which every surface writes and prepares in the same way.

    Attributes:
        name: the name of the parameter.
        label: what forms call it.
        content: a ``network``, an ``image`` (processed one by one), a ``data set`` (processed as a whole), a ``second
            image`` beside the explained one, or an ``address`` that is written as text.
        several: whether one request may name several of them.
    """

    name: str
    label: str
    content: Literal["network", "image", "data set", "second image", "address"]
    several: bool = False

    @property
    def nothing(self) -> str | tuple[str, ...]:
        """What stands for "not given" in a link and in a form."""
        return () if self.several else ""


INPUT_KINDS: Mapping[str, InputKind] = {
    kind.name: kind
    for kind in (
        InputKind("model", "Model", "network"),
        InputKind("image", "Image", "image"),
        InputKind("images", "Images", "data set"),
        InputKind("target", "Target", "address"),
        InputKind("layer", "Layer", "address", several=True),
        InputKind("unit", "Unit", "address", several=True),
        InputKind("guide", "Guide", "second image"),
        InputKind("style", "Style", "second image"),
    )
}
"""The inputs that a lens may have, by the name of its parameter. Lenses receive them prepared."""

INPUTS = tuple(INPUT_KINDS)


def inputs_with(*contents: str) -> tuple[str, ...]:
    """The names of the inputs with one of these contents.

    Example:
        >>> inputs_with("second image")
        ('guide', 'style')
    """
    return tuple(kind.name for kind in INPUT_KINDS.values() if kind.content in contents)
