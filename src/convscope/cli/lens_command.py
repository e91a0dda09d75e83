"""The command of a lens, generated from its declaration: the same parameters, ranges, choices and defaults."""

import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from convscope.cli import options
from convscope.cli.completion import complete_choices
from convscope.cli.console import print_json, print_result, report_errors, track_progress
from convscope.cli.error_wording import option_name
from convscope.cli.help_text import help_text
from convscope.cli.image_arguments import ImageArguments, report_skipped
from convscope.cli.interrupts import EXIT_INTERRUPTED
from convscope.cli.model_opening import OPENING_OPTIONS, CommandLineOpener, model_files, opening_parameters
from convscope.cli.result_paths import (
    image_stem,
    join_name_parts,
    output_path,
    output_paths,
    save_value,
    target_slug,
    unique_stems,
)
from convscope.cli.torch_import import import_torch
from convscope.errors import ParameterError
from convscope.request import Request
from convscope.spec import SMOOTH_OF, InputKind, LensSpec, Parameter, inputs_with
from convscope.values import Value

Command = Callable[..., None]


def placeholder_command() -> None:
    """The body of a command that is not called, whose lens is therefore not imported."""


def lens_command(spec: LensSpec) -> Command:
    """The command function of a lens, with the signature given by its declaration."""

    def command(**arguments: Any) -> None:
        run_lens(spec, **arguments)

    inputs = [keyword for kind in spec.input_kinds for keyword in _inputs(spec, kind)]
    signature = [
        *inputs,
        *[_option(parameter, positional=parameter.name in spec.positional) for parameter in spec.parameters.values()],
        *([_keyword("smooth", options.Smooth, None), _option(SMOOTH_OF)] if spec.can_average else []),
        *([_keyword("explain", options.Explain, None)] if spec.each_image and spec.depends_on_explained else []),
        _keyword("out", options.Out, None),
        _keyword("as_json", options.Json, False),
        _keyword("debug", options.Debug, False),
    ]
    command.__name__ = spec.name
    command.__doc__ = help_text(f"{spec.title}: {spec.asks}\n\n{spec.reads}")
    command.__signature__ = inspect.Signature(signature)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in signature}
    return report_errors(command)


def run_lens(spec: LensSpec, *, out: str | None, as_json: bool, **arguments: Any) -> None:
    """Run a lens and write or print its results."""
    request = lens_request(spec, arguments)
    opener = CommandLineOpener(spec, request)
    images = opener.images
    input_files = [*opener.files, *model_files(request.inputs.get("model"), request.model_options)]
    paths = _output_paths(spec, images, out, as_json, request, input_files)
    writer = _ResultWriter(spec, images, paths, as_json)
    import_torch()
    with request.opened(opener) as call_lens, track_progress(spec.title) as stopped:
        result = call_lens()
        is_stream = spec.each_image and not images.inputs_by_name
        for index, value in result.indexed() if is_stream else [(0, result)]:
            writer.add(index, value)
    writer.finish()
    skipped = is_stream and report_skipped(result.skipped, len(images.members))
    if stopped.is_set():  # an optimization that returned its best result so far
        raise typer.Exit(EXIT_INTERRUPTED)
    if skipped:
        raise typer.Exit(1)


def lens_request(spec: LensSpec, arguments: Mapping[str, Any]) -> Request:
    """The request that the arguments of a lens's command make."""
    given = {name: value for name, value in arguments.items() if value not in (None, [])}
    own = {*spec.inputs, *spec.options}
    if len(given.get("explain", ())) == 1:  # one name gives the map of one input, a list those of several
        given["explain"] = given["explain"][0]
    return Request(
        spec.name,
        inputs={kind.name: given[kind.name] for kind in spec.input_kinds if kind.name in given},
        parameters={name: given[name] for name in (*spec.options, "explain") if name in given},
        model_options={name: given[name] for name in OPENING_OPTIONS if given.get(name) and name not in own},
    )


class _ResultWriter:
    """Saves and prints values as they are computed; JSON is printed at the end."""

    def __init__(self, spec: LensSpec, images: ImageArguments, paths: Sequence[Path | None], as_json: bool) -> None:
        self.names = images.names if spec.each_image else (images.names[0] if images.single else "",)
        self.paths, self.as_json = paths, as_json
        self.is_single = images.single or not spec.each_image
        self.manifests: list[dict[str, Any]] = []

    def add(self, index: int, value: Value) -> None:
        """Save the value of the image at ``index`` and print its summary."""
        path = self.paths[index]
        if path is not None:
            save_value(value, path)
        if self.as_json:
            self.manifests.append({**value.manifest(), "file": str(path) if path else None})
            return
        print_result("\n".join(summary_lines(self.names[index], value)))
        if path is not None:
            print_result(f"  written to {path}")

    def finish(self) -> None:
        """Print the JSON of all values, if requested."""
        if self.as_json:
            print_json(self.manifests[0] if self.is_single else self.manifests)


