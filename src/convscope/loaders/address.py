"""Addresses of models, ``scheme:name?option=value&…``, and their options."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convscope.engine.network.labels import label_names
from convscope.engine.network.task_recognition import check_task
from convscope.errors import InputError, LoadError, UnknownName, did_you_mean
from convscope.loaders.file_formats import find_file_format
from convscope.loaders.input_options import INPUT_OPTIONS, configure_measured_input
from convscope.loaders.labels import read_labels
from convscope.loaders.preprocessing import (
    PREPROCESSING_OPTIONS,
    configure_preprocessing,
    format_preprocessing,
    name_of_kind,
)
from convscope.loaders.weights import ALL_EXTENSIONS
from convscope.spec import LOADERS, FileFormat, LoaderSpec

if TYPE_CHECKING:
    from convscope.engine.network.model import Model

SAMPLING_OPTIONS = ("spacing", "rate")
"""Options for the sampling distance of volumes and the sampling rate of signals."""
_OWN_OPTIONS = ("weights", "output", "task", "units", "layout", *SAMPLING_OPTIONS, "labels")
ADDRESS_OPTIONS = (*_OWN_OPTIONS, *PREPROCESSING_OPTIONS, *INPUT_OPTIONS)
"""All options of an address."""
_SETTINGS = ("labels", "task", "units")
"""Options of an address that are arguments of `load` too."""


@dataclass(frozen=True)
class Address:
    """An address of a model in its parts: what opens it, the name that this receives, and the options."""

    opener: LoaderSpec | FileFormat
    name: str
    options: Mapping[str, str]


def parse_address(address: str) -> Address:
    """Split ``scheme:name?key=value`` or ``file?key=value``; ``net.py:make`` is a function in a source file.

    Raises:
        UnknownName: there is no such scheme.
        LoadError: the file does not exist or has no known format; or an option has no value, or two.
    """
    base, _, query = address.partition("?")
    options = _parse_options(query)
    path, _, _ = base.rpartition(":")
    if path.endswith(".py"):
        return Address(LOADERS["py"], base, options)
    if base.endswith(".py"):
        raise LoadError(f"{base!r} needs the function that makes the network: {base}:NAME")
    scheme, colon, name = base.partition(":")
    if colon and name and scheme in LOADERS:
        return Address(LOADERS[scheme], name, options)
    is_scheme = colon and name and not Path(base).expanduser().exists()
    file_format = find_file_format(base) if base and not is_scheme else None
    if file_format is not None:
        return Address(file_format, base, options)
    if not colon or not name:
        raise UnknownName(
            f"{address!r} is not the address of a model: write it as torchvision:resnet50 or net.py:make, or name a "
            "model file"
        )
    known = ", ".join(spec.example for spec in LOADERS.values())
    raise UnknownName(
        f"cannot open {address!r}: no kind of model {scheme!r}{did_you_mean(scheme, LOADERS)} (try {known})"
    )


def _parse_options(query: str) -> dict[str, str]:
    """Split ``key=value&key=value``.

    Raises:
        LoadError: an option has no value, or two.
    """
    options: dict[str, str] = {}
    for name, _, value in (part.partition("=") for part in query.split("&") if part):
        if not value:
            raise LoadError(f"?{name} has no value: write it as ?{name}=VALUE, or leave it out")
        if name in options:
            raise LoadError(f"?{name}= stands twice in the address, as {options[name]} and {value}: choose one")
        options[name] = value
    return options


def open_address(address: str, weights: str | Path | None, arguments: dict[str, Any], *, trust: bool) -> "Model":
    """Open a model and apply the options of its address and the arguments of `load`.

    Args:
        address: the address as it was written.
        weights: a weight file, if one was passed beside the address.
        arguments: labels and preprocessing that were passed, by name.
        trust: allow files that run code.
    """
    parsed = parse_address(address)
    options = dict(parsed.options)
    chosen, weights = select_weights(address, options, weights)
    opener = parsed.opener
    if isinstance(opener, FileFormat):
        own = {name: options.pop(name) for name in opener.options if name in options}
        settings = collect_settings(address, options, arguments, (*ADDRESS_OPTIONS, *opener.options))
        if chosen is not None:
            raise LoadError(f"{address!r} has no named weights such as ?weights={chosen}; ?weights=FILE loads a file")
        if weights is not None and not opener.takes_weights:
            raise LoadError(f"{parsed.name!r} holds its own weights: open it without weights={str(weights)!r}")
        model = opener.function(Path(parsed.name).expanduser(), options=own, weights=weights, trust=trust)
    else:
        settings = collect_settings(address, options, arguments)
        model = opener.function(parsed.name, chosen=chosen, weights=weights, trust=trust)
    apply_settings(model, options, settings)
    return model  # type: ignore[no-any-return]


def select_weights(
    address: str, options: dict[str, str], weights: str | Path | None
) -> tuple[str | None, str | Path | None]:
    """The name of the library's weights to load, and the path of a weight file; at most one of them is set."""
    chosen = options.get("weights")
    if weights is None and chosen and chosen.endswith(ALL_EXTENSIONS):
        return None, chosen
    if weights is not None and chosen not in (None, "none"):
        raise LoadError(f"{address!r} already selects weights, and weights={str(weights)!r} names a file: choose one")
    return chosen, weights


