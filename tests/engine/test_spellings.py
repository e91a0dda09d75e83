"""Activations, recurrent layers and norms written in any way: treated as the named operation, or refused by name."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import convscope as cs
from convscope.errors import NoRule
from tests.engine.test_rules import EVERY
from tests.nets import seeded


class Two(nn.Module):
    """Two layers with a given activation after each, on inputs with any number of axes."""

    def __init__(self, act: Callable[[Tensor], Tensor], axes: int = 2) -> None:
        super().__init__()
        conv = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)[axes]
        size = (3,) if axes else ()
        self.act, self.axes = act, axes
        self.first, self.second, self.head = conv(2, 6, *size), conv(6, 6, *size), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.second(self.act(self.first(x))))
        return self.head(y.flatten(2).mean(2) if self.axes else y)


def an_input(axes: int = 2, count: int = 2) -> Tensor:
    return torch.randn(count, 2, *[8] * axes, generator=torch.Generator().manual_seed(0))


def in_place(change: Callable[[Tensor], object]) -> Callable[[Tensor], Tensor]:
    def act(y: Tensor) -> Tensor:
        change(y)
        return y

    return act


def _set_to_zero(y: Tensor) -> None:
    y[y < 0] = 0


def _by_name(name: str) -> Callable[[Tensor], Tensor]:
    return lambda y: getattr(y, name)(torch.zeros(()))


SPELLED: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "torch.maximum": (lambda y: torch.maximum(y, torch.zeros_like(y)), F.relu),
    "torch.maximum, a number": (lambda y: torch.maximum(torch.tensor(0.0), y), F.relu),
    "torch.max": (lambda y: torch.max(y, torch.zeros(())), F.relu),
    "torch.fmax": (lambda y: torch.fmax(y, torch.zeros(())), F.relu),
    "maximum, method": (_by_name("maximum"), F.relu),
    "clamp_min": (lambda y: y.clamp_min(0), F.relu),
    "clamp": (lambda y: torch.clamp(y, min=0), F.relu),
    "threshold": (lambda y: F.threshold(y, 0, 0), F.relu),
    "minus the minimum": (lambda y: -torch.minimum(-y, torch.zeros(())), F.relu),
    "less what is negative": (lambda y: y - y.clamp(max=0), F.relu),
    "half of x + |x|": (lambda y: (y + y.abs()) / 2, F.relu),
    "times a mask": (lambda y: y * (y > 0), F.relu),
    "times a mask of floats": (lambda y: (y > 0).float() * y, F.relu),
    "times a mask of its type": (lambda y: y * y.gt(0).type_as(y), F.relu),
    "times a mask turned round": (lambda y: y * ~(y <= 0), F.relu),
    "times what is not below": (lambda y: y * (1 - (y < 0).to(y.dtype)), F.relu),
    "heaviside": (lambda y: y * torch.heaviside(y, torch.zeros(())), F.relu),
    "where": (lambda y: torch.where(y > 0, y, torch.zeros(())), F.relu),
    "where turned round": (lambda y: torch.where(y.le(0), torch.zeros_like(y), y), F.relu),
    "masked_fill": (lambda y: y.masked_fill(y < 0, 0.0), F.relu),
    "masked_fill_": (in_place(lambda y: y.masked_fill_(y < 0, 0.0)), F.relu),
    "set to zero": (in_place(_set_to_zero), F.relu),
    "mul_": (in_place(lambda y: y.mul_(y > 0)), F.relu),
    "torch.ops": (lambda y: torch.ops.aten.relu.default(y), F.relu),
    "leaky, where": (lambda y: torch.where(y > 0, y, 0.1 * y), lambda y: F.leaky_relu(y, 0.1)),
    "leaky, maximum": (lambda y: torch.maximum(y, 0.1 * y), lambda y: F.leaky_relu(y, 0.1)),
    "relu6": (lambda y: torch.minimum(torch.maximum(y, torch.zeros(())), torch.tensor(6.0)), F.relu6),
    "x * sigmoid(x)": (lambda y: y * torch.sigmoid(y), F.silu),
    "sigmoid(x) * x": (lambda y: y.sigmoid().mul(y), F.silu),
    "x / (1 + exp(-x))": (lambda y: y / (1 + torch.exp(-y)), F.silu),
    "gelu, erf": (lambda y: 0.5 * y * (1 + torch.erf(y / math.sqrt(2))), F.gelu),
    "gelu, cdf first": (lambda y: y * (0.5 * (1.0 + torch.erf(y * 2**-0.5))), F.gelu),
    "gelu, tanh": (
        lambda y: 0.5 * y * (1 + torch.tanh(math.sqrt(2 / math.pi) * (y + 0.044715 * y**3))),
        lambda y: F.gelu(y, approximate="tanh"),
    ),
    "mish": (lambda y: y * torch.tanh(F.softplus(y)), F.mish),
    "hardswish": (lambda y: y * F.relu6(y + 3) / 6, F.hardswish),
    "hardswish, gate first": (lambda y: y * (F.relu6(y + 3) / 6), F.hardswish),
}  # fmt: skip
RECTIFYING = ("guided_backprop", "deconvnet", "rectified_gradient")
"""Lenses whose rule for rectifiers ignores the slope: after half of x + |x| their maps are half as large."""


@pytest.mark.parametrize("written", SPELLED)
@pytest.mark.parametrize("lens", [*EVERY, "excitation_backprop"])
def test_an_activation_is_itself_in_any_spelling(lens: str, written: str) -> None:
    spelled, named = (seeded(Two, act) for act in SPELLED[written])
    x = an_input()
    torch.testing.assert_close(spelled(x.clone()), named(x.clone()))
    parameters = {"layer": "first"} if lens == "excitation_backprop" else {}
    pairs = zip(
        getattr(cs, lens)(spelled, x, target=1, **parameters),
        getattr(cs, lens)(named, x, target=1, **parameters),
        strict=True,
    )
    for actual, expected in pairs:
        assert expected.values.any()
        if lens in RECTIFYING and written == "minus the minimum":
            assert any("gradient" in name for name in actual.notes["rules"])  # not recognized as a rectifier
            continue
        if lens in RECTIFYING:
            actual, expected = (values / values.abs().max() for values in (actual.values, expected.values))
            torch.testing.assert_close(actual, expected, rtol=1e-3, atol=1e-4)
            continue
        torch.testing.assert_close(
            actual.values, expected.values, rtol=1e-3, atol=2e-5 * float(expected.values.abs().max())
        )


@pytest.mark.parametrize("written", ["times a mask", "where", "torch.maximum", "x * sigmoid(x)", "set to zero"])
@pytest.mark.parametrize("axes", [0, 1, 3])
def test_spellings_are_known_whatever_the_axes(axes: int, written: str) -> None:
    spelled, named = (seeded(Two, act, axes) for act in SPELLED[written])
    x = an_input(axes)
    for lens in EVERY:
        for actual, expected in zip(
            getattr(cs, lens)(spelled, x, target=1), getattr(cs, lens)(named, x, target=1), strict=True
        ):
            torch.testing.assert_close(
                actual.values, expected.values, rtol=1e-3, atol=2e-5 * float(expected.values.abs().max())
            )


def test_the_sloped_sigmoid_of_quick_gelu_is_one_activation() -> None:
    act = lambda y: y * torch.sigmoid(1.702 * y)  # noqa: E731
    net, x = seeded(Two, act), an_input()
    for attribution in cs.lrp(net, x, target=1):
        assert attribution.notes["relative conservation gap"] < 1e-4
        assert attribution.notes["rules"]["rectifier: pass"] == 2
    for attribution in cs.deep_lift(net, x, target=1):
        assert abs(attribution.notes["relative completeness gap"]) < 1e-4
    assert cs.guided_backprop(net, x, target=1)[0].notes["rules"] == {
        "mul: gradient": 2, "sigmoid: gradient": 2, "rectifier: guided": 2
    }  # fmt: skip


NO_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "square": lambda y: y * y,
    "residual": lambda y: y + F.relu(y),
    "gate of another": lambda y: y * y.flip(1).sigmoid(),
    "mean subtracted": lambda y: y - y.mean(1, keepdim=True),
    "difference of halves": lambda y: F.relu(y) - F.relu(-y) + y,
}  # fmt: skip


@pytest.mark.parametrize("written", NO_ACTIVATIONS)
def test_what_is_no_activation_is_not_taken_for_one(written: str) -> None:
    net = seeded(Two, NO_ACTIVATIONS[written])
    for lens in EVERY:
        rules = getattr(cs, lens)(net, an_input(), target=1)[0].notes.get("rules", {})
        assert not any("rectifier" in name for name in rules), rules


def test_a_source_written_to_since_is_no_source() -> None:
    def act(y: Tensor) -> Tensor:
        mask = y > 0
        y += 1
        return y * mask

    net, x = seeded(Two, act), an_input()
    rules = cs.guided_backprop(net, x, target=1)[0].notes["rules"]
    assert not any("rectifier" in name for name in rules)
    for attribution in cs.lrp(net, x, target=1):
        assert attribution.notes["relative conservation gap"] < 1e-4


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
        lambda y: F.max_unpool2d(*F.max_pool2d(y[..., :4, :4], 2, return_indices=True), 2), "max_unpool2d"
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


# Recurrent layers


class Recurrent(nn.Module):
    """A recurrent layer over the columns of a signal."""

    def __init__(self, layer: Callable[[], nn.Module], *, all_steps: bool = False) -> None:
        super().__init__()
        self.conv, self.layer, self.all_steps = nn.Conv1d(2, 3, 3), layer(), all_steps
        width = self.layer(torch.zeros(1, 6, 3))[0].shape[-1]
        self.head = nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        steps = self.conv(x).transpose(1, 2)
        out, _ = self.layer(steps)
        return self.head(out.mean(1) if self.all_steps else out[:, -1])


class Stepwise(nn.Module):
    """A recurrent cell applied time step by time step."""

    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        state, outputs = None, []
        for step in x.unbind(1):
            state = self.cell(step, state)
            outputs.append(state[0] if isinstance(state, tuple) else state)
        return torch.stack(outputs, 1), None


class ByHand(nn.Module):
    """An LSTM cell written out."""

    def __init__(self, cell: nn.LSTMCell) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor]:
        nothing = x.new_zeros(len(x), self.cell.hidden_size)
        h, c = state or (nothing, nothing)
        cell = self.cell
        gates = F.linear(x, cell.weight_ih, cell.bias_ih) + F.linear(h, cell.weight_hh, cell.bias_hh)
        i, f, g, o = gates.chunk(4, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c


LAYERS: dict[str, Callable[[], nn.Module]] = {
    "LSTM": lambda: nn.LSTM(3, 5, batch_first=True),
    "LSTM, two layers, both ways": lambda: nn.LSTM(3, 4, 2, batch_first=True, bidirectional=True),
    "LSTM, projected": lambda: nn.LSTM(3, 5, batch_first=True, proj_size=2),
    "LSTM, no bias": lambda: nn.LSTM(3, 5, batch_first=True, bias=False),
    "GRU": lambda: nn.GRU(3, 5, batch_first=True),
    "GRU, two layers, both ways": lambda: nn.GRU(3, 4, 2, batch_first=True, bidirectional=True),
    "RNN": lambda: nn.RNN(3, 5, batch_first=True),
    "RNN, relu": lambda: nn.RNN(3, 5, batch_first=True, nonlinearity="relu"),
    "LSTMCell": lambda: Stepwise(nn.LSTMCell(3, 5)),
    "LSTMCell, no bias": lambda: Stepwise(nn.LSTMCell(3, 5, bias=False)),
    "GRUCell": lambda: Stepwise(nn.GRUCell(3, 5)),
    "RNNCell": lambda: Stepwise(nn.RNNCell(3, 5)),
    "RNNCell, relu": lambda: Stepwise(nn.RNNCell(3, 5, nonlinearity="relu")),
}  # fmt: skip


def a_signal() -> Tensor:
    return torch.randn(2, 2, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize("written", LAYERS)
@pytest.mark.parametrize("lens", EVERY)
def test_recurrent_layers_have_rules(lens: str, written: str) -> None:
    net, x = seeded(Recurrent, LAYERS[written]), a_signal()
    outputs: list[Tensor] = []
    handle = net.register_forward_hook(lambda _net, _inputs, output: outputs.append(output.detach().clone()))
    attributions = getattr(cs, lens)(net, x, target=1)
    handle.remove()
    torch.testing.assert_close(outputs[-1], net(x), rtol=1e-5, atol=1e-6)
    for attribution in attributions:
        assert attribution.values.any()
        if lens == "lrp":
            assert attribution.notes["relative conservation gap"] < 1e-4
        if lens == "deep_lift":
            assert abs(attribution.notes["relative completeness gap"]) < 1e-4


def test_a_layer_is_its_cell_and_its_cell_is_what_it_is_written_out() -> None:
    layer = seeded(Recurrent, LAYERS["LSTM"])
    cell, written = seeded(Recurrent, LAYERS["LSTMCell"]), seeded(Recurrent, LAYERS["LSTMCell"])
    for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        getattr(cell.layer.cell, name).data.copy_(getattr(layer.layer, name + "_l0"))
    for net in (cell, written):
        net.conv, net.head = layer.conv, layer.head
    written.layer = Stepwise(ByHand(cell.layer.cell))
    torch.testing.assert_close(layer(a_signal()), written(a_signal()))
    for lens in EVERY:
        if lens == "full_grad":  # a layer over all steps has maps of biases, one step has none
            continue
        maps = [getattr(cs, lens)(net, a_signal(), target=1)[0].values for net in (layer, cell, written)]
        for other in maps[1:]:
            torch.testing.assert_close(maps[0], other, rtol=1e-3, atol=1e-4 * float(maps[0].abs().max()))


def test_a_gate_and_what_is_left_of_it_are_gates() -> None:
    """A GRU written as (1 - z)·n + z·h gives the result of the layer."""

    class Written(nn.Module):
        def __init__(self, cell: nn.GRUCell) -> None:
            super().__init__()
            self.cell = cell

        def forward(self, x: Tensor, h: Tensor | None) -> Tensor:
            cell = self.cell
            h = x.new_zeros(len(x), cell.hidden_size) if h is None else h
            driven, recalled = F.linear(x, cell.weight_ih, cell.bias_ih), F.linear(h, cell.weight_hh, cell.bias_hh)
            (rx, zx, nx), (rh, zh, nh) = driven.chunk(3, 1), recalled.chunk(3, 1)
            r, z = torch.sigmoid(rx + rh), torch.sigmoid(zx + zh)
            n = torch.tanh(nx + r * nh)
            return (1 - z) * n + z * h

    cell = seeded(Recurrent, LAYERS["GRUCell"])
    written = seeded(Recurrent, LAYERS["GRUCell"])
    written.layer = Stepwise(Written(written.layer.cell))
    written.conv, written.head, written.layer.cell.cell = cell.conv, cell.head, cell.layer.cell
    for actual, expected in zip(cs.lrp(cell, a_signal(), target=1), cs.lrp(written, a_signal(), target=1), strict=True):
        torch.testing.assert_close(actual.values, expected.values, rtol=1e-3, atol=1e-5)


# Sums of powers and of exponentials


class Pooled(nn.Module):
    def __init__(self, pool: Callable[[Tensor], Tensor], axes: int = 2) -> None:
        super().__init__()
        self.conv = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)[axes](2, 4, 3)
        self.pool, self.head = pool, nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.pool(F.relu(self.conv(x))).flatten(2).mean(2))


POOLED: dict[str, tuple[Callable[[Tensor], Tensor], int]] = {
    "LPPool1d": (nn.LPPool1d(2, 3), 1),
    "LPPool2d": (nn.LPPool2d(2, 2), 2),
    "LPPool2d, stride": (nn.LPPool2d(3, 3, stride=2), 2),
    "LPPool2d, ceil": (nn.LPPool2d(2, 4, stride=3, ceil_mode=True), 2),
    "LPPool2d, oblong": (nn.LPPool2d(1.5, (1, 3)), 2),
    "LPPool3d": (nn.LPPool3d(2, 2), 3),
    "lp_pool, infinite": (lambda y: F.lp_pool2d(y, math.inf, 2), 2),
    "generalised mean": (lambda y: y.clamp(min=1e-6).pow(3).mean((2, 3), keepdim=True).pow(1 / 3), 2),
    "logsumexp": (lambda y: y.logsumexp((2, 3), keepdim=True), 2),
    "logsumexp, one axis": (lambda y: torch.logsumexp(y, -1), 2),
    "logsumexp, sharp": (lambda y: (10 * y).logsumexp((2, 3), keepdim=True) / 10 - math.log(36) / 10, 2),
    "logsumexp, 1-D": (lambda y: torch.logsumexp(y, 2, keepdim=True), 1),
    "logsumexp, 3-D": (lambda y: y.flatten(2).logsumexp(dim=2, keepdim=True), 3),
    "1-norm": (lambda y: y.norm(p=1, dim=2, keepdim=True), 2),
    "largest": (lambda y: torch.linalg.vector_norm(y, math.inf, dim=(2, 3), keepdim=True), 2),
}  # fmt: skip


@pytest.mark.parametrize("written", POOLED)
def test_sums_of_powers_and_exponentials_have_rules(written: str) -> None:
    pool, axes = POOLED[written]
    net, x = seeded(Pooled, pool, axes), an_input(axes)
    for lens in EVERY:
        for attribution in getattr(cs, lens)(net, x, target=1):
            assert torch.isfinite(attribution.values).all()
            assert attribution.values.any() or lens in RECTIFYING
            if lens == "lrp":
                assert attribution.notes["relative conservation gap"] < 1e-4
            if lens == "deep_lift":
                assert abs(attribution.notes["relative completeness gap"]) < 1e-3


def test_relevance_through_a_sum_of_exponentials_goes_to_the_largest() -> None:
    """R_i = p_i·x_i / y · R with p = softmax(x), and the entropy of p is a constant."""

    class Net(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.logsumexp(1, keepdim=True) * 2

    x = torch.tensor([[0.5, -1.0, 3.0, 2.0]])
    attribution = cs.lrp(cs.Model(Net()), x, target=0)
    p = x.softmax(1)
    torch.testing.assert_close(attribution.channels.flatten(), (2 * p * x).flatten())
    assert attribution.notes["absorbed by biases"] == pytest.approx(float(-2 * (p * p.log()).sum()), rel=1e-5)
    assert attribution.notes["relative conservation gap"] < 1e-6


def test_a_pool_of_powers_shares_in_proportion_to_powers() -> None:
    class Net(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.lp_pool1d(x[:, None], 2, 4)[:, 0]

    x = torch.tensor([[0.5, 1.0, 3.0, 0.0]])
    attribution = cs.lrp(cs.Model(Net()), x, target=0)
    torch.testing.assert_close(attribution.channels.flatten(), (x * x / (x * x).sum().sqrt()).flatten())


class NormSpelled(nn.Module):
    """A norm between two convolutions, called as a function of ``torch`` or of ``torch.nn.functional``."""

    def __init__(self, spelling: str) -> None:
        super().__init__()
        self.first, self.second, self.spelling = nn.Conv2d(2, 6, 3), nn.Conv2d(6, 4, 3), spelling
        self.norm = nn.BatchNorm2d(6)
        for numbers in (self.norm.running_mean, self.norm.running_var, self.norm.weight, self.norm.bias):
            nn.init.uniform_(numbers, 0.5, 1.5)

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
            cs.Model(seeded(lambda f=f: NormSpelled(f"{f}.{norm}")), input=cs.TensorInput((2, 8, 8))),
            an_input(),
            target=1,
        )
        for f in ("torch", "F")
    )
    for attribution, expected in zip(torch_attributions, functional_attributions, strict=True):
        torch.testing.assert_close(attribution.values, expected.values)
