"""The dependence of every value on input positions, compared with the support of the gradient."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import convscope as cs
from convscope.engine.graph import dependence_rules, record_graph
from tests.engine.graph.networks import NETS, Gated, random_tensor, record
from tests.nets import seeded


def positive(net: nn.Module, seed: int = 0) -> nn.Module:
    """The network in float64 with weights above zero, so that nothing cancels and every rectifier is active."""
    numbers = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.rand(parameter.shape, generator=numbers) * 0.9 + 0.1)
    return net.double().eval().requires_grad_(False)


@pytest.mark.parametrize("name", NETS)
def test_the_dependence_of_a_value_is_the_support_of_its_gradient(name: str) -> None:
    """For random values of every module's output; maxima have a gradient at one position: many inputs are tried."""
    build, shape = NETS[name]
    net = positive(seeded(build))
    graph = record_graph(cs.Model(net), random_tensor(1, *shape))
    random = np.random.default_rng(0)
    compared = 0
    for address, call in graph.layer_calls.items():
        for _ in range(4):
            index = (0, *(int(random.integers(side)) for side in call.shape[1:]))
            if call.shape[0] > 1:
                index = (int(random.integers(call.shape[0])), *index[1:])
            bounds = [axis.bounds(lambda part: part.expand(call.shape)[index]) for axis in call.dependence]  # noqa: B023
            expected = support(net, shape, address, index, tries=24 if name == "flatten" else 1)
            assert (bounds or [None] * len(expected)) == expected, (address, index)
            compared += 1
    assert compared >= 4 * 4


def support(net: nn.Module, shape: tuple[int, ...], address: str, index: tuple[int, ...], tries: int) -> list[Any]:
    """Along each axis the first and last input position with a gradient to one value of a module's last output."""
    has_gradient = torch.zeros(shape, dtype=torch.bool)
    for seed in range(tries):
        x = random_tensor(1, *shape, seed=seed).requires_grad_(True)
        outputs: list[Tensor] = []
        hook = net.get_submodule(address).register_forward_hook(
            lambda _m, _i, out: outputs.append(first(out).clone())  # noqa: B023
        )
        net(x.clone())
        hook.remove()
        if not outputs[-1].requires_grad:
            return [None] * (len(shape) - 1)
        has_gradient |= torch.autograd.grad(outputs[-1][index], x)[0][0] != 0
    bounds = []
    for axis in range(1, len(shape)):
        along = has_gradient.movedim(axis, 0).flatten(1).any(1).nonzero().flatten().tolist()
        bounds.append((along[0], along[-1]) if along else None)
    return bounds


def first(out: Any) -> Tensor:
    return out[0] if isinstance(out, tuple) else out


@pytest.mark.parametrize("name", ["plain", "signal", "volume", "branches", "transposed", "nearest", "shuffled"])
def test_the_receptive_field_pattern_is_exact_far_from_the_borders(name: str) -> None:
    """On a large input: the size is that of the largest receptive field, and the pattern gives that of position i."""
    build, shape = NETS[name]
    side = 40 if len(shape) == 4 else 120
    graph = record(seeded(build), shape[0], *(side for _ in shape[1:]))
    compared = 0
    for call in graph.layer_calls.values():
        for number, axis in enumerate(call.dependence):
            pattern = axis.pattern
            if pattern is None or axis.mixes_positions or len(call.shape) != len(shape) + 1:
                continue
            other_dims = [d for d in range(axis.low.ndim) if d != number + 2]
            low, high = -(-axis.low).amax(other_dims), axis.high.amax(other_dims)
            margin = pattern.size
            inside = [i for i in range(len(high)) if low[i] >= margin and high[i] < side - margin]
            if len(inside) < len(pattern.low):
                continue
            assert pattern.size == max(int(high[i] - low[i]) + 1 for i in inside)
            for i in inside:
                expected = (float(low[i]), float(high[i]))
                assert (pattern.end_at(pattern.low, i), pattern.end_at(pattern.high, i)) == expected
            compared += 1
    assert compared >= 4


def test_the_field_after_a_mean_over_space_is_the_whole_input_and_keeps_its_local_part() -> None:
    s = cs.structure(cs.Model(seeded(Gated), input=cs.TensorInput((1, 9, 9))))
    assert s.module("conv").field == (3, 3)
    assert s.module("gate").field == (None, None)
    assert s.module("gate").local == (None, None)
    assert s.module("last").field == (None, None)
    assert s.module("last").local == (5, 5)


def test_an_operation_without_a_rule_may_depend_on_everything_and_is_named_in_the_notes() -> None:
    class Sampled(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            grid = x.mean().expand(len(x), 2, 2, 2)  # the coordinates depend on the input
            return F.grid_sample(x, grid, align_corners=False)

    s = cs.structure(cs.Model(Sampled(), input=cs.TensorInput((1, 6, 6))))
    assert s.module("").field == (None, None)
    assert s.notes["operations taken to see all they read"] == {"grid sampler 2d": 1}
    assert s.notes["operations without a count of FLOPs"] == {"grid sampler 2d": 1}


def test_a_rule_that_fails_gives_way_to_an_upper_bound_and_is_named_in_the_notes(monkeypatch) -> None:
    def failing_rule(_call: Any) -> None:
        raise RuntimeError("called with unexpected arguments")

    monkeypatch.setitem(dependence_rules._RULES, "convolution", failing_rule)
    s = cs.structure(cs.Model(nn.Conv2d(1, 1, 3), input=cs.TensorInput((1, 6, 6))))
    assert s.module("").field == (None, None)
    assert s.notes["operations taken to see all they read"] == {"convolution": 1}
