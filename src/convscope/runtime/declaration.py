"""The `lens` decorator, which reads the signature of a lens into its declaration, and values from maps.

A lens is a function of a `Model`, prepared `Images` (or a `Dataset`), a `Target`, layer addresses and its own
parameters. It returns one value per image, or a single value if it does not process images one by one. What surrounds
it in a call is `call_lens` (runtime/lens_call.py).
"""

import functools
import inspect
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from convscope.engine.inputs.specs import Images
from convscope.engine.network.model import Model
from convscope.engine.run.gradients import graph_is_kept
from convscope.engine.run.zero_maps import reason
from convscope.engine.targets.target import Target, describe
from convscope.errors import NotFinite
from convscope.runtime.lens_call import call_lens
from convscope.spec import FAMILIES, INPUT_KINDS, LENSES, NEEDS, LensSpec, read_parameters
from convscope.values import Attribution, Value


def lens(
    *,
    family: str,
    title: str,
    cite: str,
    asks: str,
    reads: str,
    needs: Collection[str] = (),
    made_for: Collection[str] = (),
    claims: Collection[str] = (),
    fails: Mapping[str, str] | None = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declare a function as a lens.

    Args:
        family: one of ``spec.FAMILIES``; a label under which lists show it, nothing else.
        title: the name of the method as its authors write it.
        cite: its key in ``docs/references.bib``.
        asks: the question it answers, in plain words.
        reads: one line on how to read its picture, and what the picture cannot show.
        needs: what it uses of the network, of ``spec.NEEDS``.
        made_for: what a network has for which it shows more than related lenses, of ``spec.NEEDS``; it runs without.
        claims: properties that the conformance tests check.
        fails: properties it is known not to have, each with the reason.
    """
    if family not in FAMILIES:
        raise ValueError(f"no family {family!r}: {', '.join(FAMILIES)}")
    if unknown := {*needs, *made_for} - set(NEEDS):
        raise ValueError(f"a lens cannot need {', '.join(sorted(unknown))}: {', '.join(NEEDS)}")

    def declare(function: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(function).parameters
        inputs = tuple(name for name in signature if name in INPUT_KINDS)
        declaration = LensSpec(
            name=function.__name__,
            family=family,
            title=title,
            cite=cite,
            asks=asks,
            reads=reads,
            function=function,
            needs=frozenset(needs),
            made_for=frozenset(made_for),
            claims=frozenset(claims),
            fails=dict(fails or {}),
            parameters=read_parameters(function, INPUT_KINDS),
            inputs=inputs,
            required=tuple(name for name in inputs if signature[name].default is inspect.Parameter.empty),
            positional=tuple(n for n, p in signature.items() if p.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD),
            returns=_value_type(function),
        )
        LENSES.add(function.__name__, declaration)

        @functools.wraps(function)
        def call(*args: Any, **named: Any) -> Any:
            return call_lens(declaration, _arguments_by_name(declaration, args, named))

        call.declaration = declaration  # type: ignore[attr-defined]
        return call

    return declare


def attributions(
    model: Model,
    images: Images,
    target: Target | None,
    values: Tensor,
    *,
    layer_values: Mapping[str, Tensor] | None = None,
    layer_regions: Mapping[str, tuple[tuple[int, int], ...]] | None = None,
    channels: Tensor | None = None,
    uncertainty: Mapping[str, Tensor] | None = None,
    signed: bool = True,
    notes: Sequence[Mapping[str, Any]] | None = None,
    why_blank: str | Sequence[str | None] | None = None,
    otherwise: str | None = None,
) -> list[Attribution]:
    """One `Attribution` per image from maps (N, …) in the input's extent.

    Args:
        layer_regions: the parts of the input that maps of layers cover, where that is not the whole input.
        uncertainty: maps (N, …) of the uncertainty of the values, such as ``"spread"`` or ``"band"``.
        why_blank: the reason to give where a map is zero everywhere, for all images or for each. Without one it is
            determined whether the gradient is zero, and why.
        otherwise: the reason to give where the gradient is not zero.
    """
    values = _detached(values)
    numbers = values if values.ndim > 1 or channels is None else channels  # of vectors those of their features
    peaks = numbers.detach().reshape(len(values), -1).abs().amax(1)
    if not bool(torch.isfinite(peaks).all()):
        raise NotFinite("the map holds NaN or infinite numbers: nothing can be read from it")
    channels = None if channels is None else _detached(channels)
    uncertainty_maps = {name: v.detach().float().cpu() for name, v in (uncertainty or {}).items()}
    layer_maps = {address: _detached(v) for address, v in (layer_values or {}).items()}
    result = []
    for row in range(len(images)):
        row_notes = dict(notes[row]) if notes else {}
        if peaks[row] == 0:
            stated = why_blank if why_blank is None or isinstance(why_blank, str) else why_blank[row]
            row_notes["blank"] = stated or reason(model, images, target, row, tuple(layer_maps), otherwise)
        result.append(
            Attribution(
                values=values[row].clone(),  # so that a value which is kept does not keep the whole batch
                layer_values={address: v[row].clone() for address, v in layer_maps.items()},
                channels=None if channels is None else channels[row].clone(),
                uncertainty={name: v[row].clone() for name, v in uncertainty_maps.items()},
                photo=images.photo(row),  # type: ignore[arg-type]
                signed=signed,
                target="" if target is None else describe(target, row, model),
                target_index=None if target is None else target.index_of(row),
                score=None if target is None else target.scores[row],
                layers=tuple(layer_maps),
                layer_regions=dict(layer_regions or {}),
                notes=row_notes,
            )
        )
    return result


def _detached(values: Tensor) -> Tensor:
    """Values in single precision on the CPU, without their graph unless it was requested."""
    return (values if graph_is_kept() else values.detach()).float().cpu()


def _arguments_by_name(declaration: LensSpec, args: tuple[Any, ...], named: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a call by name; refused if they do not fit the signature."""
    if len(args) > len(declaration.positional):
        rest = [n for n in (*declaration.inputs, *declaration.parameters) if n not in declaration.positional]
        accepted = ", ".join(declaration.positional)
        raise TypeError(f"{declaration.name}({accepted}, …) takes the rest by name: {', '.join(rest)}")
    arguments = dict(zip(declaration.positional, args, strict=False))
    for name in arguments:
        if name in named:
            raise TypeError(f"{declaration.name}() got {name!r} twice")
    arguments |= named
    missing = [name for name in declaration.required if name not in arguments]
    if missing:
        raise TypeError(f"{declaration.name}() needs {' and '.join(missing)}")
    return arguments


def _value_type(function: Callable[..., Any]) -> type[Value]:
    """The kind of value that the annotation of a lens names: ``-> Structure``, or ``-> list[Attribution]``."""
    annotation = typing.get_type_hints(function).get("return")
    kind = next(iter(typing.get_args(annotation)), annotation)
    if not (isinstance(kind, type) and issubclass(kind, Value)):
        raise TypeError(f"the lens {function.__name__} must be annotated with the kind of value that it returns")
    return kind
