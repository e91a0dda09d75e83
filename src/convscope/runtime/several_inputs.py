"""One call of a lens on a network that takes several inputs, or tokens.

Each input is explained as if it were the only one, with the others held, or all of them change together.

A lens sees a network that takes one tensor: `Model.bound` with the `SampleBinding` of the sample. Samples are
explained one after another, since each has other held inputs.
"""

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from convscope.engine.inputs.named_inputs import NamedImages, NamedInputs, PackedInput
from convscope.engine.inputs.specs import ImageInput, Images
from convscope.engine.inputs.token_input import TokenInput
from convscope.engine.network.binding import Unbound
from convscope.engine.network.cache import NetworkCache
from convscope.engine.network.model import Model, as_model
from convscope.engine.targets.function_targets import takes_rows
from convscope.engine.targets.target import Target, resolve_target
from convscope.errors import (
    CapabilityError,
    ConvScopeError,
    InputError,
    LayerError,
    OutputError,
    ParameterError,
    did_you_mean,
)
from convscope.runtime.bound_sample import ONLY, BoundSample
from convscope.runtime.capabilities import NOT_APPLICABLE
from convscope.runtime.value_stream import stream_of, targets_per_image
from convscope.spec import LensSpec
from convscope.spec.tasks import Task
from convscope.values import INPUT_KINDS, Attribution, JointAttribution, Value
from convscope.values.facts import Fact

Call = Callable[[LensSpec, dict[str, Any]], Any]

_NOT_APPLICABLE = (*NOT_APPLICABLE, InputError)
"""Errors that mean that a lens does not work on an input, for which another one may."""


def is_bound_by_sample(declaration: LensSpec, model: Any) -> bool:
    """Whether a lens has to be given one sample of a network that takes several inputs, or tokens."""
    if not isinstance(model, Model) or not isinstance(model.input, (NamedInputs, TokenInput)):
        return False
    return not {"image", "images"}.isdisjoint(declaration.inputs)


def prepared_inputs(model: Model, given: Any) -> Images | NamedImages:
    """Prepared inputs of any network; of one that takes several, by name."""
    return model.prepare_samples(given) if isinstance(model.input, NamedInputs) else model.prepare(given)


def bound_to_first(model: Model, given: Any) -> tuple[Model, Images]:
    """The network as one that takes its first input, with the others held, and this input; any other as it is."""
    if not isinstance(model.input, (NamedInputs, TokenInput)):
        return model, model.prepare(given)
    sample = BoundSample(model, _samples(model, given).sample(0))
    return sample.bound_to(next(iter(sample.inputs)))


def task_on(network: Any, given: Any) -> Task:
    """What a network does with these inputs; runs it once if its task was neither specified nor recognized yet."""
    model = as_model(network)
    if model.task is not None:
        return model.task
    bound, images = bound_to_first(model, given)
    return bound.task_for(images.tensor)


def for_each_input(declaration: LensSpec, arguments: Mapping[str, Any], call: Call) -> Any:
    """The value of each explained input: a `JointAttribution`, or the value itself where one input is explained.

    Raises:
        InputError: the number or the names of the inputs do not fit.
        CapabilityError: the lens takes no sample.
        ParameterError: ``explain`` names no input.
    """
    model: Model = arguments["model"]
    if "image" not in declaration.inputs:
        kind = "several inputs" if isinstance(model.input, NamedInputs) else "tokens"
        raise CapabilityError(
            f"{declaration.command} runs over a data set, and {model.name} takes {kind}, which are explained sample by "
            "sample: use a lens that takes one, such as integrated-gradients"
        )
    if arguments.get("targets") is not None:
        return _for_each_target(declaration, arguments, call)
    given = arguments.get("image")
    stream = stream_of(declaration, arguments, functools.partial(call, declaration))
    if stream is not None:  # sequences of tokens from files; several inputs are no data set
        return stream
    samples = _example(model) if given is None and "image" not in declaration.required else _samples(model, given)
    chosen = _explained(arguments.get("explain"), samples, model)
    others = {name: argument for name, argument in arguments.items() if name not in ("image", "explain", "model")}
    results = []
    for row in range(len(samples)):
        own_target = _target_of(others.get("target"), model, row, len(samples))
        own = {**others, **({} if own_target is None else {"target": own_target})}
        results.append(_Sample(model, samples.sample(row)).explain(declaration, chosen, own, call))
    return results[0] if samples.single else results


def example_output(model: Model) -> Tensor:
    """The output (1, …) for a random sample; afterwards it is known what the network does.

    Raises:
        InputError: the shape of an input is unknown.
    """
    sample = BoundSample(model, _example(model).sample(0))
    name = next(iter(sample.inputs))
    with model.preserve_state(), torch.no_grad():
        bound, images = sample.bound_to(name)
        output = bound.run(bound.input_copy(images.tensor))
    model.copy_meanings_from(bound)
    return output


