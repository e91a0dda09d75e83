"""The part of a network up to the layer of the objective: later layers are not computed and no hook is left."""

import pytest
import torch
from torch import nn

import convscope as cs
from convscope.engine.context.metering import metered
from convscope.engine.optimize import objectives as goals
from convscope.engine.optimize import parametrizations
from convscope.engine.optimize.loop import maximize
from convscope.engine.optimize.picture_space import picture_space_of
from convscope.engine.optimize.truncated_network import TruncatedNetwork
from convscope.errors import LayerError
from tests.conftest import picture_model
from tests.engine.optimize.models import generator, optimize
from tests.nets import FlattenNet, seeded


def test_later_layers_are_not_computed_and_no_hook_is_left(residual: cs.Model) -> None:
    calls = []
    residual.module.relu.register_forward_hook(lambda *_: calls.append("relu"))
    handles = len(residual.module.relu._forward_hooks)
    with metered() as meter:
        optimize(residual, goals.channel("conv", 1), steps=5)
    assert len(calls) == 1, "once, to find the order of layers"
    assert (meter.forwards, meter.backwards) == (2 + 5 + 2, 5)
    assert sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in residual.module.modules()) == handles


def test_several_layers_are_read_in_one_forward_that_ends_at_the_last(residual: cs.Model) -> None:
    x = torch.randn(2, 3, 16, 16, generator=generator())
    with residual.preserve_state():
        activations = TruncatedNetwork(residual, ["bn2", "stem"], x[:1]).activations(residual.input_copy(x))
    net = residual.module
    torch.testing.assert_close(activations["stem"], net.stem(x))
    torch.testing.assert_close(activations["bn2"], net.bn2(net.conv(torch.relu(net.bn1(net.stem(x))))))


def test_layers_before_a_fixed_size_head_can_be_visualized_at_other_sizes() -> None:
    model = picture_model(seeded(FlattenNet))
    with model.preserve_state():
        parametrization = parametrizations.pixels(picture_space_of(model, 24))
        result = maximize(model, goals.channel("features.0", 2), parametrization, steps=3)
        assert tuple(result.pictures.shape) == (1, 3, 24, 24)
        with pytest.raises(cs.ConvScopeError, match="FlattenNet raised"):
            maximize(model, goals.class_score(0), parametrization, steps=3)


def test_a_layer_that_never_runs_is_refused(model: cs.Model) -> None:
    model.module.spare = nn.Conv2d(3, 3, 1)
    with pytest.raises(LayerError, match="'spare' was never reached"):
        optimize(model, goals.channel("spare", 0))
