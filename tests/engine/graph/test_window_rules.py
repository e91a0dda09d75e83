"""Receptive fields of random networks of convolutions, moves and enlargements, compared with autograd's gradients."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import convscope as cs
from convscope.engine.graph import record_graph
from tests.engine.graph.networks import Call

CHANNELS = 2


MODES = {1: ("nearest", "linear", "nearest-exact"), 2: ("nearest", "bilinear", "bicubic", "nearest-exact")}


MODES[3] = ("nearest", "trilinear", "nearest-exact")


@dataclass
class Draw:
    """What a random layer is drawn for: the axes and the extent of its input."""

    pick: random.Random
    extent: list[int]

    @property
    def axes(self) -> int:
        return len(self.extent)

    @property
    def dims(self) -> list[int]:
        return list(range(2, 2 + self.axes))

    def dim(self) -> int:
        return self.pick.choice(self.dims)

    def each(self, *choices: Any) -> list[Any]:
        return [self.pick.choice(choices) for _ in self.extent]

    def layer(self, name: str, *args: Any, **options: Any) -> nn.Module:
        return getattr(nn, f"{name}{self.axes}d")(*args, **options)


def convolution(d: Draw) -> nn.Module:
    mode, groups = d.pick.choice(["zeros", "zeros", "reflect", "replicate"]), d.pick.choice([1, CHANNELS])
    kernel, stride, padding = d.each(1, 2, 3), d.each(1, 1, 2), d.each(0, 1, 2)
    return d.layer("Conv", CHANNELS, CHANNELS, kernel, stride, padding, groups=groups, padding_mode=mode)


def transposed(d: Draw) -> nn.Module:
    stride = d.each(1, 2, 3)
    extra = [d.pick.randrange(step) for step in stride]
    return d.layer("ConvTranspose", CHANNELS, CHANNELS, d.each(2, 3), stride, d.each(0, 1), extra)


def enlarged(d: Draw) -> nn.Module:
    mode = d.pick.choice(MODES[d.axes])
    options: dict[str, Any] = {}
    if d.pick.random() < 0.5:
        options["size"] = [max(2, side + d.pick.randint(-3, 6)) for side in d.extent]
    else:
        options["scale_factor"] = tuple(d.each(1.3, 1.7, 0.6, 2, 1.5, 3, 0.5))
        options["recompute_scale_factor"] = mode == "nearest"  # else torch's gradient goes elsewhere than it reads
    if "nearest" not in mode:
        options["align_corners"] = d.pick.random() < 0.5
    if mode in ("bilinear", "bicubic"):
        options["antialias"] = d.pick.random() < 0.3
    return Call(lambda x: F.interpolate(x, mode=mode, **options))


def shuffled(d: Draw) -> nn.Module:
    if d.axes == 2:
        return Call(lambda x: F.pixel_shuffle(torch.cat([x] * 4, 1), 2))
    dim = d.dim()
    return Call(lambda x: torch.stack([x, 2 * x], dim + 1).flatten(dim, dim + 1))


def unshuffled(d: Draw) -> nn.Module:
    def halves(x: Tensor) -> Tensor:
        even = x[(..., *(slice(0, side // 2 * 2) for side in x.shape[2:]))]
        return F.pixel_unshuffle(even, 2)[:, :CHANNELS] if d.axes == 2 else even[..., ::2] + even[..., 1::2]

    return Call(halves)


def turned(d: Draw) -> nn.Module:
    dims = d.pick.sample(d.dims, d.pick.randint(1, d.axes))
    kind, shift = d.pick.choice(["flip", "roll", "halves", "picked"]), d.pick.randint(-3, 3)
    if kind == "flip":
        return Call(lambda x: x.flip(dims))
    if kind == "roll":
        return Call(lambda x: torch.roll(x, [shift] * len(dims), dims))
    if kind == "halves":
        return Call(lambda x: torch.cat(x.chunk(2, dims[0])[::-1], dims[0]))
    order = torch.randperm(d.extent[dims[0] - 2], generator=torch.Generator().manual_seed(shift + 3))
    return Call(lambda x: x.index_select(dims[0], order))


def rotated(d: Draw) -> nn.Module:
    if d.axes == 1:
        return turned(d)
    dims, turns = d.pick.sample(d.dims, 2), d.pick.randint(1, 3)
    return Call(lambda x: torch.rot90(x, turns, dims)) if turns > 1 else Call(lambda x: x.transpose(*dims))


def pooled(d: Draw) -> nn.Module:
    if d.pick.random() < 0.5:
        return d.layer("AvgPool", 3, 2, 1, ceil_mode=d.pick.random() < 0.5)
    return d.layer("AdaptiveAvgPool", [d.pick.randint(2, side + 2) for side in d.extent])


def padded(d: Draw) -> nn.Module:
    mode = d.pick.choice(["constant", "reflect", "replicate"])
    widths = [d.pick.randint(-1 if mode == "constant" else 0, 2) for _ in range(2 * d.axes)]
    return Call(lambda x: F.pad(x, widths, mode=mode))


def sliced(d: Draw) -> nn.Module:
    cuts = [slice(first, None, step) for first, step in zip(d.each(0, 1, 2), d.each(1, 1, 2), strict=True)]
    return Call(lambda x: x[(..., *cuts)])


def beside(d: Draw) -> nn.Module:
    """Two ways that do not keep step, added or put side by side."""
    dim, kind = d.dim(), d.pick.choice(["flipped", "focus", "difference", "residual"])
    if kind == "flipped":
        mix = d.layer("Conv", 2 * CHANNELS, CHANNELS, 3, padding=1)
        return Call(lambda conv, x: conv(torch.cat([x, x.flip(dim)], 1)), mix)
    if kind == "focus":
        return Call(lambda x: torch.cat([x[..., : x.shape[-1] // 2 * 2 : 2], x[..., 1::2]], 1)[:, 1:3])
    if kind == "difference":
        return Call(lambda x: x.diff(dim=dim))
    return Call(lambda conv, x: x + conv(x), d.layer("Conv", CHANNELS, CHANNELS, 3, padding=1))


def channels_last(d: Draw) -> nn.Module:
    return Call(lambda norm, x: norm(x.movedim(1, -1)).movedim(-1, 1), nn.LayerNorm(CHANNELS))


TIGHT = (
    convolution, convolution, transposed, enlarged, enlarged, shuffled, unshuffled, turned, rotated, pooled, padded,
    sliced, beside, channels_last,
)  # fmt: skip


def whole(d: Draw) -> nn.Module:
    """What takes something over the whole map, or from where the numbers say."""
    dim, dims = d.dim(), d.dims
    pool, unpool = getattr(F, f"max_pool{d.axes}d"), getattr(F, f"max_unpool{d.axes}d")

    def unpooled(x: Tensor) -> Tensor:
        small, places = pool(x, 2, return_indices=True)
        return unpool(small, places, 2, output_size=x.shape)

    def sampled(x: Tensor) -> Tensor:
        turn = torch.eye(d.axes, d.axes + 1, dtype=x.dtype)[None].clone()
        turn[0, 0, 1] = 0.3
        return F.grid_sample(x, F.affine_grid(turn, [*x.shape], align_corners=False), align_corners=False)

    functions: list[nn.Module | Callable[[Tensor], Tensor]] = [
        d.layer("InstanceNorm", CHANNELS),
        nn.GroupNorm(1, CHANNELS),
        nn.LayerNorm([CHANNELS, *d.extent]),
        lambda x: x.cumsum(dim),
        lambda x: x.softmax(dim),
        lambda x: x * x.mean(dims, keepdim=True).sigmoid(),
        lambda x: torch.fft.ifftn(torch.fft.fftn(x, dim=dims).abs(), dim=dims).real,
        lambda x: F.pad(x, (1, 2), mode="circular") if d.axes == 1 else x.logcumsumexp(dim),
        lambda x: F.fold(F.unfold(x, 3, padding=1), x.shape[2:], 3, padding=1) if d.axes == 2 else x.cumprod(dim),
        unpooled,
        sampled if d.axes > 1 else unpooled,
    ]
    function = d.pick.choice(functions)
    return function if isinstance(function, nn.Module) else Call(function)


def network(seed: int, axes: int) -> tuple[nn.Sequential, Tensor, list[bool]]:
    """A random network with weights above zero, its input, and up to where its boxes are exact."""
    pick, numbers = random.Random(seed), torch.Generator().manual_seed(seed)
    sides = (5, 7) if axes == 3 else (7, 12)
    x = torch.rand(1, CHANNELS, *(pick.randint(*sides) for _ in range(axes)), generator=numbers, dtype=torch.float64)
    exact: list[bool] = []
    layers, now = nn.Sequential(), x
    while len(layers) < 4:
        tight = pick.random() < 0.8
        layer = (pick.choice(TIGHT) if tight else whole)(Draw(pick, list(now.shape[2:]))).double().eval()
        with torch.no_grad():
            for parameter in layer.parameters():
                parameter.copy_(torch.rand(parameter.shape, generator=numbers, dtype=torch.float64) * 0.9 + 0.1)
        try:
            after = layer(now)
        except (RuntimeError, ValueError):  # a layer that this extent is too small for
            continue
        if after.shape[1] == CHANNELS and min(after.shape[2:]) > 1 and after[0, 0].numel() < 3000:
            layers.append(layer)
            exact.append(tight and all(exact))
            now = after
    return layers.eval(), x, exact


def support(number: Tensor, x: Tensor) -> list[tuple[int, int]] | None:
    """Along each axis the first and last position of the input with a gradient."""
    moved = torch.autograd.grad(number, x, retain_graph=True)[0][0].abs().sum(0).nonzero()
    return [(int(along.min()), int(along.max())) for along in moved.T] if len(moved) else None


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("seed", range(20))
def test_a_box_holds_every_position_with_a_gradient_and_no_other_that_is_not_between(axes: int, seed: int) -> None:
    """Of one number, as the receptive-field lens takes it, and of a position, as the structure keeps it."""
    net, x, exact = network(seed, axes)
    model, given = cs.Model(net, input=cs.TensorInput(tuple(x.shape[1:]))), x.clone().requires_grad_(True)
    graph, structure = record_graph(model, x), cs.structure(model, x)
    now, pick, compared = given, random.Random(seed), 0
    for number, layer in enumerate(net):
        now, visit = layer(now), graph.layer_calls[str(number)]
        for _ in range(4):
            place = tuple(pick.randrange(side) for side in now.shape[1:])
            bounds = [axis.bounds(lambda end: end.expand(visit.shape)[(0, *place)]) for axis in visit.dependence]  # noqa: B023
            held(bounds, support(now[(0, *place)], given), exact[number], layer)
            box = structure.module(str(number)).box(place[1:], x.shape[2:])
            held(box, support(now[(0, slice(None), *place[1:])].sum(), given), exact[number], layer)
            compared += 1
    assert compared == 16


def held(box: Any, true: list[tuple[int, int]] | None, exact: bool, layer: nn.Module) -> None:
    if true is None:
        return
    assert all(known is not None for known in box), layer
    assert all(low <= first and high >= last for (low, high), (first, last) in zip(box, true, strict=True)), layer
    if exact:
        assert list(box) == true, layer


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("how", ["size", "factor", "recomputed"])
def test_an_enlargement_reads_what_torch_reads(axes: int, how: str, dtype: torch.dtype) -> None:
    """In torch's own precision, by size and by factor, to more, fewer and as many positions, through the lens."""
    pick = random.Random(axes)
    for mode in MODES[axes]:
        options: dict[str, Any] = {} if "nearest" in mode else {"align_corners": pick.random() < 0.5}
        extent = [pick.randint(4, 9) for _ in range(axes)]
        if how == "size":
            options["size"] = [pick.randint(3, 17) for _ in extent]
        else:
            options |= {"scale_factor": pick.choice([1.3, 0.6, 1.04, 2.13]), "recompute_scale_factor": how != "factor"}
        net = nn.Sequential(Call(lambda x, mode=mode, options=options: F.interpolate(x, mode=mode, **options)))
        x = torch.rand(1, 1, *extent, dtype=dtype, requires_grad=True)
        out = net(x)
        for _ in range(3):
            place = [pick.randrange(side) for side in out.shape[2:]]
            true = support(out[(0, 0, *place)], x)
            field = cs.receptive_field(net, x.detach(), unit=f"0[0, {', '.join(map(str, place))}]")
            held(field.box, true, False, net)
            assert field.theoretical_area <= 6**axes


