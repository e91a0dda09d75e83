"""Points, weights and baselines of path integrals, and the check of their contributions."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

import convscope as cs
from tests.twins.slow import KINKED, TOLERANCE, Slow, relative_error
from tests.twins.subjects import Subject

SUBJECTS = ["plain", "residual", "flatten", "smooth", "signal", "volume", "digits"]


BASELINES = ["black", "white", "mean", "blur"]


def assert_contributions_equal(
    attribution: cs.Attribution, contributions: Tensor, slow: Slow, start_score: float
) -> None:
    """Compare the contributions, their sum over channels, and the completeness gap."""
    tolerance = KINKED if attribution.record.model["name"] == "shapes" else TOLERANCE
    assert relative_error(attribution.channels, contributions) < tolerance
    assert relative_error(attribution.values, contributions.sum(0)) < tolerance
    difference = slow.score(slow.x) - start_score
    gap = float(contributions.sum()) - difference
    scale = float(contributions.abs().sum()) + abs(start_score) + abs(difference)
    assert attribution.notes["baseline score"] == pytest.approx(start_score, abs=1e-5 * scale)
    assert attribution.notes["completeness gap"] == pytest.approx(gap, abs=tolerance * scale)
    assert attribution.notes["relative completeness gap"] * difference == pytest.approx(gap, abs=tolerance * scale)


def named_baseline(name: str, subject: Subject, slow: Slow) -> Tensor:
    """The baseline called ``name``, (C, …)."""
    x = slow.x
    if name == "blur":
        return blurred(x, 0.08 * max(x.shape[1:]))
    if name == "mean":
        return x.flatten(1).mean(1).view(-1, *[1] * (x.ndim - 1)).expand_as(x)
    colour = float(name == "white")
    spec = subject.model.input
    levels = [colour]
    if isinstance(spec, cs.ImageInput):
        assert spec.mean is not None
        assert spec.std is not None
        levels = [(colour - m) / s for m, s in zip(spec.mean, spec.std, strict=True)]
    return torch.tensor(levels).double().view(-1, *[1] * (x.ndim - 1)).expand_as(x)


def blurred(x: Tensor, sigma: float) -> Tensor:
    if sigma == 0:
        return x
    blurred = [gaussian_filter(channel, sigma, mode="reflect", truncate=4) for channel in x.numpy()]
    return torch.from_numpy(np.stack(blurred))
