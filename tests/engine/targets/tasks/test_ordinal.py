"""Ranks by cumulative scores: the expected rank, a rank or a higher one, a single rank."""

import pytest
import torch
from torch import nn

import convscope as cs
from convscope.errors import OutputError
from convscope.render import explained_by_default
from convscope.values import Prediction
from tests.dense_networks import INPUT, scene

RANKS = ["none", "mild", "moderate", "severe"]


def model(*biases: float, last: nn.Module | None = None, labels: list[str] | None = RANKS) -> cs.Model:
    """CORAL's head: one score of the image, and a threshold for each rank but the lowest."""
    linear = nn.Linear(3, len(biases))
    with torch.no_grad():
        linear.weight.fill_(1.0), linear.bias.copy_(torch.tensor(biases))
    net = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), linear, last or nn.Identity())
    return cs.Model(net, input=INPUT, labels=labels, task="ordinal")


def passed(*biases: float) -> torch.Tensor:
    return (scene().mean((0, 2, 3)).sum() + torch.tensor(biases)).sigmoid()


@pytest.mark.parametrize("last", [None, nn.Sigmoid()], ids=["scores", "probabilities"])
def test_the_probabilities_of_ranks_are_differences_of_cumulative_ones(last: nn.Module | None) -> None:
    value = cs.predict(model(2, 0, -2, last=last), scene())
    p = passed(2, 0, -2).tolist()
    expected = dict(zip(RANKS, (1 - p[0], p[0] - p[1], p[1] - p[2], p[2]), strict=True))
    assert dict(zip(value.labels, value.confidences, strict=True)) == pytest.approx(expected, abs=1e-6)
    assert f"expected {sum(p):.2f} from 0 to 3" in value.notes["rank"]
    assert value.notes["rank"].endswith(f"give {RANKS[sum(q > 0.5 for q in p)]}")
    assert isinstance(value, Prediction)
    assert explained_by_default(value) is None  # the expected rank is explained, not the first row


def test_targets_are_the_expected_rank_a_rank_or_more_and_a_rank() -> None:
    network, p = model(2, 0, -2), passed(2, 0, -2)
    scores = {
        "top-1": float(p.sum()),
        "expected rank": float(p.sum()),
        "at least severe": float(p[2].logit()),
        "at least 1": float(p[0].logit()),
        "mild": float(p[0] - p[1]),
        "severe - none": float(p[2] - (1 - p[0])),
    }
    for target, score in scores.items():
        value = cs.saliency(network, scene(), target=target)
        assert value.score == pytest.approx(score, abs=1e-5), target
    assert cs.saliency(network, scene()).target == "expected rank"
    assert cs.occlusion(network, scene(), target="at least 1", patch=16, stride=16).target == "at least mild"


def test_ranks_out_of_order_are_mentioned_and_none_is_below_zero() -> None:
    value = cs.predict(model(0, 2, -2), scene())
    assert min(value.confidences) == 0
    assert sum(value.confidences) == pytest.approx(1)
    assert "likelier to be passed" in value.notes["order"]


def test_what_no_output_tells_apart_is_refused() -> None:
    with pytest.raises(OutputError, match="every input has at least the lowest rank"):
        cs.saliency(model(2, 0, -2), scene(), target="at least none")
    with pytest.raises(OutputError, match="at least 4"):
        cs.saliency(model(2, 0, -2, labels=None), scene(), target="at least 4")
    with pytest.raises(OutputError, match="2 labels for 3 cumulative scores: these tell 4 ranks apart"):
        cs.predict(model(2, 0, -2, labels=RANKS[:2]), scene())
    classes = cs.Model(model(2, 0, -2).module, input=INPUT, labels=RANKS)
    with pytest.raises(OutputError, match="or task='ordinal'"):
        cs.predict(classes, scene())


def test_the_loss_is_that_of_the_ranks() -> None:
    """A rank has no column of its own: the highest would be out of range, and the others would be taken for another."""
    value = cs.parameter_gradients(model(2, 0, -2), [(scene()[0], RANKS.index("severe"))])
    p = passed(2, 0, -2)
    assert value.notes["mean loss"] == pytest.approx(-float(p[2].log()), abs=1e-4)
