"""A network computes under backward rules what it computes without, in every way of writing an operation."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import convscope as cs
from convscope.errors import NoRule
from tests.conftest import picture_model
from tests.engine.rules.networks import EVERY, Body, _apart, body
from tests.narrowing import tensor_in
from tests.nets import ResidualNet, seeded


def _tokens(x: Tensor) -> Tensor:
    return x.flatten(2).transpose(1, 2)


def _attended(net: Body, x: Tensor, attend: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Tensor:
    """``nn.MultiheadAttention`` of two heads, written out."""
    t = _tokens(x)
    q, k, v = F.linear(t, net.attention.in_proj_weight, net.attention.in_proj_bias).chunk(3, -1)
    q, k, v = (projection.unflatten(2, (2, 4)).transpose(1, 2) for projection in (q, k, v))
    out = attend(q, k, v).transpose(1, 2).flatten(2)
    return net.attention.out_proj(out).transpose(1, 2).unflatten(2, x.shape[2:])


def _written_in_place(change: Callable[[Tensor], Any]) -> Callable[[Body, Tensor], Tensor]:
    def middle(net: Body, x: Tensor) -> Tensor:
        x = net.conv(x)
        change(x)
        return x

    return middle


def _add_to_part(x: Tensor) -> None:
    x[:, 0] += 1.5


def _add_shifted(x: Tensor) -> None:
    x[..., 1:] += x[..., :-1].clone()


def _two_views(x: Tensor) -> None:
    first, second = x[:, :4], x[:, 4:]
    first.mul_(2)
    second.add_(first)


def _fill(x: Tensor) -> None:
    x[:, 2:4] = 0
    x[:, 5] = x[:, 1] * 2
    x[:, 6].fill_(1.0)
    x[:, 7].zero_()


def _into_a_new_tensor(net: Body, x: Tensor) -> Tensor:
    out = torch.zeros_like(x)
    out[:, :4] = net.conv(x)[:, :4]
    out[:, 4:].copy_(x[:, 4:])
    return out


def _a_view_from_before(net: Body, x: Tensor) -> Tensor:
    x = net.conv(x)
    part = x[:, :3]
    x.mul_(2)
    return torch.cat([part, x[:, 3:]], 1)


def _partly_without_gradients(net: Body, x: Tensor) -> Tensor:
    with torch.no_grad():
        weight = net.conv(x).sigmoid()
    return x * weight


def _autocast(net: Body, x: Tensor) -> Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        x = net.conv(x)
    return x.float()


EXOTIC: dict[str, Callable[[Body, Tensor], Tensor]] = {
    "part += number": _written_in_place(_add_to_part),
    "part.mul_": _written_in_place(lambda x: x[:, :3].mul_(2)),
    "part.relu_": _written_in_place(lambda x: x[:, :3].relu_()),
    "part += other part": _written_in_place(_add_shifted),
    "two views": _written_in_place(_two_views),
    "items set": _written_in_place(_fill),
    "into a new tensor": _into_a_new_tensor,
    "a view from before": _a_view_from_before,
    "no_grad within": _partly_without_gradients,
    "autocast within": _autocast,
    "depends on data": lambda net, x: net.conv(x) if x.mean() > 0 else x,
    "group norm": lambda net, x: net.group(net.conv(x)),
    "instance norm": lambda net, x: net.instance(net.conv(x)),
    "instance norm by kept statistics": lambda net, x: net.kept(net.conv(x)),
    "kept statistics, before": lambda net, x: net.conv(net.kept(x)),
    "kept statistics, of lines": lambda net, x: F.instance_norm(
        net.line(x.flatten(2)), net.kept.running_mean, net.kept.running_var, use_input_stats=False
    ).unflatten(2, x.shape[2:]),
    "kept statistics, of a volume": lambda net, x: F.instance_norm(
        net.solid(x[:, None]).transpose(1, 2)[:, :, 0, None], net.kept.running_mean, net.kept.running_var, None,
        net.conv.bias, False,
    )[:, :, 0],
    "local response norm": lambda net, x: net.local(net.conv(x)),
    "layer norm": lambda net, x: net.layer(net.conv(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2),
    "batch norm before": lambda net, x: net.conv(net.norm(x)),
    "batch norm after": lambda net, x: net.norm(net.conv(x)),
    "F.normalize": lambda net, x: F.normalize(net.conv(x), dim=1),
    "prelu": lambda net, x: net.prelu(net.conv(x)),
    "pixel shuffle": lambda net, x: net.conv(torch.cat([F.pixel_shuffle(net.conv(x), 2)] * 4, 1)),
    "interpolate": lambda net, x: net.conv(F.interpolate(x, scale_factor=1.5, mode="bilinear")),
    "adaptive max pool": lambda net, x: F.adaptive_max_pool2d(net.conv(x), (3, 5)),
    "max pool in ceil mode": lambda net, x: F.max_pool2d(net.conv(x), 3, 2, 1, ceil_mode=True),
    "unpool": lambda net, x: F.max_unpool2d(*F.max_pool2d(net.conv(x), 2, return_indices=True), (2, 2)),
    "amax": lambda net, x: net.conv(x).amax((2, 3), keepdim=True) + x,
    "max along": lambda net, x: net.conv(x).max(1, keepdim=True)[0] * x,
    "max of two": lambda net, x: torch.max(net.conv(x), x),
    "transposed": lambda net, x: net.up(x),
    "even kernel, same": lambda net, x: net.same(x),
    "dilated, depthwise": lambda net, x: net.wide(x),
    "1-D": lambda net, x: net.line(x.flatten(2)).unflatten(2, x.shape[2:]),
    "3-D": lambda net, x: net.solid(x[:, None])[:, 0],
    "embedding": lambda net, x: x + net.embedding(torch.tensor([1]))[:, :, None, None],
    "einsum": lambda net, x: torch.einsum("nchw,oc->nohw", x, net.conv.weight[:, :, 1, 1]),
    "einsum of itself": lambda net, x: torch.einsum(
        "nij,njchw->nichw", torch.einsum("nchw,ndhw->ncd", x, x).softmax(-1), x[:, :, None]
    )[:, :, 0],
    "addmm": lambda net, x: torch.addmm(
        tensor_in(net.conv.bias), _tokens(x).reshape(-1, 8), net.conv.weight[:, :, 1, 1].T
    ).view(len(x), -1, 8).transpose(1, 2),
    "baddbmm": lambda net, x: torch.baddbmm(
        tensor_in(net.conv.bias), _tokens(x), net.conv.weight[:, :, 1, 1].T.expand(len(x), 8, 8)
    ).transpose(1, 2),
    "attention": lambda net, x: _attended(net, x, F.scaled_dot_product_attention),
    "addcmul": lambda net, x: torch.addcmul(x, net.conv(x), x, value=0.5),
    "lerp": lambda net, x: torch.lerp(x, net.conv(x), 0.3),
    "glu": lambda net, x: F.glu(torch.cat([net.conv(x), x], 1), 1),
    "gate": lambda net, x: x * net.conv(x).mean((2, 3), keepdim=True).sigmoid(),
    "swish in place": lambda net, x: (y := net.conv(x)).mul_(y.sigmoid()),
    "divided by a norm": lambda net, x: x / x.norm(dim=1, keepdim=True).clamp(min=1e-3),
    "divided by a spread": lambda net, x: x / (x.std((2, 3), keepdim=True) + 1e-3),
    "unfolded": lambda net, x: F.fold(F.unfold(net.conv(x), 3, padding=1), x.shape[2:], 3, padding=1),
    "grid sample": lambda net, x: F.grid_sample(
        net.conv(x), F.affine_grid(torch.eye(2, 3).repeat(len(x), 1, 1) * 0.9, [*x.shape], False), align_corners=False
    ),
    "softplus": lambda net, x: F.softplus(net.conv(x)),
    "hardswish in place": lambda net, x: F.hardswish(net.conv(x), inplace=True),
}  # fmt: skip


NOT_OUT_OF_PLACE = {"swish in place"}
"""Networks without a gradient in torch, as a factor of a product is overwritten; out-of-place rules still work."""


CONSTANT_PARTS = {"autocast within"}
"""Networks that round to bfloat16, so that differences sum to the score only approximately."""


WITHOUT_GRADIENT = {"no_grad within", "unpool"}
"""Networks with numbers or indices that depend on the input without a gradient: DeepLIFT refuses them."""


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("form", EXOTIC)
def test_a_network_computes_under_rules_what_it_computes(form: str) -> None:
    """The attributions are finite, conserve relevance and sum to the difference in the score."""
    net, x = body(EXOTIC[form]), torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    expected = net(x.clone(memory_format=torch.channels_last)).detach()
    for lens in EVERY:
        if form in NOT_OUT_OF_PLACE and lens in ("guided_backprop", "full_grad"):
            continue
        if form in WITHOUT_GRADIENT and lens == "deep_lift":
            with pytest.raises(NoRule, match="without a gradient"):
                cs.deep_lift(net, x, target=1)
            continue
        outputs: list[Tensor] = []
        handle = net.register_forward_hook(
            lambda _net, _inputs, output, outputs=outputs: outputs.append(output.detach().clone())
        )
        attributions = getattr(cs, lens)(net, x, target=1)
        handle.remove()
        torch.testing.assert_close(outputs[-1], expected, rtol=1e-5, atol=1e-6)
        assert all(
            torch.isfinite(attribution.values).all() and attribution.values.any() for attribution in attributions
        ), lens
        for attribution in attributions:
            if lens == "lrp":
                assert attribution.notes["relative conservation gap"] < 1e-3
            if lens == "deep_lift" and form not in CONSTANT_PARTS:
                assert abs(attribution.notes["completeness gap"]) < 1e-3 * float(attribution.values.abs().sum())


SAME: dict[str, tuple[Callable, Callable]] = {
    "x += y": (lambda net, x: x.clone().add_(net.conv(x)), lambda net, x: x + net.conv(x)),
    "torch.add": (lambda net, x: torch.add(x, net.conv(x)), lambda net, x: x + net.conv(x)),
    "sum of a list": (lambda net, x: sum([x, net.conv(x)]), lambda net, x: x + net.conv(x)),
    "stack and sum": (lambda net, x: torch.stack([x, net.conv(x)]).sum(0), lambda net, x: x + net.conv(x)),
    "subtracting": (lambda net, x: x - -1 * net.conv(x), lambda net, x: x + net.conv(x)),
    "same padding": (
        lambda net, x: F.conv2d(x, net.conv.weight, net.conv.bias, padding="same"), lambda net, x: net.conv(x)
    ),
    "same padding of an even kernel": (
        lambda net, x: net.same(x),
        lambda net, x: F.conv2d(F.pad(x, (1, 2, 0, 1)), net.same.weight, net.same.bias),
    ),
    "groups apart": (
        lambda net, x: net.wide(x),
        lambda net, x: torch.cat([
            F.conv2d(x[:, i : i + 1], net.wide.weight[i : i + 1], net.wide.bias[i : i + 1], padding=2, dilation=2)
            for i in range(8)
        ], 1),
    ),
    "1-D as 2-D": (
        lambda net, x: net.line(x.flatten(2)),
        lambda net, x: F.conv2d(
            x.flatten(2)[:, :, None], net.line.weight[:, :, None], net.line.bias, padding=(0, 1), groups=4
        ),
    ),
    "3-D as 2-D": (
        lambda net, x: net.solid(x[:, :1, None])[:, :, 0].expand(-1, 8, -1, -1),
        lambda net, x: F.conv2d(x[:, :1], net.solid.weight[:, :, 1], net.solid.bias, padding=1).expand(-1, 8, -1, -1),
    ),
    "linear as a convolution": (
        lambda net, x: F.linear(x.permute(0, 2, 3, 1), net.conv.weight[:, :, 1, 1], net.conv.bias),
        lambda net, x: (x.permute(0, 2, 3, 1) @ net.conv.weight[:, :, 1, 1].T) + net.conv.bias,
    ),
    "attention": (
        lambda net, x: _attended(net, x, F.scaled_dot_product_attention),
        lambda net, x: _attended(net, x, lambda q, k, v: ((q / 2) @ k.transpose(-2, -1)).softmax(-1) @ v),
    ),
    "multi-head attention": (
        lambda net, x: net.attention(_tokens(x), _tokens(x), _tokens(x), need_weights=False)[0].transpose(1, 2),
        lambda net, x: _attended(net, x, F.scaled_dot_product_attention),
    ),
    "layer norm": (
        lambda net, x: net.layer(_tokens(x)),
        lambda net, x: (t := _tokens(x) - _tokens(x).mean(-1, keepdim=True))
        / ((t * t).mean(-1, keepdim=True) + net.layer.eps).sqrt() * net.layer.weight + net.layer.bias,
    ),
}  # fmt: skip


Write = Callable[[Any, Tensor], Tensor]


def maps_of(write: Write, net: nn.Module, x: Tensor) -> Tensor:
    return write(net, x).flatten(2)


def maps_of_positions(write: Write, net: nn.Module, x: Tensor) -> Tensor:
    """The same where positions come before channels."""
    return write(net, x).flatten(1, -2).transpose(1, 2)


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("form", SAME)
def test_the_answer_is_the_same_however_it_is_written(form: str) -> None:
    first, second = (body(partial(maps_of, write)) for write in SAME[form])
    if form in ("linear as a convolution", "layer norm"):  # positions before channels
        first, second = (body(partial(maps_of_positions, write)) for write in SAME[form])
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(first(x), second(x))
    composites = [{"composite": name} for name in ("zero", "epsilon-plus")]
    if form == "linear as a convolution":
        composites = [{"composite": "zero"}]  # a bias that is added afterwards does not belong to the layer
    for lens, parameters in [
        *[("lrp", c) for c in composites],
        ("attn_lrp", {}),
        ("deep_lift", {}),
        ("guided_backprop", {}),
    ]:
        if form == "linear as a convolution" and lens == "attn_lrp":
            continue
        for a, b in zip(
            getattr(cs, lens)(first, x, **parameters), getattr(cs, lens)(second, x, **parameters), strict=True
        ):
            assert _apart(a.values, b.values) < (1e-3 if lens == "deep_lift" else 1e-4), (lens, parameters)


def test_a_branch_never_reached_does_not_matter(picture) -> None:
    class Forked(ResidualNet):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) if len(x) else torch.cumprod(self.never(x), 1)

    net = seeded(Forked)
    net.never = nn.Conv2d(3, 3, 1)
    for lens in EVERY:
        assert torch.equal(
            getattr(cs, lens)(picture_model(net), picture).values,
            getattr(cs, lens)(picture_model(seeded(ResidualNet)), picture).values,
        )
