"""Where a network attends: tokens that form no grid, single tokens, other sizes, compiled and packaged networks."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import convscope as cs
from convscope.errors import CapabilityError, LayerError
from tests.engine.attention.networks import SIDE, WIDTH, network
from tests.nets import seeded

PICTURES = torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
MAPS = [
    cs.attention,
    cs.attention_rollout,
    cs.gradient_rollout,
    cs.transformer_attribution,
    cs.attention_x_gradient,
]


def fused(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v)


def maps_of(net: Any, pictures: Tensor = PICTURES) -> Tensor:
    """The weights of the first picture in the only layer."""
    values = cs.attention(cs.Model(net), pictures)
    (maps,) = (values[0] if isinstance(values, list) else values).maps.values()
    return maps


@pytest.mark.parametrize("lens", [*MAPS, cs.legrad, cs.attention_norms], ids=lambda lens: lens.__name__)
@pytest.mark.parametrize(
    ("options", "why"),
    [({"dropped": 3}, "has tokens at places that form no grid"), ({"patch": 32}, "has one place for all its tokens")],
    ids=["no grid", "one patch and a class token"],
)
def test_tokens_without_a_grid_are_refused(lens: Callable[..., Any], options: dict[str, int], why: str) -> None:
    with pytest.raises(LayerError, match=f"attention at 'forward' {why}, so that"):
        lens(cs.Model(network(fused, **options)), PICTURES)


def test_heads_are_measured_without_a_grid() -> None:
    heads = cs.attention_heads(cs.Model(network(fused, dropped=3)), PICTURES)
    net = network(fused, dropped=3)
    with torch.no_grad():
        q, k, _ = net.heads(net.tokens(PICTURES))
    weights = (q @ k.mT / 8**0.5).softmax(-1)
    expected = -(weights * weights.log()).sum(-1).mean((0, 2)) / math.log(14)
    torch.testing.assert_close(heads.entropy["forward"], expected, rtol=1e-4, atol=1e-6)


def test_a_single_token_attends_to_itself() -> None:
    net = network(fused, patch=32, class_token=False)
    assert maps_of(net).tolist() == [[[1.0]]] * 2
    with torch.no_grad():
        v = net.heads(net.tokens(PICTURES[:1]))[2][0, :, 0]
        slopes = torch.stack([net.head.weight[0] @ net.out.weight[:, 8 * h : 8 * h + 8] @ v[h] for h in range(2)])
    raises_score = float(slopes.clamp(min=0).mean())  # of the two heads, one raises the score
    assert raises_score > 0 > slopes.min()
    model = cs.Model(net)
    for values, expected in (
        (cs.attention_rollout(model, PICTURES[:1]).values, 1.0),
        (cs.gradient_rollout(model, PICTURES[:1], target=0).values, 1.0),
        (cs.transformer_attribution(model, PICTURES[:1], target=0).values, raises_score),
        (cs.attention_x_gradient(model, PICTURES[:1], target=0).values, raises_score),
    ):
        torch.testing.assert_close(values, torch.full((SIDE, SIDE), expected), rtol=1e-4, atol=1e-6)


class AnySize(nn.Module):
    """Adds interpolated positions to the patches."""

    def __init__(self) -> None:
        super().__init__()
        self.net = network(fused)
        self.positions = nn.Parameter(torch.randn(1, WIDTH, 4, 4, generator=torch.Generator().manual_seed(3)))
        self.net.stem.register_forward_hook(self._add)

    def _add(self, _layer: nn.Module, _args: Any, patches: Tensor) -> Tensor:
        return patches + F.interpolate(self.positions, patches.shape[-2:], mode="bicubic")

    def forward(self, x: Tensor) -> Tensor:
        """The scores."""
        scores: Tensor = self.net(x)
        return scores


def test_an_image_of_another_size_has_a_grid_of_its_own() -> None:
    net = AnySize().eval()
    picture = torch.randn(1, 3, 44, 64, generator=torch.Generator().manual_seed(1))  # four rows lie in no patch
    maps = maps_of(net, picture)
    with torch.no_grad():
        q, k, _ = net.net.heads(net.net.tokens(picture))
    expected = (q @ k.mT / 8**0.5).softmax(-1)[0, :, 0, 1:].reshape(2, 5, 8)
    torch.testing.assert_close(maps, expected, rtol=1e-4, atol=1e-6)
    assert maps_of(net).shape == (2, 4, 4)
    assert cs.transformer_attribution(cs.Model(net), picture).values.shape == (44, 64)


def compiled(net: nn.Module) -> nn.Module:
    return torch.compile(net, backend="eager")  # type: ignore[return-value]


def compiled_method(net: Any) -> nn.Module:
    net.forward = torch.compile(net.forward, backend="eager")
    return net  # type: ignore[no-any-return]


def compiled_in_place(net: nn.Module) -> nn.Module:
    net.compile(backend="eager")
    return net


def exported(net: nn.Module) -> Any:
    return torch.export.export(net, (PICTURES,))


PACKAGED = [compiled, compiled_method, compiled_in_place, lambda net: nn.Sequential(compiled(net)), exported]


@pytest.mark.parametrize("package", PACKAGED, ids=["compiled", "method", "in place", "inside", "exported"])
def test_compiled_and_exported_networks_are_read(package: Callable[[nn.Module], Any]) -> None:
    torch.testing.assert_close(maps_of(package(network(fused))), maps_of(network(fused)), rtol=1e-4, atol=1e-6)


def test_an_exported_file_is_read(tmp_path: Path) -> None:
    many = torch.export.Dim("many", max=64)
    torch.export.save(
        torch.export.export(network(fused), (PICTURES,), dynamic_shapes=({0: many},)), tmp_path / "net.pt2"
    )
    values: Any = cs.attention(cs.load(tmp_path / "net.pt2"), PICTURES)
    (maps,) = values[0].maps.values()
    torch.testing.assert_close(maps, maps_of(network(fused)), rtol=1e-4, atol=1e-6)


PATHS: dict[str, Callable[[nn.Module, Path], Any]] = {
    "fx": lambda net, _folder: cs.Model(torch.fx.symbolic_trace(net)),
    "decomposed": lambda net, folder: decomposed_file(net, folder),
    "traced file": lambda net, folder: traced_file(net, folder),
}
"""Ways in which a network comes: by name, from the network and a folder to the model."""
WITHOUT_BLOCKS = "no module returns the tokens of 'forward', .*: choose attention-x-gradient or transformer-attribution"


def decomposed_file(net: nn.Module, folder: Path) -> cs.Model:
    program = torch.export.export(net, (PICTURES,), dynamic_shapes=({0: torch.export.Dim("many", max=64)},))
    torch.export.save(program.run_decompositions(), folder / "net.pt2")
    return cs.load(folder / "net.pt2")


def traced_file(net: nn.Module, folder: Path) -> cs.Model:
    torch.jit.save(torch.jit.trace(net, PICTURES), folder / "net.pt")  # type: ignore[no-untyped-call]
    return cs.load(folder / "net.pt")


@pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")
@pytest.mark.parametrize("path", PATHS)
def test_every_lens_of_attention_reads_a_packaged_network_as_the_network_itself(path: str, tmp_path: Path) -> None:
    net = network(fused)
    plain, packaged = cs.Model(net), PATHS[path](net, tmp_path)
    for lens in (*MAPS[1:], cs.attention_norms, cs.attn_lrp):
        expected, value = (lens(model, PICTURES[:1]) for model in (plain, packaged))
        torch.testing.assert_close(value.values, expected.values, rtol=1e-3, atol=1e-6)  # type: ignore[union-attr]
    with pytest.raises(LayerError, match=WITHOUT_BLOCKS):
        cs.legrad(packaged, PICTURES)


@pytest.mark.parametrize("inside", [False, True])
def test_a_traced_network_is_refused_with_the_way_out(*, inside: bool) -> None:
    traced: Any = torch.jit.trace(network(fused), PICTURES)
    with pytest.raises(CapabilityError, match=r"traced \(torch\.jit\): open the network from its source.*grad-cam"):
        cs.attention(cs.Model(nn.Sequential(traced) if inside else traced), PICTURES)


def test_an_operation_that_returns_no_weights_is_named() -> None:
    flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    with pytest.raises(CapabilityError, match="the operation 'scaled_dot_product_flash_attention_for_cpu' returns no"):
        cs.attention(cs.Model(network(lambda q, k, v: flash(q, k, v)[0])), PICTURES)


@pytest.mark.filterwarnings("ignore:flex_attention called without")
def test_flexible_attention_is_named() -> None:
    flex = pytest.importorskip("torch.nn.attention.flex_attention").flex_attention
    model = cs.Model(network(flex))
    with pytest.raises(CapabilityError, match="the operation 'flex_attention' returns no weights") as refusal:
        cs.attention(model, PICTURES)
    assert str(refusal.value).endswith(": rise works with it, since it needs only scores")
    assert cs.rise(model, PICTURES[:1], samples=8).values.any()


class TwoRounds(nn.Module):
    """Attends twice in its own forward, to a score that attention does not raise."""

    def __init__(self) -> None:
        super().__init__()
        self.net = network(fused)

    def forward(self, x: Tensor) -> Tensor:
        """A score that is lower, the more is gathered."""
        tokens = self.net.tokens(x)
        for _ in range(2):
            weights = torch.ones(1, 1, tokens.shape[1]).softmax(-1).expand(len(x), tokens.shape[1], -1)
            tokens = tokens + weights @ (tokens.square() + 1)
        return -tokens[:, 0].mean(1, keepdim=True).expand(-1, 3)


@pytest.mark.parametrize("lens", [cs.transformer_attribution, cs.attention_x_gradient], ids=lambda lens: lens.__name__)
def test_a_map_of_which_nothing_raises_the_score_says_so(lens: Callable[..., Any]) -> None:
    value = lens(cs.Model(TwoRounds().eval()), PICTURES[:1], target=0)
    assert not value.values.any()
    assert value.notes["blank"] == "no attention that is kept leads to a patch and raises the score"


class Words(nn.Module):
    """Words that attend to each other."""

    def __init__(self) -> None:
        super().__init__()
        self.net = network(fused, class_token=False)
        self.embed = seeded(lambda: nn.Embedding(6, WIDTH))

    def forward(self, words: Tensor) -> Tensor:
        """The scores."""
        mixed = fused(*self.net.heads(self.embed(words))).transpose(1, 2).flatten(2)
        scores: Tensor = self.net.head(mixed.mean(1))
        return scores


def test_words_are_the_places_of_their_tokens() -> None:
    net = Words().eval()
    value = cs.attention(cs.Model(net, input=cs.TokenInput(vocabulary=6)), [1, 5, 2, 2])
    with torch.no_grad():
        q, k, _ = net.net.heads(net.embed(torch.tensor([[1, 5, 2, 2]])))
    expected = (q @ k.mT / 8**0.5).softmax(-1)[0].mean(1)
    torch.testing.assert_close(value.maps["forward"], expected, rtol=1e-4, atol=1e-6)


class RowAndPhoto(nn.Module):
    """The scores of a photo, multiplied by the row of a table that the network takes first."""

    def __init__(self) -> None:
        super().__init__()
        self.net = network(fused)

    def forward(self, row: Tensor, photo: Tensor) -> Tensor:
        """The scores."""
        scores: Tensor = self.net(photo) * row
        return scores


@pytest.mark.parametrize("lens", MAPS[1:], ids=lambda lens: lens.__name__)
def test_a_photo_beside_another_input_is_explained_as_by_itself(lens: Callable[..., Any]) -> None:
    inputs: dict[str, Any] = {"row": cs.TableInput(features=("a", "b", "c")), "photo": cs.ImageInput(size=SIDE)}
    photo = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    both = lens(cs.Model(RowAndPhoto().eval(), inputs=inputs), {"row": [1.0] * 3, "photo": photo}, explain="photo")
    alone = lens(cs.Model(network(fused), input=cs.ImageInput(size=SIDE)), photo)
    torch.testing.assert_close(both.values, alone.values, rtol=1e-4, atol=1e-6)


class NonLocal(nn.Module):
    """A block of a convolutional network in which every place attends to all others (Wang et al., 2018)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.theta, self.phi, self.g = (nn.Conv2d(channels, channels // 2, 1) for _ in range(3))
        self.out = nn.Conv2d(channels // 2, channels, 1)

    def weights(self, x: Tensor) -> Tensor:
        return (self.theta(x).flatten(2).mT @ self.phi(x).flatten(2)).softmax(-1)

    def forward(self, x: Tensor) -> Tensor:
        values = self.weights(x) @ self.g(x).flatten(2).mT
        output: Tensor = x + self.out(values.mT.unflatten(2, x.shape[2:]))
        return output


class GlobalContext(nn.Module):
    """A block that adds one weighted mean over all places (Cao et al., 2019)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.key, self.transform = nn.Conv2d(channels, 1, 1), nn.Conv2d(channels, channels, 1)

    def weights(self, x: Tensor) -> Tensor:
        return self.key(x).flatten(2).softmax(-1)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = x + self.transform((x.flatten(2) @ self.weights(x).mT)[..., None])
        return output


@pytest.mark.parametrize("block", [NonLocal, GlobalContext])
def test_blocks_that_weigh_places_are_attention_and_no_gates(block: Callable[[int], Any]) -> None:
    weighing = seeded(block, 8)
    stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU())
    net = nn.Sequential(stem, weighing, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)).eval()
    picture = torch.randn(1, 3, 16, 24, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = weighing.weights(stem(picture))[0].mean(0)
    value: Any = cs.attention(net, picture)
    torch.testing.assert_close(value.maps["1"][0].flatten(), expected)
    with pytest.raises(CapabilityError, match="gates"):
        cs.gates(net, picture)
