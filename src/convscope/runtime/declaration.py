"""Calling a lens: what happens between a person's arguments and the few lines of maths in a lens file.

A lens is a function of a `Model`, prepared `Images` (or a `Dataset`), an `Aim`, layer addresses and its own
parameters, which returns one value per image, or one value where it does not look at each image for itself. Around
it, in this order: parameters are checked, the input is prepared, target and layers are looked up, the model is taken
in eval mode and frozen, the cost is metered, the record is written on every value, and the model is given back as it
was.
"""

import functools
import inspect
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from torch import Tensor

from convscope.engine.context.chunking import one_at_a_time
from convscope.engine.context.metering import metered
from convscope.engine.context.progress_bar import shown
from convscope.engine.inputs.specs import Images
from convscope.engine.layers.layer_notes import layer_notes
from convscope.engine.layers.trace import calls_of, traced
from convscope.engine.network.cache import Entry
from convscope.engine.network.checks import BACKWARD, BATCH, backward_pass, independence
from convscope.engine.network.model import Model, as_model
from convscope.engine.network.torch_context import Surroundings, set_aside
from convscope.engine.run.determinism import looked_for, scored_again
from convscope.engine.run.gradients import (
    cut_off,
    differentiable,
    differentiating,
    gradients_watched,
    settle,
    sharing_nothing,
)
from convscope.engine.run.nonfinite import where_it_begins
from convscope.engine.run.zero_maps import reason, where_gradients_stop
from convscope.engine.targets.target import Aim, describe
from convscope.errors import ImagesInParts, ModelFailed, NoGradient, NotFinite, OutputError, ParameterError
from convscope.runtime.arguments import Arguments, look_up_layers, made_ready
from convscope.runtime.several_targets import for_each_target
from convscope.runtime.shown_channels import with_drawn_channels
from convscope.runtime.smoothing import Smooth, as_smooth, smoothed
from convscope.runtime.value_stream import stream_of
from convscope.spec import FAMILIES, INPUTS, LENSES, LensSpec, read_parameters
from convscope.values import Attribution, Cost, LayerAttribution, Record, Value

DIFFERENTIATING = ("gradient", "cam", "backward")
"""Families whose lenses form gradients of what they explain."""

FOR_ALL = ("smooth", "smooth_of", "differentiable", "targets")
"""What can be asked of every attribution without its declaring it: a mean over copies (or of their squares, or their
variance), a map with a graph, several targets at once."""


_IN_PARTS: Entry[bool] = Entry("in parts", bool)
"""Whether layers of the network ran for some of the images of a batch at a time."""


