"""NaN or infinite numbers, and the first layer that gives them."""

from functools import partial

import torch
from torch import Tensor, nn

from convscope.training.checks.declaration import Evidenced, check
from convscope.training.checks.network_evidence import NetworkEvidence
from convscope.training.checks.network_pictures import draw_by_layer
from convscope.values.facts import Fact


@check(
    "network",
    title="NaN or infinite values",
    looks_for="A layer gives a number that is not finite although all numbers that it received are.",
    cause="a division by zero, a logarithm or root of a number that is not positive, an overflow of half precision, or "
    "weights that are not finite themselves",
    remedy="[n for n, p in model.named_parameters() if not p.isfinite().all()]\n"
    "torch.autograd.set_detect_anomaly(True)  # names the operation in training\n"
    "x / (norm + 1e-6); x.clamp_min(1e-6).log()",
    severity="error",
)
def nonfinite_values(network: NetworkEvidence) -> list[Evidenced]:
    """Run the network, and find the first layer whose output is not finite."""
    findings: list[tuple[str, Fact]] = []
    percent: dict[str, float] = {}

    def observe(name: str, module: nn.Module, before: Tensor, after: Tensor) -> None:
        share = float((~torch.isfinite(after)).float().mean())
        percent[name] = max(percent.get(name, 0.0), share * 100)
        if findings or not share:
            return
        broken = [key for key, p in module.named_parameters() if not bool(torch.isfinite(p).all())]
        if broken:
            findings.append((name, Fact("its parameter {name} is not finite", name=broken[0])))
        elif not bool(torch.isfinite(before).all()):
            findings.append((name, Fact("an operation before it gave numbers that are not finite")))
        else:
            findings.append((name, Fact("{share} of its outputs are not finite, its inputs are", share=f"{share:.2%}")))

    network.observe(None, observe)
    title = "percent of the outputs that are not finite, by layer"
    return [(*finding, partial(draw_by_layer, percent, title=title)) for finding in findings]
