"""From the declaration of a lens to its command: the same parameters, ranges, choices and defaults."""

import inspect
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from convscope.cli import options
from convscope.cli.completion import starting
from convscope.cli.interrupts import STOPPED
from convscope.cli.talk import check_images, guarded, put, put_json, say, watched
from convscope.cli.wording import flag
from convscope.errors import CannotWrite, ParameterError
from convscope.spec import LensSpec, Parameter
from convscope.values import Value, writable

Command = Callable[..., None]


def placeholder() -> None:
    """Stands for a lens that was not called, so that it need not be imported."""


def lens_command(spec: LensSpec) -> Command:
    """The function behind a lens's command, with the signature that the declaration asks for."""

    def command(**given: Any) -> None:
        run_lens(spec, **given)

    inputs = [keyword for name in spec.inputs for keyword in _inputs(spec, name)]
    signature = [
        *inputs,
        *[_option(parameter, placed=parameter.name in spec.positional) for parameter in spec.parameters.values()],
        *([_keyword("smooth", options.Smooth, None)] if spec.can_average else []),
        _keyword("out", options.Out, None),
        _keyword("as_json", options.Json, False),
        _keyword("debug", options.Debug, False),
    ]
    command.__name__ = spec.name
    command.__doc__ = f"{spec.title}: {spec.asks}\n\n{spec.reads}"
    command.__signature__ = inspect.Signature(signature)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in signature}
    return guarded(command)


def run_lens(spec: LensSpec, *, out: Path | None, as_json: bool, **given: Any) -> None:
    """Run a lens and write or print what it gives."""
    pictures = [path for name in ("image", "images") for path in given.get(name) or []]
    names = pictures if spec.each_image else [_subject(given.get("model"), pictures)]
    places = _places(spec, names, out, as_json)
    check_images(pictures, folders="images" in spec.inputs)
    check_images([given[name] for name in ("guide", "style") if given.get(name)])
    from convscope.catalogue import call, load

    asked = {name: value for name, value in given.items() if value not in (None, [])}
    opening = {name: asked.pop(name) for name in ("weights", "device", "trust") if name in asked}
    if "model" in asked:
        say(f"opening {asked['model']} …")
        asked["model"] = load(asked["model"], **opening)
    if "image" in asked and not spec.each_image:
        asked["image"] = asked["image"][0]
    with watched(spec.title) as stopped:
        found = call(spec.name, **asked)
    values = found if isinstance(found, list) else [found]
    for value, place in zip(values, places, strict=True):
        if place is not None:
            value.save(place)
    if as_json:
        manifests = [
            {**value.manifest(), "file": str(place) if place else None}
            for value, place in zip(values, places, strict=True)
        ]
        put_json(manifests[0] if len(manifests) == 1 else manifests)
    else:
        for name, value, place in zip(names, values, places, strict=True):
            put("\n".join(summary(name, value)))
            if place is not None:
                put(f"  written to {place}")
    if stopped.is_set():  # a drawing that ended with the best so far
        raise typer.Exit(STOPPED)


def summary(name: str, value: Value) -> list[str]:
    """A few lines on a value for the terminal."""
    from convscope.render.words import notes

    lines = [f"{name}: {value.record.title}" if name else value.record.title]
    lines += [f"  {line}" for line in value.lines()]
    lines += [f"  {'note: ' if note.warning else ''}{note.text}" for note in notes(value)]
    return [*lines, f"  cost {value.record.cost}"]


def _inputs(spec: LensSpec, name: str) -> list[inspect.Parameter]:
    """The words of the command line that stand for an input of a lens."""
    needed = name in spec.required
    if name == "model":
        opening = (
            ("weights", options.Weights, None),
            ("trust", options.Trust, False),
            ("device", options.Device, None),
        )
        model = _keyword("model", options.ModelAddress, inspect.Parameter.empty)
        return [model, *(_keyword(*option) for option in opening)]
    if name in ("image", "images"):
        pictures = options.Images if spec.each_image else options.DataSet if name == "images" else options.Example
        return [_keyword(name, pictures, inspect.Parameter.empty if needed else None)]
    kind: Any = {"target": options.Target, "layer": options.Layer, "unit": options.Unit}.get(name, options.Second)
    return [_keyword(name, kind, inspect.Parameter.empty if needed else None)]


