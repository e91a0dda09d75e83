"""All that a lens must leave as it was: the network, the random generators and the settings of the process."""

import copy
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from tests.nets import AttendingNet, GatedNet, ResidualNet


def put_into_unusual_state(net: ResidualNet | AttendingNet | GatedNet) -> None:
    """Leave a network as people do in the middle of their work."""
    net.train()
    net.bn1.eval()
    net.stem.weight.requires_grad_(False)
    net.conv.weight.grad = torch.ones_like(net.conv.weight)
    net.bn2.register_forward_hook(lambda _module, _inputs, _output: None)
    net.fc.register_forward_pre_hook(lambda _module, _inputs: None)


@contextmanager
def assert_unchanged(net: nn.Module) -> Iterator[None]:
    """Nothing about the network, the generators or the process's settings differs afterwards."""
    state, weights = _state(net), copy.deepcopy(net.state_dict())
    torch_generator, other_generators = torch.get_rng_state(), _generators()
    yield
    assert _state(net) == state
    assert net.state_dict().keys() == weights.keys()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in net.state_dict().items())
    assert torch.equal(torch.get_rng_state(), torch_generator)
    assert _generators() == other_generators


def _generators() -> tuple[Any, ...]:
    """The states of NumPy's and Python's global generators."""
    state = np.random.get_state()  # noqa: NPY002 - the global generator is meant
    assert isinstance(state, tuple)
    _, key, *position = state
    return key.tolist(), position, random.getstate()


def _state(net: nn.Module) -> dict[str, Any]:
    """All of a network that is no number, and the settings of the process that a forward pass may change."""
    switches = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
    return {
        "training": {name: m.training for name, m in net.named_modules()},
        "inplace": {name: getattr(m, "inplace", None) for name, m in net.named_modules()},
        "hooks": {
            name: {kind: list(hooks.items()) for kind, hooks in vars(m).items() if kind.endswith("hooks") and hooks}
            for name, m in net.named_modules()
        },
        "attributes": {name: sorted(vars(m)) for name, m in net.named_modules()},
        "tensors": {name: id(t) for name, t in (*net.named_parameters(), *net.named_buffers())},
        "requires_grad": {name: p.requires_grad for name, p in net.named_parameters()},
        "gradients": {name: (id(p.grad), p.grad is None or p.grad.tolist()) for name, p in net.named_parameters()},
        "process": (*switches, torch.get_num_threads(), torch.get_default_dtype()),
    }
