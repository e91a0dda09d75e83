"""The images of a network are what its checks were given, also after a network that writes to its input."""

import torch
from torch import nn

import convscope as cs
from convscope.training.checks.network_evidence import NetworkEvidence


def test_a_network_that_writes_to_its_input_leaves_the_images_as_they_are() -> None:
    model = cs.Model(nn.Sequential(nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(12, 2)).eval())
    images = torch.linspace(-1, 1, 36).reshape(3, 3, 2, 2)
    network = NetworkEvidence(model, images.clone())
    network.scores(network.tensor)
    assert torch.equal(network.tensor, images)
    network.observe(None, lambda *_: None)
    assert torch.equal(network.tensor, images)


def test_gradients_are_those_of_the_known_classes() -> None:
    """The network is wrong on both images; of the third no class is known."""
    torch.manual_seed(0)
    model = cs.Model(nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).eval())
    images = torch.rand(3, 3, 2, 2)
    top = model.module(images).argmax(1)
    network = NetworkEvidence(model, [(images[0], 1 - int(top[0])), (images[1], 1 - int(top[1]))])
    network.tensor, network.classes = images, [*network.classes, None]
    classes = torch.stack([1 - top[0], 1 - top[1], top[2]])
    loss = nn.functional.cross_entropy(model.module(images), classes)
    assert abs(float(network.gradients.notes["mean loss"]) - loss.item()) < 1e-6
