"""Confidences that are not the share of right answers."""

from functools import partial

import numpy as np
import torch
from torch import Tensor

from convscope.engine.network.output_meaning import class_confidences
from convscope.render.line_plot import PlotLine, draw_lines
from convscope.render.palette import line_colours
from convscope.render.rendered_picture import Picture
from convscope.training.checks.declaration import Evidenced, check
from convscope.training.checks.network_evidence import NetworkEvidence
from convscope.values.facts import Fact

FEWEST, BINS, LEAST_ERROR = 40, 8, 0.08
DRAWS, QUANTILE = 200, 0.99
"""So often are right answers drawn from the confidences, to know which error is due to chance."""


@check(
    "network",
    title="confidences are not probabilities",
    looks_for="On at least 40 images with classes the expected calibration error is above 8 %, and above what 99 of "
    "100 calibrated networks would have on as many images.",
    cause="training on after every training image was right, without label smoothing or mixing; or images that differ "
    "from those of the training",
    remedy="scores / temperature  # fitted on validation images, changes no answer\n"
    "nn.CrossEntropyLoss(label_smoothing=0.1)",
    severity="note",
)
def miscalibration(network: NetworkEvidence) -> list[Evidenced]:
    """Compare confidences and right answers in bins of equal numbers of images, and with chance."""
    rows = [row for row, index in enumerate(network.classes) if index is not None]
    if network.answers is None or len(rows) < FEWEST or not bool(network.own_scores.isfinite().all()):
        return []
    confidences = class_confidences(network.own_scores[rows], network.model.meaning, 0)
    if confidences is None:
        return []
    classes = torch.tensor([network.classes[row] for row in rows], dtype=torch.int64, device="cpu")
    confidence, right = confidences.amax(1).double(), (confidences.argmax(1) == classes).double()
    error, by_chance = calibration_error(confidence, right), _error_by_chance(confidence)
    if error < max(LEAST_ERROR, by_chance):
        return []
    evidence = Fact(
        "mean confidence {confidence}, accuracy {accuracy} on {images} images; expected calibration error {error}, at "
        "most {chance} by chance",
        confidence=f"{float(confidence.mean()):.1%}", accuracy=f"{float(right.mean()):.1%}", images=len(rows),
        error=f"{error:.1%}", chance=f"{by_chance:.1%}",
    )  # fmt: skip
    return [("", evidence, partial(_draw, confidence, right))]


def calibration_error(confidence: Tensor, right: Tensor) -> float:
    """The mean difference of confidence and share of right answers over bins of equally many images.

    Guo et al. (2017) take bins of equal width, of which few images leave most empty.
    """
    order = confidence.argsort(stable=True)
    gaps = [
        abs(float(confidence[part].mean() - right[part].mean())) * len(part)
        for part in order.tensor_split(min(BINS, len(order)))
    ]
    return sum(gaps) / len(order)


def _error_by_chance(confidence: Tensor) -> float:
    """The error that calibrated networks rarely exceed on as many images of these confidences."""
    generator = torch.Generator("cpu").manual_seed(0)
    shape = DRAWS, len(confidence)
    drawn = torch.rand(shape, generator=generator, dtype=torch.float64, device="cpu") < confidence
    return float(np.quantile([calibration_error(confidence, right.double()) for right in drawn], QUANTILE))


def _draw(confidence: Tensor, right: Tensor) -> Picture:
    """The reliability diagram."""
    parts = confidence.argsort(stable=True).tensor_split(BINS)
    confidences = np.array([float(confidence[part].mean()) for part in parts])
    accuracies = np.array([float(right[part].mean()) for part in parts])
    measured, diagonal = line_colours(2)
    lines = [
        PlotLine("this network", confidences, accuracies, measured),
        PlotLine("calibrated", np.array([0.0, 1.0]), np.array([0.0, 1.0]), diagonal),
    ]
    return draw_lines(lines, title="share of right answers by confidence", x_label="confidence")
