"""Layouts of layer outputs: every order of axes is converted to the map that the network's author has in mind."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import convscope as cs
from convscope.engine.layers.layer_trace import as_feature_map, layout_of, trace_layers
from convscope.engine.network.hooks import first_tensor
from convscope.errors import LayerError
from tests.engine._nets import seeded

Case = tuple[Callable[[], nn.Module], tuple[int, ...], str, Callable[[Tensor, int], Tensor]]
"""A network, the shape of one input, a layer, and its map (N, C, positions …) as a function of its output and N."""


class WithStep(nn.Module):
    """A convolution, a custom function of named layers, and a head."""

    def __init__(self, stem: nn.Module, step: Callable[..., Tensor], **layers: nn.Module) -> None:
        super().__init__()
        self.stem, self.step = stem, step
        for name, layer in layers.items():
            self.add_module(name, layer)
        self.head = nn.LazyLinear(4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.step(self, self.stem(x), len(x)).reshape(len(x), -1))


def _sequence(net: Any, y: Tensor, _: int) -> Tensor:
    return net.rnn(y.transpose(1, 2))[0].mean(1)


def _time_first(net: Any, y: Tensor, _: int) -> Tensor:
    return net.rnn(y.permute(2, 0, 1))[0].mean(0)


def _channels_last(net: Any, y: Tensor, _: int) -> Tensor:
    return net.norm(y.movedim(1, -1)).relu().flatten(1, -2).mean(1)


def _class_token(net: Any, y: Tensor, n: int) -> Tensor:
    tokens = torch.cat([net.norm.weight.expand(n, 2, -1), y.flatten(2).transpose(1, 2)], 1)
    return net.block(net.norm(tokens))[:, 0]


def _windows(net: Any, y: Tensor, n: int) -> Tensor:
    y = y.roll((-1, -1), (2, 3))
    windows = y.view(n, 6, 2, 4, 2, 4).permute(0, 2, 4, 3, 5, 1).reshape(n * 4, 16, 6)
    return net.mix(windows).relu().view(n, -1, 6).mean(1)


def _undo_windows(output: Tensor, n: int) -> Tensor:
    y = output.view(n, 2, 2, 4, 4, 6).permute(0, 5, 1, 3, 2, 4).reshape(n, 6, 8, 8)
    return y.roll((1, 1), (2, 3))


def _columns(net: Any, y: Tensor, n: int) -> Tensor:
    return net.rnn(net.collapse(y).squeeze(2).permute(2, 0, 1))[0].mean(0)


def _frames(order: str) -> Callable[..., Tensor]:
    def step(net: Any, y: Tensor, n: int) -> Tensor:
        frames = y.unflatten(1, (3, 2))
        folded = frames.flatten(0, 1) if order == "images first" else frames.transpose(0, 1).flatten(0, 1)
        out = net.cnn(folded).relu().mean((2, 3))
        return out.unflatten(0, (n, 3) if order == "images first" else (3, n)).sum(1 if order == "images first" else 0)

    return step


def _heads(net: Any, y: Tensor, n: int) -> Tensor:
    tokens = y.flatten(2).transpose(1, 2)
    heads = tokens.unflatten(2, (2, 3)).transpose(1, 2).reshape(2 * n, -1, 3)
    return net.mix(heads).relu().view(n, 2, -1, 3).mean(2)


def _coordinates(net: Any, y: Tensor, _: int) -> Tensor:
    """Coordinate attention: rows and columns are concatenated for one convolution."""
    rows, columns = y.mean(3, keepdim=True), y.mean(2, keepdim=True).transpose(2, 3)
    gates = net.squeeze(torch.cat([rows, columns], 2)).split([y.shape[2], y.shape[3]], 2)
    weighted = y * net.rows(gates[0]).sigmoid() * net.columns(gates[1].transpose(2, 3)).sigmoid()
    return net.gated(weighted).mean((2, 3))


def _spectrogram(net: Any, y: Tensor, n: int) -> Tensor:
    spectrum = torch.stft(y.squeeze(1), 8, 4, window=torch.ones(8), return_complex=True).abs()
    return net.cnn(spectrum[:, None]).relu().mean((2, 3))


class Preallocated(nn.Module):
    """Writes its steps one after another into a preallocated tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.out, self.head = nn.Conv1d(2, 5, 3, padding=1), nn.Identity(), nn.Linear(5, 3)
        self.cell, self.norm = nn.GRUCell(5, 5), nn.LayerNorm(5)

    def forward(self, x: Tensor) -> Tensor:
        y, h = self.conv(x), x.new_zeros(len(x), 5)
        out = x.new_empty(len(x), x.shape[2], 5)
        for t in range(x.shape[2]):
            h = self.cell(y[:, :, t], h)
            out[:, t] = h
        return self.head(self.norm(out).mean(1))