# The cases that a line alone cannot say, by hand


def boxes(net: nn.Module, shape: tuple[int, ...], address: str) -> list[tuple[int, int]]:
    """The boxes of a layer's positions along the first axis."""
    part = cs.structure(cs.Model(net.eval(), input=cs.TensorInput(shape))).module(address)
    rest = (0,) * (len(shape) - 2)
    return [part.box((row, *rest), shape[1:])[0] for row in range(part.shape[2])]


def test_behind_an_upsampling_positions_move_by_turns() -> None:
    down, up = nn.Conv1d(1, 1, 3, stride=2, padding=1), nn.Conv1d(1, 1, 3, padding=1)
    intervals = boxes(nn.Sequential(down, nn.Upsample(scale_factor=2), up), (1, 16), "2")
    # position 4 reads positions 3 to 5 of the upsampled map, copies of 1 and 2, which read 1 to 3 and 3 to 5
    assert intervals[4] == (1, 5)
    assert intervals[5] == (3, 7)
    assert intervals[6] == (3, 7)
    assert intervals[7] == (5, 9)


def test_flipped_rolled_and_turned_maps_look_where_their_numbers_came_from() -> None:
    assert boxes(nn.Sequential(Call(lambda x: x.flip(2))), (1, 5), "0")[:2] == [(4, 4), (3, 3)]
    assert boxes(nn.Sequential(Call(lambda x: x.roll(2, 2))), (1, 5), "0")[:3] == [(3, 3), (4, 4), (0, 0)]
    assert boxes(nn.Sequential(Call(lambda x: x.roll(1))), (1, 5), "0")[:2] == [(4, 4), (0, 0)]
    part = cs.structure(cs.Model(Call(lambda x: x.transpose(2, 3)), input=cs.TensorInput((1, 4, 7)))).module("")
    assert part.box((5, 2), (4, 7)) == ((2, 2), (5, 5))


