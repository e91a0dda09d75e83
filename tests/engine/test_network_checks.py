"""Networks whose images influence each other, and networks whose backward pass is not the derivative: detected once
and noted on every value; nothing is noted for other networks.
"""

import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import convscope as cs
from convscope.engine.network.assumption_checks import CHECKS, check_backward_pass, check_independence, jittered
from convscope.errors import LayerError, NoRule
from tests.engine._nets import SIDE, made, pictured, seeded, tensor, watched

CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
NORMS = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
INPUTS = {1: (1, 3, 40), 2: (1, 3, SIDE, SIDE), 3: (1, 3, 6, 8, 8)}


def same(x: Tensor) -> Tensor:
    return x


class Net(nn.Module):
    """Two convolutions of any rank and a head; ``before``, ``between`` and ``after`` are inserted functions."""

    def __init__(self, rank: int = 2, *, before: Any = same, between: Any = same, after: Any = same) -> None:
        super().__init__()
        self.first = CONVOLUTIONS[rank](3, 8, 3, padding=1)
        self.second = CONVOLUTIONS[rank](8, 8, 3, padding=1)
        self.head = nn.Linear(8, 4)
        self.before, self.between, self.after = before, between, after

    def forward(self, x: Tensor) -> Tensor:
        maps = self.between(self.first(self.before(x)).relu())
        return self.after(self.head(self.second(maps).relu().flatten(2).mean(2)))


class Tokens(nn.Module):
    """Attention over patches; without ``batch_first`` it runs over the images of a batch."""

    def __init__(self, *, batch_first: bool, between: Any = same) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, 4)
        self.block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=batch_first, dropout=0.0)
        self.head, self.between = nn.Linear(8, 3), between

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.between(self.block(self.patches(x).flatten(2).transpose(1, 2))).mean(1))


class Recurrent(nn.Module):
    """An LSTM along time, or by mistake along the batch."""

    def __init__(self, *, over_images: bool = False, between: Any = same) -> None:
        super().__init__()
        self.memory, self.head = nn.LSTM(3, 8, batch_first=True), nn.Linear(8, 3)
        self.over_images, self.between = over_images, between

    def forward(self, x: Tensor) -> Tensor:
        if self.over_images:
            return self.head(self.memory(x.mean(2)[None])[0][0])
        return self.head(self.between(self.memory(x.transpose(1, 2))[0]).mean(1))


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


# The backward pass


class Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return -gradient