CASES: dict[str, Case] = {
    "a recurrent layer over time": (
        lambda: WithStep(nn.Conv1d(2, 6, 3), _sequence, rnn=nn.LSTM(6, 5, batch_first=True)),
        (2, 12),
        "rnn",
        lambda o, n: o.transpose(1, 2),
    ),
    "a gated recurrent layer in both directions": (
        lambda: WithStep(nn.Conv1d(2, 6, 3), _sequence, rnn=nn.GRU(6, 5, batch_first=True, bidirectional=True)),
        (2, 12),
        "rnn",
        lambda o, n: o.transpose(1, 2),
    ),
    "time first": (
        lambda: WithStep(nn.Conv1d(2, 6, 3), _time_first, rnn=nn.RNN(6, 5)),
        (2, 12),
        "rnn",
        lambda o, n: o.permute(1, 2, 0),
    ),
    "time first, through an LSTM": (
        lambda: WithStep(nn.Conv1d(2, 6, 3), _time_first, rnn=nn.LSTM(6, 5, num_layers=2)),
        (2, 12),
        "rnn",
        lambda o, n: o.permute(1, 2, 0),
    ),
    "steps written into a tensor": (Preallocated, (2, 9), "norm", lambda o, n: o.transpose(1, 2)),
    "channels last, a signal": (
        lambda: WithStep(nn.Conv1d(2, 6, 3), _channels_last, norm=nn.LayerNorm(6)),
        (2, 12),
        "norm",
        lambda o, n: o.movedim(-1, 1),
    ),
    "channels last, an image": (
        lambda: WithStep(nn.Conv2d(2, 6, 3), _channels_last, norm=nn.LayerNorm(6)),
        (2, 8, 8),
        "norm",
        lambda o, n: o.movedim(-1, 1),
    ),
    "channels last, a volume": (
        lambda: WithStep(nn.Conv3d(2, 6, 3), _channels_last, norm=nn.LayerNorm(6)),
        (2, 6, 8, 8),
        "norm",
        lambda o, n: o.movedim(-1, 1),
    ),
    "as many channels as columns": (
        lambda: WithStep(
            nn.Conv2d(1, 6, 3, stride=(2, 1), padding=1), lambda m, y, n: m.act(y).mean((2, 3)), act=nn.ReLU()
        ),
        (1, 12, 12),
        "stem",
        lambda o, n: o,
    ),
    "tokens after a class token and a register": (
        lambda: WithStep(
            nn.Conv2d(3, 6, 4, 4),
            _class_token,
            norm=nn.LayerNorm(6),
            block=nn.TransformerEncoderLayer(6, 2, 8, batch_first=True),
        ),
        (3, 16, 12),
        "block",
        lambda o, n: o[:, 2:].transpose(1, 2).unflatten(2, (4, 3)),
    ),
    "shifted windows": (
        lambda: WithStep(nn.Conv2d(3, 6, 3, padding=1), _windows, mix=nn.Linear(6, 6)),
        (3, 8, 8),
        "mix",
        _undo_windows,
    ),
    "columns of a spectrogram": (
        lambda: WithStep(
            nn.Conv2d(1, 4, 3, padding=1),
            _columns,
            collapse=nn.Conv2d(4, 5, (8, 1)),
            rnn=nn.LSTM(5, 3, bidirectional=True),
        ),
        (1, 8, 12),
        "rnn",
        lambda o, n: o.permute(1, 2, 0)[:, :, None],
    ),
    "frames folded into the batch, images first": (
        lambda: WithStep(nn.Identity(), _frames("images first"), cnn=nn.Conv2d(2, 5, 3)),
        (6, 8, 8),
        "cnn",
        lambda o, n: o.unflatten(0, (n, 3)).transpose(1, 2),
    ),
    "frames folded into the batch, frames first": (
        lambda: WithStep(nn.Identity(), _frames("frames first"), cnn=nn.Conv2d(2, 5, 3)),
        (6, 8, 8),
        "cnn",
        lambda o, n: o.unflatten(0, (3, n)).permute(1, 2, 0, 3, 4),
    ),
    "heads folded into the batch": (
        lambda: WithStep(nn.Conv2d(3, 6, 4, 4), _heads, mix=nn.Linear(3, 3)),
        (3, 16, 16),
        "mix",
        lambda o, n: o.unflatten(0, (n, 2)).permute(0, 3, 1, 2).unflatten(3, (4, 4)),
    ),
    "clips of frames with time as an axis": (
        lambda: WithStep(
            nn.Identity(),
            lambda m, y, n: m.cnn(y.transpose(1, 2).flatten(0, 1)).mean((2, 3)).view(n, 4, 5).mean(1),
            cnn=nn.Conv2d(2, 5, 3),
        ),
        (2, 4, 8, 8),
        "cnn",
        lambda o, n: o.unflatten(0, (n, 4)).transpose(1, 2),
    ),
    "circular padding": (
        lambda: WithStep(
            nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular"), lambda m, y, n: m.act(y).mean((2, 3)), act=nn.ReLU()
        ),
        (3, 8, 6),
        "act",
        lambda o, n: o,
    ),
    "height and width transposed": (
        lambda: WithStep(
            nn.Conv2d(3, 4, 3), lambda m, y, n: m.conv(y.transpose(2, 3)).mean((2, 3)), conv=nn.Conv2d(4, 4, 1)
        ),
        (3, 8, 6),
        "conv",
        lambda o, n: o.transpose(2, 3),
    ),
    "filtered while mirrored": (
        lambda: WithStep(
            nn.Conv2d(3, 4, 3, padding=1),
            lambda m, y, n: m.conv(y.flip(3)).flip(3).relu().mean((2, 3)),
            conv=nn.Conv2d(4, 4, 3, padding=1),
        ),
        (3, 8, 6),
        "conv",
        lambda o, n: o.flip(3),
    ),
    "filtered while mirrored, then mirrored back": (
        lambda: WithStep(
            nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular"),
            lambda m, y, n: m.act(m.conv(y.flip(2, 3)).flip(2, 3)).mean((2, 3)),
            conv=nn.Conv2d(4, 4, 3, 2, padding=1),
            act=nn.ReLU(),
        ),
        (3, 16, 12),
        "act",
        lambda o, n: o,
    ),
    "a reversed signal, pooled": (
        lambda: WithStep(
            nn.Conv1d(2, 4, 3),
            lambda m, y, n: m.pool(m.conv(y.flip(2))).mean(2),
            conv=nn.Conv1d(4, 4, 5),
            pool=nn.MaxPool1d(2),
        ),
        (2, 30),
        "pool",
        lambda o, n: o.flip(2),
    ),
    "filtered while rolled": (
        lambda: WithStep(
            nn.Conv2d(3, 4, 3, padding=1),
            lambda m, y, n: m.conv(y.roll(3, 3)).mean((2, 3)),
            conv=nn.Conv2d(4, 4, 3, padding=1),
        ),
        (3, 8, 12),
        "conv",
        lambda o, n: o.roll(-3, 3),
    ),
    "a volume rolled, filtered, and rolled back": (
        lambda: WithStep(
            nn.Conv3d(1, 4, 3, padding=1),
            lambda m, y, n: m.act(m.conv(y.roll(2, 2)).roll(-2, 2)).mean((2, 3, 4)),
            conv=nn.Conv3d(4, 4, 3, padding=1),
            act=nn.ReLU(),
        ),
        (1, 10, 6, 6),
        "act",
        lambda o, n: o,
    ),
    "after an in-place fill": (
        lambda: WithStep(
            nn.Conv2d(3, 4, 3), lambda m, y, n: m.conv(y.masked_fill_(y < 0, 0.0)).mean((2, 3)), conv=nn.Conv2d(4, 4, 1)
        ),
        (3, 8, 6),
        "conv",
        lambda o, n: o,
    ),
    "after mish in place": (
        lambda: WithStep(
            nn.Conv1d(3, 4, 3), lambda m, y, n: m.conv(m.mish(y)).mean(2), mish=nn.Mish(True), conv=nn.Conv1d(4, 4, 1)
        ),
        (3, 12),
        "conv",
        lambda o, n: o,
    ),
    "after a gated linear unit, frames in the batch": (
        lambda: WithStep(
            nn.Identity(),
            lambda m, y, n: m.mix(m.glu(m.cnn(y.reshape(3 * n, 2, *y.shape[2:])))).mean((2, 3)).view(n, 3, 5).sum(1),
            cnn=nn.Conv2d(2, 8, 3),
            glu=nn.GLU(1),
            mix=nn.Conv2d(4, 5, 1),
        ),
        (6, 8, 8),
        "mix",
        lambda o, n: o.unflatten(0, (n, 3)).transpose(1, 2),
    ),
    "gated over columns": (
        lambda: WithStep(nn.Conv2d(3, 4, 3, padding=1), lambda m, y, n: m.glu(y).mean((2, 3)), glu=nn.GLU(3)),
        (3, 8, 6),
        "glu",
        lambda o, n: o,
    ),
    "mirrored before a convolution": (
        lambda: WithStep(
            nn.Identity(), lambda m, y, n: m.cnn(y.flip(3)).relu().mean((2, 3)), cnn=nn.Conv2d(3, 5, 3, stride=2)
        ),
        (3, 8, 11),
        "cnn",
        lambda o, n: o.flip(3),
    ),
    "a reversed signal through two convolutions": (
        lambda: WithStep(
            nn.Conv1d(2, 4, 3, padding=1), lambda m, y, n: m.cnn(y.flip(2)).relu().mean(2), cnn=nn.Conv1d(4, 5, 4)
        ),
        (2, 12),
        "cnn",
        lambda o, n: o.flip(2),
    ),
    "rotated by 90 degrees": (
        lambda: WithStep(
            nn.Identity(), lambda m, y, n: m.cnn(torch.rot90(y, 1, (2, 3))).relu().mean((2, 3)), cnn=nn.Conv2d(3, 5, 3)
        ),
        (3, 8, 10),
        "cnn",
        lambda o, n: torch.rot90(o, -1, (2, 3)),
    ),
    "rolled before a convolution": (
        lambda: WithStep(
            nn.Identity(), lambda m, y, n: m.cnn(y.roll(3, 2)).relu().mean(2), cnn=nn.Conv1d(2, 5, 3, padding=1)
        ),
        (2, 12),
        "cnn",
        lambda o, n: o.roll(-3, 2),
    ),
    "mirrored copies after the images of a batch": (
        lambda: WithStep(
            nn.Identity(),
            lambda m, y, n: m.cnn(torch.cat([y, y.flip(3)])).relu().mean((2, 3)).view(2, n, -1).mean(0),
            cnn=nn.Conv2d(3, 5, 3),
        ),
        (3, 8, 10),
        "cnn",
        lambda o, n: torch.stack([o[:n], o[n:].flip(3)], 2),
    ),
    "halves of images in the batch": (
        lambda: WithStep(
            nn.Identity(),
            lambda m, y, n: m.cnn(torch.cat(y.chunk(2, 3))).relu().mean((2, 3)).view(2, n, -1).mean(0),
            cnn=nn.Conv2d(3, 5, 3),
        ),
        (3, 8, 16),
        "cnn",
        lambda o, n: torch.cat([o[:n], o[n:]], 3),
    ),
    "every other sample of a signal in the batch": (
        lambda: WithStep(
            nn.Identity(),
            lambda m, y, n: m.cnn(torch.cat([y[..., ::2], y[..., 1::2]])).relu().mean(2).view(2, n, -1).mean(0),
            cnn=nn.Conv1d(2, 5, 3, padding=1),
        ),
        (2, 16),
        "cnn",
        lambda o, n: torch.stack([o[:n], o[n:]], 3).flatten(2),
    ),
    "some channels shifted in time": (
        lambda: WithStep(
            nn.Identity(),
            lambda m, y, n: m.mix(torch.cat([y[:, :2].roll(1, 2), y[:, 2:]], 1).transpose(1, 2)).relu().mean(1),
            mix=nn.Linear(5, 4),
        ),
        (5, 9),
        "mix",
        lambda o, n: o.transpose(1, 2),
    ),
    "gates over rows and columns": (
        lambda: WithStep(
            nn.Conv2d(3, 5, 3),
            _coordinates,
            squeeze=nn.Conv2d(5, 3, 1),
            rows=nn.Conv2d(3, 5, 1),
            columns=nn.Conv2d(3, 5, 1),
            gated=nn.ReLU(),
        ),
        (3, 8, 10),
        "gated",
        lambda o, n: o,
    ),
    "a spectrogram computed by the network": (
        lambda: WithStep(nn.Identity(), _spectrogram, cnn=nn.Conv2d(1, 5, 3, padding=1)),
        (1, 48),
        "cnn",
        lambda o, n: o.flatten(1, 2),  # frequencies are channels of the map along time
    ),
    "frames of volumes": (
        lambda: WithStep(
            nn.Identity(),
            lambda m, y, n: m.cnn(y.unflatten(1, (2, 1)).flatten(0, 1)).relu().mean((2, 3, 4)).view(n, -1),
            cnn=nn.Conv3d(1, 3, 3),
        ),
        (2, 4, 6, 6),
        "cnn",
        lambda o, n: o.unflatten(0, (n, 2)).transpose(1, 2),
    ),
    "channels and columns in one dimension": (
        lambda: WithStep(
            nn.Conv2d(1, 4, 3, padding=1),
            lambda m, y, n: m.act(y.permute(0, 2, 1, 3).flatten(2)).mean(1),
            act=nn.ReLU(),
        ),
        (1, 5, 6),
        "act",
        lambda o, n: o.unflatten(2, (4, 6)).transpose(1, 2),
    ),
}