def test_beside_its_mirror_image_a_field_is_no_single_window() -> None:
    """The two ways run against each other: what is said of the field is what both of them see."""

    class Mirrored(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv1d(2, 1, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(torch.cat([x, x.flip(2)], 1))

    part = cs.structure(cs.Model(Mirrored(), input=cs.TensorInput((1, 9)))).module("conv")
    assert part.field == (None,)
    assert part.box((1,), (9,)) == ((0, 8),)
    assert part.box((4,), (9,)) == ((3, 5),)


def test_a_position_that_reads_padding_alone_sees_nothing() -> None:
    assert boxes(nn.Sequential(nn.Conv1d(1, 1, 1, padding=1)), (1, 4), "0")[:2] == [(0, -1), (0, 0)]


def test_a_box_says_all_of_what_it_does_not_know() -> None:
    part = cs.structure(cs.Model(nn.AdaptiveAvgPool1d(3), input=cs.TensorInput((1, 7)))).module("")
    assert part.box((1,), (7,)) == ((2, 4),)
    assert part.box((1,), (9,)) == ((0, 8),)  # of another size than was run
    assert part.box((), (7,)) == ((0, 6),)  # of no position
    line = cs.structure(cs.Model(nn.Conv1d(1, 1, 3), input=cs.TensorInput((1, 7)))).module("")
    assert line.box((6,), (9,)) == ((6, 8),)  # windows are the same on a larger input


def test_spans_stay_short_on_large_maps_and_come_back_from_a_file(tmp_path) -> None:
    up = nn.Sequential(nn.Conv2d(1, 2, 3, 2, 1), nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(2, 2, 3))
    structure = cs.structure(cs.Model(up.eval(), input=cs.TensorInput((1, 300, 300))))
    assert all(len(span.first) <= 2 for part in structure.modules for span in part.spans)
    back = cs.Structure.load(structure.save(tmp_path / "s.npz"))
    assert back.modules == structure.modules
    assert back.module("2").box((7, 9), (300, 300)) == structure.module("2").box((7, 9), (300, 300))
