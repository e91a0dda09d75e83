"""Attribution to the units of a layer: baselines, points of the path, and the check of a lens."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from tests.twins.binding import lens_of
from tests.twins.slow import TOLERANCE, relative_error
from tests.twins.subjects import Subject

STEPS = 5


SUBJECTS = ("plain", "residual", "flatten", "signal", "volume")


def gauss_legendre() -> list[tuple[float, float]]:
    points, weights = np.polynomial.legendre.leggauss(STEPS)
    return list(zip(((points + 1) / 2).tolist(), (weights / 2).tolist(), strict=True))


def baseline_of(subject: Subject) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(subject.images.shape[1:], generator=generator)


def assert_units_equal(twin: Callable, subject: Subject, *, along_path: bool) -> None:
    """The lens's numbers at the units of both layers are those of its twin, which may need a baseline and steps."""
    start = baseline_of(subject)
    for layer in subject.layers:
        options = {"steps": STEPS, "baseline": start} if along_path else {}
        attributions = subject.explained(lens_of(twin), layer=layer, **options)
        for attribution, slow in zip(attributions, subject.slow, strict=True):
            expected = twin(slow, layer, start.double()) if along_path else twin(slow, layer)
            assert relative_error(attribution.values, expected) < TOLERANCE
            assert relative_error(attribution.units, expected.flatten(1).sum(1)) < TOLERANCE
