"""One call of a lens, from the arguments of the caller to values with their records.

`call_lens` surrounds the mathematics in the file of a lens, in this order: parameters are checked, inputs are prepared,
target and layers are resolved, the model is put into eval mode and frozen, the cost is metered, a record is attached to
every value, and the model is restored.
"""

import functools
import inspect
import platform
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from torch import Tensor

from convscope.engine.context.chunking import one_at_a_time
from convscope.engine.context.metering import metered
from convscope.engine.context.progress_bar import shown
from convscope.engine.context.run_context import changed, observed
from convscope.engine.inputs.specs import Images
from convscope.engine.layers.layer_notes import layer_notes
from convscope.engine.layers.layer_trace import call_count, trace_layers
from convscope.engine.network.assumption_checks import BACKWARD, BATCH, check_backward_pass, check_independence
from convscope.engine.network.cache import CacheEntry
from convscope.engine.network.forward_memory import require_memory_of_forward
from convscope.engine.network.model import Model, as_model
from convscope.engine.network.torch_context import TorchSettings, without_caller_settings
from convscope.engine.run.determinism import scored_again
from convscope.engine.run.gradients import (
    cut_off,
    keeping_graph,
    note_gradient_use,
    settle,
    sharing_nothing,
)
from convscope.engine.run.nonfinite import where_it_begins
from convscope.engine.run.zero_maps import where_gradients_stop
from convscope.errors import ImagesInParts, ModelFailed, NoGradient, NotFinite, OutputError, ParameterError
from convscope.runtime.arguments import Arguments, prepare_arguments, set_layers
from convscope.runtime.capabilities import require_attention, require_capabilities, require_gates
from convscope.runtime.several_inputs import for_each_input, is_bound_by_sample
from convscope.runtime.several_targets import for_each_target
from convscope.runtime.shown_channels import with_drawn_channels
from convscope.runtime.smoothing import Smooth, as_smooth, smoothed
from convscope.runtime.value_stream import stream_of
from convscope.spec import LENSES, LensSpec
from convscope.values import Attribution, Cost, LayerAttribution, Record, Value
from convscope.values.facts import Fact

COMMON_OPTIONS = ("smooth", "smooth_of", "differentiable", "targets", "explain")
"""Options that every attribution has without declaring them: an average over perturbed copies (or of their squares, or
their variance), a map with a graph, several targets in one call, the explained ones of several inputs."""

_IN_PARTS: CacheEntry[bool] = CacheEntry("in parts", bool)
"""Whether some layer of the network processes only a part of the batch in each of its calls."""


def call_lens(declaration: LensSpec, arguments: dict[str, Any]) -> Any:
    """Call a lens with all arguments of the caller, by name.

    A lens that processes each image gives one value for one image, a list for several, and for a data set a
    `ValueStream`, which computes them on demand.
    """
    if is_bound_by_sample(declaration, arguments.get("model")):
        return for_each_input(declaration, arguments, call_lens)
    if arguments.get("explain") is not None:
        raise ParameterError("explain picks one of several inputs, and this network takes one: leave it out")
    if arguments.get("targets") is not None:
        return for_each_target(declaration, arguments, call_lens)
    smooth, keep_graph = _common_options(declaration, arguments)
    reserved = (*declaration.inputs, *COMMON_OPTIONS)
    parameters = declaration.checked({name: value for name, value in arguments.items() if name not in reserved})
    if "model" not in declaration.inputs:  # plain arithmetic without a network
        with metered() as meter:
            value: Value = declaration.function(**parameters)
        return value.with_record(_record(declaration, parameters, meter.cost(1)))
    arguments = {**arguments, "model": as_model(arguments["model"])}
    require_capabilities(declaration, arguments["model"])
    stream = stream_of(declaration, arguments, functools.partial(call_lens, declaration))
    if stream is not None:
        return stream
    with shown(declaration.title), without_caller_settings(arguments["model"].device.type) as surroundings:
        return _call_with_network(surroundings, declaration, arguments, parameters, smooth, keep_graph)


