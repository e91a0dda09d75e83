"""Models of other libraries that are handed over in memory: each library has a converter to torch modules.

Who converts what is registered by the package root, because converters lie above the engine.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

    from convscope.engine.inputs.specs import InputSpec
    from convscope.engine.network.model import Model


@dataclass(frozen=True)
class ConvertedNetwork:
    """A model of another library as a torch module, and what it says about itself.

    Attributes:
        check: compares the finished model with the original, and raises `LoadError` if they differ.
    """

    module: "nn.Module"
    name: str
    input: "InputSpec"
    caveats: tuple[str, ...] = ()
    check: "Callable[[Model], None] | None" = None


Converter = Callable[[Any], ConvertedNetwork | None]
"""Converts a model of its library; None for an object of the library that is no model."""

_CONVERTERS: dict[str, Converter] = {}
"""By the name of the package that defines a class of the model."""


def register_converter(package: str, converter: Converter) -> None:
    """Let a converter handle the objects whose class, or a class that it extends, is defined in a package."""
    _CONVERTERS[package] = converter


def convert_foreign(model: Any) -> ConvertedNetwork | None:
    """A model of another library as a torch module; None for everything else."""
    for cls in type(model).__mro__:
        converter = _CONVERTERS.get(cls.__module__.partition(".")[0])
        if converter is not None:
            return converter(model)
    return None
