"""The meaning of an output is read from the operation that produced it, in every spelling, never from its values."""

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import convscope as cs
from convscope.errors import InputError
from tests.engine.networks import SIDE, seeded, small_network, tensor
from tests.narrowing import listed


class Ends(nn.Module):
    """A small network whose scores go through ``end``."""

    def __init__(self, end: Callable[[Tensor], Any], classes: int = 3, axes: int = 2) -> None:
        super().__init__()
        self.conv = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[axes - 1](3, 4, 3)
        self.head, self.end = nn.Linear(4, classes), end

    def forward(self, x: Tensor) -> Any:
        return self.end(self.head(self.conv(x).relu().flatten(2).mean(2)))


def ending(end: Callable[[Tensor], Any], classes: int = 3, axes: int = 2) -> nn.Module:
    return seeded(lambda: Ends(end, classes, axes))


def written_in_place(z: Tensor) -> Tensor:
    out = torch.empty_like(z)
    out[:] = z.softmax(1)
    return out


def through_a_view(z: Tensor) -> Tensor:
    out = z.clone()
    out.view(-1).sigmoid_()
    return out


def stable_softmax(z: Tensor) -> Tensor:
    e = (z - z.amax(1, keepdim=True)).exp()
    return e / e.sum(1, keepdim=True)


def with_complement(z: Tensor) -> Tensor:
    p = z[:, :1].sigmoid()
    return torch.cat([1 - p, p], 1)


def partly_sigmoid(z: Tensor) -> Tensor:
    out = z.clone()
    out[:, 0] = out[:, 0].sigmoid()
    return out


SPELLED: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "softmax": (lambda z: z.softmax(1), "softmax"),
    "F.softmax": (lambda z: F.softmax(z, dim=-1), "softmax"),
    "nn.Softmax": (nn.Softmax(-1), "softmax"),
    "special.softmax": (lambda z: torch.special.softmax(z, 1), "softmax"),
    "softmin": (lambda z: F.softmin(z, 1), "softmax"),
    "exp of log_softmax": (lambda z: z.log_softmax(1).exp(), "softmax"),
    "exp over its sum": (lambda z: z.exp() / z.exp().sum(1, keepdim=True), "softmax"),
    "exp over its sum, stable": (stable_softmax, "softmax"),
    "normalized exp": (lambda z: F.normalize(z.exp(), p=1, dim=1), "softmax"),
    "minus logsumexp, exp": (lambda z: (z - z.logsumexp(1, keepdim=True)).exp(), "softmax"),
    "temperature": (lambda z: (z / 2).softmax(1), "softmax"),
    "per cent": (lambda z: z.softmax(1) * 100, "softmax"),
    "clamped": (lambda z: z.softmax(1).clamp(1e-7, 1), "softmax"),
    "sliced": (lambda z: z.softmax(1)[:, :2], "softmax"),
    "one class": (lambda z: z.softmax(1)[:, 1], "softmax"),
    "reshaped": (lambda z: z.softmax(1).reshape(len(z), -1, 1, 1), "softmax"),
    "cast": (lambda z: z.double().softmax(1).float(), "softmax"),
    "bfloat16": (lambda z: z.bfloat16().softmax(1), "softmax"),
    "written in place": (written_in_place, "softmax"),
    "image by image": (lambda z: torch.stack([row.softmax(0) for row in z]), "softmax"),
    "two averaged": (lambda z: (z.softmax(1) + (2 * z).softmax(1)) / 2, "softmax"),
    "a stack averaged": (lambda z: torch.stack([z.softmax(1), (2 * z).softmax(1)]).mean(0), "softmax"),
    "a label and its complement": (with_complement, "softmax"),
    "sigmoid": (lambda z: z.sigmoid(), "sigmoid"),
    "nn.Sigmoid": (nn.Sigmoid(), "sigmoid"),
    "expit": (lambda z: torch.special.expit(z), "sigmoid"),
    "sigmoid_": (lambda z: z.sigmoid_(), "sigmoid"),
    "sigmoid_ of a view": (through_a_view, "sigmoid"),
    "1 / (1 + exp(-z))": (lambda z: 1 / (1 + torch.exp(-z)), "sigmoid"),
    "(1 + exp(-z)) ** -1": (lambda z: (1 + torch.exp(-z)) ** -1, "sigmoid"),
    "exp / (1 + exp)": (lambda z: z.exp() / (1 + z.exp()), "sigmoid"),
    "(1 + tanh) / 2": (lambda z: (1 + torch.tanh(z / 2)) / 2, "sigmoid"),
    "log_softmax": (lambda z: z.log_softmax(1), "log-softmax"),
    "log of softmax": (lambda z: torch.log(z.softmax(1) + 1e-8), "log-softmax"),
    "minus logsumexp": (lambda z: z - z.logsumexp(1, keepdim=True), "log-softmax"),
    "logsigmoid": (lambda z: F.logsigmoid(z), "log-sigmoid"),
    "-softplus(-z)": (lambda z: -F.softplus(-z), "log-sigmoid"),
    "tanh": (lambda z: z.tanh(), "tanh"),
    "scaled tanh": (lambda z: 25 * z.tanh(), "value"),
    "softmax over the batch": (lambda z: z.softmax(0), "value"),
    "softplus": (lambda z: F.softplus(z), "value"),
    "one through a sigmoid": (partly_sigmoid, "mixed"),
    "side by side": (lambda z: torch.cat([z[:, :1].sigmoid(), z[:, 1:]], 1), "mixed"),
    "weighted by constants": (lambda z: z.softmax(1) * torch.tensor([1.0, 1.0, 0.0]), "mixed"),
    "plain": (lambda z: z, "logits"),
    "scaled": (lambda z: 3 * z, "logits"),
    "gated": (lambda z: z * torch.sigmoid(z), "logits"),
    "softmax, then linear": (lambda z: z.softmax(1) @ torch.eye(3), "logits"),
}


