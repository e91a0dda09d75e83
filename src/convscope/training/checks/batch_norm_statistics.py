"""Running statistics of batch norm that do not fit the images."""

from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from convscope.render.line_plot import PlotLine, draw_lines
from convscope.render.palette import line_colours
from convscope.render.rendered_picture import Picture
from convscope.training.checks.declaration import Evidenced, check
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
def batch_norm_statistics(network: NetworkEvidence) -> list[Evidenced]:
    """Compare running statistics with those of the images, layer by layer; the first layer that differs is named."""
    findings: list[Evidenced] = []

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
                    partial(_draw, name, (mean, variance), (rows.mean(1), rows.var(1, correction=0))),
                )
            )  # fmt: skip

    if len(network.tensor) >= FEWEST_IMAGES:
        network.observe(torch.nn.modules.batchnorm._BatchNorm, observe)
    return findings


def _draw(layer: str, running: tuple[Tensor, Tensor], measured: tuple[Tensor, Tensor]) -> Picture:
    """Means and standard deviations of the channels, those that the layer holds and those of the images.

    Args:
        running: mean and variance of each channel; ``measured`` too.
    """
    order = running[0].argsort()
    channels = np.arange(len(order), dtype=np.float64)
    numbers = {
        "running mean": running[0], "mean of the images": measured[0],
        "running standard deviation": running[1].sqrt(), "standard deviation of the images": measured[1].sqrt(),
    }  # fmt: skip
    lines = [
        PlotLine(name, channels, values[order].double().cpu().numpy(), colour)
        for (name, values), colour in zip(numbers.items(), line_colours(len(numbers)), strict=True)
    ]
    return draw_lines(lines, title=f"what {layer} receives", x_label="channels, the lowest running mean first")
