"""Findings about a network or a map show the images, kernels, layers or maps that they are about."""

import pytest
import torch
from torch import nn

import convscope as cs
from convscope.training.checks.network_evidence import NetworkEvidence
from convscope.training.checks.network_pictures import draw_by_layer, draw_prepared, grey
from tests.training.checks.cases import CHECK, SICK

ALT = {
    "wrong_labels": "looks like",
    "worst_groups": "answer ",
    "duplicate_kernels": "filter",
    "dead_units": "ctivation",
    "gradient_by_depth": "norm of the gradient / norm of the weights",
    "checkerboard": "the middle, enlarged",
    "texture_bias": "answers ",
    "nonfinite_values": "percent of the outputs that are not finite, by layer",
    "input_independence": "largest difference between images / largest output, by layer",
    "wrong_preprocessing": "0 to 255 ",
    "batch_norm_statistics": "running mean, mean of the images, running standard deviation",
    "removed_by_relu": "Grad-CAM",
    "stopped_gradient": "Saliency",
    "blank_map": "Gradient",
    "inverted_map": "Grad-CAM",
    "flat_map": "Grad-CAM",
    "saturated_score": "Saliency",
    "nonfinite_map": "white: not finite",
    "same_for_classes": "the image; class",
    "class_token_only": "norm of the gradient at the tokens of last",
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


def test_a_number_of_each_layer_is_drawn_with_the_names_of_the_layers() -> None:
    plain = draw_by_layer({"first": 1.0, "second": 2.0}, title="numbers").pixels
    other = draw_by_layer({"first": 1.0, "third": 2.0}, title="numbers").pixels
    assert plain.shape == other.shape
    assert (plain != other).any()


def test_the_numbers_by_layer_are_those_of_all_layers() -> None:
    """The share behind the layer that began is drawn too."""
    evidence = SICK["nonfinite_values"](2)
    (finding,) = CHECK["nonfinite_values"].run(evidence)
    assert finding.picture is not None
    (percent,) = finding.picture.args  # type: ignore[attr-defined]
    leaves = [name for name, module in evidence.model.module.named_modules() if name and not list(module.children())]
    assert list(percent) == leaves
    assert percent[finding.place] > 0


def test_the_largest_number_of_a_map_is_white() -> None:
    assert grey(torch.tensor([[0.0, 2.0], [1.0, 0.5]]))[..., 0].tolist() == [[0, 255], [128, 64]]
