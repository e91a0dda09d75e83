"""Raw attention compared with a second computation, and with what transformers returns of its own networks."""

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import convscope as cs
from convscope.engine.attention import matrices
from convscope.engine.attention.memory import TooMuchAttention
from convscope.errors import CapabilityError, LayerError, ParameterError
from convscope.values import AttentionMaps
from tests.nets import seeded
from tests.twins.attention import by_hand
from tests.twins.binding import twin_of

PICTURE = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@twin_of(cs.attention)
def attention(weights: Tensor, token: int, direction: str) -> Tensor:
    rows = [head[token] if direction == "from" else head[:, token] for head in weights]
    return torch.stack([row[1:] for row in rows])


@pytest.mark.parametrize(("patch", "token"), [("", 0), ("2x5", 1 + 2 * 8 + 5)])
@pytest.mark.parametrize("direction", ["from", "to"])
def test_the_weights_of_a_token_are_those_of_the_twin(patch: str, token: int, direction: str) -> None:
    values = cs.attention(by_hand.model(), by_hand.names(), patch=patch, direction=direction)  # type: ignore[call-overload]
    for number, value in enumerate(values):
        assert list(value.maps) == by_hand.LAYERS
        for maps, weights in zip(value.maps.values(), by_hand.weights_and_scores(number)[0], strict=True):
            expected = attention(weights.detach(), token, direction).reshape(4, 8, 8)
            torch.testing.assert_close(maps.double(), expected, rtol=1e-4, atol=1e-6)


def test_the_matrix_holds_the_weights_between_all_tokens(tmp_path: Path) -> None:
    value = cs.attention(by_hand.model(), by_hand.names()[:1], matrix=True)[0]
    for matrix, weights in zip(value.matrices.values(), by_hand.weights_and_scores(0)[0], strict=True):
        torch.testing.assert_close(matrix.double(), weights.detach(), rtol=1e-4, atol=1e-6)
    value.save(tmp_path / "weights.npz")
    loaded = AttentionMaps.load(tmp_path / "weights.npz").matrices
    torch.testing.assert_close(dict(loaded), dict(value.matrices))


def test_matrices_that_do_not_fit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matrices, "BUDGET", 4 * 3 * 4 * 65 * 65 - 1)  # 3 layers of 4 heads and 65 tokens
    with pytest.raises(TooMuchAttention, match=r"the matrices of 3 layers take .* keep to some layers with within="):
        cs.attention(by_hand.model(), by_hand.names()[:1], matrix=True)


def test_fused_heads_and_chosen_layers() -> None:
    (each,) = cs.attention(by_hand.model(), by_hand.names()[:1])
    (largest,) = cs.attention(by_hand.model(), by_hand.names()[:1], heads="max", within="blocks.1")
    assert list(largest.maps) == ["blocks.1.attn"]
    torch.testing.assert_close(largest.maps["blocks.1.attn"][0], each.maps["blocks.1.attn"].amax(0))


class TwoGrids(nn.Module):
    """Attends among 4 × 4 patches, and then among 2 × 2 merged ones."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = seeded(lambda: nn.Conv2d(3, 8, 8, 8))
        self.fine, self.coarse = (seeded(lambda: nn.MultiheadAttention(8, 2, batch_first=True)) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """The scores."""
        tokens = self.stem(x).flatten(2).mT
        patches = self.fine(tokens, tokens, tokens)[0].mT.unflatten(2, (4, 4))
        merged = nn.functional.avg_pool2d(patches, 2).flatten(2).mT
        mixed: Tensor = self.coarse(merged, merged, merged)[0]
        return mixed.mean(1)


def test_a_patch_is_named_on_the_grid_of_the_first_layer_whichever_layers_are_chosen() -> None:
    model = cs.Model(TwoGrids().eval())
    both = cs.attention(model, PICTURE[:1], patch="3x1")
    coarse = cs.attention(model, PICTURE[:1], patch="3x1", within="coarse")
    torch.testing.assert_close(coarse.maps["coarse"], both.maps["coarse"])
    assert both.place == coarse.place == (3.5 / 4, 1.5 / 4)


def test_what_does_not_exist_is_refused() -> None:
    name = by_hand.names()[0]
    with pytest.raises(ParameterError, match=r"no patch 8x0: the tokens form a grid of 8×8"):
        cs.attention(by_hand.model(), name, patch="8x0")
    with pytest.raises(LayerError, match=r"layer 'stem' does not attend: choose one of blocks\.0\.attn"):
        cs.attention(by_hand.model(), name, within="stem")
    with pytest.raises(
        CapabilityError, match=r"^attention needs attention between tokens, and shapes has none .* grad-cam"
    ):
        cs.attention(cs.load("bundled:shapes"), "sample:shapes/7")


@pytest.fixture(scope="module")
def transformers(torchvision: ModuleType) -> Any:
    return pytest.importorskip("transformers", reason="transformers is not installed")


def _random(build: Any, config: Any) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net: nn.Module = build(config).eval()
        for parameter in net.parameters():
            nn.init.normal_(parameter, std=0.2)
    return net


def _weights_of_peer(net: Any) -> list[Tensor]:
    net.set_attn_implementation("eager")
    with torch.no_grad():
        weights: list[Tensor] = list(net(PICTURE, output_attentions=True).attentions)
    net.set_attn_implementation("sdpa")
    return weights


def test_a_vision_transformer_has_the_weights_that_transformers_returns(transformers: Any) -> None:
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, image_size=32, patch_size=8
    )
    net = _random(transformers.ViTForImageClassification, config)
    values = cs.attention(cs.Model(net, output="logits"), PICTURE)
    assert isinstance(values, list)
    for layer, weights in enumerate(_weights_of_peer(net)):
        for number, value in enumerate(values):
            maps = list(value.maps.values())[layer]
            torch.testing.assert_close(maps, weights[number, :, 0, 1:].reshape(2, 4, 4), rtol=1e-4, atol=1e-6)
            assert maps.std() > 1e-3


def test_a_windowed_transformer_has_them_at_the_places_of_its_windows(transformers: Any) -> None:
    """Layers of 4 × 4 windows, of which the second is rolled by half a window."""
    config = transformers.SwinConfig(
        image_size=32, patch_size=4, embed_dim=8, depths=[2], num_heads=[2], window_size=4, mlp_ratio=2.0
    )
    net = _random(transformers.SwinForImageClassification, config)
    value = cs.attention(cs.Model(net, output="logits"), PICTURE[:1], patch="5x6", matrix=True)
    plain, rolled = list(value.maps.values())
    (shifted,) = _weights_of_peer(net)  # transformers returns those of the last layer of a stage
    for maps, matrix in zip(value.maps.values(), value.matrices.values(), strict=True):
        torch.testing.assert_close(matrix[:, 5 * 8 + 6], maps.flatten(1))
    assert float(plain[:, :4].abs().max() + plain[:, :, :4].abs().max()) == 0, "outside the window"
    # rolled by two, row 5 and column 6 become row 3 and column 4: the second of the four windows, its token (3, 0)
    expected = torch.zeros(2, 8, 8)
    expected[:, :4, 4:] = shifted[1, :, 3 * 4 + 0].reshape(2, 4, 4)
    torch.testing.assert_close(rolled, expected.roll((2, 2), (1, 2)), rtol=1e-3, atol=1e-6)
