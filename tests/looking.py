"""Calling any lens by its declaration alone, and comparing values of any kind number by number."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

import convscope as cs
from convscope.engine.layers.addresses import first_kernels
from convscope.spec import LensSpec


class Written(str):
    """Words that a picture was given to write, with their colour."""

    colour = ""


ENOUGH = {"samples": 8, "steps": 8}
"""So many repetitions that every path through the engine is taken, where a lens repeats at all."""


def look(spec: LensSpec, model: cs.Model, image: Any, *, enough: Mapping[str, int] = ENOUGH, **given: Any) -> Any:
    """Call a lens with enough repetitions, and with those of ``given`` that it takes.

    A second picture is noise; a unit that must be named is one of the first convolution.
    """
    offered = {**enough, "model": model, "image": image, "images": image, **_required(spec, model, image), **given}
    known = {*spec.parameters, *spec.inputs}
    return getattr(cs, spec.name)(**{name: value for name, value in offered.items() if name in known})


def looks(spec: LensSpec, model: cs.Model, image: Any, **given: Any) -> list[Any]:
    """The same as a list: one value per image, or the one value of a lens that gives one."""
    found = look(spec, model, image, **given)
    return found if isinstance(found, list) else [found]


def _required(spec: LensSpec, model: cs.Model, image: Any) -> dict[str, Any]:
    """What a lens needs beside a model and a picture."""
    beside = {name: _other(image, model) for name in ("guide", "style") if name in spec.required}
    return beside | ({"unit": f"{first_kernels(model)}[1]"} if "unit" in spec.required else {})


def _other(image: Any, model: cs.Model) -> Any:
    """A second picture, the same whatever the first ones are."""
    if image is not None and isinstance(model.input, cs.ImageInput):
        side = model.input.size[0]
        return np.random.default_rng(9).integers(0, 256, (side, side, 3), dtype=np.uint8)
    return torch.randn(image[:1].shape, generator=torch.Generator().manual_seed(9))


def numbers(value: Any) -> dict[str, Tensor]:
    """Everything in a value that was computed, by name."""
    found: dict[str, Tensor] = {}
    for field in fields(value):
        if field.name not in ("record", "photo", "photos", "frames"):  # the last ones are rounded for people
            found |= _numbers(getattr(value, field.name), field.name)
    assert found, "a value holds something"
    return found


def _numbers(thing: Any, name: str) -> dict[str, Tensor]:
    if isinstance(thing, Tensor):
        return {name: thing}
    if isinstance(thing, np.ndarray):
        return {name: torch.as_tensor(thing)} if thing.dtype.kind in "biuf" else {}
    if isinstance(thing, Mapping):
        counted = {key: torch.as_tensor(part) if isinstance(part, float) else part for key, part in thing.items()}
        members = {f"{name}/{key}": part for key, part in counted.items()}
    elif isinstance(thing, (tuple, list)) and thing and all(isinstance(one, (int, float)) for one in thing):
        return {name: torch.tensor(thing)}
    elif isinstance(thing, (tuple, list)):
        members = {f"{name}/{place}": part for place, part in enumerate(thing)}
    elif is_dataclass(thing):
        members = {f"{name}/{field.name}": getattr(thing, field.name) for field in fields(thing)}
    else:
        return {}
    found: dict[str, Tensor] = {}
    for key, part in members.items():
        found |= _numbers(part, key)
    return found


def assert_same(found: Any, true: Any, *, tolerance: float = 0.0) -> None:
    """Both values hold the same numbers: to the bit, or within a share of their largest."""
    found, true = numbers(found), numbers(true)
    assert found.keys() == true.keys()
    for name in true:
        assert found[name].shape == true[name].shape
        if not true[name].numel():
            continue
        ours, theirs = found[name].double(), true[name].double()
        assert torch.equal(ours.isnan(), theirs.isnan()), name  # what was not measured in one was not in the other
        allowed = tolerance * max(float(theirs.nan_to_num().abs().max()), 0.1 if name.startswith("notes") else 0)
        assert float((ours - theirs).nan_to_num().abs().max()) <= allowed, name
