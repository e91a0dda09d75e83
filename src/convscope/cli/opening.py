"""Opening the networks that commands name, with what options say of their weights, labels and input."""

import functools
import inspect
from collections.abc import Callable, Container, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convscope.cli import options
from convscope.cli.console import say

if TYPE_CHECKING:
    from convscope.engine.network.model import Model

Opening = Mapping[str, Any]
"""What the options said with which a network is opened."""

OPENING: Mapping[str, Any] = {
    "weights": options.Weights,
    "labels": options.Labels,
    "size": options.Size,
    "resize": options.Resize,
    "mean": options.Mean,
    "std": options.Std,
    "trust": options.Trust,
    "device": options.Device,
}
"""The options with which a network is opened, by the names that `convscope.load` gives them."""


def opening_options(taken: Container[str] = ()) -> list[inspect.Parameter]:
    """The options as parameters of a command.

    Args:
        taken: names that mean something else there; an address can still say them, as in ``?size=64``.
    """
    return [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, annotation=kind, default=False if name == "trust" else None
        )
        for name, kind in OPENING.items()
        if name not in taken
    ]


def opens_a_model(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options with which a network is opened, and hand it what they say as ``opening``."""

    @functools.wraps(command)
    def run(**given: Any) -> None:
        opening = {name: given.pop(name) for name in OPENING if name in given}
        command(**given, opening=opening)

    own = [p for p in inspect.signature(command).parameters.values() if p.name not in ("opening", "debug")]
    debug = inspect.Parameter("debug", inspect.Parameter.KEYWORD_ONLY, annotation=options.Debug, default=False)
    named = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]
    signature = inspect.Signature([*named, *opening_options(), debug])
    run.__signature__ = signature  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in signature.parameters.values()}
    return run


def open_model(address: str, given: Mapping[str, Any], *, beside: bool = False) -> "Model":
    """Open a network, and say what had to be assumed of it.

    Args:
        given: the values of `OPENING`'s options, among others.
        beside: whether it stands beside the one that the options are about, and takes the device alone.
    """
    from convscope.catalogue import load

    named = {name: given[name] for name in (("device", "trust") if beside else OPENING) if given.get(name)}
    say(f"opening {address} …")
    model = load(address, **named)
    if model.assumed_from:
        for caveat in model.caveats:
            say(f"note: {caveat}; --size, --resize, --mean and --std say how it was trained")
    return model


def open_without_weights(address: str) -> "Model":
    """Open a network for its layers, which do not depend on the weights: nothing is fetched."""
    from convscope.catalogue import load

    as_it_is = "?" in address or address.startswith("bundled:") or ".py:" in address
    return load(address if as_it_is else f"{address}?weights=none")


def files_of(address: str | None, given: Mapping[str, Any]) -> Iterable[str]:
    """The files that opening a network reads."""
    from_address = (part.partition("=")[2] for part in (address or "").partition("?")[2].split("&"))
    source = (address or "").partition("?")[0].rpartition(":")[0]
    named = (given.get(name) for name in ("weights", "labels"))
    return [str(name) for name in (source, *from_address, *named) if name and Path(name).suffix]