def _subject(model: str | None, pictures: Sequence[str]) -> str:
    """What the one result of a lens is named after: its network, or its only picture."""
    if model is None:
        return ""
    return pictures[0] if len(pictures) == 1 and not Path(pictures[0]).is_dir() else _slug(model)


def _slug(address: str) -> str:
    """A model's address for use in file names."""
    return re.sub(r"\W+", "-", Path(address.partition("?")[0].rpartition(":")[2]).name or "model").strip("-")


def _places(spec: LensSpec, images: Sequence[str], out: Path | None, as_json: bool) -> list[Path | None]:
    """Where each image's result goes, checked before any work."""
    if out is None and as_json:
        return [None] * len(images)
    if len(images) == 1:
        return [writable(out or Path("-".join(part for part in (stem(images[0]), f"{spec.command}.png") if part)))]
    if out is not None and out.suffix and not out.is_dir():
        raise CannotWrite(f"{len(images)} images cannot all be written to {str(out)!r}: name a folder with --out")
    folder = out or Path()
    folder.mkdir(parents=True, exist_ok=True)
    stems = [stem(image) for image in images]
    stems = [f"{i}-{stem}" if stems.count(stem) > 1 else stem for i, stem in enumerate(stems)]
    return [writable(folder / f"{stem}-{spec.command}.png") for stem in stems]


def stem(image: str) -> str:
    """The name of an image for use in file names."""
    return image.removeprefix("sample:").replace("/", "-") if image.startswith("sample:") else Path(image).stem


def _option(parameter: Parameter, *, placed: bool = False) -> inspect.Parameter:
    """The command-line option of a declared parameter; or a word in its place, where Python takes it so."""
    about = parameter.about
    choices = f"<{'|'.join(about.choices)}>"
    listed = bool(about.choices) and len(choices) > _WIDEST  # in the help, where lines are broken between words
    notes = ", ".join(note for note in (about.unit, about.range() if listed or not about.choices else "") if note)
    said = f"{about.help} ({notes})" if notes else about.help
    if placed:
        word = typer.Argument(help=said, metavar=parameter.name.upper())
        return _keyword(parameter.name, Annotated[parameter.kind, word], parameter.default)
    if parameter.kind is bool:
        names = f"{flag(parameter.name)}/--no-{parameter.name.replace('_', '-')}"
        return _keyword(parameter.name, Annotated[bool, typer.Option(names, help=said)], parameter.default)
    option = typer.Option(
        flag(parameter.name),
        help=said,
        parser=_reader(parameter),
        metavar="<choice>" if listed else choices if about.choices else _KINDS.get(parameter.kind, "<text>"),
        autocompletion=starting(about.choices) if about.choices else None,
    )
    return _keyword(parameter.name, Annotated[parameter.kind, option], parameter.default)


_KINDS = {int: "<whole number>", float: "<number>"}
_WIDEST = 32
"""How wide the column of an option's values may be, in characters."""


def _reader(parameter: Parameter) -> Callable[[Any], Any]:
    """What turns the text given for a parameter into the kind that it has, or refuses it where it is out of range."""

    def read(value: Any) -> Any:
        if isinstance(value, str) and parameter.kind in (int, float):
            with suppress(ValueError):  # the check says what it must be
                value = parameter.kind(value)
        try:
            return parameter.check(value)
        except ParameterError as error:
            raise typer.BadParameter(str(error).removeprefix(f"{parameter.name} ")) from error

    return read


def _keyword(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)