def _build(case: str) -> tuple[cs.Model, Tensor, str, Callable[[Tensor, int], Tensor]]:
    build, shape, layer, expected = CASES[case]
    torch.manual_seed(0)
    net, x = build().eval(), torch.randn(3, *shape)
    net(x)
    return cs.Model(net), x, layer, expected


def _layer_output(model: cs.Model, x: Tensor, layer: str) -> Tensor:
    outputs: list[Any] = []
    handle = model.module.get_submodule(layer).register_forward_hook(lambda _m, _i, o: outputs.append(o))
    with torch.no_grad():
        model.module(x)
    handle.remove()
    tensor = first_tensor(outputs[-1])
    assert tensor is not None
    return tensor.detach()


@pytest.mark.parametrize("case", CASES)
def test_an_output_is_read_as_images_channels_and_positions(case: str) -> None:
    model, x, layer, expected = _build(case)
    output = _layer_output(model, x, layer)
    with model.preserve_state():
        feature_map = as_feature_map(model, layer, x, output)
    torch.testing.assert_close(feature_map, expected(output, len(x)))


@pytest.mark.parametrize("case", [case for case in CASES if case.startswith(("after", "gated"))])
def test_the_layout_follows_from_the_operations_without_probing(case: str) -> None:
    model, x, layer, _ = _build(case)
    with model.preserve_state():
        traced = trace_layers(model, x).layers[layer]
    assert traced.has_positions, traced.unknown_reason
    assert not traced.probed


