"""Labels that do not exclude each other: each has a probability of its own."""

import pytest
import torch
from torch import nn

import convscope as cs
from convscope.errors import OutputError
from convscope.render import answers
from convscope.values import Prediction
from tests.dense_networks import INPUT, scene

LABELS = ["sun", "sea", "sand"]


def model(*scores: float, last: nn.Module | None = None, **options: object) -> cs.Model:
    """Each label scores the mean of one channel, plus a number that decides whether it is predicted."""
    linear = nn.Linear(3, 3)
    with torch.no_grad():
        linear.weight.copy_(torch.eye(3)), linear.bias.copy_(torch.tensor(scores))
    net = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), linear, last or nn.Identity())
    return cs.Model(net, input=INPUT, labels=LABELS, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("inside", [False, True], ids=["scores", "probabilities"])
def test_each_label_has_its_own_probability_and_several_are_predicted(inside: bool) -> None:
    network = model(3, -4, 2, last=nn.Sigmoid()) if inside else model(3, -4, 2, task="multilabel")
    value = cs.predict(network, scene())
    assert network.task is not None
    assert network.task.name == "multilabel"
    expected = (scene().mean((0, 2, 3)) + torch.tensor([3.0, -4.0, 2.0])).sigmoid()
    assert dict(zip(value.labels, value.confidences, strict=True)) == pytest.approx(
        dict(zip(LABELS, expected.tolist(), strict=True)), abs=1e-6
    )
    assert sum(value.confidences) > 1.5
    assert isinstance(value, Prediction)
    assert [row.is_predicted for row in answers(value)] == [True, True, False]
    assert value.notes["labels"].startswith("2 of 3 ")


def test_the_predicted_labels_are_one_target_and_stay_the_same_in_changed_images() -> None:
    network, image = model(3, -4, 2, task="multilabel"), scene()
    value = cs.gradient_x_input(network, image, target="predicted")
    single = [cs.gradient_x_input(network, image, target=label).values for label in ("sun", "sand")]
    torch.testing.assert_close(torch.as_tensor(value.values), torch.as_tensor((single[0] + single[1]) / 2))
    assert value.target == "predicted"
    assert cs.occlusion(network, image, target="predicted", patch=16, stride=16).target == "predicted"


def test_no_predicted_label_is_an_error_that_names_the_likeliest() -> None:
    with pytest.raises(OutputError, match=r"no label has a probability above one half .* 'sand'"):
        cs.saliency(model(-5, -4, -2, task="multilabel"), scene(), target="predicted")