@pytest.mark.parametrize(("end", "kind"), SPELLED.values(), ids=SPELLED)
@pytest.mark.parametrize("axes", [1, 2, 3])
def test_the_operation_that_produced_the_output_is_recognized(end: Any, kind: str, axes: int) -> None:
    model, x = cs.Model(ending(end, axes=axes)), tensor(2, 3, *[8] * axes)
    raw = torch.cat([model.module(image[None].clone()).detach().reshape(1, -1).float() for image in x])
    predictions = cs.predict(model, x)
    assert model.meaning.kind == kind
    expected = {
        "softmax": raw / (100 if raw.max() > 1.5 else 1),
        "sigmoid": raw,
        "log-softmax": raw.exp(),
        "log-sigmoid": raw.exp(),
        "logits": raw.softmax(1),
    }.get(kind)
    assert isinstance(predictions, list)
    for row, prediction in enumerate(predictions):
        if expected is None:
            assert prediction.confidences == ()
            assert prediction.scores == pytest.approx(sorted(raw[row].tolist(), reverse=True), abs=1e-6)
        else:
            assert prediction.confidences == pytest.approx(sorted(expected[row].tolist(), reverse=True), abs=1e-6)
        assert prediction.notes["output"] == model.meaning.describe()


LENSES: dict[str, tuple[Any, dict[str, Any]]] = {
    "saliency": (cs.saliency, {}),
    "grad_cam": (cs.grad_cam, {}),
    "integrated_gradients": (cs.integrated_gradients, {"steps": 4}),
    "occlusion": (cs.occlusion, {"patch": 4}),
    "rise": (cs.rise, {"samples": 8}),
    "ablation_cam": (cs.ablation_cam, {}),
    "guided_backprop": (cs.guided_backprop, {}),
    "lrp": (cs.lrp, {}),
    "deep_lift": (cs.deep_lift, {}),
    "excitation_backprop": (cs.excitation_backprop, {}),
}