def _for_each_target(declaration: LensSpec, arguments: Mapping[str, Any], call: Call) -> list[Any]:
    """The values for every target: a list for one sample, a list of lists for several."""
    if not declaration.takes_target or arguments.get("target") is not None:
        raise ParameterError("targets explains several scores: the lens must take a target, and target be left out")
    samples = _samples(arguments["model"], arguments["image"])
    others = {name: argument for name, argument in arguments.items() if name not in ("targets", "image")}
    by_target = [
        for_each_input(declaration, {**others, "image": samples, "target": target}, call)
        for target in arguments["targets"]
    ]
    return by_target if samples.single else [list(values) for values in zip(*by_target, strict=True)]


def _samples(model: Model, given: Any) -> NamedImages:
    if isinstance(given, NamedImages):
        return given
    if isinstance(model.input, NamedInputs):
        return model.prepare_samples(given)
    images = model.prepare(given)
    return NamedImages({ONLY: images}, images.single)


def _example(model: Model) -> NamedImages:
    """One random sample, for lenses that only need to run the network."""
    specs = model.input.specs if isinstance(model.input, NamedInputs) else {ONLY: model.input}
    parts: dict[str, Images] = {}
    for name, spec in (specs or {}).items():
        if not isinstance(spec, ImageInput) and spec.shape is None:
            raise InputError(f"the shape of {name} is unknown: pass a sample, or say shape= in its specification")
        of_one_input = model.bound(Unbound((name,)), spec, NetworkCache())  # only its specification is read
        parts[name] = Images(of_one_input.example(), ("an example",), True, spec)
    return NamedImages(parts, True)


def _explained(explain: Any, samples: NamedImages, model: Model) -> str | tuple[str, ...]:
    """The name of the one input that is explained, or the names of several; all by default."""
    names = tuple(samples.parts)
    if explain is None:
        return names[0] if names == (ONLY,) else names
    chosen = (explain,) if isinstance(explain, str) else tuple(explain) if isinstance(explain, Sequence) else ()
    for name in chosen:
        if name not in names:
            listed = ", ".join(names)
            raise ParameterError(
                f"explain names no input of {model.name}: {name!r}{did_you_mean(name, names)} (it takes {listed})"
            )
    if not chosen:
        raise ParameterError(f"explain is the name of an input or a list of names, got {explain!r}")
    return explain if isinstance(explain, str) else chosen


def _target_of(target: Any, model: Model, row: int, count: int) -> Any:
    """The target of one of several samples."""
    if count == 1:
        return target
    if callable(target) and takes_rows(target):
        target = resolve_target(target, model, count)
    if isinstance(target, Target):
        return target.for_copies(torch.tensor([row], device="cpu"))
    targets = targets_per_image(target)
    if targets is None:
        return target
    if len(targets) != count:
        raise OutputError(f"{len(targets)} targets for {count} samples: give one each, or one for all")
    return targets[row]


