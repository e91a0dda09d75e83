"""Backward rules: relevance is conserved, missing rules are reported, and the network is left unchanged."""

import copy
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import convscope as cs
from convscope.engine.context.metering import reporting
from convscope.engine.targets.target import Difference
from convscope.errors import Cancelled, ConvScopeError, LayerError, ModelFailed, NoRule, ParameterError
from tests.conftest import picture_model
from tests.nets import FlattenNet, LinearNet, PlainNet, ResidualNet, seeded

LRP = ("epsilon-plus", "epsilon-plus-flat", "epsilon-gamma-box", "alpha2-beta1")
EVERY = ("lrp", "attn_lrp", "deep_lift", "guided_backprop", "deconvnet", "rectified_gradient", "full_grad")
SPEC = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}

# Conservation on common networks

CONVNETS = {
    "vgg11": 32, "vgg11_bn": 32, "resnet18": 48, "resnet50": 48, "densenet121": 48, "googlenet": 48,
    "inception_v3": 80, "squeezenet1_1": 48, "mobilenet_v2": 48, "mobilenet_v3_small": 48, "efficientnet_b0": 48,
    "convnext_tiny": 48, "regnet_y_400mf": 48,
}  # fmt: skip


def alive(net: nn.Module, side: int) -> cs.Model:
    """A random network whose scores depend on the input: batch norms have statistics of data, biases are not zero.

    With the default initialization, deep networks give scores of about 1e-14 for every input.
    """
    generator = torch.Generator().manual_seed(0)
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None  # the plain mean over batches
        norm.reset_running_stats()
    with torch.no_grad():
        net.eval()
        for norm in norms:
            norm.train()
        if norms:
            net(torch.randn(4, 3, side, side, generator=generator))
        for norm in norms:
            norm.weight.uniform_(0.7, 1.3, generator=generator)
            norm.bias.uniform_(-0.2, 0.2, generator=generator)
        for layer in net.modules():
            if isinstance(layer, nn.LayerNorm):
                layer.bias.uniform_(-0.2, 0.2, generator=generator)
        for name, constant in net.named_parameters():
            if name.endswith(("class_token", "cls_token")):
                constant.normal_(generator=generator)
        heads = [layer for layer in net.modules() if isinstance(layer, nn.Linear)]
        if heads and not heads[-1].weight.any():  # torchvision's ViT begins with a head of zeros
            nn.init.normal_(heads[-1].weight, std=0.05, generator=generator)
    return cs.Model(net.eval(), input=cs.ImageInput(size=side, **SPEC))


def images(side: int, count: int = 1) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(7)) * 4 - 2


