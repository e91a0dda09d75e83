"""Calling any lens by its declaration, and comparing values of any class number by number."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

import convscope as cs
from convscope.engine.layers.addresses import first_convolution
from convscope.spec import LensSpec, inputs_with


class DrawnText(str):
    """A text that was rendered on a picture, with its color."""

    colour = ""


REPETITIONS = {"samples": 8, "steps": 8}
"""Enough repetitions to exercise every path through the engine, for lenses with these parameters."""


def call_lens(
    spec: LensSpec, model: cs.Model, image: Any, *, repetitions: Mapping[str, int] = REPETITIONS, **given: Any
) -> Any:
    """Call a lens with those of the arguments that it takes.

    A required second image is noise; a required unit is one of the first convolution.
    """
    arguments = {**repetitions, "model": model, "image": image, "images": image}
    arguments |= {**_required(spec, model, image), **given}
    known = {*spec.parameters, *spec.inputs}
    return getattr(cs, spec.name)(**{name: value for name, value in arguments.items() if name in known})


def call_lens_as_list(spec: LensSpec, model: cs.Model, image: Any, **given: Any) -> list[Any]:
    """Call a lens and return its values as a list, even if there is only one."""
    result = call_lens(spec, model, image, **given)
    return result if isinstance(result, list) else [result]


def _required(spec: LensSpec, model: cs.Model, image: Any) -> dict[str, Any]:
    """The required arguments of a lens besides model and image."""
    second = {name: _second_image(image, model) for name in inputs_with("second image") if name in spec.required}
    return second | ({"unit": f"{first_convolution(model)}[1]"} if "unit" in spec.required else {})


def _second_image(image: Any, model: cs.Model) -> Any:
    """A second image, independent of the first one."""
    if image is not None and isinstance(model.input, cs.ImageInput):
        side = model.input.size[0]
        return np.random.default_rng(9).integers(0, 256, (side, side, 3), dtype=np.uint8)
    shape = model.prepare(image).tensor[:1].shape
    return torch.randn(shape, generator=torch.Generator().manual_seed(9))


def collect_tensors(value: Any) -> dict[str, Tensor]:
    """All computed numbers of a value, by name."""
    tensors: dict[str, Tensor] = {}
    for field in fields(value):
        if field.name not in ("record", "photo", "photos", "frames"):  # photos and frames are rounded for display
            tensors |= _tensors_in(getattr(value, field.name), field.name)
    assert tensors, "a value contains numbers"
    return tensors


def _tensors_in(data: Any, name: str) -> dict[str, Tensor]:
    if isinstance(data, Tensor):
        return {name: data}
    if isinstance(data, np.ndarray):
        return {name: torch.as_tensor(data)} if data.dtype.kind in "biuf" else {}
    if isinstance(data, Mapping):
        converted = {key: torch.as_tensor(part) if isinstance(part, float) else part for key, part in data.items()}
        members = {f"{name}/{key}": part for key, part in converted.items()}
    elif isinstance(data, (tuple, list)) and data and all(isinstance(item, (int, float)) for item in data):
        return {name: torch.tensor(data)}
    elif isinstance(data, (tuple, list)):
        members = {f"{name}/{index}": part for index, part in enumerate(data)}
    elif is_dataclass(data):
        members = {f"{name}/{field.name}": getattr(data, field.name) for field in fields(data)}
    else:
        return {}
    tensors: dict[str, Tensor] = {}
    for key, part in members.items():
        tensors |= _tensors_in(part, key)
    return tensors


def assert_same(actual: Any, expected: Any, *, tolerance: float = 0.0) -> None:
    """Assert that two values hold the same numbers: exactly, or within ``tolerance`` times the largest magnitude."""
    actual, expected = collect_tensors(actual), collect_tensors(expected)
    assert actual.keys() == expected.keys()
    for name in expected:
        assert actual[name].shape == expected[name].shape
        if not expected[name].numel():
            continue
        ours, theirs = actual[name].double(), expected[name].double()
        assert torch.equal(ours.isnan(), theirs.isnan()), name
        allowed = tolerance * max(float(theirs.nan_to_num().abs().max()), 0.1 if name.startswith("notes") else 0)
        assert float((ours - theirs).nan_to_num().abs().max()) <= allowed, name
