"""Gradients at the image, at noisy copies of it, and along paths to it."""

import torch

from tests.fuzz.comparing import Case
from tests.fuzz.networks import RandomNetwork
from tests.fuzz.references import slow_images
from tests.twins.gradient.test_blur_integrated_gradients import blur_integrated_gradients
from tests.twins.gradient.test_expected_gradients import expected_gradients
from tests.twins.gradient.test_gradient_x_input import gradient_x_input
from tests.twins.gradient.test_guided_integrated_gradients import guided_integrated_gradients
from tests.twins.gradient.test_integrated_gradients import integrated_gradients
from tests.twins.gradient.test_saliency import saliency
from tests.twins.gradient.test_smooth_grad import smooth_grad
from tests.twins.gradient.test_smooth_grad_squared import smooth_grad_squared
from tests.twins.gradient.test_var_grad import var_grad
from tests.twins.slow import inputs_seen

SAMPLES, STEPS = 3, 4
PATH_TOLERANCE = 1e-4
"""The tolerance for paths, whose points are in single precision."""


def gradients(case: Case, net: RandomNetwork) -> None:
    images = slow_images(net)
    for formula in (saliency, gradient_x_input):
        for value, slow in zip(case.call(formula.__name__) or (), images, strict=False):
            case.compare(formula.__name__, value.channels, formula(slow))
            case.compare(f"{formula.__name__}, its score", value.score, slow.score(slow.x))
    for noisy_formula in (smooth_grad, smooth_grad_squared, var_grad):
        with inputs_seen(net.module) as inputs:
            values = case.call(noisy_formula.__name__, samples=SAMPLES)
        samples_of_images = (inputs[:SAMPLES], inputs[SAMPLES:])
        for value, slow, samples in zip(values or (), images, samples_of_images, strict=False):
            case.compare(noisy_formula.__name__, value.channels, noisy_formula(slow, samples))


def paths(case: Case, net: RandomNetwork) -> None:
    images = slow_images(net)
    start = torch.randn(net.images.shape[1:], generator=torch.Generator().manual_seed(1), dtype=torch.double)
    for value, slow in zip(case.call("integrated_gradients", steps=STEPS, baseline=start) or (), images, strict=False):
        expected = integrated_gradients(slow, start, STEPS)
        case.compare("integrated_gradients", value.channels, expected, PATH_TOLERANCE)
    for value, slow in zip(case.call("blur_integrated_gradients", steps=STEPS) or (), images, strict=False):
        expected = blur_integrated_gradients(slow, STEPS, 0.2)
        case.compare("blur_integrated_gradients", value.channels, expected, PATH_TOLERANCE, scale=1e-4)
    with inputs_seen(net.module) as inputs:
        values = case.call("expected_gradients", references=start[None], samples=SAMPLES)
    for value, slow, points in zip(values or (), images, (inputs[:SAMPLES], inputs[SAMPLES:]), strict=False):
        expected = expected_gradients(slow, [(start, point) for point in points])
        case.compare("expected_gradients", value.channels, expected)
    with inputs_seen(net.module) as inputs:
        values = case.call("guided_integrated_gradients", steps=STEPS, baseline=start)
    for row, (value, slow) in enumerate(zip(values or (), images, strict=False)):
        expected = guided_integrated_gradients(slow, inputs[row :: len(values or ())])
        case.compare("guided_integrated_gradients", value.channels, expected)
