"""Formulas and checks that the class activation maps of one layer share."""

from collections.abc import Callable, Sequence

import numpy as np
from torch import Tensor

from tests.twins.binding import lens_of
from tests.twins.slow import TOLERANCE, relative_error
from tests.twins.subjects import Subject


def plus_plus_weight(a_k: Tensor, first: Tensor, second: Tensor, third: Tensor) -> Tensor:
    """A channel's weight in Grad-CAM++, from the first three derivatives."""
    alpha = second / (2 * second + a_k.sum() * third)
    return (alpha * first.clamp(min=0)).nan_to_num(0).sum()  # 0 / 0 where the score does not depend on the position


def assert_layer_maps_equal(twin: Callable, subject: Subject, layers: Sequence[str], **parameters: object) -> None:
    """The lens's map at each layer is that of its twin, which gets the layer's activation and gradient."""
    for layer in layers:
        attributions = subject.explained(lens_of(twin), layer=layer, **parameters)
        for attribution, slow in zip(attributions, subject.slow, strict=True):
            expected = twin(*slow.at(layer), **parameters)
            assert relative_error(attribution.layer_values[layer], expected) < TOLERANCE


def enlarged_along_each_axis(small: Tensor, extent: tuple[int, ...]) -> np.ndarray:
    """Linear interpolation between pixel centres, one axis after another, with edge values extended."""
    large = small.double().numpy()
    for axis, length in enumerate(extent):
        old_positions = np.arange(large.shape[axis])
        new_positions = (np.arange(length) + 0.5) * len(old_positions) / length - 0.5
        large = np.apply_along_axis(_interpolated, axis, large, new_positions, old_positions)
    return large


def _interpolated(line: np.ndarray, new_positions: np.ndarray, old_positions: np.ndarray) -> np.ndarray:
    return np.interp(new_positions, old_positions, line)
