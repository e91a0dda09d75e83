"""Cost of explanations of a vision transformer, compared with hooks, pytorch-grad-cam and transformers."""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

import convscope as cs
from benchmarks.contenders import Work, ours, plain
from benchmarks.measure import Row, interleaved, rows_of
from convscope.loaders.torchvision import library

AIMS = {"grad_cam": 1.15, "attention": 1.4, "attention_rollout": 1.6, "transformer_attribution": 3.5, "legrad": 3.5}
"""The largest ratio to a plain forward pass, whose attention is fused, by lens."""
_SIDE = 14
"""Patches along each side."""


def attention(rounds: int) -> list[Row]:
    """Lenses of ViT-B/16 relative to a plain forward pass of one image."""
    library()
    import timm

    torch.manual_seed(0)
    module = timm.create_model("vit_base_patch16_224", pretrained=False).eval()
    x = torch.randn(1, 3, 224, 224)
    peers = _peers(module, x)
    rows: list[Row] = []
    for name, aim in AIMS.items():
        contenders: dict[str, Work] = {who: partial(getattr(cs, name), m, x) for who, m in ours(module).items()}
        ratios = interleaved(plain(module, x), contenders | peers.get(name, {}), rounds=rounds)
        rows += rows_of(f"{name.replace('_', '-')}, ViT-B/16", ratios, aim)
    return rows


def _peers(module: nn.Module, x: Tensor) -> dict[str, dict[str, Work]]:
    library()
    import timm
    from pytorch_grad_cam import GradCAM
    from transformers import ViTConfig, ViTForImageClassification

    def to_map(tokens: Tensor) -> Tensor:
        return tokens[:, 1:].reshape(len(tokens), _SIDE, _SIDE, -1).permute(0, 3, 1, 2)

    unfused = timm.create_model("vit_base_patch16_224", pretrained=False).eval()
    unfused.load_state_dict(module.state_dict())
    for block in unfused.blocks:
        block.attn.fused_attn = False
    grad_cam = GradCAM(model=module, target_layers=[module.get_submodule("blocks.11.norm1")], reshape_transform=to_map)
    vit = ViTForImageClassification(ViTConfig(attn_implementation="eager", num_labels=1000)).eval()

    def returned() -> None:
        with torch.no_grad():
            vit(x, output_attentions=True)

    return {
        "grad_cam": {"pytorch-grad-cam": lambda: grad_cam(x, None)},
        "attention": {"hooks, unfused": lambda: _weights(unfused, x), "transformers": returned},
        "attention_rollout": {"hooks, unfused": lambda: _rollout(_weights(unfused, x))},
        "transformer_attribution": {"hooks, unfused": lambda: _relevance(unfused, x)},
        "legrad": {"hooks, unfused": lambda: _legrad(unfused, x)},
    }


def _weights(unfused: nn.Module, x: Tensor, *, graph: bool = False) -> list[Tensor]:
    """The attention weights of every layer, kept by hooks as vit-explain keeps them."""
    kept, _ = _run(unfused, x, graph=graph)
    return kept


def _run(unfused: nn.Module, x: Tensor, *, graph: bool) -> tuple[list[Tensor], Tensor]:
    kept: list[Tensor] = []
    hooks = [
        part.register_forward_hook(lambda _module, _args, output: kept.append(output))
        for name, part in unfused.named_modules()
        if name.endswith("attn_drop")
    ]
    with torch.set_grad_enabled(graph):
        scores = unfused(x)
    for hook in hooks:
        hook.remove()
    return kept, scores


def _rollout(layers: list[Tensor]) -> Tensor:
    """Abnar and Zuidema's product over layers, heads averaged."""
    identity = torch.eye(layers[0].shape[-1])
    product = identity
    for weights in layers:
        mixed = weights.mean(1) + identity
        product = mixed / mixed.sum(-1, keepdim=True) @ product
    return product[:, 0, 1:]


def _relevance(unfused: nn.Module, x: Tensor) -> Tensor:
    """Chefer's product over layers of positive weight × gradient."""
    layers, scores = _run(unfused, x, graph=True)
    gradients = torch.autograd.grad(scores.amax(1).sum(), layers)
    product = torch.eye(layers[0].shape[-1])
    for weights, gradient in zip(layers, gradients, strict=True):
        product = product + torch.relu(weights * gradient).mean(1).detach() @ product
    return product[:, 0, 1:]


def _legrad(unfused: Any, x: Tensor) -> Tensor:
    """The mean over layers of the positive gradients of each layer's own score to its weights, a layer at a time."""
    outputs: list[Tensor] = []
    hooks = [
        block.register_forward_hook(lambda _module, _args, output: outputs.append(output)) for block in unfused.blocks
    ]
    layers, scores = _run(unfused, x, graph=True)
    for hook in hooks:
        hook.remove()
    top = int(scores.argmax())
    total = torch.zeros(layers[0].shape[-1])
    for weights, tokens in zip(layers, outputs, strict=True):
        with torch.enable_grad():
            own = unfused.forward_head(unfused.norm(tokens))[0, top]
        (gradient,) = torch.autograd.grad(own, weights, retain_graph=True)
        total = total + torch.relu(gradient).mean((0, 1, 2))
    return total[1:] / len(layers)
