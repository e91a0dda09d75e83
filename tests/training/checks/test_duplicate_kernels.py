"""What pruning costs is measured on the images, without a change of the network."""

import copy

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import convscope as cs
from convscope.engine.layers.kernels import find_oddities, groups_of, read_kernels
from convscope.training.checks.duplicate_kernels import duplicate_kernels
from convscope.training.checks.network_evidence import NetworkEvidence
from tests.training.checks.cases import CHECK, SICK


def pruned_accuracy(
    net: nn.Sequential, channels: list[int], images: Tensor, classes: Tensor, *, bias: bool = True
) -> float:
    pruned = copy.deepcopy(net)
    with torch.no_grad():
        pruned[0].weight[channels] = 0
        if bias:
            pruned[0].bias[channels] = 0
        return accuracy_of(pruned, images, classes)


def accuracy_of(net: nn.Module, images: Tensor, classes: Tensor) -> float:
    with torch.no_grad():
        return float((net(images).argmax(1) == classes).double().mean())


def test_the_accuracy_without_repeated_filters_is_that_of_the_remedy() -> None:
    """Of the first network for which it matters which filters of a pair are pruned, and whether their bias is."""
    for seed in range(100):
        torch.manual_seed(seed)
        images = torch.rand(40, 3, 1, 1) * torch.rand(40, 3, 6, 6)
        net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))
        with torch.no_grad():
            net[0].weight[[2, 5, 6]] = net[0].weight[0].clone()
            net[4].bias -= net(images).mean(0)
            classes = net.eval()(images).argmax(1)
        accuracy = pruned_accuracy(net, [2, 5, 6], images, classes)
        others = pruned_accuracy(net, [0, 1, 2, 5, 6], images, classes)
        if accuracy < 1 and accuracy not in (others, pruned_accuracy(net, [2, 5, 6], images, classes, bias=False)):
            break
    else:
        raise AssertionError("no such network")
    before = copy.deepcopy(net.state_dict())
    (finding,) = duplicate_kernels.run(NetworkEvidence(cs.Model(net), TensorDataset(images, classes)))
    assert finding.evidence.parameters["before"] == "100.0%"
    assert finding.evidence.parameters["after"] == f"{accuracy:.1%}"
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    exec(finding.remedy, {"torch": torch, "layer": net[0], "repeated": [2, 5, 6]})
    assert accuracy_of(net, images, classes) == accuracy


def test_the_remedy_leaves_no_duplicate() -> None:
    network = SICK["duplicate_kernels"](0)
    finding = CHECK["duplicate_kernels"].run(network)[0]
    layer = dict(network.model.module.named_modules())[finding.place]
    oddities = find_oddities(read_kernels(network.model, finding.place), groups_of(layer))
    repeated = [index for index, *_ in oddities.near_duplicate]
    exec(finding.remedy, {"torch": torch, "layer": layer, "repeated": repeated})
    model = cs.Model(network.model.module, input=network.model.input)
    assert CHECK["duplicate_kernels"].run(NetworkEvidence(model, network.tensor)) == []
