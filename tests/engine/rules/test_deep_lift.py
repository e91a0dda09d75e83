"""DeepLIFT: jumps, changes without a gradient, zero vectors and norms."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import convscope as cs
from convscope.errors import NoRule
from tests.engine.rules.networks import EVERY
from tests.engine.rules.spelled_networks import Two, an_input
from tests.narrowing import listed, tensor_in
from tests.nets import seeded


@pytest.mark.parametrize("name", ["fmax", "fmin"])
def test_extremes_that_ignore_nan_have_the_rules_of_the_others(name: str) -> None:
    """`torch.fmax` was read as a minimum: the score was another one, and so was the map."""

    class Extreme(nn.Module):
        def __init__(self, extreme: Any) -> None:
            super().__init__()
            torch.manual_seed(3)
            self.first, self.second, self.extreme = nn.Conv2d(1, 4, 3), nn.Conv2d(1, 4, 3), extreme

        def forward(self, x: Tensor) -> Tensor:
            return self.extreme(self.first(x), self.second(x)).flatten(1).cumsum(1)[:, -3:]

    x = torch.randn(2, 1, 6, 6, generator=torch.Generator().manual_seed(1))
    ours = cs.deep_lift(Extreme(getattr(torch, name)), x, target=1)
    usual = cs.deep_lift(Extreme(getattr(torch, name.replace("f", "") + "imum")), x, target=1)
    for a, b in zip(listed(ours), listed(usual), strict=True):
        assert a.score == b.score
        torch.testing.assert_close(a.values, b.values)
        assert abs(a.notes["relative completeness gap"]) < 1e-4


# DeepLIFT and what follows from the input without a gradient

JUMPS: dict[str, Callable[[Tensor], Tensor]] = {
    "clipped, where": lambda y: torch.where(y > 0.2, torch.tensor(0.2), y),
    "hard shrink, mask": lambda y: y * (y.abs() > 0.1),
    "times its sign": lambda y: y * torch.sign(y),
    "two masks": lambda y: y * ((y > -0.2) & (y < 0.3)),
    "filled outside": lambda y: y.masked_fill((y < -0.2) | (y > 0.3), 0.1),
    "huber": lambda y: torch.where(y.abs() < 0.3, 0.5 * y * y, 0.3 * (y.abs() - 0.15)),
    "hard sign": lambda y: torch.where(y > 0, 1.0, -1.0) * y,
    "threshold of channels": lambda y: y * (y > torch.linspace(-0.1, 0.1, y.shape[1]).view(-1, 1, 1)),
}  # fmt: skip


@pytest.mark.parametrize("written", JUMPS)
def test_functions_with_jumps_are_complete(written: str) -> None:
    net, x = seeded(Two, JUMPS[written]), an_input()
    for attribution in cs.deep_lift(net, x, target=1):
        assert abs(attribution.notes["completeness gap"]) < 1e-3 * float(attribution.values.abs().sum())
    for attribution in cs.lrp(net, x, target=1):
        assert attribution.notes["relative conservation gap"] < 1e-3


def _scattered(y: Tensor) -> Tensor:
    mask = y > 0
    return torch.zeros_like(y).masked_scatter(mask, y.masked_select(mask))


def _leaky_in_place(y: Tensor) -> Tensor:
    y = y.clone()
    y[y < 0] = y[y < 0] * 0.1
    return y


def _best_channels(y: Tensor) -> Tensor:
    places = y.detach().flatten(2).mean(2).topk(3).indices
    return y.gather(1, places[:, :, None, None].expand(-1, -1, *y.shape[2:])).repeat(1, 2, 1, 1)


def _weighed_without_gradient(y: Tensor) -> Tensor:
    with torch.no_grad():
        weight = y.mean((2, 3), keepdim=True).sigmoid()
    return y * weight


REFUSED: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "masked_select": (_scattered, "masked_select"),
    "part of a mask written": (_leaky_in_place, "getitem"),
    "chosen by another": (lambda y: torch.where(y.flip(1) > 0, y, torch.zeros(())), "where"),
    "masked by another": (lambda y: y.masked_fill(y.flip(2) < 0, 0.0), "masked_fill"),
    "between two": (lambda y: torch.where(y > y.flip(1), y, y.flip(1) * 2), "where"),
    "unpooled": (
        lambda y: F.max_unpool2d(*F.max_pool2d(y[..., :4, :4], 2, return_indices=True), (2, 2)), "max_unpool2d"
    ),
    "gathered": (_best_channels, "gather"),
    "detached": (lambda y: y * y.detach().sigmoid(), "mul"),
    "without a gradient": (_weighed_without_gradient, "mul"),
    "straight through": (lambda y: y + (y.detach().round() - y.detach()), "add"),
}  # fmt: skip


@pytest.mark.parametrize("written", REFUSED)
def test_what_changes_without_a_gradient_is_refused_by_name(written: str) -> None:
    act, name = REFUSED[written]
    net, x = seeded(Two, act), an_input()
    with pytest.raises(NoRule, match=f"operation '{name}'.*differ at the baseline.*on_missing"):
        cs.deep_lift(net, x, target=1)
    if name not in ("masked_select", "getitem"):  # which give tensors of other shapes
        assert name in cs.deep_lift(net, x, target=1, on_missing="gradient")[0].notes["without a rule"]
    if name not in ("mul", "add"):
        same = cs.deep_lift(net, x[:1], target=1, baseline=x[0] * (1 + 1e-7))  # nothing is chosen otherwise
        assert same.notes["baseline score"] == pytest.approx(same.score, abs=1e-5)


def test_masks_that_do_not_change_are_no_matter() -> None:
    def act(y: Tensor) -> Tensor:
        mask = torch.arange(y.shape[-1]) % 2 == 0
        return torch.where(mask, y, torch.zeros(())) + y.masked_fill(~mask, 0.0) + y[..., mask].sum(-1, keepdim=True)

    for attribution in cs.deep_lift(seeded(Two, act), an_input(), target=1):
        assert abs(attribution.notes["relative completeness gap"]) < 1e-4


def test_maxima_of_maps_without_channels_are_complete() -> None:
    """A pooling takes (C, H, W) too, where the batch stands for the channels."""

    def act(y: Tensor) -> Tensor:
        return y + F.max_pool2d(y.mean(1), 3, stride=1, padding=1)[:, None]

    for attribution in cs.deep_lift(seeded(Two, act), an_input(), target=1):
        assert abs(attribution.notes["relative completeness gap"]) < 1e-4


# DeepLIFT at zero vectors


class Normed(nn.Module):
    """A norm after a ReLU, so that vectors at some positions are zero, or after constants."""

    def __init__(self, norm: Callable[[Tensor], Tensor], axes: int = 2) -> None:
        super().__init__()
        self.conv = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)[axes](2, 4, *((3,) if axes else ()))
        self.norm, self.head, self.axes = norm, nn.Linear(4, 3), axes

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(F.relu(self.conv(x) - 0.3))
        return self.head(y.flatten(2).mean(2) if self.axes else y)


def _channels_last(norm: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda y: norm(y.movedim(1, -1)).movedim(-1, 1)


NORMS: dict[str, Callable[[Tensor], Tensor]] = {
    "normalize": lambda y: F.normalize(y, dim=1),
    "normalize, 1": lambda y: F.normalize(y, p=1.0, dim=1),
    "normalize, 3": lambda y: F.normalize(y, p=3.0, dim=1),
    "by its norm": lambda y: y / y.norm(dim=1, keepdim=True).clamp(min=1e-12),
    "by its norm and a little": lambda y: y / (y.norm(dim=1, keepdim=True) + 1e-10),
    "by its linalg norm": lambda y: y / torch.linalg.vector_norm(y, dim=1, keepdim=True).clamp_min(1e-8),
    "by its sum": lambda y: y / (y.sum(1, keepdim=True) + 1e-9),
    "by its largest": lambda y: y / y.amax(1, keepdim=True).clamp_min(1e-10),
    "rsqrt": lambda y: y * torch.rsqrt(y.pow(2).mean(1, keepdim=True) + 1e-12),
    "rsqrt, unsqueezed": lambda y: y * torch.rsqrt(y.pow(2).mean(1) + 1e-12).unsqueeze(1),
    "reciprocal": lambda y: y * (y * y).sum(1, keepdim=True).sqrt().clamp_min(1e-12).reciprocal(),
    "power": lambda y: y * ((y * y).sum(1, keepdim=True) + 1e-16).pow(-0.5),
    "one over": lambda y: y * (1 / (y.norm(dim=1, keepdim=True) + 1e-10)),
    "rms_norm": _channels_last(lambda y: F.rms_norm(y, (4,), eps=1e-12)),
    "nn.RMSNorm": _channels_last(lambda y: F.rms_norm(y, (4,))),
    "layer_norm": _channels_last(lambda y: F.layer_norm(y, (4,))),
    "layer_norm, small": _channels_last(lambda y: F.layer_norm(y, (4,), eps=1e-12)),
    "group_norm": lambda y: F.group_norm(y, 2),
    "group_norm, small": lambda y: F.group_norm(y, 2, eps=1e-12),
    "instance_norm": lambda y: F.instance_norm(y) if y.ndim > 2 else F.group_norm(y, 1),
    "cosine": lambda y: F.cosine_similarity(y, torch.ones(1, 4, *[1] * (y.ndim - 2)), dim=1)[:, None] * y,
    "cosine of two": lambda y: F.cosine_similarity(y, y.flip(1), dim=1)[:, None].expand_as(y),
    "standardised": lambda y: (y - y.mean(1, keepdim=True)) / (y.std(1, keepdim=True) + 1e-8),
}  # fmt: skip


@pytest.mark.parametrize("axes", [0, 1, 2, 3])
@pytest.mark.parametrize("written", NORMS)
def test_norms_at_zero_vectors_are_complete_and_do_not_explode(written: str, axes: int) -> None:
    net = seeded(Normed, NORMS[written], axes)
    x = 2 * torch.randn(3, 2, *[6] * axes, generator=torch.Generator().manual_seed(1))
    inner = net.conv(x)
    assert bool((F.relu(inner - 0.3).amax(1) == 0).any())
    for level in (0.3, 0.0):
        baseline = torch.full(x.shape[1:], level)
        for attribution in cs.deep_lift(net, x, target=1, baseline=baseline):
            rise = attribution.score - attribution.notes["baseline score"]
            total = float(attribution.channels.double().sum())
            assert abs(total - rise) < 1e-2 * abs(rise) + 1e-5
            assert float(attribution.channels.abs().max()) < 1e3 * max(1.0, abs(rise))


@pytest.mark.parametrize("written", [name for name in NORMS if "cosine" not in name])
def test_norms_keep_relevance(written: str) -> None:
    for attribution in cs.lrp(seeded(Normed, NORMS[written]), an_input(), target=1):
        assert torch.isfinite(attribution.values).all()
        assert attribution.notes["relative conservation gap"] < 1e-3


class NormSpelled(nn.Module):
    """A norm between two convolutions, called as a function of ``torch`` or of ``torch.nn.functional``."""

    def __init__(self, spelling: str) -> None:
        super().__init__()
        self.first, self.second, self.spelling = nn.Conv2d(2, 6, 3), nn.Conv2d(6, 4, 3), spelling
        self.norm = nn.BatchNorm2d(6)
        for numbers in (self.norm.running_mean, self.norm.running_var, self.norm.weight, self.norm.bias):
            nn.init.uniform_(tensor_in(numbers), 0.5, 1.5)

    def forward(self, x: Tensor) -> Tensor:
        n, y = self.norm, self.first(x)
        mean, variance, weight, bias = n.running_mean, n.running_var, n.weight, n.bias
        match self.spelling:
            case "torch.batch_norm":
                y = torch.batch_norm(y, weight, bias, mean, variance, False, 0.1, 1e-5, False)
            case "F.batch_norm":
                y = F.batch_norm(y, mean, variance, weight, bias)
            case "torch.instance_norm":
                y = torch.instance_norm(y, weight, bias, None, None, True, 0.1, 1e-5, False)
            case "F.instance_norm":
                y = F.instance_norm(y, None, None, weight, bias)
            case "torch.instance_norm, kept":
                y = torch.instance_norm(y, weight, bias, mean, variance, False, 0.1, 1e-5, False)
            case "F.instance_norm, kept":
                y = F.instance_norm(y, mean, variance, weight, bias, use_input_stats=False)
        return self.second(y.relu()).relu().mean((2, 3))


@pytest.mark.parametrize("norm", ["batch_norm", "instance_norm", "instance_norm, kept"])
@pytest.mark.parametrize("lens", [*EVERY, "full_grad"])
def test_norms_of_torch_take_their_arguments_in_their_own_order(lens: str, norm: str) -> None:
    torch_attributions, functional_attributions = (
        getattr(cs, lens)(
            cs.Model(seeded(NormSpelled, f"{f}.{norm}"), input=cs.TensorInput((2, 8, 8))),
            an_input(),
            target=1,
        )
        for f in ("torch", "F")
    )
    for attribution, expected in zip(torch_attributions, functional_attributions, strict=True):
        torch.testing.assert_close(attribution.values, expected.values)
