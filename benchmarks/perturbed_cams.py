"""Score-CAM and Ablation-CAM against plain forwards, pytorch-grad-cam beside them, and against the full forward.

A peer's single run takes hundreds of forwards or thousands: it is timed once, right beside forwards of its own.
"""

import copy
import sys
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

import convscope as cs
from benchmarks.contenders import LAST_LAYER, network, ours, plain
from benchmarks.measure import Ratio, Work, interleaved
from convscope.engine.above import Above
from convscope.engine.targets import aim_at

Row = tuple[str, str, str, str]
"""What, who, measured, the aim it is held to (empty for peers)."""

SCORE_CAM_AIMS = {"squeezenet1_1": ("features", 250)}
ABLATION_AIMS = {"resnet50": 8, "vgg16": 14, "squeezenet1_1": 55}


def score_cam(rounds: int) -> list[Row]:
    """Score-CAM over all channels of the last layer of SqueezeNet."""
    rows: list[Row] = []
    for name, (layer, aim) in SCORE_CAM_AIMS.items():
        module, x = network(name), torch.randn(1, 3, 224, 224)
        works = {who: partial(cs.score_cam, m, x, layer=layer) for who, m in ours(module).items()}
        found = _in_forwards(module, x, works, max(2, rounds // 5), forwards=30)
        found |= _in_forwards(module, x, {"pytorch-grad-cam": _peer("ScoreCAM", module, layer, x)}, 1, forwards=30)
        rows += _rows(f"Score-CAM, {name}, 512 channels, in forwards", found, aim)
    return rows


def ablation_cam(rounds: int) -> list[Row]:
    """Ablation-CAM over all channels of the last layer, and how far it is from full forwards."""
    rows: list[Row] = []
    for name, aim in ABLATION_AIMS.items():
        module, x, layer = network(name), torch.randn(1, 3, 224, 224), LAST_LAYER[name]
        works = {who: partial(cs.ablation_cam, m, x, layer=layer) for who, m in ours(module).items()}
        found = _in_forwards(module, x, works, max(3, rounds // 3), forwards=5)
        found |= _in_forwards(module, x, {"pytorch-grad-cam": _peer("AblationCAM", module, layer, x)}, 1, forwards=5)
        rows += _rows(f"Ablation-CAM, {name}, in forwards", found, aim)
        error = f"{_apart(module, x, layer):.1e}"
        rows += _said([(f"Ablation-CAM, {name}, 16 channels against full forwards", "ConvScope", error, "≤ 1e-06")])
    return rows


def _apart(module: nn.Module, x: Tensor, layer: str) -> float:
    """How far scores of what lies above the layer are from those of full forwards, in units of the score."""
    model = cs.Model(module)
    with model.untouched():
        above = Above(model, x, aim_at(0, model, 1), 0, layer)
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


def _in_forwards(
    module: nn.Module, x: Tensor, works: dict[str, Callable[[], object]], rounds: int, *, forwards: int
) -> dict[str, Ratio]:
    """In plain forwards, of which so many are timed a round; a single round takes no warm-up of the contender."""
    forward = plain(module, x)

    def several() -> None:
        for _ in range(forwards):
            forward()

    if rounds > 1:
        return interleaved(several, works, rounds=rounds, unit=forwards)
    several()
    return interleaved(several, {name: _once(work) for name, work in works.items()}, rounds=1, unit=forwards)


def _once(work: Work) -> Work:
    """``work``, but for the call that would warm it up."""
    calls = iter(range(2))
    return lambda: work() if next(calls) else None


def _rows(what: str, found: dict[str, Ratio], aim: float) -> list[Row]:
    return _said(
        [
            (what, who, f"{r} ({r.low:.1f}–{r.high:.1f})", f"≤ {aim:g}" if who.startswith("ConvScope") else "")
            for who, r in found.items()
        ]
    )


def _said(rows: list[Row]) -> list[Row]:
    for row in rows:
        print("  ".join(row), file=sys.stderr, flush=True)
    return rows