@pytest.mark.parametrize("case", CASES)
def test_from_map_is_the_inverse_of_to_map(case: str) -> None:
    model, x, layer, _ = _build(case)
    output = _layer_output(model, x[:1], layer)
    with model.preserve_state():
        layout = layout_of(model, layer, x)
    maps = layout.to_map(output)
    outputs = layout.from_images(layout.from_map(torch.cat([maps, maps * 2]), output))
    torch.testing.assert_close(layout.to_map(outputs), torch.cat([maps, maps * 2]))
    torch.testing.assert_close(layout.from_images(layout.from_map(maps, output)), output)


@pytest.mark.parametrize("case", CASES)
def test_an_image_has_the_same_map_alone_and_in_a_batch(case: str) -> None:
    model, x, layer, _ = _build(case)
    batch = cs.grad_cam(model, x, layer=layer, target=1, relu=False)
    for image, attribution in zip(x, batch, strict=True):
        single = cs.grad_cam(model, image[None], layer=layer, target=1, relu=False)
        torch.testing.assert_close(attribution.values, single.values, rtol=1e-4, atol=1e-6)
        assert attribution.values.shape == x.shape[2:]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("lens", [cs.ablation_cam, cs.score_cam, cs.eigen_cam, cs.layer_cam, cs.feature_maps])
