"""Every lens runs with each of its numeric parameters at both ends of the declared range.

The value is well-formed and finite, or the request is refused in one sentence that names the parameter.
"""

import re
from dataclasses import dataclass
from typing import Any

import pytest
import torch

import convscope as cs
from convscope.errors import ConvScopeError
from convscope.spec import LensSpec
from tests.conformance.selections import choose_noise
from tests.conftest import picture_model
from tests.lens_calls import call_lens_as_list, collect_tensors
from tests.nets import FlattenNet, PlainNet, build_for, seeded

UNBOUNDED = 1e6
"""In place of an end that a declaration leaves open: large, and far from the limits of single precision."""


@dataclass(frozen=True)
class Cap:
    """A value that a test can afford in place of the end of a range, and why it stands for it."""

    value: int
    reason: str


CAPS: dict[str, Cap] = {
    "samples": Cap(64, "every further sample is one more term of the same mean"),
    "steps": Cap(40, "every further step does what the step before it did"),
    "frames": Cap(200, "more frames than steps are as many as steps"),
    "size": Cap(64, "the time of a step grows with the area of the picture"),
}
"""By parameter, what is run in place of a maximum that would take minutes even on a small network."""

CAPS_OF_LENS: dict[tuple[str, str], Cap] = {
    ("sobol", "cells"): Cap(8, "a sample is one forward pass for each of the cells × cells cells"),
    ("smoothed_score_cam", "samples"): Cap(16, "a sample is one forward pass for each channel"),
    ("permutation", "segments"): Cap(64, "a segment is one forward pass for each sample"),
    ("permutation", "samples"): Cap(16, "a sample is one forward pass for each segment"),
}
"""For single lenses, where the range itself is too expensive or more expensive than that of other lenses."""

COMPANIONS: dict[tuple[str, str], dict[str, Any]] = {
    ("convolve", "dilation"): {"padding": 32},  # so that the kernel fits into the matrix
    ("activation_maximization", "blur"): {"parametrisation": "pixels"},
    ("activation_maximization", "clip"): {"parametrisation": "pixels"},
}
"""Other parameters without which a parameter has no effect."""

SPARSE = {"reached"}
"""Fields that are NaN between the steps at which they were computed; the last number is always there."""

FEW = {"samples": 4, "steps": 4, "segments": 6, "cells": 4, "octaves": 2}
"""The other parameters while one is at an end of its range."""


def numeric_ends() -> list[Any]:
    """Every lens, numeric parameter and end."""
    cases = []
    for spec in cs.lenses():
        for name, parameter in spec.parameters.items():
            if parameter.kind not in (int, float):
                continue
            low, high = parameter.about.min, parameter.about.max
            for end, limit in (
                ("min", -UNBOUNDED if low is None else low),
                ("max", UNBOUNDED if high is None else high),
            ):
                cases.append(pytest.param(spec, name, parameter.kind(limit), id=f"{spec.command} {name} {end}"))
    return cases


def affordable(spec: LensSpec, name: str, value: float) -> float:
    """The value itself, or what stands for it in the tables."""
    cap = CAPS_OF_LENS.get((spec.name, name)) or CAPS.get(name)
    return min(value, cap.value) if cap else value


@pytest.mark.parametrize(("spec", "name", "value"), numeric_ends())
def test_a_parameter_at_the_end_of_its_range_gives_a_finite_value_or_one_clear_refusal(
    spec: LensSpec, name: str, value: float
) -> None:
    net = PlainNet if name == "size" else FlattenNet  # which has one size of input
    model = picture_model(seeded(build_for(spec, net)))
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    few = {parameter: number for parameter, number in FEW.items() if parameter in spec.parameters}
    options = {**few, **choose_noise(spec), **COMPANIONS.get((spec.name, name), {})}
    options[name] = affordable(spec, name, value)
    values, refusal = [], ""
    try:
        values = call_lens_as_list(spec, model, images, repetitions={}, **options)
    except ConvScopeError as error:
        refusal = str(error)
    assert values or re.fullmatch(rf".*\b{name}\b.*", refusal), f"the refusal does not name {name}: {refusal}"
    for result in values:
        assert type(result) is spec.returns
        assert result.record.parameters[name] == options[name]
        for field, tensor in collect_tensors(result).items():
            numbers = tensor[..., -1] if field in SPARSE else tensor
            assert torch.isfinite(numbers.double()).all(), f"{field} has numbers that are not finite"
