"""Neuron conductance computed a second time, step by step, and compared with the lens."""

import pytest
import torch
from torch import Tensor

import convscope as cs
from tests.twins.binding import twin_of
from tests.twins.layer_units import STEPS, SUBJECTS, baseline_of, gauss_legendre
from tests.twins.slow import TOLERANCE, Slow, relative_error
from tests.twins.subjects import Subject


@twin_of(cs.neuron_conductance)
def neuron_conductance(slow: Slow, layer: str, unit: int, start: Tensor) -> Tensor:
    mean = torch.zeros_like(slow.x)
    for at, weight in gauss_legendre():
        point = (start + at * (slow.x - start)).requires_grad_()
        gradient = slow.seen_at(layer, point)[1][unit]
        activations: list[Tensor] = []
        store = activations.append
        handle = slow.net.get_submodule(layer).register_forward_hook(
            lambda *arguments, store=store: store(arguments[2].clone())
        )
        slow.net(point[None])
        handle.remove()
        mean += weight * torch.autograd.grad((activations[0][0, unit] * gradient).sum(), point)[0]
    return (slow.x - start) * mean


@pytest.mark.parametrize("subject", SUBJECTS, indirect=True)
def test_neuron_conductance_follows_its_formula(subject: Subject) -> None:
    start = baseline_of(subject)
    layer = subject.layers[0]
    attributions = subject.explained("neuron_conductance", unit=f"{layer}[1]", steps=STEPS, baseline=start)
    for attribution, slow in zip(attributions, subject.slow, strict=True):
        assert relative_error(attribution.channels, neuron_conductance(slow, layer, 1, start.double())) < TOLERANCE