@pytest.fixture(scope="module", params=[*CONVNETS, "swin_t"])
def network(request: pytest.FixtureRequest, torchvision: ModuleType) -> tuple[cs.Model, Tensor]:
    """A torchvision network, unmodified, and an input of the smallest size it takes."""
    side = CONVNETS.get(request.param, 48)
    options = {"init_weights": False} if request.param in ("googlenet", "inception_v3") else {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = getattr(torchvision.models, request.param)(weights=None, **options)
    return alive(net, side), images(side)


@pytest.mark.parametrize("composite", LRP)
def test_lrp_keeps_all_relevance(composite: str, network: tuple[cs.Model, Tensor]) -> None:
    """The relevance of the input and what biases and other constants absorbed sum to the score, at each layer too."""
    model, x = network
    attribution = cs.lrp(model, x, composite=composite)
    notes = attribution.notes
    assert abs(attribution.score) > 1e-3
    assert notes["relative conservation gap"] < 1e-3
    assert float(attribution.channels.double().sum()) - attribution.score == pytest.approx(
        notes["completeness gap"], abs=1e-3 * abs(attribution.score)
    )
    largest = max(abs(part["received"]) for part in notes["relevance per layer"].values())
    assert max(abs(part["lost"]) for part in notes["relevance per layer"].values()) < 1e-3 * largest
    assert "without a rule" not in notes


def test_lrp_that_shares_biases_gives_all_to_the_pixels_where_layers_are_alive(network: tuple) -> None:
    """Biases of affine layers absorb relevance only of outputs without other terms; norms still absorb their share."""
    model, x = network
    notes = cs.lrp(model, x, bias="share").notes
    assert notes["relative conservation gap"] < 1e-3
    if type(model.module).__name__ in ("VGG", "ResNet", "GoogLeNet", "RegNet"):
        assert abs(notes["absorbed by biases"]) < 1e-6


@pytest.mark.parametrize("rule", ["rescale", "reveal-cancel"])
def test_deep_lift_adds_up_to_the_difference(rule: str, network: tuple[cs.Model, Tensor]) -> None:
    model, x = network
    attribution = cs.deep_lift(model, x, rule=rule)
    rise = attribution.score - attribution.notes["baseline score"]
    assert abs(rise) > 1e-3
    assert abs(float(attribution.channels.double().sum()) - rise) < 1e-3 * abs(rise)
    assert abs(attribution.notes["relative completeness gap"]) < 1e-3


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
    for a, b in zip(ours, usual, strict=True):
        assert a.score == b.score
        torch.testing.assert_close(a.values, b.values)
        assert abs(a.notes["relative completeness gap"]) < 1e-4


def test_networks_whose_signal_vanishes_keep_all_relevance_too(torchvision: ModuleType) -> None:
    """As initialized their scores are below 1e-10: no stabilizer of a denominator and no threshold may be larger."""
    for name in ("efficientnet_b0", "mobilenet_v3_small", "mobilenet_v2"):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            net = getattr(torchvision.models, name)(weights=None).eval()
        model = cs.Model(net, input=cs.ImageInput(size=48, **SPEC))
        attribution = cs.lrp(model, images(48))
        assert 0 < abs(attribution.score) < 1e-7
        assert attribution.notes["relative conservation gap"] < 1e-3
        assert abs(cs.deep_lift(model, images(48)).notes["relative completeness gap"]) < 1e-3


@pytest.mark.parametrize("library", ["timm", "torchvision"])
def test_vision_transformers_keep_all_relevance(library: str, torchvision: ModuleType) -> None:
    """The class token and the position embeddings are constants that absorb much of the relevance."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if library == "timm":
            import timm

            net, side = timm.create_model("vit_tiny_patch16_224", img_size=64, num_classes=10), 64
        else:
            side = 64
            net = torchvision.models.VisionTransformer(64, 16, 3, 4, 48, 96, num_classes=10)
    model = alive(net, side)
    attribution = cs.lrp(model, images(side))
    assert attribution.notes["relative conservation gap"] < 1e-3
    assert abs(attribution.notes["absorbed by biases"]) > 1e-3
    assert cs.lrp(model, images(side), composite="epsilon-plus-flat").notes["relative conservation gap"] < 1e-3
    assert abs(cs.deep_lift(model, images(side)).notes["relative completeness gap"]) < 1e-3
    assert torch.isfinite(cs.attn_lrp(model, images(side)).values).all()


def test_vit_b_16_keeps_all_relevance(torchvision: ModuleType) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = alive(torchvision.models.vit_b_16(weights=None), 224)
    attribution = cs.lrp(model, images(224))
    assert abs(attribution.score) > 1e-3
    assert attribution.notes["relative conservation gap"] < 1e-3


@pytest.mark.parametrize("name", ["squeezenet1_1", "mobilenet_v2_tf2", "cifar_resnet20", "tinyvgg"])
def test_trained_networks_keep_all_relevance(name: str, assets: Path) -> None:
    model, x = trained(name, assets)
    for composite in LRP:
        assert cs.lrp(model, x, composite=composite).notes["relative conservation gap"] < 1e-3, composite
    for rule in ("rescale", "reveal-cancel"):
        assert abs(cs.deep_lift(model, x, rule=rule).notes["relative completeness gap"]) < 1e-3, rule


def trained(name: str, assets: Path) -> tuple[cs.Model, Tensor]:
    """A network with real weights, and an image of its kind."""
    weights = assets / f"models/{name}.safetensors"
    if name in ("squeezenet1_1", "mobilenet_v2_tf2"):
        model = cs.load(f"torchvision:{name.removesuffix('_tf2')}", weights=weights)
        return model, model.prepare(assets / "photos/test_data__cat_720p.jpg").tensor[:, :, 64:160, 64:160]
    net, side = (CifarResNet(), 32) if name == "cifar_resnet20" else (TinyVGG(), 64)
    net.load_state_dict(safetensors.torch.load_file(weights))
    model = cs.Model(net.eval(), input=cs.ImageInput(size=side, **SPEC))
    return model, model.prepare(assets / "photos/test_data__cat_720p.jpg").tensor


class CifarResNet(nn.Module):
    """He et al.'s ResNet-20: functional ReLUs, shortcuts that stride and pad with zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        widths = (16, 16, 32, 64)
        for number in (1, 2, 3):
            blocks = [CifarBlock(widths[number - 1 if i == 0 else number], widths[number]) for i in range(3)]
            setattr(self, f"layer{number}", nn.Sequential(*blocks))
        self.linear = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(x.mean((2, 3)))


class CifarBlock(nn.Module):
    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.stride, self.more = (2 if after != before else 1), (after - before) // 2
        self.conv1 = nn.Conv2d(before, after, 3, stride=self.stride, padding=1, bias=False)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(after), nn.BatchNorm2d(after)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        y += F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.more, self.more))
        return F.relu(y)


