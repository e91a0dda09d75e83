"""Score-CAM and Ablation-CAM against plain forwards, pytorch-grad-cam beside them, and against the full forward.

A peer's single run takes hundreds of forwards or thousands: it is timed once, right beside forwards of its own.
"""

import copy
from functools import partial

import torch
from torch import Tensor, nn

import convscope as cs
from benchmarks.contenders import LAST_LAYER, network, ours, plain
from benchmarks.measure import Row, Work, in_forwards, rows_of, said
from convscope.engine.run.suffix_replay import SuffixReplay
from convscope.engine.targets.target import aim_at

SCORE_CAM_AIMS = {"squeezenet1_1": ("features", 250)}
ABLATION_AIMS = {"resnet50": 8, "vgg16": 14, "squeezenet1_1": 55}


def score_cam(rounds: int) -> list[Row]:
    """Score-CAM over all channels of the last layer of SqueezeNet."""
    rows: list[Row] = []
    for name, (layer, aim) in SCORE_CAM_AIMS.items():
        module, x = network(name), torch.randn(1, 3, 224, 224)
        works = {who: partial(cs.score_cam, m, x, layer=layer) for who, m in ours(module).items()}
        forward = plain(module, x)
        found = in_forwards(forward, works, rounds=max(2, rounds // 5), forwards=30)
        peer = {"pytorch-grad-cam": _peer("ScoreCAM", module, layer, x)}
        found |= in_forwards(forward, peer, rounds=1, forwards=30)
        rows += rows_of(f"Score-CAM, {name}, 512 channels, in forwards", found, aim)
    return rows


def ablation_cam(rounds: int) -> list[Row]:
    """Ablation-CAM over all channels of the last layer, and how far it is from full forwards."""
    rows: list[Row] = []
    for name, aim in ABLATION_AIMS.items():
        module, x, layer = network(name), torch.randn(1, 3, 224, 224), LAST_LAYER[name]
        works = {who: partial(cs.ablation_cam, m, x, layer=layer) for who, m in ours(module).items()}
        forward = plain(module, x)
        found = in_forwards(forward, works, rounds=max(3, rounds // 3), forwards=5)
        peer = {"pytorch-grad-cam": _peer("AblationCAM", module, layer, x)}
        found |= in_forwards(forward, peer, rounds=1, forwards=5)
        rows += rows_of(f"Ablation-CAM, {name}, in forwards", found, aim)
        error = f"{_apart(module, x, layer):.1e}"
        rows += said([(f"Ablation-CAM, {name}, 16 channels against full forwards", "ConvScope", error, "≤ 1e-06")])
    return rows


def _apart(module: nn.Module, x: Tensor, layer: str) -> float:
    """How far scores of what lies above the layer are from those of full forwards, in units of the score."""
    model = cs.Model(module)
    with model.untouched():
        above = SuffixReplay(model, x, aim_at(0, model, 1), 0, layer)
        variants = above.copies(16)
        variants[torch.arange(16), torch.arange(16)] = 0
        alone = above.scores(variants.clone())
        assert above.why_whole is None
        above.why_whole = "to compare"
        whole = torch.cat([above.scores(variant) for variant in variants.split(8)])
    return float((alone - whole).abs().max() / whole.abs().max())


def _peer(method: str, module: nn.Module, layer: str, x: Tensor) -> Work:
    import pytorch_grad_cam
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    net = copy.deepcopy(module)  # it changes networks
    found = getattr(pytorch_grad_cam, method)(net, [net.get_submodule(layer)])
    return lambda: found(x, [ClassifierOutputTarget(0)])
