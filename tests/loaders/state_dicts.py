"""Comparison of a network with a state dict."""

import torch

import convscope as cs


def same_state(model: cs.Model, state: dict[str, torch.Tensor]) -> bool:
    actual = model.module.state_dict()
    return all(torch.equal(actual[name], state[name]) for name in state)
