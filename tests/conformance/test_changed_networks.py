"""What is remembered of a network does not outlive a change to it."""

from typing import Any

import numpy as np
from torch import nn

import convscope as cs
from convscope.spec import LensSpec
from tests.conformance.selections import LENSES, for_each_in_turn
from tests.lens_calls import assert_same, call_lens, call_lens_as_list

CHANGES: dict[str, Any] = {
    "weights trained on": lambda net: [w.data.mul_(1.5) for w in net.parameters()],
    "weights replaced": lambda net: setattr(net.conv, "weight", nn.Parameter(net.conv.weight.detach().flip(0))),
    "statistics replaced": lambda net: setattr(net.bn1, "running_mean", net.bn1.running_mean + 0.3),
    "layer replaced": lambda net: setattr(net, "bn2", nn.BatchNorm2d(6).eval()),
    "other precision": lambda net: net.double(),
    "hooked": lambda net: net.conv.register_forward_hook(lambda _module, _inputs, output: output * 0.5),
}


@for_each_in_turn(LENSES, "change", CHANGES)
def test_a_network_changed_between_two_calls_is_explained_as_it_is_now(
    spec: LensSpec, change: str, model: cs.Model, picture: np.ndarray
) -> None:
    call_lens(spec, model, picture)
    CHANGES[change](model.module)
    fresh_model = cs.Model(model.module, input=model.input, labels=model.labels, name=model.name)
    values = call_lens_as_list(spec, model, picture)
    expected_values = call_lens_as_list(spec, fresh_model, picture)
    for value, expected in zip(values, expected_values, strict=True):
        assert_same(value, expected, tolerance=1e-4)
