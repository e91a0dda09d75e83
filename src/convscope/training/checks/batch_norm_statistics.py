"""Running statistics of batch norm that do not fit the images."""

import torch
from torch import Tensor, nn

from convscope.training.checks.declaration import check
from convscope.training.checks.network_evidence import NetworkEvidence
from convscope.values.facts import Fact

SHIFT, FACTOR, FEWEST_IMAGES = 1.0, 4.0, 8


@check(
    "network",
    title="batch norm statistics are off",
    looks_for="In half of the channels of a batch norm the mean of the images differs from the running mean by more "
    "than a standard deviation, or the variance by more than a factor of four.",
    cause="the network was used in train() on other images, was trained with tiny batches, or the images are prepared "
    "differently than in its training",
    remedy="for m in model.modules():\n"
    "    if isinstance(m, nn.BatchNorm2d): m.reset_running_stats(); m.momentum = None\n"
    "model.train()\n"
    "with torch.no_grad():\n"
    "    for images, _ in loader: model(images)\n"
    "model.eval()",
)
def batch_norm_statistics(network: NetworkEvidence) -> list[tuple[str, Fact]]:
    """Compare running statistics with those of the images, layer by layer; the first layer that differs is named."""
    findings: list[tuple[str, Fact]] = []

    def observe(name: str, module: nn.Module, before: Tensor, after: Tensor) -> None:
        mean, variance = getattr(module, "running_mean", None), getattr(module, "running_var", None)
        if findings or mean is None or variance is None:
            return
        rows = before.transpose(0, 1).flatten(1).float()
        shift = (rows.mean(1) - mean).abs() / (variance + 1e-5).sqrt()
        ratio = (rows.var(1, correction=0) + 1e-5) / (variance + 1e-5)
        off = (shift > SHIFT) | (ratio > FACTOR) | (ratio < 1 / FACTOR)
        if float(off.float().mean()) >= 0.5:
            findings.append(
                (
                    name,
                    Fact(
                        "{count} of {channels} channels: the means differ by {shift} standard deviations, the "
                        "variances by a factor of {ratio} (medians)",
                        count=int(off.sum()), channels=len(off), shift=f"{float(shift.median()):.2g}",
                        ratio=f"{float(ratio.median()):.2g}",
                    ),
                )
            )  # fmt: skip

    if len(network.tensor) >= FEWEST_IMAGES:
        network.observe(torch.nn.modules.batchnorm._BatchNorm, observe)
    return findings