def test_layer_lenses_accept_every_layout(case: str, lens: Any) -> None:
    model, x, layer, _ = _build(case)
    values = lens(model, x[:2], layer=layer)
    assert len(values) == 2


@pytest.mark.parametrize("case", CASES)
def test_a_unit_is_a_channel_in_every_layout(case: str) -> None:
    model, x, layer, expected = _build(case)
    unit = expected(_layer_output(model, x, layer), len(x))[:, 1].flatten(1).mean(1)
    scores = [attribution.score for attribution in cs.saliency(model, x, target=f"{layer}[1]")]
    torch.testing.assert_close(torch.tensor(scores), unit, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("case", "notation"),
    [
        ("time first", "T N C"),
        ("channels last, a volume", "N D H W C"),
        ("tokens after a class token and a register", "N 2+H*W C"),
        ("frames folded into the batch, images first", "N*F C H W"),
        ("frames folded into the batch, frames first", "F*N C H W"),
        ("clips of frames with time as an axis", "N*D C H W"),
        ("columns of a spectrogram", "W N C"),
    ],
)
def test_the_notation_of_layouts(case: str, notation: str) -> None:
    model, x, layer, _ = _build(case)
    with model.preserve_state():
        assert layout_of(model, layer, x).notation == notation


class Hidden(nn.Module):
    """Its operations cannot be recorded, since it uses NumPy."""

    def __init__(self, fold: bool = False) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, 6, 3, stride=(2, 1), padding=1), nn.LayerNorm(6), nn.Linear(6, 4)
        self.fold = fold

    def forward(self, x: Tensor) -> Tensor:
        n = len(x)
        x = torch.from_numpy(x.detach().numpy().repeat(3 if self.fold else 1, axis=0))
        y = self.norm(self.conv(x).movedim(1, -1)).relu().mean((1, 2))
        return self.head(y.view(n, -1, 6).mean(1))