def _call_with_network(
    surroundings: TorchSettings,
    declaration: LensSpec,
    arguments: dict[str, Any],
    parameters: dict[str, Any],
    smooth: Smooth | None,
    keep_graph: bool,
) -> Any:
    """The call itself, outside autocast and default devices, which are meant for the network alone."""
    down_to_input = "gradients" in declaration.needs and not declaration.takes_layer
    with changed(differentiates_to_input=down_to_input):
        prepared = prepare_arguments(declaration, arguments, functools.partial(_default, declaration))
    model, input_facts = prepared.model, prepared.input_facts()
    with model.preserve_state(frozen=not keep_graph), metered() as meter, keeping_graph(keep_graph):
        if prepared.images is not None:
            require_memory_of_forward(model, prepared.images.tensor, gradients=down_to_input)
        if declaration.takes_layer:
            set_layers(declaration, prepared, arguments.get("layer", _default(declaration, "layer")))
        if prepared.images is not None or prepared.data is not None:
            require_attention(declaration, model, prepared.probe().tensor)
            require_gates(declaration, model, prepared.probe().tensor)
        try:
            values = _values_with_network_notes(declaration, prepared, parameters, smooth)
        except NoGradient as error:
            if not error.cut_off or prepared.target is None:
                raise
            stops = where_gradients_stop(model, prepared.probe(), prepared.target)
            if not stops:
                raise
            raise NoGradient(cut_off(model, f"no gradient passes {stops}")) from error
        except NotFinite as error:
            where = where_it_begins(model, error.images or prepared.probe())  # type: ignore[arg-type]
            raise NotFinite(f"{error} ({where})") from error
        values = [with_drawn_channels(value, prepared) for value in _with_output_meaning(values, prepared)]
        cost = meter.cost(len(values))
    parameters |= {} if smooth is None else {"smooth": vars(smooth)}
    record = _record(declaration, parameters | prepared.recorded_inputs(), cost, model)
    caveats = (*record.caveats, *prepared.remarks(), *surroundings.caveats())
    record = replace(record, caveats=caveats, **input_facts)
    inputs = zip(values, prepared.names(), prepared.grid_facts(), strict=False)
    finished = [_with_record(value, replace(record, **grid), name) for value, name, grid in inputs]
    return finished[0] if not declaration.each_image or (prepared.images and prepared.images.single) else finished


def _values_with_network_notes(
    declaration: LensSpec, prepared: Arguments, parameters: dict[str, Any], smooth: Smooth | None
) -> list[Value]:
    """The values, with notes on properties of the network that the lens does not expect."""
    if prepared.images is None and prepared.data is None:
        return _computed(declaration, prepared, parameters, smooth)
    model, probe = prepared.model, prepared.probe().tensor
    try:
        trace = trace_layers(model, probe)
    except (ModelFailed, OutputError):  # the lens raises it again, if it needs the network's output
        return _computed(declaration, prepared, parameters, smooth)
    differentiate = "gradients" in declaration.needs and prepared.target is not None
    notes: dict[str, Any] = {}
    if declaration.each_image or prepared.data is not None:
        notes[BATCH] = check_independence(model, trace.image, trace.batched_output, differentiate=differentiate)
    alone = trace.one_by_one or bool(notes.get(BATCH))
    with observed() as observations:
        values = _computed_in_chunks_that_work(declaration, prepared, parameters, smooth, alone=alone)
        notes[BACKWARD] = check_backward_pass(model, trace.image) if observations.gradients_used else ""
    notes["call"] = _note_on_last_calls(prepared, probe)
    notes = {key: note for key, note in notes.items() if note} | _notes_on_layers(declaration, prepared, probe)
    return [replace(value, notes={**value.notes, **notes}) for value in values] if notes else values


def _computed_in_chunks_that_work(
    declaration: LensSpec, prepared: Arguments, parameters: dict[str, Any], smooth: Smooth | None, *, alone: bool
) -> list[Value]:
    """The values, computed one image at a time where no call of a layer shows all images of a batch."""
    cache = prepared.model.cache
    try:
        with one_at_a_time(alone or cache[_IN_PARTS]):
            return _computed(declaration, prepared, parameters, smooth)
    except ImagesInParts:
        if alone or cache[_IN_PARTS]:
            raise
        cache[_IN_PARTS] = True
        with one_at_a_time():
            return _computed(declaration, prepared, parameters, smooth)


def _notes_on_layers(declaration: LensSpec, prepared: Arguments, probe: Tensor) -> dict[str, Any]:
    """How the outputs of the explained layers are laid out, and why they were chosen where the caller named none."""
    addresses = prepared.arguments.get("layer", ())
    if not addresses or not declaration.each_image:
        return {}
    return layer_notes(prepared.model, probe, addresses, chosen=prepared.layer_chosen)


def _note_on_last_calls(prepared: Arguments, probe: Tensor) -> str:
    """Which explained layers run several times in one forward pass; their last call is what is explained."""
    target = prepared.target
    layers = [*prepared.arguments.get("layer", ()), *([target.layer] if target and target.layer else [])]
    calls = {address: call_count(prepared.model, address, probe) for address in layers}
    repeated = [
        Fact("{layer} runs {times} times in one forward", layer=repr(address), times=count)
        for address, count in calls.items()
        if count > 1
    ]
    return Fact("{repeated}: what is shown is its last call", repeated=repeated) if repeated else ""


