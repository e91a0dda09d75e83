"""Raw attention compared with what transformers and timm give of their own networks, of random weights."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import convscope as cs

PICTURE = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


@pytest.fixture(scope="module")
def transformers(torchvision: ModuleType) -> Any:
    return pytest.importorskip("transformers", reason="transformers is not installed")


class FirstOutput(nn.Module):
    """A network of transformers that returns one tensor."""

    def __init__(self, network: nn.Module, read: Callable[[Any], Tensor]) -> None:
        super().__init__()
        self.network, self.read = network, read

    def forward(self, x: Tensor) -> Tensor:
        """The tensor."""
        return self.read(self.network(x))


def scattered_weights(build: Callable[[], nn.Module]) -> Any:
    """A network of weights large enough that attention differs from place to place."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = build().eval()
        for parameter in net.parameters():
            nn.init.normal_(parameter, std=0.2)
    return net


def returned(net: Any, picture: Tensor) -> Any:
    """What the network returns with its attention, computed without a fused operation."""
    net.set_attn_implementation("eager")
    with torch.no_grad():
        return net(picture, output_attentions=True)


def deit(transformers: Any) -> tuple[Any, Callable[[Any], Tensor], int]:
    config = transformers.DeiTConfig(**SIZES, image_size=32, patch_size=8)
    net = scattered_weights(lambda: transformers.DeiTForImageClassificationWithTeacher(config))
    return net, lambda output: output.logits, 2


def clip(transformers: Any) -> tuple[Any, Callable[[Any], Tensor], int]:
    config = transformers.CLIPVisionConfig(**SIZES, image_size=32, patch_size=8, projection_dim=5)
    net = scattered_weights(lambda: transformers.CLIPVisionModelWithProjection(config))
    return net, lambda output: output.image_embeds, 1


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("family", [deit, clip], ids=lambda family: family.__name__)
def test_a_tower_has_the_weights_that_transformers_returns(
    family: Callable[..., Any], implementation: str, transformers: Any
) -> None:
    """DeiT with its distillation token, and the tower for images of CLIP; with fused and with written-out attention."""
    net, read, unplaced = family(transformers)
    net.set_attn_implementation(implementation)
    values: Any = cs.attention(cs.Model(FirstOutput(net, read)), PICTURE, patch="1x2", matrix=True)
    weights = returned(net, PICTURE).attentions
    assert len(values.maps) == len(weights) == 2
    for maps, matrix, expected in zip(values.maps.values(), values.matrices.values(), weights, strict=True):
        torch.testing.assert_close(matrix, expected[0], rtol=1e-4, atol=1e-6)
        row = expected[0, :, unplaced + 1 * 4 + 2, unplaced:].reshape(2, 4, 4)
        torch.testing.assert_close(maps, row, rtol=1e-4, atol=1e-6)
        assert maps.std() > 1e-4


def test_a_detector_with_queries_has_the_weights_that_transformers_returns(transformers: Any) -> None:
    """DETR: an encoder over the places of a convolutional network, and a decoder whose queries attend to them."""
    backbone = transformers.ResNetConfig(
        embedding_size=4, hidden_sizes=[4, 4, 4, 8], depths=[1] * 4, layer_type="basic", out_features=["stage4"]
    )
    config = transformers.DetrConfig(
        use_timm_backbone=False, use_pretrained_backbone=False, backbone=None, backbone_config=backbone,
        encoder_layers=1, encoder_ffn_dim=16, encoder_attention_heads=2,
        decoder_layers=1, decoder_ffn_dim=16, decoder_attention_heads=2,
        d_model=16, num_queries=5, num_labels=3,
    )  # fmt: skip
    net, picture = scattered_weights(lambda: transformers.DetrForObjectDetection(config)), torch.randn(1, 3, 96, 128)
    value: Any = cs.attention(cs.Model(FirstOutput(net, lambda output: output.logits.flatten(1))), picture, matrix=True)
    output = returned(net, picture)
    encoder, cross = output.encoder_attentions[0][0], output.cross_attentions[0][0]
    by_shape = {tuple(matrix.shape): matrix for matrix in value.matrices.values()}
    torch.testing.assert_close(by_shape[2, 12, 12], encoder, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(by_shape[2, 5, 12], cross, rtol=1e-3, atol=1e-5)
    assert {tuple(maps.shape[1:]) for maps in value.maps.values()} == {(3, 4)}


def test_timm_has_the_weights_that_its_dropout_receives(torchvision: ModuleType) -> None:
    timm = pytest.importorskip("timm", reason="timm is not installed")
    options = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2, "num_classes": 3}
    net = scattered_weights(lambda: timm.models.VisionTransformer(**options, reg_tokens=3))
    value: Any = cs.attention(cs.Model(net), PICTURE, matrix=True)
    kept: list[Tensor] = []
    for block in net.blocks:
        block.attn.fused_attn = False
        block.attn.attn_drop.register_forward_hook(lambda _module, _args, output: kept.append(output))
    with torch.no_grad():
        net(PICTURE)
    assert len(kept) == len(value.matrices) == 2
    for matrix, expected in zip(value.matrices.values(), kept, strict=True):
        torch.testing.assert_close(matrix, expected[0], rtol=1e-4, atol=1e-6)
