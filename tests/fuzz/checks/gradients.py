"""Gradients at the image, near it, and along paths to it."""

import torch

from tests.fuzz.comparing import Comparison
from tests.fuzz.networks import Network
from tests.fuzz.references import known
from tests.twins import test_gradient as formulas
from tests.twins import test_paths as path_formulas
from tests.twins.slow import inputs_seen

SAMPLES, STEPS = 3, 4
ROUNDED = 1e-4
"""Points of a path are placed in single precision: where a norm is steep, gradients differ by more."""


def gradients(c: Comparison, net: Network) -> None:
    for formula in (formulas.saliency, formulas.gradient_x_input):
        for value, slow in zip(c.ask(formula.__name__) or (), known(net), strict=False):
            c.agree(formula.__name__, value.channels, formula(slow))
            c.agree(f"{formula.__name__}, its score", value.score, slow.score(slow.x))
    for formula in (formulas.smooth_grad, formulas.smooth_grad_squared, formulas.var_grad):
        with inputs_seen(net.module) as seen:
            values = c.ask(formula.__name__, samples=SAMPLES)
        copies = (seen[:SAMPLES], seen[SAMPLES:])
        for value, slow, drawn in zip(values or (), known(net), copies, strict=False):
            c.agree(formula.__name__, value.channels, formula(slow, drawn))


def paths(c: Comparison, net: Network) -> None:
    start = torch.randn(net.images.shape[1:], generator=torch.Generator().manual_seed(1), dtype=torch.double)
    for value, slow in zip(c.ask("integrated_gradients", steps=STEPS, baseline=start) or (), known(net), strict=False):
        c.agree("integrated_gradients", value.channels, path_formulas.integrated_gradients(slow, start, STEPS), ROUNDED)
    for value, slow in zip(c.ask("blur_integrated_gradients", steps=STEPS) or (), known(net), strict=False):
        true = path_formulas.blur_integrated_gradients(slow, STEPS, 0.2)
        c.agree("blur_integrated_gradients", value.channels, true, ROUNDED)
    with inputs_seen(net.module) as seen:
        values = c.ask("expected_gradients", references=start[None], samples=SAMPLES)
    for value, slow, points in zip(values or (), known(net), (seen[:SAMPLES], seen[SAMPLES:]), strict=False):
        true = path_formulas.expected_gradients(slow, [(start, point) for point in points])
        c.agree("expected_gradients", value.channels, true)
    with inputs_seen(net.module) as seen:
        values = c.ask("guided_integrated_gradients", steps=STEPS, baseline=start)
    for row, (value, slow) in enumerate(zip(values or (), known(net), strict=False)):
        true = path_formulas.guided_integrated_gradients(slow, seen[row :: len(values or ())])
        c.agree("guided_integrated_gradients", value.channels, true)
