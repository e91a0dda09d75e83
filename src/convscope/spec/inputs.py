"""The inputs that a lens may have: parameters with a fixed meaning on every surface."""

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from convscope import _extensions
from convscope.errors import LoadError


@dataclass(frozen=True)
class InputKind:
    """A parameter with a fixed meaning, which every surface writes and prepares in the same way.

    Attributes:
        name: the name of the parameter.
        label: what forms call it.
        content: a ``network``, an ``image`` (processed one by one), a ``data set`` (processed as a whole), a ``second
            image`` beside the explained one, or an ``address`` that is written as text.
        several: whether one request may name several of them.
        help: what the command line says of it, and ``hint`` what a form says below its field.
        metavar, short: the placeholder of its value and its short option on the command line.
        suggests: which names of the network are suggested while it is typed.
        prepare: for an address, what the lens receives: ``prepare(text, model)``; without it, the text itself. It is
            not called where the caller leaves the input out, and raises a `ConvScopeError` for a text it refuses.
        python_type: how type hints write it.
    """

    name: str
    label: str
    content: Literal["network", "image", "data set", "second image", "address"]
    several: bool = False
    help: str = ""
    hint: str = ""
    metavar: str = ""
    short: str = ""
    suggests: tuple[Literal["classes", "layers", "units"], ...] = ()
    prepare: Callable[[Any, Any], Any] | None = None
    python_type: str = "Any"

    @property
    def nothing(self) -> str | tuple[str, ...]:
        """What stands for "not given" in a link and in a form."""
        return () if self.several else ""


_ONE_IMAGE = "OneImage | Tensor"
_SECOND_IMAGE = {"help": "a second image: a file or a sample", "metavar": "IMAGE", "python_type": _ONE_IMAGE}
_OWN_KINDS = (
    InputKind("model", "Model", "network", python_type="Model | Module | Callable[..., Any]"),
    InputKind("image", "Image", "image", python_type=_ONE_IMAGE),
    InputKind("images", "Images", "data set"),
    InputKind(
        "target",
        "Target",
        "address",
        help="what to explain: a label, a class index, 'A - B', or a unit such as 'layer4[17]'; the top class by "
        "default. For other tasks 'cat in mask.png', 'at:120,88', 'box:3', 'box:3.left' or 'like:photo.jpg'",
        metavar="TARGET",
        short="-t",
        suggests=("classes",),
        python_type="TargetLike",
    ),
    InputKind(
        "unit",
        "Unit",
        "address",
        several=True,
        help="a unit such as 'layer4[17]', or one position of it, 'layer4[17, 3, 5]'; repeat for several",
        hint="A layer, a channel such as layer2[15], a class, or a sum of them. Empty: chosen by the lens.",
        metavar="UNIT",
        short="-u",
        suggests=("classes", "layers", "units"),
    ),
    InputKind(
        "layer",
        "Layer",
        "address",
        several=True,
        help="layer address; repeat for several; 'convscope layers' lists them",
        hint="Address of a layer, such as layer2. Empty: chosen by the lens.",
        metavar="ADDRESS",
        short="-l",
        suggests=("layers",),
        python_type="LayerAddress",
    ),
    InputKind("guide", "Guide", "second image", **_SECOND_IMAGE),  # type: ignore[arg-type]
    InputKind("style", "Style", "second image", **_SECOND_IMAGE),  # type: ignore[arg-type]
)


class _InputKinds(Mapping[str, InputKind]):
    """The kinds of inputs by name: those of this package, and those that installed packages add.

    The latter are imported when a kind is first looked up.
    """

    @functools.cached_property
    def _kinds(self) -> dict[str, InputKind]:
        own = {kind.name: kind for kind in _OWN_KINDS}
        return own | {name: self._added(name, own) for name in _extensions.entries(_extensions.INPUTS)}

    def _added(self, name: str, own: Mapping[str, InputKind]) -> InputKind:
        kind = _extensions.load(_extensions.INPUTS, name)
        if name in own or not isinstance(kind, InputKind) or kind.name != name:
            raise LoadError(
                f"an installed package adds the kind of input {name!r}: this must be an InputKind of that name, and "
                f"the name must not be taken, got {kind!r}"
            )
        return kind

    def __getitem__(self, name: str) -> InputKind:
        return self._kinds[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._kinds)

    def __len__(self) -> int:
        return len(self._kinds)


INPUT_KINDS: Mapping[str, InputKind] = _InputKinds()
"""The inputs that a lens may have, by the name of its parameter. Lenses receive them prepared."""


def inputs_with(*contents: str) -> tuple[str, ...]:
    """The names of the inputs with one of these contents.

    Example:
        >>> inputs_with("second image")
        ('guide', 'style')
    """
    return tuple(kind.name for kind in INPUT_KINDS.values() if kind.content in contents)