def collect_settings(
    address: str, options: Mapping[str, str], arguments: dict[str, Any], known: tuple[str, ...] = ADDRESS_OPTIONS
) -> dict[str, Any]:
    """The settings for labels and preprocessing, from the options of an address and the arguments of `load`."""
    if unknown := set(options) - {*known}:
        name = sorted(unknown)[0]
        suggestion = did_you_mean(name, known)
        raise LoadError(
            f"{address!r} has the option {name!r}{suggestion} (an address takes ?{', ?'.join(dict.fromkeys(known))})"
        )
    duplicate = next((name for name in arguments if name in options), None)
    if duplicate is not None:
        passed = f"{duplicate}={arguments[duplicate]!r}"
        raise LoadError(f"{address!r} sets ?{duplicate}={options[duplicate]}, and {passed} was passed too: choose one")
    return {name: options[name] for name in (*_SETTINGS, *PREPROCESSING_OPTIONS) if name in options} | arguments


def apply_settings(model: "Model", options: Mapping[str, str], settings: Mapping[str, Any]) -> None:
    """Apply options and settings to a model, and add them to its source, so that it can be opened again."""
    measured = configure_measured_input(model, options)
    preprocessing = {
        name: settings[name] for name in PREPROCESSING_OPTIONS if name in settings and name not in measured
    }
    configure_preprocessing(model, preprocessing)
    labels = settings.get("labels")
    if isinstance(labels, (str, Path)):
        model.labels, model.labels_from = label_names(read_labels(labels)), str(labels)
    elif labels is not None:
        model.labels = label_names(labels)
    if task := settings.get("task"):
        model.task_name = check_task(task)
    if units := settings.get("units"):
        model.units = tuple(units.split(",")) if isinstance(units, str) else tuple(units)
    if output := options.get("output"):
        model.output = int(output) if output.removeprefix("-").isdecimal() else output
    if "layout" in options:
        model.layouts |= _parse_layouts(options["layout"], model.layers())
    if not measured:
        _set_sampling(model, options)
    query = {name: options[name] for name in ("output", "layout", *SAMPLING_OPTIONS) if options.get(name)} | measured
    query |= format_preprocessing(preprocessing)
    query |= {"labels": model.labels_from} if model.labels_from else {}
    query |= {"task": str(task)} if task else {}
    query |= {"units": ",".join(model.units)} if units else {}
    address, separator, weights = model.source.partition(" with ")
    for name, value in query.items():
        address += f"{'&' if '?' in address else '?'}{name}={value}"
    model.source = address + separator + weights


def _set_sampling(model: "Model", options: Mapping[str, str]) -> None:
    """Set the spacing or the sampling rate of a model's inputs, which pictures then show."""
    from convscope.engine.inputs.named_inputs import NamedInputs
    from convscope.engine.inputs.specs import ImageInput
    from convscope.engine.inputs.table_input import TableInput
    from convscope.engine.inputs.token_input import TokenInput

    sampling = {name: options[name] for name in SAMPLING_OPTIONS if name in options}
    if not sampling:
        return
    name, text = next(iter(sampling.items()))
    if isinstance(model.input, (ImageInput, NamedInputs, TableInput, TokenInput)):
        raise LoadError(
            f"?{name}={text} is for signals and volumes, but {model.name} takes {name_of_kind(model.input)}"
        )
    if "spacing" in sampling and model.input.rate is not None:
        raise LoadError(f"?spacing={text} is for volumes, but {model.name} takes signals, which have a ?rate=")
    try:
        numbers = {name: tuple(float(part) for part in text.split(",")) for name, text in sampling.items()}
    except ValueError:
        raise LoadError(f"?{name}={text} is not made of numbers, as in ?spacing=5,1,1 or ?rate=16000") from None
    spacing, rate = numbers.get("spacing", model.input.spacing), numbers.get("rate", (model.input.rate,))[0]
    try:
        model.input = replace(model.input, spacing=spacing, rate=rate)
    except InputError as error:
        raise LoadError(f"?{name}={text}: {error}") from error


def _parse_layouts(text: str, layers: list[str]) -> dict[str, str]:
    """Parse ``encoder:N,T,C;head:N,C`` into address → layout."""
    pairs = [part.partition(":") for part in text.split(";") if part]
    if not pairs or any(not (layer and colon and layout) for layer, colon, layout in pairs):
        raise LoadError(f"?layout={text} is not of the form LAYER:N,T,C; several are separated by ;")
    if unknown := next((layer for layer, _, _ in pairs if layer not in layers), None):
        raise LoadError(f"?layout={text} names no layer of the network: {unknown!r}{did_you_mean(unknown, layers)}")
    return {layer: layout.replace(",", " ") for layer, _, layout in pairs}
