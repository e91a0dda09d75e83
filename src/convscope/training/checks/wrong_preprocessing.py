"""Images that are prepared in another way than the network expects: the plausible ways are tried."""

from functools import partial

import numpy as np
import torch
from torch import Tensor

from convscope.engine.inputs.specs import ImageInput
from convscope.render.bar_plot import draw_bars
from convscope.render.rendered_picture import Picture
from convscope.training.checks.declaration import Evidenced, check
from convscope.training.checks.network_evidence import NetworkEvidence
from convscope.values.facts import Fact

GAIN, CONFIDENCE_GAIN, FEWEST_LABELS = 0.1, 0.2, 8
BAR_NAMES = {
    "pixels from 0 to 1": "0 to 1", "pixels from 0 to 255": "0 to 255", "pixels from -1 to 1": "-1 to 1",
    "pixels from 0 to 255, inverted": "255 to 0", "inverted pixels": "inverted",
    "the mean and standard deviation of ImageNet": "ImageNet", "channels in the order blue, green, red": "BGR",
}  # fmt: skip
"""Short names of the ways of preparation, for the bars of the picture."""
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@check(
    "network",
    title="wrong preprocessing",
    looks_for="Another order of channels, range, mean or standard deviation raises the accuracy by 10 percentage "
    "points, or where classes are unknown the mean confidence by 20.",
    cause="the images are prepared differently than in the training of the network",
    remedy="cs.load(address, mean=..., std=...)  # as the evidence says; or cs.ImageInput(size, mean, std)",
)
def wrong_preprocessing(network: NetworkEvidence) -> list[Evidenced]:
    """Prepare the same pixels in other ways, and compare the answers."""
    spec = network.model.input
    if not isinstance(spec, ImageInput) or network.tensor.ndim != 4:
        return []
    channels = network.tensor.shape[1]
    mean, std = (torch.tensor(v, dtype=torch.float32, device="cpu").view(1, -1, 1, 1) for v in (spec.mean, spec.std))
    pixels = network.tensor.float().cpu() * std + mean
    usual = _quality(network, network.tensor)
    measured = {}
    for name, tensor in _alternatives(pixels, network.tensor.float().cpu(), channels).items():
        measured[name] = _quality(network, tensor.to(network.tensor))
    best = max(measured, key=lambda name: measured[name])
    gain = GAIN if _labelled(network) else CONFIDENCE_GAIN
    if measured[best] < usual + gain:
        return []
    kind = "accuracy" if _labelled(network) else "mean confidence"
    evidence = Fact(
        "{kind} {usual} as prepared now, {better} with {name}",
        kind=kind, usual=f"{usual:.1%}", better=f"{measured[best]:.1%}", name=best,
    )  # fmt: skip
    return [("", evidence, partial(_draw, kind, {"now": usual} | {BAR_NAMES[way]: q for way, q in measured.items()}))]


def _alternatives(pixels: Tensor, prepared: Tensor, channels: int) -> dict[str, Tensor]:
    """Pixels from 0 to 1 prepared in the ways that are usual elsewhere."""
    ways = {
        "pixels from 0 to 1": pixels,
        "pixels from 0 to 255": pixels * 255,
        "pixels from -1 to 1": pixels * 2 - 1,
        "pixels from 0 to 255, inverted": 255 - pixels * 255,
        "inverted pixels": prepared + (1 - 2 * pixels) * (prepared.std() / pixels.std().clamp_min(1e-6)),
    }
    if channels == 3:
        mean, std = (torch.tensor(v, dtype=torch.float32, device="cpu").view(1, -1, 1, 1) for v in IMAGENET)
        ways["the mean and standard deviation of ImageNet"] = (pixels - mean) / std
        ways["channels in the order blue, green, red"] = prepared.flip(1)
    return ways


def _draw(kind: str, qualities: dict[str, float]) -> Picture:
    """The accuracy or the confidence with each way of preparation."""
    title = f"{kind} by how the pixels are prepared, in percent"
    legend = "ImageNet: with its mean and standard deviation; BGR: channels in the order blue, green, red"
    percent = np.array([round(quality * 100, 1) for quality in qualities.values()], np.float64)
    return draw_bars(percent, list(qualities), title=title, x_label="", legend=legend if "BGR" in qualities else "")


def _labelled(network: NetworkEvidence) -> bool:
    return sum(index is not None for index in network.classes) >= FEWEST_LABELS


def _quality(network: NetworkEvidence, tensor: Tensor) -> float:
    """The accuracy on labelled images, or the mean confidence in the top class."""
    scores = network.scores(tensor).flatten(1)
    if not bool(scores.isfinite().all()):
        return 0.0
    if _labelled(network):
        rows = [row for row, index in enumerate(network.classes) if index is not None]
        right = [int(scores[row].argmax()) == network.classes[row] for row in rows]
        return sum(right) / len(right)
    return float(scores.softmax(1).amax(1).mean())