@pytest.mark.parametrize(("lens", "options"), LENSES.values(), ids=LENSES)
def test_every_lens_notes_the_meaning_of_the_output_on_its_values(lens: Any, options: Any) -> None:
    notes = {
        "softmax": (lambda z: z.softmax(1), "softmax inside the network.*the score is the probability"),
        "sigmoid": (lambda z: z.sigmoid(), "sigmoid inside the network.*the score is the probability"),
        "log-softmax": (lambda z: z.log_softmax(1), "log-softmax inside.*the score is the logarithm"),
        "tanh": (lambda z: z.tanh(), "tanh inside the network"),
        "plain": (lambda z: z, "plain scores"),
    }
    for end, pattern in notes.values():
        net = ending(end)
        attributions = lens(net, tensor(2, 3, 8, 8), target=1, **options)
        for row, attribution in enumerate(attributions):
            assert re.search(pattern, attribution.notes["output"])
            assert attribution.score == pytest.approx(net(tensor(2, 3, 8, 8))[row, 1].item(), abs=1e-5)


def test_the_meaning_is_recognized_in_scripted_and_traced_networks() -> None:
    net, x = seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(12, 3), nn.Softmax(1))), tensor(1, 3, 2, 2)
    for compiled in (torch.jit.script(net), torch.jit.trace(net, x)):
        assert cs.Model(compiled).meaning_for(x).kind == "softmax"


def test_values_that_sum_to_one_are_not_taken_for_probabilities() -> None:
    net = small_network(classes=2)
    with torch.no_grad():
        net[6].weight.zero_()
        net[6].bias.copy_(torch.tensor([0.75, 0.25]))
    for x in (tensor(1, 3, SIDE, SIDE), tensor(3, 3, SIDE, SIDE)):
        predictions = cs.predict(net, x)
        for prediction in predictions if isinstance(predictions, list) else [predictions]:
            assert prediction.confidences == pytest.approx(torch.tensor([0.75, 0.25]).softmax(0).tolist(), abs=1e-6)


def test_observing_the_forward_costs_no_pass_and_changes_no_value() -> None:
    model, x = cs.Model(ending(lambda z: z.softmax(1))), tensor(2, 3, 8, 8)
    first, second = (listed(cs.saliency(model, x, target=0)) for _ in range(2))
    assert [attribution.record.cost.forwards for attribution in second] == [1.0] * 2
    assert all(torch.equal(a.values, b.values) for a, b in zip(first, second, strict=True))


def test_the_meaning_is_read_again_if_the_last_layer_changes() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 3), nn.Softmax(1)).eval()
    model, x = cs.Model(net), tensor(1, 3, 2, 2)
    assert "softmax" in cs.saliency(model, x).notes["output"]
    net[2] = nn.Identity()
    assert "plain" in cs.saliency(model, x).notes["output"]


# Specified by the user


@pytest.mark.parametrize("keyword", ["meaning", "output"])
@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("logits", lambda z: z.softmax(1)),
        ("multilabel", lambda z: z.sigmoid()),
        ("probabilities", lambda z: z),
        ("log-probabilities", lambda z: z.exp()),
        ("value", None),
    ],
)
def test_the_meaning_can_be_specified(keyword: str, word: str, expected: Any) -> None:
    net, x = ending(lambda z: z), tensor(1, 3, 8, 8)
    options: dict[str, Any] = {keyword: word}
    prediction = cs.predict(cs.Model(net, **options), x)
    raw = net(x).detach()
    confidences = () if expected is None else pytest.approx(sorted(expected(raw)[0].tolist())[::-1])
    assert prediction.confidences == confidences
    assert "as specified for the model" in prediction.notes["output"]