@pytest.mark.parametrize("fold", [False, True])
def test_an_unrecorded_layout_is_probed(fold: bool) -> None:
    torch.manual_seed(0)
    model, x = cs.Model(Hidden(fold).eval()), torch.randn(2, 3, 16, 16)
    output = _layer_output(model, x, "norm")
    expected = output.movedim(-1, 1)
    if fold:
        expected = expected.unflatten(0, (2, 3)).transpose(1, 2)
    with model.preserve_state():
        torch.testing.assert_close(as_feature_map(model, "norm", x, output), expected)
    (first, second) = cs.eigen_cam(model, x)
    assert first.layers == ("norm",)
    assert cs.eigen_cam(model, x)[0].cost.forwards == 1, "nothing is probed twice"
    assert not torch.equal(first.values, second.values)


class Fixed(Hidden):
    """It accepts one size of input only, and raises before any layer runs."""

    def forward(self, x: Tensor) -> Tensor:
        assert x.shape[2:] == (16, 16)
        return super().forward(x)


def test_an_unknown_layout_is_refused_and_can_be_declared() -> None:
    torch.manual_seed(0)
    net, x = Fixed().eval(), torch.randn(2, 3, 16, 16)
    with pytest.raises(LayerError, match=r"layer 'norm' gives shape .*: choose another layer, or declare its layout"):
        cs.eigen_cam(net, x, layer="norm")
    declared = cs.eigen_cam(cs.Model(net, layouts={"norm": "N H W C"}), x, layer="norm")
    probed = cs.eigen_cam(cs.Model(Hidden().eval(), layouts={}), x, layer="norm")
    assert declared[0].layer_values["norm"].shape == probed[0].layer_values["norm"].shape == (8, 16)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("N H W", "has 3 words and its output 4 dimensions"),
        ("N H W Q", "has the word 'Q': a word is made of N, C, F, H, W"),
        ("C H W C", "names no batch"),
        ("N H2 W C", "gives 'H2' to a dimension of size 8"),
        ("N*F H W C", "N"),
    ],
)
def test_a_layout_that_does_not_fit_is_refused(text: str, message: str) -> None:
    model = cs.Model(Fixed().eval(), layouts={"norm": text})
    if text == "N*F H W C":  # fits: one frame
        assert cs.eigen_cam(model, torch.randn(1, 3, 16, 16), layer="norm").layers == ("norm",)
        return
    with pytest.raises(LayerError, match=message):
        cs.eigen_cam(model, torch.randn(1, 3, 16, 16), layer="norm")


@pytest.mark.parametrize("text", ["N 1+H3*W4 C", "N 1+H*W4 C", "N, 1+H3*W, C"])
def test_layouts_with_tokens_are_parsed(text: str) -> None:
    from convscope.engine.layers.described_layout import parse_layout

    output = torch.randn(2, 13, 5)
    layout = parse_layout(text, "block", (2, 13, 5), 2, 2)
    torch.testing.assert_close(layout.to_map(output), output[:, 1:].transpose(1, 2).unflatten(2, (3, 4)))