def _record(declaration: LensSpec, parameters: Mapping[str, Any], cost: Cost, model: Model | None = None) -> Record:
    """What is written on every value of one call."""
    return Record(
        lens=declaration.command,
        title=declaration.title,
        asks=declaration.asks,
        reads=declaration.reads,
        parameters=parameters,
        model={} if model is None else model.description(),
        versions=versions(),
        cost=cost,
        caveats=() if model is None else model.caveats,
    )


def _common_options(declaration: LensSpec, arguments: Mapping[str, Any]) -> tuple[Smooth | None, bool]:
    """How to average over perturbed copies, if at all, and whether the map keeps its graph."""
    smooth = as_smooth(arguments.get("smooth"), arguments.get("smooth_of"))
    keep_graph = arguments.get("differentiable", False)
    if not isinstance(keep_graph, bool):
        raise ParameterError(f"differentiable must be True or False, got {keep_graph!r}")
    if smooth is not None and not declaration.can_average:
        raise ParameterError(f"{declaration.command} gives no map that could be averaged: leave smooth out")
    if keep_graph and "differentiable" not in declaration.claims:
        able = [spec.command for spec in LENSES.values() if "differentiable" in spec.claims]
        raise ParameterError(f"{declaration.command} gives no differentiable map; {', '.join(sorted(able))} do")
    if keep_graph and smooth is not None:
        raise ParameterError("smooth and differentiable do not go together: average in your own loop")
    return smooth, keep_graph


def _computed(
    declaration: LensSpec, prepared: Arguments, parameters: dict[str, Any], smooth: Smooth | None
) -> list[Value]:
    """The lens's own values, or their average over perturbed copies of the images."""
    if smooth is not None:
        return _averaged(declaration, prepared, parameters, smooth)
    with observed() as observations:
        result = declaration.function(**prepared.arguments, **parameters)
    if observations.gradients_used:
        note_gradient_use()
    if not declaration.each_image:
        return [result]
    values: list[Value] = result
    unchecked = "scores" in declaration.needs and not observations.determinism_checked
    return _with_determinism_notes(values, prepared) if unchecked and prepared.target is not None else values


def _averaged(declaration: LensSpec, prepared: Arguments, parameters: dict[str, Any], smooth: Smooth) -> list[Value]:
    images, target = prepared.arguments["image"], prepared.target
    if target is not None:
        settle(prepared.model, images, target)

    def explain(copies: Images, rows: Tensor) -> list[Attribution]:
        own_target = {} if target is None else {"target": target.for_copies(rows)}
        attributions: list[Attribution] = declaration.function(
            **{**prepared.arguments, "image": copies, **own_target}, **parameters
        )
        return attributions

    with sharing_nothing():
        averaged = smoothed(images, smooth, explain)
    scores = [None] * len(averaged) if target is None else target.scores
    return [replace(attribution, score=scores[row]) for row, attribution in enumerate(averaged)]


def _with_determinism_notes(values: list[Value], prepared: Arguments) -> list[Value]:
    """Notes on networks that answer at random, for lenses that compare the scores of many forward passes."""
    notes = scored_again(prepared.model, prepared.arguments["image"], prepared.arguments["target"])
    return [
        replace(value, notes={**value.notes, **added}) if added else value
        for value, added in zip(values, notes, strict=True)
    ]


def _with_output_meaning(values: list[Value], prepared: Arguments) -> list[Value]:
    """What the network's output means, among the notes of every value that explains a score of it."""
    if prepared.target is None or prepared.target.layer is not None or prepared.images is None:
        return values
    words = prepared.model.meaning_for(prepared.images.tensor).describe(score=True)
    return [
        replace(value, notes={**value.notes, "output": words})
        if isinstance(value, (Attribution, LayerAttribution))
        else value
        for value in values
    ]


def _with_record(value: Value, record: Record, name: str) -> Value:
    parameters = dict(record.parameters)
    if isinstance(value, (Attribution, LayerAttribution)):
        target = value.target_index if value.target_index is not None else value.target
        parameters |= {"target": target} if value.target or isinstance(value, LayerAttribution) else {}
    if isinstance(value, Attribution) and value.layers and "layer" in parameters:
        del parameters["layer"]  # so that it comes after the target
        parameters["layer"] = list(value.layers)
    return value.with_record(replace(record, input=name, parameters=parameters))


def _default(declaration: LensSpec, name: str) -> Any:
    return inspect.signature(declaration.function).parameters[name].default


@functools.cache
def versions() -> dict[str, str]:
    """The versions that a result depends on."""
    packages = {"python": platform.python_version(), "torch": torch.__version__}
    try:
        packages["convscope"] = version("convscope")
    except PackageNotFoundError:
        packages["convscope"] = "source"
    return packages
