"""Tiny networks of transformers with random weights, each saved with its preprocessing as on the hub."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import convscope as cs
from convscope.loaders.transformers.library import library, quiet

LABELS = {0: "cat", 1: "dog", 2: "bird"}
CLASSES: dict[str, Any] = {"id2label": LABELS, "label2id": {name: index for index, name in LABELS.items()}}
_ENCODER = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
_DINO = {
    "image_size": 28,
    "patch_size": 7,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "mlp_ratio": 2,
}
_SQUARE = {"height": 32, "width": 32}
_PROPORTIONAL = {"shortest_edge": 48, "longest_edge": 80}


def vit(t: Any) -> tuple[Any, Any]:
    config = t.ViTConfig(image_size=32, patch_size=8, **_ENCODER, **CLASSES)
    return t.ViTForImageClassification(config), t.ViTImageProcessorPil(size=_SQUARE)


def resnet(t: Any) -> tuple[Any, Any]:
    config = t.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", **CLASSES)
    return t.ResNetForImageClassification(config), t.ConvNextImageProcessorPil(size={"shortest_edge": 32})


def convnext(t: Any) -> tuple[Any, Any]:
    config = t.ConvNextConfig(hidden_sizes=[8, 16], depths=[1, 1], num_stages=2, **CLASSES)
    return t.ConvNextForImageClassification(config), t.ConvNextImageProcessorPil(size={"shortest_edge": 48})


def swin(t: Any) -> tuple[Any, Any]:
    config = t.SwinConfig(
        image_size=32, patch_size=4, embed_dim=8, depths=[1, 1], num_heads=[2, 2], window_size=4, **CLASSES
    )
    return t.SwinForImageClassification(config), t.ViTImageProcessorPil(
        size=_SQUARE, do_rescale=False, image_mean=[99, 100, 101], image_std=[50, 51, 52]
    )


def dinov2(t: Any) -> tuple[Any, Any]:
    processor = t.BitImageProcessorPil(size={"shortest_edge": 33}, crop_size={"height": 28, "width": 28})
    return t.Dinov2ForImageClassification(t.Dinov2Config(**_DINO, **CLASSES)), processor


def dinov2_embedding(t: Any) -> tuple[Any, Any]:
    processor = t.BitImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 28, "width": 28})
    return t.Dinov2Model(t.Dinov2Config(**_DINO)), processor


def clip(t: Any) -> tuple[Any, Any]:
    text = dict(_ENCODER, vocab_size=50, bos_token_id=0, eos_token_id=1)
    config = t.CLIPConfig(
        projection_dim=12, text_config=text, vision_config=dict(_ENCODER, image_size=32, patch_size=8)
    )
    return t.CLIPModel(config), t.CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=_SQUARE)


def segformer(t: Any) -> tuple[Any, Any]:
    config = t.SegformerConfig(
        num_encoder_blocks=2,
        depths=[1, 1],
        sr_ratios=[2, 1],
        hidden_sizes=[8, 16],
        patch_sizes=[7, 3],
        strides=[4, 2],
        num_attention_heads=[1, 2],
        mlp_ratios=[2, 2],
        decoder_hidden_size=16,
        **CLASSES,
    )
    return t.SegformerForSemanticSegmentation(config), t.SegformerImageProcessorPil(size={"height": 64, "width": 64})


def detr(t: Any) -> tuple[Any, Any]:
    backbone = t.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 8, 8, 16], depths=[1] * 4, layer_type="basic", out_features=["stage4"]
    )
    config = t.DetrConfig(
        use_timm_backbone=False,
        backbone_config=backbone,
        d_model=32,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        num_queries=5,
        **CLASSES,
    )
    return t.DetrForObjectDetection(config), t.DetrImageProcessorPil(size=_PROPORTIONAL)


def yolos(t: Any) -> tuple[Any, Any]:
    config = t.YolosConfig(image_size=[32, 48], patch_size=8, num_detection_tokens=4, **_ENCODER, **CLASSES)
    return t.YolosForObjectDetection(config), t.YolosImageProcessorPil(size=_PROPORTIONAL)


def dpt(t: Any) -> tuple[Any, Any]:
    config = t.DPTConfig(
        image_size=32,
        patch_size=8,
        **(_ENCODER | {"num_hidden_layers": 4}),
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[8] * 4,
        fusion_hidden_size=8,
    )
    return t.DPTForDepthEstimation(config), t.DPTImageProcessorPil(size=_SQUARE)


def depth_anything(t: Any) -> tuple[Any, Any]:
    backbone = t.Dinov2Config(
        **(_DINO | {"num_hidden_layers": 4}), out_indices=[1, 2, 3, 4], reshape_hidden_states=False
    )
    config = t.DepthAnythingConfig(
        backbone_config=backbone,
        patch_size=7,
        reassemble_hidden_size=16,
        neck_hidden_sizes=[8] * 4,
        fusion_hidden_size=8,
        head_hidden_size=8,
    )
    processor = t.DPTImageProcessorPil(size={"height": 56, "width": 56}, keep_aspect_ratio=True, ensure_multiple_of=7)
    return t.DepthAnythingForDepthEstimation(config), processor


def maskformer(t: Any) -> tuple[Any, Any]:
    backbone = t.SwinConfig(
        image_size=32, patch_size=4, embed_dim=8, depths=[1] * 4, num_heads=[2] * 4, window_size=4,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = t.MaskFormerConfig(
        backbone_config=backbone,
        decoder_config=t.DetrConfig(
            d_model=32, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2,
            encoder_ffn_dim=32, decoder_ffn_dim=32, num_queries=5,
        ),
        fpn_feature_size=32, mask_feature_size=32,
        **CLASSES,
    )  # fmt: skip
    return t.MaskFormerForInstanceSegmentation(config), t.MaskFormerImageProcessorPil(
        size={"height": 64, "width": 64}, do_resize=True
    )


def wav2vec2(t: Any) -> tuple[Any, Any]:
    config = t.Wav2Vec2Config(
        **_ENCODER,
        conv_dim=[8, 8],
        conv_stride=[5, 4],
        conv_kernel=[10, 8],
        num_feat_extract_layers=2,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
        classifier_proj_size=8,
        **CLASSES,
    )
    return t.Wav2Vec2ForSequenceClassification(config), t.Wav2Vec2FeatureExtractor()


def spectrogram_transformer(t: Any) -> tuple[Any, Any]:
    config = t.ASTConfig(
        max_length=64, num_mel_bins=16, patch_size=8, frequency_stride=8, time_stride=8, **_ENCODER, **CLASSES
    )
    return t.ASTForAudioClassification(config), None


CLASSIFIERS = (vit, resnet, convnext, swin, dinov2)
FOR_IMAGES = (*CLASSIFIERS, dinov2_embedding, clip, segformer, detr, yolos, dpt, depth_anything, maskformer)
FOR_SOUNDS = (wav2vec2, spectrogram_transformer)
Build = Callable[[Any], tuple[Any, Any]]


def save(build: Build, folder: Path) -> Path:
    """A folder with a network of random weights, and its preprocessing."""
    transformers = library()
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network, processor = build(transformers)
        enlarge_weights(network)
        network.eval().save_pretrained(folder)
        if processor is not None:
            processor.save_pretrained(folder)
    return folder


def enlarge_weights(network: torch.nn.Module) -> None:
    """Weights of a size at which outputs differ from image to image; those of transformers are tiny."""
    for parameter in network.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)


def photograph() -> Any:
    """The photograph of the samples, as Pillow's image."""
    from PIL import Image

    return Image.fromarray(cs.sample("photo/china").image)
