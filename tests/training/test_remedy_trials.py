"""Remedies are tried on copies: the symptom shrinks there, and the network stays as it is."""

import copy

import torch
from torch import nn
from torch.utils.data import TensorDataset

import convscope as cs
from convscope.training.remedy_trials import REMEDIES
from tests.training.checks.network_cases import network, pictures


def test_vanishing_gradients_are_mended_on_a_copy() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net, images = network(nn.Sigmoid, 9, norm=False).eval(), pictures(16)
        before = copy.deepcopy(net.state_dict())
        state = torch.get_rng_state()
        labelled = TensorDataset(images, torch.arange(16) % 3)
        model = cs.Model(net)
        diagnosis = cs.diagnose(model, labelled, checks=["gradient_by_depth"], trials=True)
        assert torch.equal(torch.get_rng_state(), state)
        assert not cs.diagnose(model, images, checks=["gradient_by_depth"], trials=True).findings[0].trials
    (finding,) = diagnosis.findings
    assert [trial.parameters["remedy"] for trial in finding.trials] == list(REMEDIES)
    factor = {str(trial.parameters["remedy"]): float(trial.parameters["after"]) for trial in finding.trials}
    now = float(finding.trials[0].parameters["before"])
    assert now > 1e5
    assert factor["LeakyReLU as activation function"] < 100
    assert factor["batch norm after each convolution"] < now / 1000
    assert factor["residual connections around convolutions and activation functions"] < 100
    assert "tried on a copy: LeakyReLU" in str(diagnosis)
    assert finding.as_json()["trials"][0].startswith("LeakyReLU as activation function: the factor")
    assert not net.training
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