class Rounded(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.round()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient


class Signs(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.sign()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient * (ctx.saved_tensors[0].abs() < 1)


def hooked(hook: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def between(x: Tensor) -> Tensor:
        if x.requires_grad:
            x.register_hook(hook)
        return x

    return between


def nearest_of(f: Tensor) -> Tensor:
    """Vector quantisation with a straight-through gradient."""
    book = torch.randn(16, 8, generator=torch.Generator().manual_seed(1))
    tokens = f.flatten(2).transpose(1, 2)
    near = book[torch.cdist(tokens, book.expand(len(f), -1, -1)).argmin(-1)].transpose(1, 2).view_as(f)
    return f + (near - f).detach()


def with_module_hook(rank: int = 2) -> nn.Module:
    net = Net(rank)
    net.second.register_full_backward_hook(lambda _module, grad_input, _grad_output: (-grad_input[0],))
    return net


BETWEEN: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "reversed by a function": (Reverse.apply, "-1.00 times"),
    "reversed by a tensor hook": (hooked(lambda g: -g), "-1.00 times"),
    "scaled by a tensor hook": (hooked(lambda g: 0.1 * g), "0.10 times"),
    "enlarged by a tensor hook": (hooked(lambda g: 10 * g), "10.0"),
    "clipped by a tensor hook": (hooked(lambda g: g.clamp(-1e-5, 1e-5)), "times"),
    "partly cut off": (lambda f: 0.5 * f + 0.5 * f.detach(), "0.50 times"),
    "a factor cut off": (lambda f: f * f.detach(), "0.50 times"),
    "a gate cut off": (lambda f: f * (3 * f).detach().sigmoid(), "times"),
    "another forward by subtraction": (lambda f: f + (3 * f - f).detach(), "0.33 times"),
    "rounded straight through": (Rounded.apply, "in steps"),
    "rounded by detaching": (lambda f: f + (f.round() - f).detach(), "in steps"),
    "signs straight through": (Signs.apply, "in steps"),
}


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize(("between", "message"), list(BETWEEN.values()), ids=list(BETWEEN))
def test_a_custom_backward_pass_is_noted(between: Any, message: str, rank: int) -> None:
    attribution = cs.gradient_x_input(seeded(lambda: Net(rank, between=between)), tensor(*INPUTS[rank]), target=1)
    assert message in attribution.notes["backward"]
    assert "batch" not in attribution.notes


CUSTOM_BACKWARD: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "module hook": (with_module_hook, 2),
    "module hook 1-D": (lambda: with_module_hook(1), 1),
    "nested module hook": (lambda: nn.Sequential(nn.Sequential(with_module_hook(3))), 3),
    "tokens": (lambda: Tokens(batch_first=True, between=Reverse.apply), 2),
    "LSTM": (lambda: Recurrent(between=hooked(lambda g: -g)), 1),
    "before a softmax": (lambda: Net(between=Reverse.apply, after=lambda out: out.softmax(1)), 2),
    "several heads, one reversed": (
        lambda: Net(after=lambda out: torch.cat([out[:, :2], Reverse.apply(out[:, 2:])], 1)),
        2,
    ),
    "vector quantisation": (lambda: Net(between=nearest_of), 2),
    "images that influence each other too": (
        lambda: Net(between=lambda f: Reverse.apply(f) - 0.5 * f.mean(0, keepdim=True)),
        2,
    ),
}


@pytest.mark.parametrize(("build", "rank"), list(CUSTOM_BACKWARD.values()), ids=list(CUSTOM_BACKWARD))
def test_a_custom_backward_pass_is_noted_for_other_networks(build: Any, rank: int) -> None:
    attribution = cs.saliency(seeded(build), tensor(*INPUTS[rank]), target=1)
    assert "not the derivative" in attribution.notes["backward"]


@pytest.mark.parametrize(
    "name",
    [
        *("saliency", "integrated_gradients", "smooth_grad", "grad_cam", "hires_cam", "layer_cam", "guided_backprop"),
        *("lrp", "deep_lift", "guided_grad_cam", "full_grad", "meaningful_perturbation"),
    ],
)
def test_every_lens_that_uses_the_backward_pass_notes_it(name: str) -> None:
    net = seeded(lambda: Net(between=hooked(lambda g: 0.5 * g)))
    sizes = {"steps": 3, "samples": 3}
    lens = getattr(cs, name)
    options = {key: value for key, value in sizes.items() if key in lens.declaration.parameters}
    layer = {"layer": "first"} if lens.declaration.takes_layer else {}
    assert "0.50 times" in lens(net, tensor(), target=1, **options, **layer).notes["backward"]
    assert "backward" not in lens(seeded(Net), tensor(), target=1, **options, **layer).notes


def test_lenses_without_gradients_do_not_note_it() -> None:
    net = seeded(lambda: Net(between=Reverse.apply))
    values = [
        cs.occlusion(net, tensor(), target=1, patch=8, stride=8),
        cs.eigen_cam(net, tensor()),
        cs.predict(net, tensor()),
    ]
    assert all("backward" not in value.notes for value in values)


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

    model = pictured(made())
    (first, first_runs), (second, second_runs) = run(model), run(model)
    assert (first - second, first_runs - second_runs) == (images, runs)
    assert run(model) == (second, second_runs)


def test_a_known_output_in_a_batch_saves_two_forwards() -> None:
    model = pictured(made())
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
    again = cs.saliency(pickle.loads(pickle.dumps(model)), tensor(), target=0)
    assert again.notes["batch"] == before.notes["batch"]
    assert torch.equal(again.values, before.values)


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


# Reused layers


class Pair(nn.Module):
    """One encoder for two images in one input, and one block that runs three times in a row."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU())
        self.block, self.once, self.head = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 1), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        first, second = (self.encoder(part) for part in (x[:, :3], x[:, 3:]))
        both = self.once(torch.maximum(first, second))
        for _ in range(3):
            both = self.block(both).relu()
        return self.head(both.mean((2, 3)))


@pytest.mark.parametrize("name", ["grad_cam", "eigen_cam", "score_cam", "ablation_cam", "lrp", "feature_maps"])
def test_a_layer_that_runs_several_times_is_noted_to_be_shown_at_its_last_call(name: str) -> None:
    lens, net, x = getattr(cs, name), seeded(Pair), tensor(1, 6, SIDE, SIDE)
    if not lens.declaration.takes_layer:
        assert "call" not in lens(net, x).notes
        return
    assert lens(net, x, layer="encoder").notes["call"] == (
        "'encoder' runs 2 times in one forward: what is shown is its last call"
    )
    assert "3 times" in lens(net, x, layer="block").notes["call"]
    assert "call" not in lens(net, x, layer="once").notes


def test_a_unit_of_a_reused_layer_is_noted_to_be_that_of_its_last_call() -> None:
    assert "2 times" in cs.saliency(seeded(Pair), tensor(1, 6, SIDE, SIDE), target="encoder[3]").notes["call"]
    assert "call" not in cs.saliency(seeded(Pair), tensor(1, 6, SIDE, SIDE), target="once[3]").notes


@pytest.mark.parametrize("rank", [2, 3])
def test_a_gradient_that_is_far_too_small_is_noted(rank: int) -> None:
    """The rise that it predicts exceeds the rounding for no short step; the measured rise does for one."""
    net = seeded(lambda: Net(rank, after=hooked(lambda g: g.clamp(-1e-6, 1e-6))))
    assert "times the true slope" in cs.saliency(net, tensor(*INPUTS[rank]), target=1).notes["backward"]


class Mapped(nn.Module):
    """Maps a network for single images over the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(0))

    def forward(self, x: Tensor) -> Tensor:
        return torch.vmap(self.net)(x)


