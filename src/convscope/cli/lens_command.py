"""From the declaration of a lens to its command: the same parameters, ranges, choices and defaults."""

import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from convscope.cli import options
from convscope.cli.completion import starting
from convscope.cli.console import guarded, put, put_json, watched
from convscope.cli.help_text import help_text
from convscope.cli.image_arguments import ImageArguments, read_images, say_skipped
from convscope.cli.interrupts import STOPPED
from convscope.cli.opening import OPENING, files_of, open_model, opening_options
from convscope.cli.results import distinct_stems, many_places, named_after, one_place, save, stem, told
from convscope.cli.wording import flag
from convscope.errors import InputError, ParameterError
from convscope.spec import SMOOTH_OF, LensSpec, Parameter
from convscope.values import Value

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
        *([_keyword("smooth", options.Smooth, None), _option(SMOOTH_OF)] if spec.can_average else []),
        _keyword("out", options.Out, None),
        _keyword("as_json", options.Json, False),
        _keyword("debug", options.Debug, False),
    ]
    command.__name__ = spec.name
    command.__doc__ = help_text(f"{spec.title}: {spec.asks}\n\n{spec.reads}")
    command.__signature__ = inspect.Signature(signature)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in signature}
    return guarded(command)


def run_lens(spec: LensSpec, *, out: str | None, as_json: bool, **given: Any) -> None:
    """Run a lens and write or print what it gives."""
    images = read_images([path for name in ("image", "images") for path in given.pop(name, None) or []])
    others = {name: _second(given[name]) for name in ("guide", "style") if given.get(name)}
    if "image" in spec.inputs and not spec.each_image and len(images.members) > 1:
        raise InputError(f"{spec.command} looks at one image, got {len(images.members)}: name one")
    opening = {name: given.pop(name) for name in OPENING if name in given and name not in spec.parameters}
    read = [file for one in (images, *others.values()) for file in one.files]
    read += files_of(given.get("model"), opening)
    places = _places(spec, images, out, as_json, given, read)
    from convscope.catalogue import call

    asked = {name: value for name, value in given.items() if value not in (None, [])}
    asked |= {name: one.members[0] for name, one in others.items()}
    if "model" in asked:
        asked["model"] = open_model(asked["model"], opening)
    if "images" in spec.inputs and images.members:
        asked["images"] = images.as_data()
    elif images.members:
        asked["image"] = images.dataset(asked["model"]) if spec.each_image else images.members[0]
    report = _Report(spec, images, places, as_json)
    with watched(spec.title) as stopped:
        found = call(spec.name, **asked)
        for place, value in found.indexed() if spec.each_image else [(0, found)]:
            report.add(place, value)
    report.end()
    skipped = spec.each_image and say_skipped(found.skipped, len(images.members))
    if stopped.is_set():  # a drawing that ended with the best so far
        raise typer.Exit(STOPPED)
    if skipped:
        raise typer.Exit(1)


class _Report:
    """Writes values and tells of them as they come; as JSON all at once, at the end."""

    def __init__(self, spec: LensSpec, images: ImageArguments, places: Sequence[Path | None], as_json: bool) -> None:
        self.names = images.names if spec.each_image else (images.names[0] if images.single else "",)
        self.places, self.as_json = places, as_json
        self.alone = images.single or not spec.each_image
        self.manifests: list[dict[str, Any]] = []

    def add(self, number: int, value: Value) -> None:
        """Write the value of image ``number`` and tell of it."""
        place = self.places[number]
        if place is not None:
            save(value, place)
        if self.as_json:
            self.manifests.append({**value.manifest(), "file": str(place) if place else None})
            return
        put("\n".join(summary(self.names[number], value)))
        if place is not None:
            put(f"  written to {place}")

    def end(self) -> None:
        """Tell what is told at the end."""
        if self.as_json:
            put_json(self.manifests[0] if self.alone else self.manifests)


def summary(name: str, value: Value) -> list[str]:
    """A few lines on a value for the terminal."""
    from convscope.render.captions import notes

    lines = [f"{name}: {value.record.title}" if name else value.record.title]
    lines += [f"  {line}" for line in value.lines()]
    lines += [f"  {'note: ' if note.warning else ''}{value.record.worded(note.text)}" for note in notes(value)]
    return [*lines, f"  cost {value.record.cost}"]


def _inputs(spec: LensSpec, name: str) -> list[inspect.Parameter]:
    """The words of the command line that stand for an input of a lens."""
    needed = name in spec.required
    if name == "model":
        return [_keyword("model", options.ModelAddress, inspect.Parameter.empty), *opening_options(spec.parameters)]
    if name in ("image", "images"):
        pictures = options.Images if spec.each_image else options.DataSet if name == "images" else options.Example
        return [_keyword(name, pictures, inspect.Parameter.empty if needed else None)]
    kind: Any = {"target": options.Target, "layer": options.Layer, "unit": options.Unit}.get(name, options.Second)
    return [_keyword(name, kind, inspect.Parameter.empty if needed else None)]


def _second(word: str) -> ImageArguments:
    """A second image: one, and not a folder."""
    found = read_images([word])
    if not found.single:
        raise InputError(f"a second image is one image, got {word!r} with {len(found.members)}: name one")
    return found


def _slug(address: str) -> str:
    """A model's address for use in file names."""
    return re.sub(r"\W+", "-", Path(address.partition("?")[0].rpartition(":")[2]).name or "model").strip("-")


def _places(
    spec: LensSpec,
    images: ImageArguments,
    out: str | None,
    as_json: bool,
    given: Mapping[str, Any],
    read: Iterable[str],
) -> list[Path | None]:
    """Where each result goes, checked before any work; nowhere where JSON alone was asked for."""
    each = spec.each_image
    if out is None and as_json:
        return [None] * (len(images.members) if each else 1)
    explained = told(given.get("target"), given.get("unit"), given.get("layer"))
    if each:
        stems = distinct_stems(images.names)
    else:
        stems = [stem(images.names[0]) if images.single else _slug(given["model"]) if given.get("model") else ""]
    names = [f"{named_after(one, spec.command, explained)}.png" for one in stems]
    if each and not images.single:
        return [*many_places(out, names, read)]
    return [one_place(out, names[0], Value.kinds[spec.returns].writer, read)]


def _option(parameter: Parameter, *, placed: bool = False) -> inspect.Parameter:
    """The command-line option of a declared parameter; or a word in its place, where Python takes it so."""
    about = parameter.about
    choices = f"<{'|'.join(about.choices)}>"
    listed = bool(about.choices) and len(choices) > _WIDEST  # in the help, where lines are broken between words
    notes = ", ".join(note for note in (about.unit, about.range() if listed or not about.choices else "") if note)
    said = help_text(f"{about.help} ({notes})" if notes else about.help)
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
