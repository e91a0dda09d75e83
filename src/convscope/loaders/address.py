"""Addresses of models, ``scheme:name?option=value&…``, and what their options say."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convscope.engine.network.labels import label_names
from convscope.errors import LoadError, UnknownName, did_you_mean
from convscope.loaders.labels import read_labels
from convscope.loaders.preparation import PREPARATION, prepare_as, written
from convscope.loaders.weights import ENDINGS

if TYPE_CHECKING:
    from convscope.engine.network.model import Model

DISTANCES = ("spacing", "rate")
"""How far apart neighbours in a volume or signal are."""
OPTIONS = ("weights", "output", "layout", *DISTANCES, "labels", *PREPARATION)
"""What may be said in an address."""


def parsed(address: str) -> tuple[str, str, dict[str, str]]:
    """``scheme:name?key=value`` in its parts; ``net.py:make`` has the scheme ``py``."""
    plain, _, query = address.partition("?")
    options = dict(part.partition("=")[::2] for part in query.split("&") if part)
    path, _, _ = plain.rpartition(":")
    if path.endswith(".py"):
        return "py", plain, options
    if plain.endswith(".py"):
        raise LoadError(f"{plain!r} needs the function that makes the network: {plain}:NAME")
    scheme, colon, name = plain.partition(":")
    if not colon or not name:
        raise UnknownName(f"{address!r} is not the address of a model: write it as torchvision:resnet50 or net.py:make")
    return scheme, name, options


def weights_of(
    address: str, options: dict[str, str], weights: str | Path | None
) -> tuple[str | None, str | Path | None]:
    """The name of the weights that an address asks for, and the file of one's own."""
    chosen = options.get("weights")
    if weights is None and chosen and chosen.endswith(ENDINGS):
        return None, chosen
    if weights is not None and chosen not in (None, "none"):
        raise LoadError(f"{address!r} asks for its own weights and weights={str(weights)!r} for a file's: choose one")
    return chosen, weights


def said_of(address: str, options: Mapping[str, str], given: dict[str, Any]) -> dict[str, Any]:
    """Labels and the preparation of images, from an address or by name."""
    if unknown := set(options) - {*OPTIONS}:
        name = sorted(unknown)[0]
        near = did_you_mean(name, OPTIONS)
        raise LoadError(f"{address!r} has the option {name!r}{near} (an address takes ?{', ?'.join(OPTIONS)})")
    given.pop("weights", None)
    twice = next((name for name in given if name in options), None)
    if twice is not None:
        raise LoadError(
            f"{address!r} has ?{twice}={options[twice]} and {twice}={given[twice]!r} was given too: choose one"
        )
    return {name: options[name] for name in ("labels", *PREPARATION) if name in options} | given


def tell(model: "Model", options: Mapping[str, str], said: Mapping[str, Any]) -> None:
    """Tell a model what was said of it; its source says the same, so that it can be opened again."""
    preparation = {name: said[name] for name in PREPARATION if name in said}
    prepare_as(model, preparation)
    labels = said.get("labels")
    if isinstance(labels, (str, Path)):
        model.labels, model.labels_from = label_names(read_labels(labels)), str(labels)
    elif labels is not None:
        model.labels = label_names(labels)
    if part := options.get("output"):
        model.output = int(part) if part.isdecimal() else part
    if "layout" in options:
        model.layouts |= _layouts(options["layout"])
    _tell_distances(model, options)
    repeated = {name: options[name] for name in ("output", "layout", *DISTANCES) if options.get(name)} | written(
        preparation
    )
    repeated |= {"labels": model.labels_from} if model.labels_from else {}
    address, with_, weights = model.source.partition(" with ")
    for name, value in repeated.items():
        address += f"{'&' if '?' in address else '?'}{name}={value}"
    model.source = address + with_ + weights


def _tell_distances(model: "Model", options: Mapping[str, str]) -> None:
    """Tell a model how far apart neighbours in its inputs are, which pictures then show."""
    from convscope.engine.inputs.specs import TensorInput

    said = {name: options[name] for name in DISTANCES if name in options}
    if not said:
        return
    name, text = next(iter(said.items()))
    if not isinstance(model.input, TensorInput):
        raise LoadError(f"?{name}={text} is of signals and volumes, and {model.name} takes images")
    try:
        numbers = {name: tuple(float(part) for part in text.split(",")) for name, text in said.items()}
    except ValueError:
        raise LoadError(f"?{name}={text} is not made of numbers, as in ?spacing=5,1,1 or ?rate=16000") from None
    spacing, rate = numbers.get("spacing", model.input.spacing), numbers.get("rate", (model.input.rate,))[0]
    model.input = replace(model.input, spacing=spacing, rate=rate)


def _layouts(text: str) -> dict[str, str]:
    """``encoder:N,T,C;head:N,C`` as layouts of layers by address."""
    pairs = [part.partition(":") for part in text.split(";") if part]
    if not pairs or any(not (layer and colon and layout) for layer, colon, layout in pairs):
        raise LoadError(f"?layout={text} is not of the form LAYER:N,T,C; several are separated by ;")
    return {layer: layout.replace(",", " ") for layer, _, layout in pairs}