class _Sample(BoundSample):
    """One sample of a network's inputs, explained input by input or as a whole."""

    def explain(
        self, declaration: LensSpec, chosen: str | tuple[str, ...], arguments: Mapping[str, Any], call: Call
    ) -> Any:
        """The values of a lens for the chosen inputs."""
        if isinstance(chosen, str):
            return self._held(declaration, chosen, arguments, call)
        if not declaration.gives_map:
            return self._first_that_works(declaration, chosen, arguments, call)
        joint = self._changed_together(declaration, chosen, arguments, call)
        return joint or self._one_by_one(declaration, chosen, arguments, call)

    def _first_that_works(
        self, declaration: LensSpec, names: Sequence[str], arguments: Mapping[str, Any], call: Call
    ) -> Any:
        """The value of a lens that explains no input: the network runs on the sample, whichever input is bound."""
        refusals: list[ConvScopeError] = []
        for name in names:
            try:
                return self._held(declaration, name, arguments, call)
            except _NOT_APPLICABLE as error:
                refusals.append(error)
        raise refusals[0]

    def _one_by_one(
        self, declaration: LensSpec, names: Sequence[str], arguments: Mapping[str, Any], call: Call
    ) -> JointAttribution:
        """Each input explained with the others held; one on which the lens does not work is named in the notes."""
        parts: dict[str, Attribution] = {}
        refusals: dict[str, ConvScopeError] = {}
        for name in names:
            try:
                parts[name] = self._held(declaration, name, arguments, call)
            except _NOT_APPLICABLE as error:
                refusals[name] = error
        if not parts:
            raise next(iter(refusals.values()))
        kinds = {type(self.inputs[name].spec) for name in parts}
        if len(parts) == 1:
            notes = dict(next(iter(parts.values())).notes)
        else:
            notes = {"inputs": Fact("each of {names} is explained with the others held as they are", names=list(parts))}
        if refusals:
            reasons = [Fact("{name} ({why})", name=name, why=_clause(error)) for name, error in refusals.items()]
            notes["not explained"] = Fact("{reasons}", reasons=reasons)
        parameters = self._joint_parameters(parts, names, arguments.get("layer"))
        return self._joined(parts, notes, parameters, one_scale=len(kinds) == 1)

    def _changed_together(
        self, declaration: LensSpec, names: tuple[str, ...], arguments: Mapping[str, Any], call: Call
    ) -> JointAttribution | None:
        """The parts of one map over all inputs, whose sum is the change of the score when all of them change.

        None for lenses without this property, and for those that need positions of an input.
        """
        if "complete" not in declaration.claims or len(names) < 2:
            return None
        images = {name: self.images_of(name) for name in names}
        shapes = {name: tuple(each.tensor.shape[1:]) for name, each in images.items()}
        packed = PackedInput(specs={name: each.spec for name, each in images.items()}, shapes=shapes)
        vectors = packed.pack([each.tensor for each in images.values()])
        together = Images(vectors, (self.name,), True, packed)
        try:
            whole: Attribution = call(declaration, {**arguments, "model": self.bound(names, packed), "image": together})
        except (InputError, LayerError):  # it needs positions
            return None
        if whole.channels is None:
            return None
        pieces = packed.unpack(whole.channels[None])
        if len(names) < len(self.inputs):
            parameters = {**whole.record.parameters, "explain": list(names)}
            whole = replace(whole, record=replace(whole.record, parameters=parameters))
        parts = {name: self._part(whole, images[name], pieces[name][0], names) for name in names}
        notes: dict[str, Any] = {**whole.notes, "inputs": Fact("{names} change together", names=list(names))}
        held = [name for name in self.inputs if name not in names]
        if held:
            notes["held"] = Fact("{inputs}", inputs=held)
        return self._joined(parts, notes, whole.record.parameters, one_scale=True, whole=whole)

    def _part(self, whole: Attribution, images: Images, contributions: Tensor, names: Sequence[str]) -> Attribution:
        """The part of a joint map that belongs to one input."""
        others = [name for name in self.inputs if name not in names]
        spec = images.spec
        facts = {} if not images.grids else images.grids[0].facts()
        facts |= {"kind": _kind_of(spec, contributions)}
        return replace(
            whole,
            values=contributions.sum(0),
            channels=contributions,
            photo=images.photo(0),  # type: ignore[arg-type]
            uncertainty={},
            notes={"held": Fact("{inputs}", inputs=others)} if others else {},
            record=replace(whole.record, input=self.name, **facts),
        )

    def _joint_parameters(
        self, parts: Mapping[str, Attribution], names: Sequence[str], layer: Any
    ) -> Mapping[str, Any]:
        """The parameters that give all parts again: without the layer of some of them, unless the caller named it."""
        of_parts = [parts[name].record.parameters if name in parts else {} for name in names]
        parameters = {**next(iter(parts.values())).record.parameters}
        parameters.pop("explain", None)
        if any(each.get("layer") != parameters.get("layer") for each in of_parts):
            parameters.pop("layer", None)
            if layer is not None:
                parameters["layer"] = list(layer) if isinstance(layer, (list, tuple)) else [str(layer)]
        if len(names) < len(self.inputs):
            parameters["explain"] = list(names)
        return parameters

    def _joined(
        self,
        parts: Mapping[str, Attribution],
        notes: Mapping[str, Any],
        parameters: Mapping[str, Any],
        *,
        one_scale: bool,
        whole: Value | None = None,
    ) -> JointAttribution:
        first = next(iter(parts.values()))
        record = (whole or first).record
        costs = [part.record.cost for part in parts.values()]
        cost = (
            record.cost
            if whole is not None
            else replace(
                record.cost,
                forwards=sum(each.forwards for each in costs),
                backwards=sum(each.backwards for each in costs),
                seconds=sum(each.seconds for each in costs),
            )
        )
        caveats = tuple(dict.fromkeys(caveat for part in parts.values() for caveat in part.record.caveats))
        return JointAttribution(
            parts=parts,
            one_scale=one_scale,
            target=first.target,
            target_index=first.target_index,
            score=first.score,
            notes=notes,
            record=replace(
                record,
                parameters=parameters,
                input=self.name,
                cost=cost,
                caveats=caveats,
                kind="",
                spacing=(),
                unit="",
                affine=(),
                channel_names=(),
                model=self.model.description(),
            ),
        )

    def _held(self, declaration: LensSpec, name: str, arguments: Mapping[str, Any], call: Call) -> Any:
        """The value of a lens that sees one input, with the others held."""
        bound, images = self.bound_to(name)
        value: Value = call(declaration, {**arguments, "model": bound, "image": images})
        record = replace(value.record, model=self.model.description())
        others = [other for other in self.inputs if other != name]
        if not others:
            return replace(value, record=record)
        record = replace(record, input=self.name)
        if not declaration.depends_on_explained:
            return replace(value, record=record)
        record = replace(record, parameters={**record.parameters, "explain": name})
        return replace(value, notes={**value.notes, "held": Fact("{inputs}", inputs=others)}, record=record)


def _clause(error: ConvScopeError) -> str:
    """The first clause of a refusal, without what to do instead."""
    return re.split(r"[;:] ", str(error), maxsplit=1)[0]


def _kind_of(spec: Any, contributions: Tensor) -> str:
    return spec.kind or INPUT_KINDS.get(contributions.ndim - 1, "")
