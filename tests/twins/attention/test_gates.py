"""Gates and their effects: computed again by finite differences, in every spelling, and in networks of others."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import convscope as cs
from convscope.errors import CapabilityError, LayerError
from convscope.loaders.torchvision import library
from tests.nets import PlainNet, seeded
from tests.twins.binding import twin_of

PICTURES = torch.rand(2, 3, 12, 10, generator=torch.Generator().manual_seed(1))
CHANNELS = 6


class Cbam(nn.Module):
    """A gate of channels, then one of places, written by hand; both may be scaled."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, CHANNELS, 3, stride=2)
        self.squeeze = nn.Sequential(nn.Linear(CHANNELS, 3), nn.ReLU(), nn.Linear(3, CHANNELS))
        self.place = nn.Conv2d(2, 1, 3, padding=1)
        self.head = nn.Linear(CHANNELS, 4)

    def forward(self, x: Tensor) -> Tensor:
        """The scores of a batch."""
        return self.scaled(x)[0]

    def scaled(
        self, x: Tensor, channel_scale: Tensor | None = None, place_scale: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The scores and both gates; the gates act as if multiplied by the scales."""
        x = F.relu(self.stem(x))
        by_channel = torch.sigmoid(self.squeeze(x.mean((2, 3))) + self.squeeze(x.amax((2, 3))))
        x = x * (by_channel if channel_scale is None else by_channel * channel_scale)[:, :, None, None]
        by_place = torch.sigmoid(self.place(torch.stack([x.mean(1), x.amax(1)], 1)))
        x = (by_place if place_scale is None else by_place * place_scale) * x
        return self.head(x.mean((2, 3))), by_channel, by_place


@twin_of(cs.gates)
def gates(net: Cbam, x: Tensor, target: int) -> dict[str, tuple[Tensor, Tensor]]:
    """Of one image, in float64: both gates, and how the score changes with each of their numbers."""
    x, step = x[None].double(), 1e-5
    _, by_channel, by_place = net.scaled(x)
    effects = []
    for gate, name in ((by_channel, "channel_scale"), (by_place, "place_scale")):
        slopes = torch.zeros(gate.numel(), dtype=torch.float64)
        for number in range(gate.numel()):
            ends = []
            for side in (step, -step):
                scale = torch.ones(gate.numel(), dtype=torch.float64)
                scale[number] += side
                ends.append(net.scaled(x, **{name: scale.view(gate.shape)})[0][0, target])
            slopes[number] = (ends[0] - ends[1]) / (2 * step)
        effects.append(slopes)
    return {
        "forward": (by_channel[0], effects[0]),
        "forward#2": (by_place[0, 0], effects[1].view(by_place.shape[2:])),
    }


def test_gates_and_effects_are_those_of_the_twin() -> None:
    net = seeded(Cbam)
    values: Any = cs.gates(cs.Model(net), PICTURES, target=2)
    with torch.no_grad():
        for value, picture in zip(values, PICTURES, strict=True):
            assert value.over == {"forward": "channels", "forward#2": "places"}
            for name, (gate, effect) in gates(seeded(Cbam).double(), picture, 2).items():
                torch.testing.assert_close(value.gates[name].double(), gate, rtol=1e-5, atol=1e-6)
                torch.testing.assert_close(value.effects[name].double(), effect, rtol=1e-3, atol=1e-6)


def test_before_a_linear_head_the_effect_is_what_closing_the_gate_takes_from_the_score() -> None:
    net = seeded(Cbam)
    value: Any = cs.gates(cs.Model(net), PICTURES[:1], target=1)
    effects = value.effects["forward#2"]
    with torch.no_grad():
        whole = net(PICTURES[:1])[0, 1]
        for place in ((0, 0), (2, 3)):
            closed = torch.ones(effects.shape)
            closed[place] = 0
            score = net.scaled(PICTURES[:1], place_scale=closed)[0][0, 1]
            torch.testing.assert_close(effects[place], whole - score, rtol=1e-3, atol=1e-6)


def with_gate(gate: nn.Module, channels: int = 16) -> nn.Module:
    """A network of one convolution, this module and a classifier."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        stem, head = nn.Conv2d(3, channels, 3), nn.Linear(channels, 4)
    return nn.Sequential(stem, gate, nn.AdaptiveAvgPool2d(1), nn.Flatten(), head).eval()


@pytest.mark.parametrize("name", ["se", "ese", "eca", "ceca", "cbam"])
def test_gates_of_timm_are_what_its_own_modules_give(name: str) -> None:
    library()
    from timm.layers import create_attn

    module: Any = create_attn(name, 16)
    net = with_gate(module)
    given: list[Tensor] = []
    for part_name, part in module.named_modules():
        if part_name.rpartition(".")[2] == "gate":
            part.register_forward_hook(lambda _module, _args, output: given.append(output.detach()))
    value: Any = cs.gates(cs.Model(net), PICTURES)
    given.clear()
    net(PICTURES)
    expected = given or [_by_hand(module, net[0](PICTURES))]  # type: ignore[operator, index]
    assert len(value[1].gates) == len(expected) == (2 if name == "cbam" else 1)
    for gate, reference in zip(value[1].gates.values(), expected, strict=True):
        torch.testing.assert_close(gate.flatten(), reference[1].flatten(), rtol=1e-5, atol=1e-6)


def _by_hand(module: Any, features: Tensor) -> Tensor:
    """What a module without a part named gate multiplies by: its output over its input."""
    quotient: Tensor = (module(features) / features).flatten(2).median(2).values
    return quotient.detach()


@pytest.mark.parametrize("name", ["sk", "splat"])
def test_a_softmax_between_branches_has_one_number_per_branch_and_channel(name: str) -> None:
    library()
    from timm.layers import create_attn

    net = with_gate(create_attn(name, 16))
    value: Any = cs.gates(cs.Model(net), PICTURES[:1])
    (gate,) = value.gates.values()
    assert list(value.over.values()) == ["channels"]
    assert list(value.functions.values()) == ["softmax"]
    torch.testing.assert_close(gate.view(2, -1).sum(0), torch.ones(len(gate) // 2))


class Spelled(nn.Module):
    """Multiplies features by a gate of channels in one of several spellings."""

    def __init__(self, spelling: str) -> None:
        super().__init__()
        self.spelling, self.squeeze = spelling, nn.Linear(16, 16)
        nn.init.normal_(self.squeeze.weight)

    def forward(self, x: Tensor) -> Tensor:
        raw = self.squeeze(x.mean((2, 3)))
        if self.spelling == "hard, by six":
            return x * (F.relu6(raw + 3) / 6)[..., None, None]
        if self.spelling == "clamped in place":
            return raw.add_(3.0).clamp_(0.0, 6.0).div_(6.0)[:, :, None, None] * x
        gate = raw.sigmoid()[:, :, None, None]
        if self.spelling == "in place":
            x.mul_(gate)
            return x
        if self.spelling == "expanded":
            return torch.mul(gate.expand_as(x), x)
        if self.spelling == "channels last":
            return (x.permute(0, 2, 3, 1) * gate.flatten(1)[:, None, None]).permute(0, 3, 1, 2)
        return x * gate


@pytest.mark.parametrize("spelling", ["hard, by six", "clamped in place", "in place", "expanded", "channels last"])
def test_a_gate_is_read_however_it_is_written(spelling: str) -> None:
    module = seeded(Spelled, spelling)
    net = with_gate(module)
    with torch.no_grad():
        raw = module.squeeze(net[0](PICTURES).mean((2, 3)))  # type: ignore[index, operator]
    expected = F.hardsigmoid(raw) if "six" in spelling or "clamped" in spelling else raw.sigmoid()
    before = net(PICTURES).detach()
    for row, value in enumerate(cs.gates(cs.Model(net), PICTURES)):  # type: ignore[arg-type]
        assert value.over == {"1": "channels"}
        torch.testing.assert_close(value.gates["1"], expected[row], rtol=1e-5, atol=1e-6)
        plain: Any = cs.gates(cs.Model(with_gate(seeded(Spelled, ""))), PICTURES)
        if expected is not None and "six" not in spelling and "clamped" not in spelling:
            torch.testing.assert_close(value.effects["1"], plain[row].effects["1"], rtol=1e-4, atol=1e-7)
    assert torch.equal(net(PICTURES), before)


class Activations(nn.Module):
    """Functions that weigh each number by itself."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x) + x * (F.relu6(x + 3) / 6) + F.silu(x)


@pytest.mark.parametrize("net", [seeded(PlainNet), with_gate(Activations())], ids=["no gates", "activations"])
def test_a_network_without_gates_is_refused_in_one_sentence(net: nn.Module) -> None:
    with pytest.raises(CapabilityError, match="no sigmoid or softmax of its features is multiplied onto them"):
        cs.gates(cs.Model(net), PICTURES)


def test_a_layer_without_a_gate_and_a_target_before_all_gates_are_refused() -> None:
    model = cs.Model(seeded(Cbam))
    with pytest.raises(LayerError, match="layer 'stem' has no gate: choose one of forward"):
        cs.gates(model, PICTURES, within="stem")
    with pytest.raises(LayerError, match="the target lies before every gate: choose a later target"):
        cs.gates(model, PICTURES, target="stem[0]")
