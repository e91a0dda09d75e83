"""The default layer of many families of networks at two input shapes, compared with a list."""

from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

import convscope as cs
from convscope.engine.layers.default_layer import default_layer
from convscope.engine.layers.layer_trace import layout_of
from tests.marks import one_in

Sides = tuple[int, int]

DEFAULTS: dict[str, tuple[Sides, Sides, str, Sides, Sides]] = {
    # torchvision (tv:) and timm: two input sizes, the layer, and the size of its map for each
    "botnet26t_256": ((64, 64), (96, 64), "stages", (2, 2), (3, 2)),
    "cait_xxs24_224": ((64, 64), (96, 64), "blocks", (4, 4), (6, 4)),
    "convnext_atto": ((96, 96), (128, 96), "stages", (3, 3), (4, 3)),
    "cs3darknet_s": ((96, 96), (128, 96), "stages", (3, 3), (4, 3)),
    "davit_tiny": ((96, 96), (128, 96), "stages", (3, 3), (4, 3)),
    "deit_tiny_distilled_patch16_224": ((64, 64), (96, 64), "blocks.10", (4, 4), (6, 4)),
    "densenet121": ((96, 96), (128, 96), "features", (3, 3), (4, 3)),
    "dla34": ((96, 96), (128, 96), "level5", (3, 3), (4, 3)),
    "dpn48b": ((96, 96), (128, 96), "features", (3, 3), (4, 3)),
    "edgenext_xx_small": ((96, 96), (128, 96), "stages", (3, 3), (4, 3)),
    "efficientnet_b0": ((96, 96), (128, 96), "bn2", (3, 3), (4, 3)),
    "efficientvit_b0": ((96, 96), (128, 96), "head.in_conv", (3, 3), (4, 3)),
    "ese_vovnet19b_dw": ((96, 96), (128, 96), "stages", (3, 3), (4, 3)),
    "eva02_tiny_patch14_224": ((64, 64), (96, 64), "blocks.11", (4, 4), (6, 4)),
    "fastvit_t8": ((96, 96), (128, 96), "final_conv", (3, 3), (4, 3)),
    "focalnet_tiny_srf": ((96, 96), (128, 96), "norm", (3, 3), (4, 3)),
    "gernet_s": ((64, 64), (96, 64), "final_conv", (2, 2), (3, 2)),
    "ghostnet_100": ((96, 96), (128, 96), "blocks", (3, 3), (4, 3)),
    "hgnet_tiny": ((96, 96), (128, 96), "stages", (3, 3), (4, 3)),
    "hiera_tiny_224": ((64, 64), (96, 64), "blocks.11", (2, 2), (3, 2)),
    "lambda_resnet26t": ((64, 64), (96, 64), "stages", (2, 2), (3, 2)),
    "lcnet_050": ((96, 96), (128, 96), "blocks", (3, 3), (4, 3)),
    "mambaout_femto": ((96, 96), (128, 96), "stages", (3, 3), (4, 3)),
    "mixer_s32_224": ((64, 64), (96, 64), "norm", (2, 2), (3, 2)),
    "mnasnet_100": ((96, 96), (128, 96), "bn2", (3, 3), (4, 3)),
    "mobilenetv4_conv_small": ((96, 96), (128, 96), "blocks", (3, 3), (4, 3)),
    "mobilevit_xxs": ((64, 64), (96, 64), "final_conv", (2, 2), (3, 2)),
    "pit_ti_224": ((64, 64), (96, 64), "transformers.2.blocks.2", (2, 2), (3, 2)),
    "poolformer_s12": ((96, 96), (128, 96), "stages", (3, 3), (4, 3)),
    "pvt_v2_b0": ((96, 96), (128, 96), "stages", (3, 3), (4, 3)),
    "regnetx_002": ((96, 96), (128, 96), "s4", (3, 3), (4, 3)),
    "repvgg_a0": ((64, 64), (96, 64), "stages", (2, 2), (3, 2)),
    "repvit_m0_9": ((64, 64), (96, 64), "stages", (2, 2), (3, 2)),
    "res2next50": ((96, 96), (128, 96), "layer4", (3, 3), (4, 3)),
    "resmlp_12_224": ((64, 64), (96, 64), "norm", (4, 4), (6, 4)),
    "resnest14d": ((96, 96), (128, 96), "layer4", (3, 3), (4, 3)),
    "resnet18": ((96, 96), (128, 96), "layer4", (3, 3), (4, 3)),
    "selecsls42": ((96, 96), (128, 96), "head", (2, 2), (2, 2)),
    "sequencer2d_s": ((64, 64), (96, 64), "norm", (4, 4), (6, 4)),
    "seresnet18": ((96, 96), (128, 96), "layer4", (3, 3), (4, 3)),
    "shvit_s1": ((96, 96), (128, 96), "stages", (2, 2), (2, 2)),
    "skresnet18": ((96, 96), (128, 96), "layer4", (3, 3), (4, 3)),
    "starnet_s1": ((96, 96), (128, 96), "norm", (3, 3), (4, 3)),
    "swiftformer_xs": ((64, 64), (96, 64), "norm", (2, 2), (3, 2)),
    "swin_tiny_patch4_window7_224": ((64, 64), (96, 64), "norm", (2, 2), (3, 2)),
    "tinynet_e": ((96, 96), (128, 96), "bn2", (3, 3), (4, 3)),
    "tv:alexnet": ((128, 128), (160, 128), "avgpool", (6, 6), (6, 6)),
    "tv:convnext_tiny": ((64, 64), (96, 64), "features", (2, 2), (3, 2)),
    "tv:googlenet": ((128, 128), (160, 128), "inception5b", (4, 4), (5, 4)),
    "tv:inception_v3": ((128, 128), (160, 128), "Mixed_7c", (2, 2), (3, 2)),
    "tv:mnasnet0_5": ((64, 64), (96, 64), "layers", (2, 2), (3, 2)),
    "tv:mobilenet_v2": ((64, 64), (96, 64), "features", (2, 2), (3, 2)),
    "tv:mobilenet_v3_small": ((64, 64), (96, 64), "features", (2, 2), (3, 2)),
    "tv:regnet_y_400mf": ((64, 64), (96, 64), "trunk_output", (2, 2), (3, 2)),
    "tv:resnext50_32x4d": ((64, 64), (96, 64), "layer4", (2, 2), (3, 2)),
    "tv:shufflenet_v2_x0_5": ((64, 64), (96, 64), "conv5", (2, 2), (3, 2)),
    "tv:squeezenet1_1": ((64, 64), (96, 64), "features", (3, 3), (5, 3)),
    "visformer_tiny": ((64, 64), (96, 64), "norm", (2, 2), (3, 2)),
    "vit_tiny_patch16_224": ((64, 64), (96, 64), "blocks.10", (4, 4), (6, 4)),
    "volo_d1_224": ((64, 64), (96, 64), "norm", (4, 4), (6, 4)),
    "vovnet39a": ((96, 96), (128, 96), "stages", (3, 3), (4, 3)),
    "xception41": ((96, 96), (128, 96), "blocks", (3, 3), (4, 3)),
    "xcit_nano_12_p16_224": ((64, 64), (96, 64), "cls_attn_blocks.0", (4, 4), (6, 4)),
    "efficientformerv2_s0": ((64, 64), (96, 64), "norm", (2, 2), (3, 2)),
    "convit_tiny": ((64, 64), (96, 96), "blocks.10", (4, 4), (6, 6)),
    "levit_128s": ((96, 96), (128, 96), "stages", (2, 2), (2, 2)),
    "mvitv2_tiny": ((64, 64), (224, 224), "norm", (2, 2), (7, 7)),
}
"""Recorded with random weights and checked one by one: the block before the last where the output is computed from a
class token, the final norm where all tokens contribute."""


