"""Networks whose images influence each other are detected once per network and noted on every value."""

import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import convscope as cs
from convscope.engine.network.assumption_checks import CHECKS, check_backward_pass, check_independence, jittered
from tests.engine.network.checked_networks import Net, Recurrent, Tokens, hooked
from tests.engine.networks import SIDE, pictured, seeded, small_network, tensor, watched

NORMS = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


INPUTS = {1: (1, 3, 40), 2: (1, 3, SIDE, SIDE), 3: (1, 3, 6, 8, 8)}


class OnlyOne(nn.Module):
    """Accepts no batch of more than one image."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 8, 3), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.conv(x).relu().mean((2, 3)).view(1, 8))


class RowByRow(nn.Module):
    """Runs a network on one image at a time, for the expected values."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.net(x[row : row + 1]) for row in range(len(x))])


def norm_of_the_batch(rank: int) -> nn.Module:
    return NORMS[rank](8, track_running_stats=False)


# Independence

MIXING: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "batch norm without statistics 1-D": (lambda: Net(1, between=norm_of_the_batch(1)), 1),
    "batch norm without statistics 2-D": (lambda: Net(2, between=norm_of_the_batch(2)), 2),
    "batch norm without statistics 3-D": (lambda: Net(3, between=norm_of_the_batch(3)), 3),
    "batch norm first": (lambda: nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False), Net()), 2),
    "nested batch norm": (lambda: nn.Sequential(nn.Sequential(Net(between=norm_of_the_batch(2)))), 2),
    "mean of the batch subtracted": (lambda: Net(before=lambda x: x - 0.5 * x.mean(0, keepdim=True)), 2),
    "mean of all values subtracted": (lambda: Net(before=lambda x: x - 0.5 * x.mean()), 2),
    "maximum of the batch": (lambda: Net(before=lambda x: x / x.amax()), 2),
    "softmax over the batch": (lambda: Net(1, between=lambda f: f * f.softmax(0)), 1),
    "outputs minus half their mean": (lambda: Net(after=lambda out: out - 0.5 * out.mean(0)), 2),
    "divided by the number of images": (lambda: Net(3, between=lambda f: f / len(f)), 3),
    "a little of the others": (lambda: Net(between=lambda f: f + 1e-3 * f.mean(0, keepdim=True)), 2),
    "attention over the batch": (lambda: Tokens(batch_first=False), 2),
    "memory along the batch": (lambda: Recurrent(over_images=True), 1),
    "no batch at all": (OnlyOne, 2),
}


mixing = pytest.mark.parametrize(("build", "rank"), list(MIXING.values()), ids=list(MIXING))


@mixing
def test_images_that_influence_each_other_are_detected_and_masked_images_run_alone(build: Any, rank: int) -> None:
    net, x = seeded(build), tensor(*INPUTS[rank])
    attribution = cs.occlusion(net, x, target=0, patch=4, stride=4)
    expected = cs.occlusion(RowByRow(net), x, target=0, patch=4, stride=4)
    assert "alone" in attribution.notes["batch"]
    assert "batch" not in expected.notes
    assert torch.count_nonzero(expected.values)
    torch.testing.assert_close(attribution.values, expected.values, rtol=1e-4, atol=1e-6)


LENSES: dict[str, dict[str, Any]] = {
    "rise": {"samples": 40},
    "lime": {"samples": 40},
    "kernel_shap": {"samples": 40},
    "feature_ablation": {},
    "integrated_gradients": {"steps": 8},
    "smooth_grad": {"samples": 6},
    "expected_gradients": {"samples": 6},
    "deep_lift": {},
    "saliency": {"smooth": 4},
}


@pytest.mark.parametrize(("name", "options"), list(LENSES.items()), ids=list(LENSES))
def test_every_lens_with_many_perturbed_samples_runs_them_alone(name: str, options: dict[str, Any]) -> None:
    net, x = seeded(lambda: Net(after=lambda out: out - 0.7 * out.mean(0) + out.amax(0))), tensor()
    attribution, expected = (getattr(cs, name)(network, x, target=0, **options) for network in (net, RowByRow(net)))
    assert "batch" in attribution.notes
    assert torch.count_nonzero(expected.values)
    torch.testing.assert_close(attribution.values, expected.values, rtol=1e-4, atol=1e-6)


LAYERED = ("grad_cam", "score_cam", "ablation_cam", "recipro_cam", "hires_cam", "eigen_cam")


