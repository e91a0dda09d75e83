"""Rules for the backward pass: modified gradients, relevance, differences from a reference."""

import torch
from torch import nn

import convscope as cs
from tests.fuzz import references as slow_rules
from tests.fuzz.comparing import Comparison
from tests.fuzz.networks import Network
from tests.fuzz.references import known
from tests.fuzz.spellings import is_rectifier, without_spellings
from tests.twins import test_gradient

LINEAR = (
    nn.modules.conv._ConvNd, nn.Linear, nn.modules.batchnorm._BatchNorm, nn.modules.pooling._MaxPoolNd,
    nn.modules.pooling._AvgPoolNd, nn.modules.pooling._AdaptiveAvgPoolNd, nn.modules.pooling._AdaptiveMaxPoolNd,
    nn.Dropout, nn.Identity, nn.Upsample, nn.PixelShuffle, nn.PixelUnshuffle, nn.Flatten,
)  # fmt: skip
CURVED = {"squeeze-excite", "gated", "power pool", "recurrent", "tokens", "linear patches"}
COMPOSITES = ("epsilon-plus", "zero", "alpha2-beta1")


def modified_gradients(c: Comparison, net: Network) -> None:
    for formula in (slow_rules.guided_backprop, slow_rules.deconvnet):
        for value, slow in zip(c.ask(formula.__name__) or (), known(net), strict=False):
            c.agree(formula.__name__, value.channels, formula(slow))


def piecewise_linear(net: Network) -> bool:
    """Whether the scores are linear in the image but for rectifiers, maxima and shifts."""
    leaves = [m for m in net.module.modules() if not list(m.children()) and type(m).__module__.startswith("torch")]
    flat = all(isinstance(m, LINEAR) or is_rectifier(m) for m in leaves)
    ours = [m for m in net.module.modules() if type(m).__name__ in ("Spelled", "RMSNorm")]
    smooth = any(getattr(m, "spelling", "") == "logsumexp" for m in net.module.modules())
    return flat and all(map(is_rectifier, ours)) and not smooth and not CURVED & net.kinds and "scores" in net.kinds


def relevance(c: Comparison, net: Network) -> None:
    """What the pixels get and what constants absorb is the score; without ε it is gradient × input where that is so."""
    if "scores" not in net.kinds:
        return  # of what a softmax is given little is proportional to what it gives
    for composite in COMPOSITES:
        for value, slow in zip(c.ask("lrp", composite=composite) or (), known(net), strict=False):
            total = value.values.double().sum() + sum(v for k, v in value.notes.items() if k.startswith("absorbed by"))
            size = float(value.values.abs().sum())
            c.agree(f"lrp {composite}, its sum", total, slow.score(slow.x), 1e-4, scale=size)
            if composite == "zero" and piecewise_linear(net):
                c.agree("lrp zero, gradient × input", value.channels, test_gradient.gradient_x_input(slow))


def references(c: Comparison, net: Network) -> None:
    """Contributions of DeepLIFT add up to the difference of the scores."""
    start = torch.randn(net.images.shape[1:], generator=torch.Generator().manual_seed(2), dtype=torch.double)
    for rule in ("rescale", "reveal-cancel"):
        for value, slow in zip(c.ask("deep_lift", baseline=start, rule=rule) or (), known(net), strict=False):
            rise = slow.score(slow.x) - slow.score(start)
            size = float(value.values.abs().sum())
            c.agree(f"deep_lift {rule}, its sum", value.channels.double().sum(), rise, scale=size)
    many = torch.stack([start, start.flip(-1)])
    for value, slow in zip(c.ask("deep_shap", references=many, samples=2) or (), known(net), strict=False):
        rise = slow.score(slow.x) - sum(map(slow.score, many)) / 2
        c.agree("deep_shap, its sum", value.channels.double().sum(), rise, scale=float(value.values.abs().sum()))


SPELLED = [
    ("guided_backprop", {}), ("deconvnet", {}), ("rectified_gradient", {"quantile": 0.5}), ("lrp", {}),
    ("attn_lrp", {}), ("deep_lift", {}), ("full_grad", {}),
]  # fmt: skip


def spellings(c: Comparison, net: Network) -> None:
    """However rectifiers are written, each lens says the same."""
    plain = without_spellings(net.module)
    for lens, parameters in SPELLED:
        values = c.ask(lens, **parameters)
        if values is None:
            continue
        others = getattr(cs, lens)(plain, net.images, target=c.target(), **parameters)
        for value, other in zip(values, others, strict=True):
            c.agree(f"{lens} of other spellings", value.values, other.values, scale=1e-6)
