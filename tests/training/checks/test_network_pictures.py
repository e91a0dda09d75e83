"""Findings about a network show the images, kernels or layers that they are about."""

import pytest
import torch
from torch import nn

import convscope as cs
from convscope.training.checks.network_evidence import NetworkEvidence
from convscope.training.checks.network_pictures import draw_prepared, grey
from tests.training.checks.cases import CHECK, SICK

ALT = {
    "wrong_labels": "looks like",
    "worst_groups": "answer ",
    "duplicate_kernels": "filter",
    "dead_units": "ctivation",
    "gradient_by_depth": "norm of the gradient / norm of the weights",
    "checkerboard": "the middle, enlarged",
    "texture_bias": "answers ",
}


@pytest.mark.parametrize("name", ALT)
def test_a_finding_has_a_picture_of_what_it_is_about(name: str) -> None:
    picture = CHECK[name].run(SICK[name](0))[0].picture
    assert picture is not None
    assert ALT[name] in picture().alt


def test_images_are_drawn_as_the_network_receives_them() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    model = cs.Model(module, input=cs.ImageInput((2, 2), mean=(0.5,) * 3, std=(0.5,) * 3))
    green = torch.tensor([-1.0, 1.0, -1.0]).view(1, 3, 1, 1).expand(2, 3, 2, 2)
    network = NetworkEvidence(model, green)
    picture = draw_prepared(network, [([green[0]], ["green"])], title="images")
    assert int((picture.pixels[..., :3] == torch.tensor([0, 255, 0]).numpy()).all(2).sum()) == 140 * 140


def test_the_largest_number_of_a_map_is_white() -> None:
    assert grey(torch.tensor([[0.0, 2.0], [1.0, 0.5]]))[..., 0].tolist() == [[0, 255], [128, 64]]