@pytest.mark.parametrize("lens", ["grad_cam", "ablation_cam", "layer_conductance", "lrp", "deep_lift", "full_grad"])
def test_layers_under_vmap_are_refused_with_the_reason(lens: str) -> None:
    model = cs.Model(seeded(Mapped), input=cs.TensorInput((3, 8, 8)))
    options = {} if lens in ("lrp", "deep_lift", "full_grad") else {"layer": "net.0"}
    for layer in (options, {}):
        with pytest.raises((LayerError, NoRule), match=r"runs under torch\.vmap"):
            getattr(cs, lens)(model, torch.rand(2, 3, 8, 8), target=1, **layer)


@pytest.mark.parametrize("lens", ["integrated_gradients", "saliency", "occlusion", "rise"])
def test_lenses_that_need_no_layer_work_under_vmap(lens: str) -> None:
    class Batched(Mapped):
        def forward(self, x: Tensor) -> Tensor:
            return self.net[2](self.net[1](self.net[0](x))).flatten(1)

    images = torch.rand(2, 3, 8, 8)
    mapped, batched = (
        getattr(cs, lens)(cs.Model(seeded(net), input=cs.TensorInput((3, 8, 8))), images, target=1)
        for net in (Mapped, Batched)
    )
    for attribution, expected in zip(mapped, batched, strict=True):
        torch.testing.assert_close(attribution.values, expected.values)
