"""What pruning costs is measured on the images, without a change of the network."""

import copy

import torch
from torch import nn
from torch.utils.data import TensorDataset

import convscope as cs
from convscope.training.checks.duplicate_kernels import duplicate_kernels
from convscope.training.checks.network_evidence import NetworkEvidence


def test_the_accuracy_without_repeated_filters_is_that_of_a_copy_without_them() -> None:
    torch.manual_seed(1)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)).eval()
    with torch.no_grad():
        net[0].weight[[2, 5, 6]] = net[0].weight[0].clone()
        net[4].weight[:, [0, 1, 2, 5, 6]] *= torch.tensor([4.0, 4.0, 2.0, 2.0, 2.0])
        images = torch.rand(30, 3, 8, 8)
        net[4].bias -= net(images).mean(0)
    classes = net(images).argmax(1)
    assert len(classes.unique()) > 1
    pruned, before = copy.deepcopy(net), copy.deepcopy(net.state_dict())
    with torch.no_grad():
        pruned[0].weight[[2, 5, 6]] = 0
        pruned[0].bias[[2, 5, 6]] = 0
    accuracy = float((pruned(images).argmax(1) == classes).double().mean())
    with torch.no_grad():
        pruned[0].weight[[0, 1]] = 0
        pruned[0].bias[[0, 1]] = 0
    assert accuracy not in (1, float((pruned(images).argmax(1) == classes).double().mean()))
    (finding,) = duplicate_kernels.run(NetworkEvidence(cs.Model(net), TensorDataset(images, classes)))
    assert finding.evidence.parameters["before"] == "100.0%"
    assert finding.evidence.parameters["after"] == f"{accuracy:.1%}"
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