def lens(
    *,
    family: str,
    title: str,
    cite: str,
    asks: str,
    reads: str,
    claims: Sequence[str] | frozenset[str] | set[str] = (),
    fails: Mapping[str, str] | None = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declare a function as a lens.

    Args:
        family: one of ``spec.FAMILIES``.
        title: the method's name as its authors write it.
        cite: its key in ``docs/references.bib``.
        asks: the question it answers, in a person's words.
        reads: one line on how to read its picture and what that cannot say.
        claims: properties that the conformance tests hold it to.
        fails: properties it is known not to have, each with the reason.
    """
    if family not in FAMILIES:
        raise ValueError(f"no family {family!r}: {', '.join(FAMILIES)}")

    def declare(function: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(function).parameters
        inputs = tuple(name for name in signature if name in INPUTS)
        declaration = LensSpec(
            name=function.__name__,
            family=family,
            title=title,
            cite=cite,
            asks=asks,
            reads=reads,
            function=function,
            claims=frozenset(claims),
            fails=dict(fails or {}),
            parameters=read_parameters(function, INPUTS),
            inputs=inputs,
            required=tuple(name for name in inputs if signature[name].default is inspect.Parameter.empty),
            positional=tuple(n for n, p in signature.items() if p.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD),
            returns=_value_kind(function),
        )
        LENSES.add(function.__name__, declaration)

        @functools.wraps(function)
        def call(*args: Any, **named: Any) -> Any:
            return conduct(declaration, _by_name(declaration, args, named))

        call.declaration = declaration  # type: ignore[attr-defined]
        return call

    return declare


def attributions(
    model: Model,
    images: Images,
    aim: Aim | None,
    values: Tensor,
    *,
    layer_values: Mapping[str, Tensor] | None = None,
    channels: Tensor | None = None,
    uncertainty: Mapping[str, Tensor] | None = None,
    signed: bool = True,
    notes: Sequence[Mapping[str, Any]] | None = None,
    why_blank: str | Sequence[str | None] | None = None,
    otherwise: str | None = None,
) -> list[Attribution]:
    """One `Attribution` per image from maps (N, …) in the input's extent.

    Args:
        uncertainty: maps (N, …) of how sure the values are, such as ``"spread"`` or ``"band"``.
        why_blank: the reason to give where a map is zero everywhere, for all images or for each; where there is none
            it is found out whether the gradient is zero, and why.
        otherwise: the reason to give where the gradient is not zero.
    """
    values = (values if differentiable() else values.detach()).float().cpu()
    peaks = values.detach().reshape(len(values), -1).abs().amax(1)
    if not bool(torch.isfinite(peaks).all()):
        raise NotFinite("the map holds NaN or infinite numbers: nothing can be read from it")
    channels = None if channels is None else (channels if differentiable() else channels.detach()).float().cpu()
    sureness = {name: v.detach().float().cpu() for name, v in (uncertainty or {}).items()}
    at_layers = {
        address: (v if differentiable() else v.detach()).float().cpu() for address, v in (layer_values or {}).items()
    }
    made = []
    for row in range(len(images)):
        facts = dict(notes[row]) if notes else {}
        if peaks[row] == 0:
            known = why_blank if why_blank is None or isinstance(why_blank, str) else why_blank[row]
            facts["blank"] = known or reason(model, images, aim, row, tuple(at_layers), otherwise)
        made.append(
            Attribution(
                values=values[row].clone(),  # a kept value must not keep the batch
                layer_values={address: v[row].clone() for address, v in at_layers.items()},
                channels=None if channels is None else channels[row].clone(),
                uncertainty={name: v[row].clone() for name, v in sureness.items()},
                photo=images.photo(row),  # type: ignore[arg-type]
                signed=signed,
                target="" if aim is None else describe(aim, row, model),
                target_index=None if aim is None else aim.index_of(row),
                score=None if aim is None else aim.scores[row],
                layers=tuple(at_layers),
                notes=facts,
            )
        )
    return made


def conduct(declaration: LensSpec, given: dict[str, Any]) -> Any:
    """Call a lens with everything a person gave it, by name.

    A lens that looks at each image gives one value for one image, a list for several, and for a data set a
    `ValueStream`, which computes them as they are asked for.
    """
    if given.get("targets") is not None:
        return for_each_target(declaration, given, conduct)
    how, graph = _for_all(declaration, given)
    own = {name: value for name, value in given.items() if name not in declaration.inputs and name not in FOR_ALL}
    parameters = declaration.checked(own)
    if "model" not in declaration.inputs:  # plain arithmetic: there is no network to look into
        with metered() as meter:
            value: Value = declaration.function(**parameters)
        return value.with_record(_record(declaration, parameters, meter.cost(1)))
    stream = stream_of(declaration, given, functools.partial(conduct, declaration))
    if stream is not None:
        return stream
    with shown(declaration.title), set_aside(as_model(given["model"]).device.type) as surroundings:
        return _within(surroundings, declaration, given, parameters, how, graph)


def _within(
    surroundings: Surroundings,
    declaration: LensSpec,
    given: dict[str, Any],
    parameters: dict[str, Any],
    how: Smooth | None,
    graph: bool,
) -> Any:
    """The rest of a call, away from settings that are meant for the network."""
    asked = made_ready(declaration, given, functools.partial(_default, declaration))
    model, measured = asked.model, asked.measured()
    with model.untouched(frozen=not graph), metered() as meter, differentiating(graph):
        if declaration.takes_layer:
            look_up_layers(declaration, asked, given.get("layer", _default(declaration, "layer")))
        try:
            values = _looked_and_told(declaration, asked, parameters, how)
        except NoGradient as error:
            stops = where_gradients_stop(model, asked.probe(), asked.aim) if error.cut_off and asked.aim else ""
            if not stops:
                raise
            raise NoGradient(cut_off(model, f"no gradient passes {stops}")) from error
        except NotFinite as error:
            where = where_it_begins(model, error.images or asked.probe())  # type: ignore[arg-type]
            raise NotFinite(f"{error} ({where})") from error
        values = [with_drawn_channels(value, asked) for value in _with_meaning(values, asked)]
        cost = meter.cost(len(values))
    parameters |= {} if how is None else {"smooth": vars(how)}
    record = _record(declaration, parameters | asked.said(), cost, model)
    caveats = (*record.caveats, *asked.remarks(), *surroundings.said())
    record = replace(record, caveats=caveats, **measured)
    finished = [_recorded(value, record, name) for value, name in zip(values, asked.names(), strict=False)]
    return finished[0] if not declaration.each_image or (asked.images and asked.images.single) else finished


def _looked_and_told(
    declaration: LensSpec, asked: Arguments, parameters: dict[str, Any], how: Smooth | None
) -> list[Value]:
    """The values, with notes on what the network does that the lens does not expect of it."""
    if asked.images is None and asked.data is None:
        return _looked(declaration, asked, parameters, how)
    model, probe = asked.model, asked.probe().tensor
    try:
        trace = traced(model, probe)
    except (ModelFailed, OutputError):  # the lens will say so, if it needs the network's output at all
        return _looked(declaration, asked, parameters, how)
    differentiates = declaration.family in DIFFERENTIATING and asked.aim is not None
    said: dict[str, Any] = {}
    if declaration.each_image or asked.data is not None:
        said[BATCH] = independence(model, trace.image, trace.in_company, differentiate=differentiates)
    alone = trace.one_by_one or bool(said.get(BATCH))
    with gradients_watched() as uses:
        values = _looked_in_time(declaration, asked, parameters, how, alone=alone)
        said[BACKWARD] = backward_pass(model, trace.image) if uses else ""
    said["call"] = _last_calls(asked, probe)
    said = {key: note for key, note in said.items() if note} | _of_layers(declaration, asked, probe)
    return [replace(value, notes={**value.notes, **said}) for value in values] if said else values


def _looked_in_time(
    declaration: LensSpec, asked: Arguments, parameters: dict[str, Any], how: Smooth | None, *, alone: bool
) -> list[Value]:
    """The values, one image at a time where no call of a layer shows all images of a batch."""
    try:
        with one_at_a_time(alone or asked.model.cache[_IN_PARTS]):
            return _looked(declaration, asked, parameters, how)
    except ImagesInParts:
        if alone or asked.model.cache[_IN_PARTS]:
            raise
        asked.model.cache[_IN_PARTS] = True
        with one_at_a_time():
            return _looked(declaration, asked, parameters, how)


def _of_layers(declaration: LensSpec, asked: Arguments, probe: Tensor) -> dict[str, Any]:
    """How the outputs of the layers lie that are looked at, and why they were chosen where nobody named them."""
    addresses = asked.arguments.get("layer", ())
    if not addresses or not declaration.each_image:
        return {}
    return layer_notes(asked.model, probe, addresses, chosen=asked.layer_chosen)


def _last_calls(asked: Arguments, probe: Tensor) -> str:
    """Which of the layers that are looked at run several times in one forward, and are seen at the last of them."""
    layers = [*asked.arguments.get("layer", ()), *([asked.aim.layer] if asked.aim and asked.aim.layer else [])]
    several = {address: calls_of(asked.model, address, probe) for address in layers}
    said = [f"{address!r} runs {times} times in one forward" for address, times in several.items() if times > 1]
    return f"{', '.join(said)}: what is shown is its last call" if said else ""


def _record(declaration: LensSpec, parameters: Mapping[str, Any], cost: Cost, model: Model | None = None) -> Record:
    """What is written on every value of one call."""
    return Record(
        lens=declaration.command,
        title=declaration.title,
        asks=declaration.asks,
        reads=declaration.reads,
        parameters=parameters,
        model={} if model is None else model.described(),
        versions=versions(),
        cost=cost,
        caveats=() if model is None else model.caveats,
    )


def _for_all(declaration: LensSpec, given: Mapping[str, Any]) -> tuple[Smooth | None, bool]:
    """Whether and how to average over copies, and whether the map keeps its graph."""
    how, graph = as_smooth(given.get("smooth"), given.get("smooth_of")), given.get("differentiable", False)
    if not isinstance(graph, bool):
        raise ParameterError(f"differentiable must be True or False, got {graph!r}")
    if how is not None and not declaration.can_average:
        raise ParameterError(f"{declaration.command} gives no map that could be averaged: leave smooth out")
    if graph and "differentiable" not in declaration.claims:
        able = [spec.command for spec in LENSES.values() if "differentiable" in spec.claims]
        raise ParameterError(f"{declaration.command} gives no differentiable map; {', '.join(sorted(able))} do")
    if graph and how is not None:
        raise ParameterError("smooth and differentiable do not go together: average in your own loop")
    return how, graph


def _looked(declaration: LensSpec, asked: Arguments, parameters: dict[str, Any], how: Smooth | None) -> list[Value]:
    """The lens's own values, or their mean over copies of the images."""
    if how is None:
        with looked_for() as looks:
            found = declaration.function(**asked.arguments, **parameters)
        if not declaration.each_image:
            return [found]
        values: list[Value] = found
        doubtful = asked.aim is not None and declaration.family == "perturbation" and not looks
        return _doubted(values, asked) if doubtful else values
    images, aim = asked.arguments["image"], asked.aim
    if aim is not None:
        settle(asked.model, images, aim)

    def look(copies: Images, rows: Tensor) -> list[Attribution]:
        targeted = {} if aim is None else {"target": aim.for_copies(rows)}
        made: list[Attribution] = declaration.function(**{**asked.arguments, "image": copies, **targeted}, **parameters)
        return made

    with sharing_nothing():
        averaged = smoothed(images, how, look)
    return [replace(one, score=None if aim is None else aim.scores[row]) for row, one in enumerate(averaged)]


def _doubted(found: list[Value], asked: Arguments) -> list[Value]:
    """What compares many forwards means nothing where the network answers at random: that is looked for and said."""
    notes = scored_again(asked.model, asked.arguments["image"], asked.arguments["target"])
    return [replace(v, notes={**v.notes, **said}) if said else v for v, said in zip(found, notes, strict=True)]


def _with_meaning(values: list[Value], asked: Arguments) -> list[Value]:
    """What the network's output means, among the notes of every value that explains a score of it."""
    if asked.aim is None or asked.aim.layer is not None or asked.images is None:
        return values
    words = asked.model.meaning_for(asked.images.tensor).words(score=True)
    explanations = (Attribution, LayerAttribution)
    return [replace(v, notes={**v.notes, "output": words}) if isinstance(v, explanations) else v for v in values]


def _by_name(declaration: LensSpec, args: tuple[Any, ...], named: dict[str, Any]) -> dict[str, Any]:
    """A call's arguments by name, refused when they do not fit the signature."""
    if len(args) > len(declaration.positional):
        rest = [n for n in (*declaration.inputs, *declaration.parameters) if n not in declaration.positional]
        taken = ", ".join(declaration.positional)
        raise TypeError(f"{declaration.name}({taken}, …) takes the rest by name: {', '.join(rest)}")
    given = dict(zip(declaration.positional, args, strict=False))
    for name in given:
        if name in named:
            raise TypeError(f"{declaration.name}() got {name!r} twice")
    given |= named
    missing = [name for name in declaration.required if name not in given]
    if missing:
        raise TypeError(f"{declaration.name}() needs {' and '.join(missing)}")
    return given


def _recorded(value: Value, record: Record, name: str) -> Value:
    asked = dict(record.parameters)
    if isinstance(value, Attribution):
        asked.pop("layer", None)  # the value itself knows best, and says it after its target
        asked |= (
            {"target": value.target_index if value.target_index is not None else value.target} if value.target else {}
        )
        asked |= {"layer": list(value.layers)} if value.layers else {}
    elif isinstance(value, LayerAttribution):
        asked |= {"target": value.target_index if value.target_index is not None else value.target}
    return value.with_record(replace(record, input=name, parameters=asked))


def _default(declaration: LensSpec, name: str) -> Any:
    return inspect.signature(declaration.function).parameters[name].default


def _value_kind(function: Callable[..., Any]) -> str:
    kind = inspect.signature(function).return_annotation
    return str(getattr(kind, "__args__", [kind])[0].__name__)


@functools.cache
def versions() -> dict[str, str]:
    """The versions a result depends on."""
    found = {"python": platform.python_version(), "torch": torch.__version__}
    try:
        found["convscope"] = version("convscope")
    except PackageNotFoundError:
        found["convscope"] = "source"
    return found
