"""Rules for the backward pass: modified gradients, relevance, differences from a reference."""

from typing import Any

import torch
from torch import nn

import convscope as cs
from tests.fuzz import references as slow_rules
from tests.fuzz.comparing import Case
from tests.fuzz.networks import RandomNetwork
from tests.fuzz.references import slow_images
from tests.fuzz.spellings import is_rectifier, with_relu_modules
from tests.twins.gradient.test_gradient_x_input import gradient_x_input

LINEAR = (
    nn.modules.conv._ConvNd, nn.Linear, nn.modules.batchnorm._BatchNorm, nn.modules.pooling._MaxPoolNd,
    nn.modules.pooling._AvgPoolNd, nn.modules.pooling._AdaptiveAvgPoolNd, nn.modules.pooling._AdaptiveMaxPoolNd,
    nn.Dropout, nn.Identity, nn.Upsample, nn.PixelShuffle, nn.PixelUnshuffle, nn.Flatten,
)  # fmt: skip
NONLINEAR = {"squeeze-excite", "gated", "power pool", "recurrent", "tokens", "linear patches"}
COMPOSITES = ("epsilon-plus", "zero", "alpha2-beta1")


def modified_gradients(case: Case, net: RandomNetwork) -> None:
    for formula in (slow_rules.guided_backprop, slow_rules.deconvnet):
        for value, slow in zip(case.call(formula.__name__) or (), slow_images(net), strict=False):
            case.compare(formula.__name__, value.channels, formula(slow))


def piecewise_linear(net: RandomNetwork) -> bool:
    """Whether the scores are piecewise linear in the image."""
    leaves = [m for m in net.module.modules() if not list(m.children()) and type(m).__module__.startswith("torch")]
    are_linear = all(isinstance(m, LINEAR) or is_rectifier(m) for m in leaves)
    custom = [m for m in net.module.modules() if type(m).__name__ in ("FunctionalActivation", "RMSNorm")]
    smooth = any(getattr(m, "spelling", "") == "logsumexp" for m in net.module.modules())
    return (
        are_linear
        and all(map(is_rectifier, custom))
        and not smooth
        and not NONLINEAR & net.kinds
        and "scores" in net.kinds
    )


def relevance(case: Case, net: RandomNetwork) -> None:
    """Conservation: relevance plus what is absorbed by constants is the score. Without ε, it is gradient × input."""
    if "scores" not in net.kinds:
        return  # a softmax does not conserve relevance
    for composite in COMPOSITES:
        for value, slow in zip(case.call("lrp", composite=composite) or (), slow_images(net), strict=False):
            total = value.values.double().sum() + sum(v for k, v in value.notes.items() if k.startswith("absorbed by"))
            size = float(value.values.abs().sum())
            case.compare(f"lrp {composite}, its sum", total, slow.score(slow.x), 1e-4, scale=size)
            if composite == "zero" and piecewise_linear(net):
                case.compare("lrp zero, gradient × input", value.channels, gradient_x_input(slow))


def references(case: Case, net: RandomNetwork) -> None:
    """Completeness: contributions of DeepLIFT sum to the difference of the scores."""
    images = slow_images(net)
    start = torch.randn(net.images.shape[1:], generator=torch.Generator().manual_seed(2), dtype=torch.double)
    for rule in ("rescale", "reveal-cancel"):
        for value, slow in zip(case.call("deep_lift", baseline=start, rule=rule) or (), images, strict=False):
            difference = slow.score(slow.x) - slow.score(start)
            size = float(value.values.abs().sum())
            case.compare(f"deep_lift {rule}, its sum", value.channels.double().sum(), difference, scale=size)
    baselines = torch.stack([start, start.flip(-1)])
    for value, slow in zip(case.call("deep_shap", references=baselines, samples=2) or (), images, strict=False):
        difference = slow.score(slow.x) - sum(map(slow.score, baselines)) / 2
        case.compare(
            "deep_shap, its sum", value.channels.double().sum(), difference, scale=float(value.values.abs().sum())
        )


LENSES: list[tuple[str, dict[str, Any]]] = [
    ("guided_backprop", {}), ("deconvnet", {}), ("rectified_gradient", {"quantile": 0.5}), ("lrp", {}),
    ("attn_lrp", {}), ("deep_lift", {}), ("full_grad", {}),
]  # fmt: skip


def spellings(case: Case, net: RandomNetwork) -> None:
    """Values do not depend on the form in which rectifiers are written."""
    rewritten = with_relu_modules(net.module)
    for lens, parameters in LENSES:
        values = case.call(lens, **parameters)
        if values is None:
            continue
        others = getattr(cs, lens)(rewritten, net.images, target=case.target(), **parameters)
        for value, other in zip(values, others, strict=True):
            case.compare(f"{lens} of another spelling", value.values, other.values, scale=1e-6)