class TinyVGG(nn.Module):
    """Four convolutions without padding, two max pools, one linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_1_1, self.conv_1_2 = nn.Conv2d(3, 10, 3), nn.Conv2d(10, 10, 3)
        self.conv_2_1, self.conv_2_2 = nn.Conv2d(10, 10, 3), nn.Conv2d(10, 10, 3)
        self.output = nn.Linear(1690, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv_1_2(F.relu(self.conv_1_1(x)))), 2)
        x = F.max_pool2d(F.relu(self.conv_2_2(F.relu(self.conv_2_1(x)))), 2)
        return self.output(x.permute(0, 2, 3, 1).flatten(1))


# Unusual operations and spellings


class Body(nn.Module):
    """A convolution with its ReLU, the operations of ``middle``, and a linear head on the mean."""

    def __init__(self, middle: Callable[["Body", Tensor], Tensor]) -> None:
        super().__init__()
        self.middle = middle
        self.first, self.conv, self.head = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1), nn.Linear(8, 4)
        self.norm, self.group, self.instance = nn.BatchNorm2d(8), nn.GroupNorm(2, 8), nn.InstanceNorm2d(8, affine=True)
        self.layer, self.attention = nn.LayerNorm(8), nn.MultiheadAttention(8, 2, batch_first=True)
        self.up = nn.ConvTranspose2d(8, 8, 3, stride=2, padding=1, output_padding=1, groups=2)
        self.same, self.wide = (
            nn.Conv2d(8, 8, (2, 4), padding="same"),
            nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=8),
        )
        self.line, self.solid = nn.Conv1d(8, 8, 3, padding=1, groups=4), nn.Conv3d(1, 1, 3, padding=1)
        self.prelu, self.local, self.embedding = nn.PReLU(8), nn.LocalResponseNorm(3), nn.Embedding(3, 8)
        self.kept = nn.InstanceNorm2d(8, affine=True, track_running_stats=True)
        for norm in (self.norm, self.kept):
            nn.init.uniform_(norm.running_mean, -0.5, 0.5)
            nn.init.uniform_(norm.running_var, 0.5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.middle(self, F.relu(self.first(x))).flatten(2).square().mean(2))


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
    "unpool": lambda net, x: F.max_unpool2d(*F.max_pool2d(net.conv(x), 2, return_indices=True), 2),
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
        net.conv.bias, _tokens(x).reshape(-1, 8), net.conv.weight[:, :, 1, 1].T
    ).view(len(x), -1, 8).transpose(1, 2),
    "baddbmm": lambda net, x: torch.baddbmm(
        net.conv.bias, _tokens(x), net.conv.weight[:, :, 1, 1].T.expand(len(x), 8, 8)
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
        net.conv(x), F.affine_grid(torch.eye(2, 3).repeat(len(x), 1, 1) * 0.9, x.shape, False), align_corners=False
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


def body(middle: Callable[[Body, Tensor], Tensor]) -> nn.Module:
    return seeded(Body, middle)


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


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("form", SAME)
def test_the_answer_is_the_same_however_it_is_written(form: str) -> None:
    first, second = (body(lambda net, x, write=write: write(net, x).flatten(2)) for write in SAME[form])
    if form in ("linear as a convolution", "layer norm"):  # positions before channels
        first, second = (
            body(lambda net, x, write=write: write(net, x).flatten(1, -2).transpose(1, 2)) for write in SAME[form]
        )
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


def _apart(actual: Tensor, expected: Tensor) -> float:
    return float((actual - expected).norm() / expected.norm())


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


# Errors and notes


@pytest.mark.parametrize("lens", [*EVERY, "excitation_backprop", "concept_relevance", "guided_grad_cam", "deep_shap"])
def test_an_operation_without_a_rule_is_named_with_its_layer(lens: str) -> None:
    class Odd(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.fft.fft2(x).real + torch.cumprod(x, 1)

    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), Odd(), nn.Flatten(), nn.Linear(144, 2)).eval()
    x = torch.randn(1, 3, 8, 8)
    layer = {"layer": "1"} if lens in ("excitation_backprop", "concept_relevance", "guided_grad_cam") else {}
    with _left_alone(net), pytest.raises(NoRule, match=r"operation 'fft_fft2' in layer '2' has no rule.*on_missing"):
        getattr(cs, lens)(net, x, **layer)
    missing = getattr(cs, lens)(net, x, on_missing="gradient", **layer).notes["without a rule"]
    assert "fft_fft2 in 2 ×1" in missing
    assert "cumprod in 2 ×1" in missing


def test_a_function_of_the_networks_own_has_no_rule() -> None:
    class Double(torch.autograd.Function):
        @staticmethod
        def forward(_ctx: Any, x: Tensor) -> Tensor:
            return x * 2

        @staticmethod
        def backward(_ctx: Any, g: Tensor) -> Tensor:
            return g * 2

    net, x = body(lambda net, x: Double.apply(net.conv(x))), torch.randn(1, 3, 8, 8)
    for lens in EVERY:
        with pytest.raises(NoRule, match="'Double'"):
            getattr(cs, lens)(net, x)
        assert "Double" in getattr(cs, lens)(net, x, on_missing="gradient").notes["without a rule"]


def test_checkpointing_is_refused_with_the_way_out() -> None:
    from torch.utils.checkpoint import checkpoint

    net = body(lambda net, x: checkpoint(lambda t: F.relu(net.conv(t)), x, use_reentrant=False))
    for lens in EVERY:
        with _left_alone(net), pytest.raises(ModelFailed, match="switch checkpointing off"):
            getattr(cs, lens)(net, torch.randn(1, 3, 8, 8))


@pytest.mark.filterwarnings("ignore:`torch.jit")
@pytest.mark.parametrize("trace_all", [True, False])
def test_a_scripted_network_is_refused_with_the_way_out(trace_all: bool) -> None:
    network = seeded(PlainNet, inplace=False)
    net: nn.Module = network
    if trace_all:
        net = torch.jit.trace(network, torch.randn(1, 3, 16, 16))
    else:
        network.features = torch.jit.trace(network.features, torch.randn(1, 3, 16, 16))
    for lens in EVERY:
        with pytest.raises(LayerError, match=r"traced or scripted.*use a lens that needs no rules"):
            getattr(cs, lens)(net, torch.randn(1, 3, 16, 16))


def test_chance_within_a_network_is_told() -> None:
    net = body(lambda net, x: F.dropout(net.conv(x), 0.5, training=True))
    for lens in EVERY:
        assert "dropout" in getattr(cs, lens)(net, torch.randn(1, 3, 8, 8)).notes["nondeterministic"]
    assert (
        "nondeterministic" not in cs.lrp(body(lambda net, x: F.dropout(x, 0.5, False)), torch.randn(1, 3, 8, 8)).notes
    )


def test_a_network_that_takes_another_way_for_the_reference_is_refused() -> None:
    def middle(net: Body, x: Tensor) -> Tensor:
        return F.relu(net.conv(x)) if x.std() > 0.5 else x

    net, x = body(middle), 5 * torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    with pytest.raises(ModelFailed, match="other operations on the reference"):
        cs.deep_lift(net, x)


@pytest.mark.parametrize("lens", EVERY)
def test_nothing_is_left_on_a_network_after_an_error(lens: str) -> None:
    net = body(lambda net, x: net.conv(x))
    x = torch.randn(1, 3, 8, 8)
    with _left_alone(net), pytest.raises(ConvScopeError):
        getattr(cs, lens)(net, x, target=lambda output: output)
    with _left_alone(net), pytest.raises(Cancelled), reporting(_stop):
        getattr(cs, lens)(net, x)


def _stop(_done: int, _total: int) -> None:
    raise Cancelled("enough")


class _left_alone:
    """Checks that hooks and flags of a network are the same afterwards."""

    def __init__(self, net: nn.Module) -> None:
        self.net = net

    def __enter__(self) -> None:
        self.before = self._state()

    def __exit__(self, *_: object) -> None:
        assert self._state() == self.before

    def _state(self) -> list[Any]:
        return [
            (name, module.training, [len(hooks) for kind, hooks in vars(module).items() if kind.endswith("hooks")])
            for name, module in self.net.named_modules()
        ] + [(name, weight.requires_grad, weight.grad is None) for name, weight in self.net.named_parameters()]


# Rules as text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("many", "rules must be written as 'place: rule'"), ("conv:", "rules must be"), (": gamma", "rules must be"),
        ("conv: gama", "no rule 'gama'; did you mean 'gamma'"), ("conv: gamma a", "does not take 'a'"),
        ("conv: gamma 1 2 3", "does not take '1 2 3'"), ("conv: flat 1", "does not take '1'"),
        ("conv: gamma -1", "does not take '-1'"), ("conv: gamma nan", "does not take 'nan'"),
        ("conv: epsilon inf", "does not take 'inf'"), ("conv: alpha-beta 2 2", "does not take '2 2'"),
        ("featurs.0: zero", "no convolution or linear layer matches 'featurs.0'.*did you mean 'features.0'"),
        ("features.1: zero", "no convolution or linear layer matches 'features.1'"),
        ("depth 7: zero", "no depth 7"), ("depth 0..9: zero", "no depth 9"), ("depth -4: zero", "no depth -4"),
    ],
)  # fmt: skip
def test_rules_that_cannot_be_meant_are_refused(text: str, message: str, picture) -> None:
    net = seeded(FlattenNet)
    with _left_alone(net), pytest.raises(ParameterError, match=message):
        cs.lrp(picture_model(net), picture, rules=text)


def test_rules_are_counted_once_for_each_operation_that_was_reached(picture) -> None:
    model = picture_model(seeded(ResidualNet))
    treated = cs.lrp(model, picture, composite="epsilon-plus-flat").notes["rules"]
    assert treated == {"conv + batch_norm: z-plus": 1, "conv + batch_norm: flat": 1, "linear: epsilon": 1,
                       "relu: pass": 2, "add: proportional": 1}  # fmt: skip
    flat = picture_model(seeded(FlattenNet))
    assert cs.lrp(flat, picture).notes["rules"] == {
        "relu: pass": 2, "max_pool2d: winner takes all": 1, "linear: epsilon": 2, "conv2d: z-plus": 1
    }  # fmt: skip
    assert cs.deep_lift(flat, picture).notes["rules"] == {"relu: rescale": 2, "max_pool2d: rescale": 1}
    assert cs.deep_lift(flat, picture, rule="reveal-cancel").notes["rules"] == {
        "relu: reveal-cancel": 2, "max_pool2d: rescale": 1
    }  # fmt: skip
    assert cs.guided_backprop(flat, picture).notes["rules"] == {"relu: guided": 2}


# Identities


def bias_free(net: nn.Module) -> nn.Module:
    for name, weight in net.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(weight)
    return net


def test_lrp_zero_is_gradient_times_input_without_biases(pictures) -> None:
    for build in (PlainNet, FlattenNet):
        model = picture_model(bias_free(seeded(build)))
        for relevance, expected in zip(
            cs.lrp(model, pictures, composite="zero"), cs.gradient_x_input(model, pictures), strict=True
        ):
            assert _apart(relevance.values, expected.values) < 1e-5


def test_z_plus_relevance_is_nowhere_negative_for_positive_input_and_score() -> None:
    net = bias_free(seeded(FlattenNet))
    x = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    for target in range(4):
        for attribution in cs.lrp(net, x, composite="deep-taylor", rules="first: z-plus", target=target):
            assert attribution.score * float(attribution.channels.min()) >= -1e-9 or attribution.score < 0
            assert float((attribution.channels * (1 if attribution.score > 0 else -1)).min()) >= -1e-7


@pytest.mark.parametrize("first", ["flat", "w-square", "box"])
def test_the_rules_of_the_first_layer_give_to_pixels_that_are_zero_too(first: str) -> None:
    model = cs.Model(seeded(FlattenNet), input=cs.ImageInput(size=16, mean=(0.5,) * 3, std=(0.5,) * 3))
    x = torch.zeros(1, 3, 16, 16)
    x[:, :, :8] = torch.rand(3, 8, 16)
    attribution = cs.lrp(model, x, composite="zero", rules=f"first: {first}")
    assert float(attribution.values[10:].abs().sum()) > 0
    assert torch.isfinite(attribution.values).all()
    black = cs.lrp(model, torch.zeros(1, 3, 16, 16), composite="zero", rules=f"first: {first}")
    assert black.notes["relative conservation gap"] < 1e-4


def test_guided_backprop_and_deconvnet_without_activations_are_the_gradient(picture) -> None:
    model = picture_model(seeded(LinearNet))
    weight = model.module.fc.weight[2].detach().view(3, 16, 16)
    for lens in ("guided_backprop", "deconvnet"):
        assert _apart(getattr(cs, lens)(model, picture, target=2).channels, weight) < 1e-6


@pytest.mark.parametrize("contrastive", [False, True])
def test_excitation_is_a_probability_and_its_contrast_adds_up_to_nothing(contrastive: bool, pictures) -> None:
    model = picture_model(seeded(FlattenNet))
    for attribution in cs.excitation_backprop(model, pictures, contrastive=contrastive, layer="features.1"):
        total = float(attribution.layer_values["features.1"].double().sum())
        assert total == pytest.approx(0 if contrastive else 1, abs=1e-5)


def test_relevance_through_all_channels_is_lrp(pictures) -> None:
    for build, layer, count in ((ResidualNet, "relu", 6), (FlattenNet, "features.1", 6), (PlainNet, "features", 8)):
        model = picture_model(seeded(build))
        by_index = cs.concept_relevance(model, pictures, layer=layer, channels=", ".join(map(str, range(count))))
        by_relevance = cs.concept_relevance(model, pictures, layer=layer, most=count)
        for chosen, largest, full in zip(by_index, by_relevance, cs.lrp(model, pictures), strict=True):
            assert _apart(chosen.values, full.values) < 1e-5
            assert _apart(largest.values, full.values) < 1e-5
            assert chosen.notes["share"] == pytest.approx(1)


# Targets, dtypes and outputs


TARGETS: dict[str, Any] = {
    "difference": Difference(1, 2), "unit": "conv[3]", "position": "first[2, 3, 4]", "own": [0, 3],
    "function": lambda output: output[:, 1] ** 2,
}  # fmt: skip


@pytest.mark.parametrize("target", TARGETS)
def test_any_target_is_explained(target: str) -> None:
    net, x = (
        body(lambda net, x: F.relu(net.conv(x))),
        torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)),
    )
    for lens in EVERY:
        batch = getattr(cs, lens)(net, x, target=TARGETS[target])
        for row, attribution in enumerate(batch):
            image_target = TARGETS[target][row] if target == "own" else TARGETS[target]
            single = getattr(cs, lens)(net, x[row : row + 1], target=image_target)
            torch.testing.assert_close(
                attribution.values, single.values, rtol=1e-3, atol=1e-4 * float(single.values.abs().max())
            )
            if lens == "lrp":
                assert attribution.notes["relative conservation gap"] < 1e-4
            if lens == "deep_lift":
                assert abs(attribution.notes["relative completeness gap"]) < 1e-3 or target == "function"


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_any_precision_will_do(dtype: torch.dtype) -> None:
    net, x = body(lambda net, x: F.relu(net.norm(net.conv(x)))), torch.randn(2, 3, 8, 8)
    expected = {lens: getattr(cs, lens)(net, x, target=1) for lens in EVERY}
    converted = copy.deepcopy(net).to(dtype)
    for lens in EVERY:
        for actual, reference in zip(getattr(cs, lens)(converted, x.to(dtype), target=1), expected[lens], strict=True):
            assert actual.values.dtype == torch.float32
            allowed = 1e-4 if dtype == torch.float64 else 0.5 if lens == "rectified_gradient" else 0.2
            assert _apart(actual.values, reference.values) < allowed, lens


def test_outputs_in_tuples_and_dicts_are_explained() -> None:
    class Several(Body):
        def forward(self, x: Tensor) -> Any:
            return {"scores": super().forward(x), "other": (x, x)}

    net, x = seeded(Several, lambda net, x: net.conv(x)), torch.randn(1, 3, 8, 8)
    tensor_net = body(lambda net, x: net.conv(x))
    for lens in EVERY:
        attribution = getattr(cs, lens)(cs.Model(net, output="scores"), x)
        assert torch.equal(attribution.values, getattr(cs, lens)(tensor_net, x).values)


def test_a_network_that_ends_in_softmax_says_how_much_is_missing() -> None:
    class Ending(Body):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).softmax(1)

    attribution = cs.lrp(seeded(Ending, lambda net, x: net.conv(x)), torch.randn(1, 3, 8, 8))
    assert torch.isfinite(attribution.values).all()
    assert attribution.notes["relative conservation gap"] > 1e-3


def test_preprocessing_within_a_network_moves_the_bounds_along() -> None:
    """zᴮ and flat apply to the first convolution if its input is scaled first, and the shift absorbs its share."""

    class Scaling(FlattenNet):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward((x - torch.tensor(0.25)) / 0.5)

    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(2, 3, 16, 16, generator=generator)
    within = cs.Model(seeded(Scaling), input=cs.ImageInput(size=16, mean=(0.0,) * 3, std=(1.0,) * 3))
    outside = cs.Model(seeded(FlattenNet), input=cs.ImageInput(size=16, mean=(0.25,) * 3, std=(0.5,) * 3))
    for composite in ("epsilon-gamma-box", "epsilon-plus-flat"):
        for attribution, expected in zip(
            cs.lrp(within, pixels, composite=composite),
            cs.lrp(outside, (pixels - 0.25) / 0.5, composite=composite),
            strict=True,
        ):
            assert _apart(attribution.values, expected.values) < 1e-4
    for attribution in cs.lrp(within, pixels):
        assert attribution.notes["relative conservation gap"] < 1e-4
        assert abs(attribution.notes["absorbed by biases"]) > 1e-3