def test_a_word_that_is_also_a_part_of_the_output_selects_the_part() -> None:
    net, x = ending(lambda z: {"logits": z, "probabilities": z.softmax(1)}), tensor(1, 3, 8, 8)
    confidences = sorted(net(x)["probabilities"][0].tolist(), reverse=True)
    for part in ("logits", "probabilities"):
        prediction = cs.predict(cs.Model(net, output=part), x)
        assert prediction.confidences == pytest.approx(confidences)
        assert "specified" not in prediction.notes["output"]


def test_a_second_sigmoid_is_not_applied_to_multilabel_probabilities() -> None:
    net, x = ending(lambda z: z.sigmoid()), tensor(1, 3, 8, 8)
    prediction = cs.predict(cs.Model(net, meaning="multilabel"), x)
    assert prediction.confidences == pytest.approx(sorted(net(x)[0].tolist(), reverse=True))


def test_an_unknown_meaning_is_refused() -> None:
    with pytest.raises(InputError, match=r"meaning must be one of logits, .*got 'sofmax'; did you mean 'softmax'"):
        cs.Model(small_network(), meaning="sofmax")


# One output with two labels

BINARY: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "a score": (lambda z: z, lambda f: -f),
    "a sigmoid": (lambda z: z.sigmoid(), lambda p: 1 - p),
    "a log-sigmoid": (lambda z: F.logsigmoid(z), lambda f: (1 - f.exp()).log()),
    "a tanh": (lambda z: z.tanh(), lambda f: -f),
}


@pytest.mark.parametrize(("end", "complement"), BINARY.values(), ids=BINARY)
@pytest.mark.parametrize("lens", [cs.saliency, cs.grad_cam, cs.occlusion, cs.lrp, cs.rise], ids=lambda f: f.__name__)
@pytest.mark.parametrize("bias", [2.0, -2.0])
def test_either_of_two_labels_can_be_explained(lens: Any, end: Any, complement: Any, bias: float) -> None:
    net, x = ending(end, classes=1), tensor(2, 3, 8, 8)
    with torch.no_grad():
        net.head.bias.fill_(bias)
    model = cs.Model(net, labels=["cat", "dog"])
    raw = net(x).detach()[:, 0]
    options = {"samples": 8} if lens is cs.rise else {"patch": 4} if lens is cs.occlusion else {}
    top, cat, dog = (lens(model, x, target=target, **options) for target in (cs.TOP1, "cat", "dog"))
    assert {a.target for a in top} == {"dog" if bias > 0 else "cat"}
    assert {p.labels[0] for p in cs.predict(model, x)} == {"dog" if bias > 0 else "cat"}
    assert [a.score for a in dog] == pytest.approx(raw.tolist(), abs=1e-5)
    assert [a.score for a in cat] == pytest.approx(complement(raw).tolist(), abs=1e-4)
    if lens is cs.grad_cam:
        for for_cat, for_dog in zip(cat, dog, strict=True):
            assert float((for_cat.values * for_dog.values).sum()) < 0


def test_two_labels_of_a_dense_output_of_one_channel() -> None:
    net = seeded(lambda: nn.Sequential(nn.Conv2d(3, 1, 3), nn.Sigmoid()))
    model, x = cs.Model(net, labels=["ground", "road"]), tensor(1, 3, 8, 8)
    road, ground = (cs.saliency(model, x, target=cs.Region(label)) for label in ("road", "ground"))
    assert road.score == pytest.approx(net(x).mean().item(), abs=1e-6)
    assert ground.score == pytest.approx(1 - road.score, abs=1e-6)


def test_the_loss_is_the_same_for_logits_and_probabilities() -> None:
    x = tensor(4, 3, 8, 8)
    with_logits, with_softmax = (
        cs.parameter_gradients(cs.Model(net, labels=["a", "b", "c"]), [(image, "b") for image in x])
        for net in (ending(lambda z: z), ending(lambda z: z.softmax(1)))
    )
    assert with_logits.notes["mean loss"] == pytest.approx(with_softmax.notes["mean loss"], rel=1e-5)