def _networks(name: str, torchvision: ModuleType, *sizes: Sides) -> list[nn.Module]:
    """The network with random weights for images of each size: the same one, unless it needs to know the size."""
    torch.manual_seed(0)
    if name.startswith("tv:"):
        options = {"init_weights": False} if name in ("tv:googlenet", "tv:inception_v3") else {}
        network = getattr(torchvision.models, name.removeprefix("tv:"))(weights=None, **options).eval()
        return [network] * len(sizes)
    timm: Any = pytest.importorskip("timm", reason="timm is not installed")
    try:
        return [timm.create_model(name, pretrained=False, img_size=sides).eval() for sides in sizes]
    except TypeError:  # it takes images of any size
        return [timm.create_model(name, pretrained=False).eval()] * len(sizes)


@pytest.mark.parametrize("name", one_in(8, DEFAULTS))
def test_the_default_layer_is_the_last_with_positions_on_every_path(name: str, torchvision: ModuleType) -> None:
    *sizes, layer, first, second = DEFAULTS[name]
    networks = _networks(name, torchvision, *sizes)
    for network, sides, grid in zip(networks, sizes, (first, second), strict=True):
        model = cs.Model(network)
        x = torch.randn(1, 3, *sides, generator=torch.Generator().manual_seed(0))
        with model.preserve_state():
            assert default_layer(model, x) == layer
            assert layout_of(model, layer, x).grid == grid


def test_a_video_transformer_has_axes_of_time_height_and_width(torchvision: ModuleType) -> None:
    torch.manual_seed(0)
    model = cs.Model(torchvision.models.video.swin3d_t(weights=None).eval())
    x = torch.randn(1, 3, 8, 96, 64, generator=torch.Generator().manual_seed(0))
    with model.preserve_state():
        assert default_layer(model, x) == "norm"
        layout = layout_of(model, "norm", x)
        assert (layout.notation, layout.grid) == ("N D H W C", (4, 3, 2))
