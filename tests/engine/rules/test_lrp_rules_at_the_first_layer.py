"""LRP rules of the first layer (flat, w², box) give relevance to inputs only, not to padding, masks or constants."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import convscope as cs
from tests.narrowing import listed, tensor_in
from tests.nets import seeded

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same'")


class Fronted(nn.Module):
    """Preprocessing operations, followed by a first convolution or linear map."""

    def __init__(self, front: Callable[[Tensor], Tensor], layer: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.front, self.layer = front, layer()

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(self.front(x)).flatten(1)


def _identity(x: Tensor) -> Tensor:
    return x


def _into_zeros(x: Tensor) -> Tensor:
    out = x.new_zeros(len(x), x.shape[1], x.shape[2] + 3)
    out[:, :, 1:-2] = x
    return out


def _with_places(x: Tensor) -> Tensor:
    places = torch.linspace(-1, 1, x.shape[-1], dtype=x.dtype).expand(len(x), 1, *x.shape[2:])
    return torch.cat([x, places], 1)


FRONTED: dict[str, tuple[Callable, Callable, tuple[int, ...]]] = {
    "same, even, 1-D": (_identity, lambda: nn.Conv1d(2, 3, 4, padding="same"), (2, 7)),
    "same, even, 2-D": (_identity, lambda: nn.Conv2d(2, 3, (2, 4), padding="same"), (2, 5, 6)),
    "same, even, 3-D": (_identity, lambda: nn.Conv3d(1, 2, (2, 3, 4), padding="same"), (1, 3, 4, 5)),
    "same, even, dilated, in groups": (
        _identity, lambda: nn.Conv1d(4, 4, 2, padding="same", dilation=3, groups=2), (4, 9)
    ),
    "F.pad": (lambda x: F.pad(x, (2, 1)), lambda: nn.Conv1d(2, 3, 3), (2, 7)),
    "F.pad and a stride": (lambda x: F.pad(x, (0, 1, 0, 1)), lambda: nn.Conv2d(2, 3, 3, stride=2), (2, 6, 6)),
    "F.pad and padding": (lambda x: F.pad(x, (1, 0)), lambda: nn.Conv1d(2, 3, 3, padding=1), (2, 6)),
    "ZeroPad2d": (nn.ZeroPad2d((3, 0, 1, 2)), lambda: nn.Conv2d(1, 2, 2), (1, 4, 4)),
    "ConstantPad2d": (nn.ConstantPad2d((1, 2, 0, 1), 1.5), lambda: nn.Conv2d(2, 2, 3), (2, 5, 5)),
    "ConstantPad3d": (nn.ConstantPad3d(1, -0.5), lambda: nn.Conv3d(1, 2, 3), (1, 3, 3, 4)),
    "reflected": (_identity, lambda: nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect"), (2, 5, 4)),
    "replicated": (nn.ReplicationPad1d((2, 0)), lambda: nn.Conv1d(2, 3, 3), (2, 6)),
    "circular": (_identity, lambda: nn.Conv1d(2, 3, 3, padding=1, padding_mode="circular"), (2, 6)),
    "cat with zeros": (
        lambda x: torch.cat([x.new_zeros(len(x), 2, 2), x], 2), lambda: nn.Conv1d(2, 3, 3), (2, 6)
    ),
    "cat with places": (_with_places, lambda: nn.Conv2d(3, 2, 3, padding=1), (2, 4, 5)),
    "into zeros": (_into_zeros, lambda: nn.Conv1d(2, 3, 3), (2, 6)),
    "a part set to a number": (
        lambda x: x.clone().index_fill_(2, torch.tensor([1]), 0.7), lambda: nn.Conv1d(2, 3, 3, padding=1), (2, 6)
    ),
    "masked": (
        lambda x: x.masked_fill(torch.arange(6) == 2, 0.0), lambda: nn.Conv1d(2, 3, 3, padding=1), (2, 6)
    ),
    "times a mask": (lambda x: x * (torch.arange(6) != 4), lambda: nn.Conv1d(2, 3, 2), (2, 6)),
    "where": (
        lambda x: torch.where(torch.arange(6) > 1, x, x.new_tensor(2.0)), lambda: nn.Conv1d(2, 3, 2), (2, 6)
    ),
    "more pads than the kernel": (lambda x: F.pad(x, (4, 0)), lambda: nn.Conv1d(2, 3, 2), (2, 6)),
    "rolled and picked": (
        lambda x: F.pad(x.roll(1, 2).index_select(2, torch.tensor([0, 2, 2, 5])), (1, 1)),
        lambda: nn.Conv1d(2, 3, 3), (2, 6),
    ),
    "averaged": (lambda x: F.avg_pool1d(F.pad(x, (1, 2)), 3), lambda: nn.Conv1d(2, 3, 2), (2, 6)),
    "averaged with its own padding": (
        lambda x: F.avg_pool2d(x, 2, padding=1), lambda: nn.Conv2d(1, 2, 2), (1, 4, 6)
    ),
    "patches of a padded picture": (
        lambda x: F.unfold(x, 3, padding=1, stride=2).transpose(1, 2), lambda: nn.Linear(18, 2), (2, 5, 5)
    ),
    "padded vectors": (lambda x: F.pad(x, (1, 2)), lambda: nn.Linear(8, 3), (5,)),
    "transposed": (lambda x: F.pad(x, (1, 0)), lambda: nn.ConvTranspose1d(2, 3, 3, stride=2), (2, 5)),
}  # fmt: skip


def by_hand(net: Fronted, x: Tensor, rule: str, low: float = 0.0, high: float = 1.0) -> tuple[Tensor, Tensor]:
    """The relevance of one image computed with matrices in float64, and the relevance that no input receives."""
    net = net.double()
    relevance = net(x[None])[0]
    units = torch.eye(x.numel(), dtype=torch.double).view(-1, *x.shape)

    def matrix(change: Callable[[Tensor], Tensor]) -> Tensor:
        weights, biases = tensor_in(net.layer.weight), tensor_in(net.layer.bias)
        weight, bias = weights.data, biases.data
        weights.data, biases.data = change(weight), torch.zeros_like(bias)
        columns = (net(units) - net(torch.zeros_like(x)[None])).T
        weights.data, biases.data = weight, bias
        return columns

    if rule == "box":
        lows, highs = x.clamp(max=low).flatten(), x.clamp(min=high).flatten()
        terms = matrix(lambda w: w.clamp(min=0)) * (x.flatten() - lows)
        terms = terms + matrix(lambda w: w.clamp(max=0)) * (x.flatten() - highs)
    else:
        terms = matrix(torch.ones_like if rule == "flat" else torch.square)
    total = terms.sum(1)
    nothing = total <= 1e-12
    shares = terms / torch.where(nothing, torch.inf, total)[:, None]
    return (shares * relevance[:, None]).sum(0).view(x.shape), relevance[nothing].sum()


@pytest.mark.parametrize("rule", ["flat", "w-square", "box"])
@pytest.mark.parametrize("form", FRONTED)
@torch.no_grad()
def test_relevance_is_shared_among_inputs_alone(form: str, rule: str) -> None:
    front, layer, shape = FRONTED[form]
    if rule == "box" and "averaged" in form:
        return  # a mean distributes its relevance evenly, independently of bounds
    net = seeded(Fronted, front, layer)
    x = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    attributions = cs.lrp(cs.Model(net), x, target=lambda output: output.sum(1), rules=f"first: {rule}")
    for attribution, image in zip(listed(attributions), x, strict=True):
        expected, unshared = by_hand(net, image.double(), rule)
        torch.testing.assert_close(attribution.channels.view(expected.shape), expected.float(), rtol=1e-4, atol=1e-5)
        assert attribution.notes["absorbed by biases"] == pytest.approx(float(unshared), abs=1e-5)
        assert abs(attribution.notes["conservation gap"]) < 1e-5
        assert all(abs(part["lost"]) < 1e-5 for part in attribution.notes["relevance per layer"].values())
        net.float()


def test_masks_that_follow_from_each_image_are_counted_for_each() -> None:
    net = seeded(Fronted, lambda x: x.masked_fill(x < 0, 0.0), lambda: nn.Conv1d(1, 2, 3, bias=False))
    net.front = lambda x: x.masked_fill(x.detach() < 0, 0.0).flip(2)
    x = torch.randn(3, 1, 8, generator=torch.Generator().manual_seed(3))
    batch = cs.lrp(net, x, target=lambda output: output.sum(1), rules="first: flat")
    for attribution, image in zip(listed(batch), x, strict=True):
        single = cs.lrp(net, image[None], target=lambda output: output.sum(1), rules="first: flat")
        torch.testing.assert_close(attribution.values, single.values)


BOUNDED: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "1-D": (lambda: nn.Conv1d(2, 3, 4), (2, 4)),
    "2-D": (lambda: nn.Conv2d(2, 3, (2, 3)), (2, 2, 3)),
    "3-D": (lambda: nn.Conv3d(1, 2, 2), (1, 2, 2, 2)),
    "linear": (lambda: nn.Linear(6, 3), (6,)),
    "in groups": (lambda: nn.Conv1d(2, 4, 3, groups=2), (2, 3)),
    "same": (lambda: nn.Conv1d(1, 2, 4, padding="same"), (1, 4)),
}  # fmt: skip


@pytest.mark.parametrize("form", BOUNDED)
@torch.no_grad()
def test_inputs_at_their_bounds_share_nothing_and_swamp_nothing(form: str) -> None:
    """Every input is at the bound where the first output's denominator is zero; the other outputs are unaffected."""
    layer, shape = BOUNDED[form]
    for seed in range(20):
        net = seeded(Fronted, _identity, layer)
        generator = torch.Generator().manual_seed(seed)
        low, high = -3 * torch.rand(shape, generator=generator), 1 + 3 * torch.rand(shape, generator=generator)
        first = net.layer.weight.data[0]
        weights = torch.cat([first, first]) if form == "in groups" else first
        x = torch.where(weights.view(shape) > 0, low, high)
        attribution = cs.lrp(net, x[None], target=lambda output: output.sum(1), rules="first: box")
        expected, unshared = by_hand(net, x.double(), "box")
        assert float((attribution.channels.view(expected.shape) - expected).abs().max()) < 1e-3 * float(
            expected.abs().max()
        )
        assert attribution.notes["absorbed by biases"] == pytest.approx(float(unshared), abs=1e-4)
        assert attribution.notes["relative conservation gap"] < 1e-4