@pytest.mark.parametrize("name", [*LAYERED, *LENSES, "occlusion"])
def test_an_image_has_the_same_value_alone_and_in_a_batch(name: str) -> None:
    net, x = seeded(lambda: Net(between=norm_of_the_batch(2))), tensor(3, 3, SIDE, SIDE)
    options = LENSES.get(name, {}) | ({} if name == "eigen_cam" else {"target": 0})
    options |= {"patch": 8, "stride": 4} if name == "occlusion" else {}
    if name == "deep_lift":
        options |= {"on_missing": "gradient"}
    lens, model = getattr(cs, name), cs.Model(net)
    attributions = lens(model, x, **options)
    assert all("batch" in attribution.notes for attribution in attributions)
    for row in range(3):
        alone = lens(model, x[row : row + 1], **options)
        torch.testing.assert_close(attributions[row].values, alone.values, rtol=1e-4, atol=1e-6)


def test_a_prediction_is_that_of_the_image_alone_with_a_note() -> None:
    net, x = seeded(lambda: Net(between=norm_of_the_batch(2))), tensor(3, 3, SIDE, SIDE)
    predictions = cs.predict(net, x)
    with torch.no_grad():
        scores = [float(net(x[row : row + 1]).max()) for row in range(3)]
    assert [prediction.scores[0] for prediction in predictions] == pytest.approx(scores, rel=1e-4)
    assert all("batch" in prediction.notes for prediction in predictions)


def active_dropout(x: Tensor) -> Tensor:
    return F.dropout(x, 0.5, training=True)


SOUND: dict[str, tuple[Callable[[], nn.Module], Tensor]] = {
    "1-D": (lambda: Net(1), tensor(*INPUTS[1])),
    "2-D": (Net, tensor()),
    "3-D": (lambda: Net(3), tensor(*INPUTS[3])),
    "tokens": (lambda: Tokens(batch_first=True), tensor()),
    "LSTM": (Recurrent, tensor(*INPUTS[1])),
    "vector": (lambda: nn.Sequential(nn.Linear(10, 20), nn.ReLU(), nn.Linear(20, 3)), tensor(1, 10)),
    "dropout that stays on": (lambda: Net(between=active_dropout), tensor()),
    "noise": (lambda: Net(between=lambda f: f + 0.1 * torch.randn_like(f)), tensor()),
    "black": (lambda: Net(between=lambda f: F.max_pool2d(f, 4, 1)), torch.zeros(1, 3, SIDE, SIDE)),
    "constant but for a square": (
        lambda: Net(between=lambda f: F.max_pool2d(f, 4, 1)),
        F.pad(torch.ones(1, 3, 4, 4), (6, 6, 6, 6)),
    ),
    "integer pixels": (lambda: Net(before=lambda x: x / 255), (tensor() * 50 + 128).round().clamp(0, 255)),
    "saturated softmax": (lambda: Net(after=lambda out: (200 * out).softmax(1)), tensor()),
    "huge scores": (lambda: Net(after=lambda out: 1e8 * out), tensor()),
    "tiny slopes": (lambda: Net(before=lambda x: 1e-6 * x), tensor()),
    "far from zero": (lambda: Net(after=lambda out: out + 1e6), tensor()),
    "loss of significance": (lambda: Net(before=lambda x: (x + 1e5) - 1e5), tensor()),
    "sorted values": (lambda: Net(between=lambda f: f.flatten(2).sort(-1).values.view_as(f)), tensor()),
    "argmax": (lambda: Net(between=lambda f: f * F.one_hot(f.argmax(1), 8).movedim(-1, 1)), tensor()),
    "rounded to bfloat16": (lambda: Net(before=lambda x: x.bfloat16().float()), tensor()),
    "steep": (lambda: Net(before=lambda x: torch.sin(300 * x)), tensor()),
    "bfloat16": (lambda: Net().bfloat16(), tensor().bfloat16()),
    "float64": (lambda: Net().double(), tensor().double()),
}


sound = pytest.mark.parametrize(("build", "x"), list(SOUND.values()), ids=list(SOUND))


@sound
def test_sound_networks_get_no_message(build: Any, x: Tensor) -> None:
    model = cs.Model(seeded(build))
    with model.preserve_state():
        assert check_independence(model, jittered(x)) == ""
        assert check_backward_pass(model, jittered(x)) == ""


