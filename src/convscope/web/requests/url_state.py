"""The state that a link carries: enough to show the same thing again, in another tab or on another day."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import parse_qsl, urlencode

from convscope.spec import INPUT_KINDS

_REPEATED, _SINGLE = ("beside", "pinned"), ("lens", "tab", "page")
"""The names in a link besides those of inputs: those that may occur more than once, and the others."""


@dataclass(frozen=True, init=False)
class View:
    """A lens with its inputs and parameters; empty fields take their defaults.

    Attributes:
        inputs: by the kind of input, what the link names: the model's address as the library lists it, keys of images
            and of collections in the library, texts; several of them as a tuple. Inputs that are not given are absent.
        beside: further models and keys of further images to compare with the first.
        pinned: further views, as their queries, that stay on the page.
        tab, page: which tab of a page is open, and which page of its tiles, counted from 1.
        parameters: the lens's own parameters, as texts or plain values.
    """

    lens: str
    inputs: Mapping[str, Any]
    beside: tuple[str, ...]
    pinned: tuple[str, ...]
    tab: str
    page: str
    parameters: Mapping[str, Any]

    def __init__(
        self,
        lens: str = "",
        *,
        beside: tuple[str, ...] = (),
        pinned: tuple[str, ...] = (),
        tab: str = "",
        page: str = "",
        parameters: Mapping[str, Any] | None = None,
        **inputs: Any,
    ) -> None:
        if unknown := inputs.keys() - INPUT_KINDS.keys():
            raise TypeError(f"a view has no input {', '.join(sorted(unknown))}")
        given = {name: inputs[name] for name in INPUT_KINDS if inputs.get(name)}
        written = {name: tuple(value) if INPUT_KINDS[name].several else value for name, value in given.items()}
        own = {"lens": lens, "inputs": written, "beside": beside, "pinned": pinned, "tab": tab, "page": page}
        for name, value in {**own, "parameters": parameters or {}}.items():
            object.__setattr__(self, name, value)

    def input(self, name: str) -> Any:
        """What the view names for an input; an empty text or tuple if nothing."""
        return self.inputs.get(name, INPUT_KINDS[name].nothing)

    @property
    def model(self) -> str:
        """The model's address."""
        return str(self.input("model"))

    @property
    def image(self) -> str:
        """The key of the image."""
        return str(self.input("image"))

    @property
    def images(self) -> str:
        """The key of the collection of images."""
        return str(self.input("images"))

    @property
    def target(self) -> str:
        """What is explained."""
        return str(self.input("target"))

    @property
    def layer(self) -> tuple[str, ...]:
        """The addresses of layers."""
        return tuple(self.input("layer"))

    @property
    def unit(self) -> tuple[str, ...]:
        """The addresses of units."""
        return tuple(self.input("unit"))

    def query(self) -> str:
        """The view as the query string of a link; parameters of the lens are written ``p.NAME``."""
        pairs = [("lens", self.lens)] if self.lens else []
        for name, value in self.inputs.items():
            pairs += [(name, item) for item in value] if isinstance(value, tuple) else [(name, value)]
        pairs += [("beside", item) for item in self.beside] + [("pinned", item) for item in self.pinned]
        pairs += [(name, value) for name, value in (("tab", self.tab), ("page", self.page)) if value]
        pairs += [(f"p.{name}", _to_text(value)) for name, value in sorted(self.parameters.items())]
        return urlencode(pairs)

    @classmethod
    def parse(cls, query: str) -> Self:
        """The view of a query string; unknown names are ignored."""
        several = {*_REPEATED, *(kind.name for kind in INPUT_KINDS.values() if kind.several)}
        values: dict[str, Any] = {"parameters": {}}
        for name, value in parse_qsl(query):
            if name.startswith("p."):
                values["parameters"][name.removeprefix("p.")] = value
            elif name in several:
                values[name] = (*values.get(name, ()), value)
            elif name in _SINGLE or name in INPUT_KINDS:
                values[name] = value
        return cls(**values)

    def replace(self, **changes: Any) -> Self:
        """The same view with some fields or inputs changed."""
        own = {name: getattr(self, name) for name in ("lens", "beside", "pinned", "tab", "page", "parameters")}
        return type(self)(**{**own, **self.inputs, **changes})


def _to_text(value: Any) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)
