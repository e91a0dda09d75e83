"""From the declaration of a lens to its command: the same parameters, ranges, choices and defaults."""

import enum
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from convscope.cli import options
from convscope.cli.talk import check_images, guarded, put, put_json, say, watched
from convscope.errors import CannotWrite
from convscope.spec import LensSpec, Parameter
from convscope.values import Value, writable

Command = Callable[..., None]


def placeholder() -> None:
    """Stands for a lens that was not called, so that it need not be imported."""


def lens_command(spec: LensSpec) -> Command:
    """The function behind a lens's command, with the signature that the declaration asks for."""

    def command(**given: Any) -> None:
        run_lens(spec, **given)

    own = [_option(parameter) for parameter in spec.parameters.values()]
    shared = [
        _keyword("image", options.Images, inspect.Parameter.empty),
        _keyword("model", options.ModelAddress, inspect.Parameter.empty),
        *([_keyword("target", options.Target, None)] if spec.takes_target else []),
        *([_keyword("layer", options.Layer, None)] if spec.takes_layer else []),
        *own,
        *([_keyword("smooth", options.Smooth, None)] if spec.returns == "Attribution" else []),
        _keyword("out", options.Out, None),
        _keyword("as_json", options.Json, False),
        _keyword("weights", options.Weights, None),
        _keyword("trust", options.Trust, False),
        _keyword("device", options.Device, None),
    ]
    command.__name__ = spec.name
    command.__doc__ = f"{spec.title}: {spec.asks}\n\n{spec.reads}"
    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [*shared, _keyword("debug", options.Debug, False)]
    )
    command.__annotations__ = {p.name: p.annotation for p in [*shared, _keyword("debug", options.Debug, False)]}
    return guarded(command)


def run_lens(
    spec: LensSpec,
    *,
    image: list[str],
    model: str,
    out: Path | None,
    as_json: bool,
    weights: Path | None,
    trust: bool,
    device: str | None,
    **parameters: Any,
) -> None:
    """Run a lens on images and write or print what it gives."""
    places = _places(spec, image, out, as_json)
    check_images(image)
    from convscope.catalogue import call, load

    asked = {name: _plain(value) for name, value in parameters.items() if value not in (None, [])}
    say(f"opening {model} …")
    opened = load(model, weights=weights, device=device, trust=trust)
    with watched(spec.title):
        values = call(spec.name, opened, image, **asked)
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
        for name, value, place in zip(image, values, places, strict=True):
            put("\n".join(summary(name, value)))
            if place is not None:
                put(f"  written to {place}")


def summary(name: str, value: Value) -> list[str]:
    """A few lines on a value for the terminal."""
    from convscope.render.words import notes
    from convscope.values import Attribution, Prediction

    lines = [f"{name}: {value.record.title}"]
    if isinstance(value, Prediction):
        width = max(len(label) for label in value.labels)
        rows = zip(value.labels, value.confidences, value.indices, strict=True)
        lines += [f"  {label:<{width}}  {share:6.1%}  class {index}" for label, share, index in rows]
    if isinstance(value, Attribution):
        score = "" if value.score is None else f", score {value.score:.3g}"
        lines += [f"  explains {value.target}{score}"] if value.target else []
        lines += [f"  at layer {', '.join(value.layers)}"] if value.layers else []
        lines += [f"  values {float(value.values.min()):.3g} to {float(value.values.max()):.3g}"]
    lines += [f"  {'note: ' if note.warning else ''}{note.text}" for note in notes(value)]
    return [*lines, f"  cost {value.record.cost}"]


def _places(spec: LensSpec, images: Sequence[str], out: Path | None, as_json: bool) -> list[Path | None]:
    """Where each image's result goes, checked before any work."""
    if out is None and as_json:
        return [None] * len(images)
    if len(images) == 1:
        return [writable(out or Path(f"{stem(images[0])}-{spec.command}.png"))]
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


def _option(parameter: Parameter) -> inspect.Parameter:
    """The command-line option of a declared parameter."""
    about = parameter.about
    notes = ", ".join(note for note in (about.unit, about.range() if not about.choices else "") if note)
    said = f"{about.help} ({notes})" if notes else about.help
    flag = "--" + parameter.name.replace("_", "-")
    if about.choices:
        kind: Any = enum.Enum(parameter.name, {c: c for c in about.choices}, type=str)  # type: ignore[misc]
        return _keyword(parameter.name, Annotated[kind, typer.Option(flag, help=said)], kind(parameter.default))
    if parameter.kind is bool:
        names = f"{flag}/--no-{parameter.name.replace('_', '-')}"
        return _keyword(parameter.name, Annotated[bool, typer.Option(names, help=said)], parameter.default)
    return _keyword(parameter.name, Annotated[parameter.kind, typer.Option(flag, help=said)], parameter.default)


def _keyword(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, enum.Enum) else value