def test_a_network_under_autocast_of_its_own_is_sound() -> None:
    class Cast(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = Net()

        def forward(self, x: Tensor) -> Tensor:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                return self.net(x).float()

    test_sound_networks_get_no_message(Cast, tensor())


def test_an_embedding_of_integer_inputs_is_sound() -> None:
    class Lookup(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.head = nn.Embedding(10, 8), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.table(x[:, 0].long()).mean(1))

    test_sound_networks_get_no_message(Lookup, torch.arange(10.0).view(1, 1, 10))


# Once per network


@pytest.mark.parametrize(
    ("name", "options", "images", "runs"),
    [
        ("occlusion", {"patch": 8, "stride": 8}, 3, 2),
        ("predict", {}, 3, 2),
        ("eigen_cam", {}, 3, 2),
        ("saliency", {}, 5, 3),
        ("grad_cam", {}, 5, 3),
        ("grad_cam", {"layer": "2"}, 5, 3),
        ("integrated_gradients", {"steps": 5}, 5, 3),
    ],
)
def test_the_checks_cost_a_few_forwards_at_the_first_call_and_none_later(
    name: str, options: Any, images: int, runs: int
) -> None:
    """An image behind another one, the image alone, and for gradients a step to either side: at most three runs."""

    def run(model: cs.Model) -> tuple[int, int]:
        calls: list[int] = []
        handle = model.module.register_forward_hook(lambda _m, inputs, _o: calls.append(len(inputs[0])))
        getattr(cs, name)(model, tensor(), **options)
        handle.remove()
        return sum(calls), len(calls)

    model = pictured(small_network())
    (first, first_runs), (second, second_runs) = run(model), run(model)
    assert (first - second, first_runs - second_runs) == (images, runs)
    assert run(model) == (second, second_runs)


def test_a_known_output_in_a_batch_saves_two_forwards() -> None:
    model = pictured(small_network())
    with model.preserve_state():
        output = model.run(model.input_copy(tensor()))
        with watched(model.module) as counts:
            assert check_independence(model, tensor(), output) == ""
    assert counts[""] == 1


def test_lenses_that_share_passes_check_once() -> None:
    model = pictured(seeded(lambda: Net(between=hooked(lambda g: -g))))
    lenses = ["eigen-cam", "grad-cam", "saliency", "occlusion"]
    comparison = cs.compare(model, tensor(), lenses, layer="first", target=1)
    noted = {cell.record.lens: "backward" in cell.notes for cell in comparison.rows[0]}
    assert noted == {"eigen-cam": False, "grad-cam": True, "saliency": True, "occlusion": False}
    assert model.cache[CHECKS]["batch"] == ""


def test_results_are_dropped_when_modules_or_hooks_change() -> None:
    net, x = seeded(lambda: Net(between=nn.BatchNorm2d(8))), tensor()
    model = cs.Model(net)
    assert not {"batch", "backward"} & set(cs.saliency(model, x, target=0).notes)
    net.between = norm_of_the_batch(2)
    assert "batch" in cs.saliency(model, x, target=0).notes
    net.between = nn.BatchNorm2d(8).eval()
    assert not {"batch", "backward"} & set(cs.saliency(model, x, target=0).notes)
    handle = net.second.register_full_backward_hook(lambda _module, grad_input, _grad_output: (-grad_input[0],))
    assert "backward" in cs.saliency(model, x, target=0).notes
    handle.remove()
    assert "backward" not in cs.saliency(model, x, target=0).notes


def test_a_model_with_a_filled_cache_can_be_pickled() -> None:
    model = cs.Model(seeded(lambda: Tokens(batch_first=False)))
    before = cs.saliency(model, tensor(), target=0)
    attribution_of_copy = cs.saliency(pickle.loads(pickle.dumps(model)), tensor(), target=0)
    assert attribution_of_copy.notes["batch"] == before.notes["batch"]
    assert torch.equal(attribution_of_copy.values, before.values)


def test_the_error_of_a_network_that_fails_on_the_image_is_raised() -> None:
    class Fails(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise ValueError("no such size")

    with pytest.raises(cs.ConvScopeError, match=r"Fails raised ValueError on input .*no such size"):
        cs.saliency(Fails(), tensor())


def test_statistics_of_a_data_set_note_that_images_influence_each_other() -> None:
    net = seeded(lambda: Net(between=norm_of_the_batch(2)))
    statistics = cs.activations(cs.Model(net), tensor(5, 3, SIDE, SIDE), layer="second")
    assert "batch" in statistics.notes