def summary_lines(name: str, value: Value) -> list[str]:
    """A summary of a value for the terminal."""
    from convscope.render.captions import notes

    lines = [f"{name}: {value.record.title}" if name else value.record.title]
    lines += [f"  {line}" for line in value.lines()]
    lines += [f"  {'note: ' if note.warning else ''}{value.record.adapt_wording(note.text)}" for note in notes(value)]
    return [*lines, f"  cost {value.record.cost}"]


def _inputs(spec: LensSpec, kind: InputKind) -> list[inspect.Parameter]:
    """The command-line parameters for an input of a lens."""
    annotation = options.input_annotation(kind, each_image=spec.each_image)
    own = _keyword(kind.name, annotation, inspect.Parameter.empty if kind.name in spec.required else None)
    return [own, *opening_parameters(spec.parameters)] if kind.content == "network" else [own]


def _model_slug(address: str) -> str:
    """The address of a model in a form for file names."""
    return re.sub(r"\W+", "-", Path(address.partition("?")[0].rpartition(":")[2]).name or "model").strip("-")


def _output_paths(
    spec: LensSpec,
    images: ImageArguments,
    out: str | None,
    as_json: bool,
    request: Request,
    input_files: Iterable[str],
) -> list[Path | None]:
    """The path of each result, checked before any computation; None if only JSON was requested."""
    if out is None and as_json:
        return [None] * (len(images.members) if spec.each_image else 1)
    target = target_slug(*(request.inputs.get(name) for name in inputs_with("address")))
    if spec.each_image:
        stems = unique_stems(images.names)
    elif images.single:
        stems = [image_stem(images.names[0])]
    else:
        stems = [_model_slug(request.inputs["model"]) if "model" in request.inputs else ""]
    names = [f"{join_name_parts(stem, spec.command, target)}.png" for stem in stems]
    if spec.each_image and not images.single:
        return [*output_paths(out, names, input_files)]
    return [output_path(out, names[0], spec.returns.writer, input_files)]


def _option(parameter: Parameter, *, positional: bool = False) -> inspect.Parameter:
    """The command-line option of a declared parameter, or an argument if it is positional in Python."""
    about = parameter.about
    choices = f"<{'|'.join(about.choices)}>"
    in_help = bool(about.choices) and len(choices) > _MAX_WIDTH  # long lists go into the help text, which is wrapped
    notes = ", ".join(note for note in (about.unit, about.range() if in_help or not about.choices else "") if note)
    help_ = help_text(f"{about.help} ({notes})" if notes else about.help)
    if positional:
        argument = typer.Argument(help=help_, metavar=parameter.name.upper())
        return _keyword(parameter.name, Annotated[parameter.kind, argument], parameter.default)
    if parameter.kind is bool:
        names = f"{option_name(parameter.name)}/--no-{parameter.name.replace('_', '-')}"
        return _keyword(parameter.name, Annotated[bool, typer.Option(names, help=help_)], parameter.default)
    option = typer.Option(
        option_name(parameter.name),
        help=help_,
        parser=_parser(parameter),
        metavar="<choice>" if in_help else choices if about.choices else _METAVARS.get(parameter.kind, "<text>"),
        autocompletion=complete_choices(about.choices) if about.choices else None,
    )
    return _keyword(parameter.name, Annotated[parameter.kind, option], parameter.default)


_METAVARS = {int: "<whole number>", float: "<number>"}
_MAX_WIDTH = 32
"""The maximum width of the column of option values in the help, in characters."""


def _parser(parameter: Parameter) -> Callable[[Any], Any]:
    """A function that converts text to the type of a parameter, and refuses it if it is out of range."""

    def parse(value: Any) -> Any:
        if isinstance(value, str) and parameter.kind in (int, float):
            with suppress(ValueError):  # `Parameter.check` reports the error
                value = parameter.kind(value)
        try:
            return parameter.check(value)
        except ParameterError as error:
            raise typer.BadParameter(str(error).removeprefix(f"{parameter.name} ")) from error

    return parse


def _keyword(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)
