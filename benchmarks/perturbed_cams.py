"""Score-CAM and Ablation-CAM in plain forward passes, compared with pytorch-grad-cam, and their error.

A run of pytorch-grad-cam takes hundreds or thousands of forward passes, so it is timed once, directly after its own
reference forward passes.
"""

import copy
from functools import partial

import torch
from torch import Tensor, nn

import convscope as cs
from benchmarks.contenders import LAST_LAYER, network, ours, plain
from benchmarks.measure import Row, Work, in_forwards, report, rows_of
from convscope.engine.run.suffix_replay import SuffixReplay
from convscope.engine.targets.target import resolve_target

SCORE_CAM_AIMS = {"squeezenet1_1": ("features", 250)}
ABLATION_AIMS = {"resnet50": 8, "vgg16": 14, "squeezenet1_1": 55}


def score_cam(rounds: int) -> list[Row]:
    """Score-CAM over all channels of the last layer of SqueezeNet."""
    rows: list[Row] = []
    for name, (layer, aim) in SCORE_CAM_AIMS.items():
        module, x = network(name), torch.randn(1, 3, 224, 224)
        contenders = {contender: partial(cs.score_cam, m, x, layer=layer) for contender, m in ours(module).items()}
        forward = plain(module, x)
        ratios = in_forwards(forward, contenders, rounds=max(2, rounds // 5), forwards=30)
        peer = {"pytorch-grad-cam": _peer("ScoreCAM", module, layer, x)}
        ratios |= in_forwards(forward, peer, rounds=1, forwards=30)
        rows += rows_of(f"Score-CAM, {name}, 512 channels, in forwards", ratios, aim)
    return rows


def ablation_cam(rounds: int) -> list[Row]:
    """Ablation-CAM over all channels of the last layer, and its error relative to full forward passes."""
    rows: list[Row] = []
    for name, aim in ABLATION_AIMS.items():
        module, x, layer = network(name), torch.randn(1, 3, 224, 224), LAST_LAYER[name]
        contenders = {contender: partial(cs.ablation_cam, m, x, layer=layer) for contender, m in ours(module).items()}
        forward = plain(module, x)
        ratios = in_forwards(forward, contenders, rounds=max(3, rounds // 3), forwards=5)
        peer = {"pytorch-grad-cam": _peer("AblationCAM", module, layer, x)}
        ratios |= in_forwards(forward, peer, rounds=1, forwards=5)
        rows += rows_of(f"Ablation-CAM, {name}, in forwards", ratios, aim)
        error = f"{_error(module, x, layer):.1e}"
        rows += report([(f"Ablation-CAM, {name}, 16 channels against full forwards", "ConvScope", error, "≤ 1e-06")])
    return rows


def _error(module: nn.Module, x: Tensor, layer: str) -> float:
    """The relative error of scores computed from the layer on, compared with full forward passes."""
    model = cs.Model(module)
    with model.preserve_state():
        suffix = SuffixReplay(model, x, resolve_target(0, model, 1), 0, layer)
        variants = suffix.map.repeat(16, *[1] * (suffix.map.ndim - 1))
        variants[torch.arange(16), torch.arange(16)] = 0
        scores = suffix.scores(variants.clone())
        assert suffix.why_full is None
        suffix.why_full = "to compare"
        full_forwards = torch.cat([suffix.scores(variant) for variant in variants.split(8)])
    return float((scores - full_forwards).abs().max() / full_forwards.abs().max())


def _peer(method: str, module: nn.Module, layer: str, x: Tensor) -> Work:
    import pytorch_grad_cam
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    net = copy.deepcopy(module)  # it modifies networks
    method_object = getattr(pytorch_grad_cam, method)(net, [net.get_submodule(layer)])
    return lambda: method_object(x, [ClassifierOutputTarget(0)])