class Compares(nn.Module):
    """Attention weights, a flattened map and a similarity of the images of a batch, as modules."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.weights, self.flat, self.pairs = (
            nn.Conv2d(3, 4, 4, 4),
            nn.Softmax(-1),
            nn.Flatten(),
            nn.Identity(),
        )
        self.tanh, self.head = nn.Tanh(), nn.Linear(64, 3)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.conv(x).flatten(2).transpose(1, 2)
        mixed = self.weights(tokens @ tokens.mT) @ tokens
        self.tanh(tokens.mean(1) @ tokens.mean(1).T)
        return self.head(self.flat(mixed))


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("weights", "has positions along two dimensions at once"),
        ("flat", "has no spatial extent"),
        ("tanh", "compares the images of a batch"),
        ("head", "has no spatial extent"),
    ],
)
def test_outputs_that_are_no_maps_are_refused_with_the_reason(layer: str, message: str) -> None:
    with pytest.raises(LayerError, match=message):
        cs.eigen_cam(Compares().eval(), torch.randn(2, 3, 16, 16), layer=layer)
    assert cs.grad_cam(Compares().eval(), torch.randn(1, 3, 16, 16)).layers == ("conv",)


def test_a_network_that_takes_a_single_image_is_read_from_it_alone() -> None:
    class Single(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 5, 3), nn.Linear(5, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.conv(x).view(1, 5, -1).mean(2))

    torch.manual_seed(0)
    attribution = cs.grad_cam(Single().eval(), torch.randn(1, 3, 8, 8))
    assert attribution.layer_values["conv"].shape == (6, 6)


def test_the_network_is_recorded_once_per_input_shape() -> None:
    model, x, layer, _ = _build("channels last, an image")
    runs: list[int] = []
    model.module.stem.register_forward_hook(lambda *_: runs.append(1))
    with model.preserve_state():
        for _ in range(3):
            trace_layers(model, x)
            layout_of(model, layer, x)
    assert len(runs) == 1


class Views(nn.Module):
    """Several views of each image run through the same convolutions, and their features are averaged."""

    def __init__(self, views: Any, axes: int, apart: bool, stride: int = 1) -> None:
        super().__init__()
        convolution = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[axes - 1]
        self.views, self.apart = views, apart
        self.first, self.second = convolution(3, 6, 3, padding=1), convolution(6, 4, 3, stride, padding=1)
        self.fc = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        views = [view(x) for view in self.views]
        maps = torch.cat(views) if self.apart else torch.stack(views, 1).flatten(0, 1)
        features = self.second(self.first(maps).relu()).relu().flatten(2).mean(2)
        by_image = features.unflatten(0, (-1, len(x)) if self.apart else (len(x), -1))
        return self.fc(by_image.mean(0 if self.apart else 1))


def as_is(x: Tensor) -> Tensor:
    return x


TRANSFORMS: dict[str, tuple[int, Any, Any]] = {
    "mirrored signal": (1, lambda x: x.flip(-1), lambda m: m.flip(-1)),
    "mirrored": (2, lambda x: x.flip(3), lambda m: m.flip(-1)),
    "rotated by 180 degrees": (2, lambda x: x.flip(2, 3), lambda m: m.flip(-2, -1)),
    "rotated by 90 degrees": (2, lambda x: torch.rot90(x, 1, (2, 3)), lambda m: torch.rot90(m, -1, (-2, -1))),
    "transposed": (2, lambda x: x.transpose(2, 3), lambda m: m.transpose(-2, -1)),
    "rolled": (2, lambda x: x.roll(3, 3), lambda m: m.roll(-3, -1)),
    "mirrored volume": (3, lambda x: x.flip(2), lambda m: m.flip(-3)),
}


@pytest.mark.parametrize("apart", [True, False], ids=["views concatenated", "views of an image together"])
@pytest.mark.parametrize("name", TRANSFORMS)
def test_maps_of_transformed_views_are_transformed_back(name: str, apart: bool) -> None:
    axes, transform, invert = TRANSFORMS[name]
    net, shape = seeded(lambda: Views((as_is, transform), axes, apart)), (3, *[8, 8, 8][:axes])
    images = torch.rand(2, *shape)
    for layer in ("first", "second"):
        attributions = cs.hires_cam(cs.Model(net, input=cs.TensorInput(shape)), images, target=1, layer=layer)
        for attribution, image in zip(attributions, images, strict=True):
            activations: list[Tensor] = []
            handle = net.get_submodule(layer).register_forward_hook(
                lambda *arguments, activations=activations: activations.append(arguments[2])
            )
            score = net(image[None])[0, 1]
            handle.remove()
            (gradient,) = torch.autograd.grad(score, activations)
            plain, transformed = (activations[0] * gradient).sum(1).detach()
            assert torch.allclose(attribution.layer_values[layer], torch.stack([plain, invert(transformed)]), atol=1e-6)


def test_concatenated_copies_are_several_maps() -> None:
    class Wide(Views):
        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.second(self.first(torch.cat([x, x.flip(3)], 3)).relu()).flatten(2).mean(2))

    model = cs.Model(seeded(lambda: Wide((), 2, apart=False)), input=cs.TensorInput((3, 8, 8)))
    value = cs.grad_cam(model, torch.rand(3, 8, 8), target=1, layer="first")
    assert value.layer_values["first"].shape == (2, 8, 8)


def test_overlapping_views_are_refused() -> None:
    crops = (lambda x: x[..., :6, :6], lambda x: x[..., 2:, 2:])
    model = cs.Model(seeded(lambda: Views(crops, 2, apart=True)), input=cs.TensorInput((3, 8, 8)))
    with pytest.raises(LayerError, match="shows some positions of the input more often than others, as overlapping"):
        cs.grad_cam(model, torch.rand(2, 3, 8, 8), target=1, layer="first")


class OneByOne(nn.Module):
    """Processes its images one by one, in various ways of writing it."""

    def __init__(self, variant: str) -> None:
        super().__init__()
        self.conv, self.fc, self.variant = nn.Conv2d(3, 6, 3, padding=1), nn.Linear(6, 3), variant

    def forward(self, x: Tensor) -> Tensor:
        match self.variant:
            case "cat":
                return torch.cat([self.fc(self.conv(image[None]).relu().mean((2, 3))) for image in x])
            case "split":
                return torch.cat([self.fc(self.conv(image).relu().mean((2, 3))) for image in x.split(1)])
            case "without a batch":
                return torch.stack([self.fc(self.conv(image).relu().mean((1, 2))) for image in x])
            case "in pairs":
                pairs = [self.conv(x[first : first + 2]) for first in range(0, len(x), 2)]
                return self.fc(torch.cat([pair.relu().mean((2, 3)) for pair in pairs]))
            case "features":
                return self.fc(torch.cat([self.conv(image[None]) for image in x]).relu().mean((2, 3)))
        return self.fc(self.conv(x).relu().mean((2, 3)))


VARIANTS = ["cat", "split", "without a batch", "in pairs", "features"]
LENSES = [
    "grad_cam",
    "ablation_cam",
    "score_cam",
    "saliency",
    "feature_maps",
    "layer_gradient_x_activation",
    "layer_grad_cam",
    "layer_integrated_gradients",
    "layer_conductance",
    "internal_influence",
    "layer_lrp",
    "layer_deep_lift",
]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("lens", LENSES)
def test_networks_that_process_images_one_by_one_give_the_same_results(variant: str, lens: str) -> None:
    images = torch.rand(3, 3, 8, 8)
    options = {} if lens == "feature_maps" else {"target": 1}
    options |= {} if lens == "saliency" else {"layer": "conv"}
    values, expected_values = (
        getattr(cs, lens)(
            cs.Model(seeded(lambda variant_=variant_: OneByOne(variant_)), input=cs.TensorInput((3, 8, 8))),
            images,
            **options,
        )
        for variant_ in (variant, "as a batch")
    )
    for value, expected in zip(values, expected_values, strict=True):
        numbers = (
            (value.maps["conv"], expected.maps["conv"]) if lens == "feature_maps" else (value.values, expected.values)
        )
        assert torch.allclose(*numbers, atol=1e-5)


class SingleImage(nn.Module):
    """Removes the batch dimension, which must be of size one."""

    def __init__(self, squeezes: bool) -> None:
        super().__init__()
        self.conv, self.fc, self.squeezes = nn.Conv2d(3, 6, 3, padding=1), nn.Linear(6, 3), squeezes

    def forward(self, x: Tensor) -> Tensor:
        if self.squeezes:
            return self.fc(self.conv(x.squeeze(0)).relu().mean((1, 2)))[None]
        return self.fc(self.conv(x).relu().mean((2, 3)))


@pytest.mark.parametrize("lens", [name for name in LENSES if name not in ("layer_lrp", "layer_deep_lift")])
def test_a_network_that_removes_the_batch_dimension_gives_the_same_results(lens: str) -> None:
    image = torch.rand(3, 8, 8)
    options = {} if lens == "feature_maps" else {"target": 1}
    options |= {} if lens == "saliency" else {"layer": "conv"}
    value, expected = (
        getattr(cs, lens)(
            cs.Model(seeded(lambda squeezes=squeezes: SingleImage(squeezes)), input=cs.TensorInput((3, 8, 8))),
            image,
            **options,
        )
        for squeezes in (True, False)
    )
    numbers = (value.maps["conv"], expected.maps["conv"]) if lens == "feature_maps" else (value.values, expected.values)
    assert torch.allclose(*numbers, atol=1e-5)
