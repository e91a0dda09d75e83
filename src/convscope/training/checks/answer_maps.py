"""Where a network looks when it answers a class: Grad-CAM over several images of each answer."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from convscope import render
from convscope.catalogue import call
from convscope.engine.inputs.specs import ImageInput
from convscope.render.rendered_picture import Picture
from convscope.values import Attribution
from convscope.values.facts import Fact

if TYPE_CHECKING:
    from convscope.training.checks.network_evidence import NetworkEvidence

MOST_PER_ANSWER, FEWEST_PER_ANSWER, SMALLEST_SIDE = 12, 3, 16
"""So many images of each answer are explained; with fewer, or with smaller images, nothing is said of a class."""


@dataclass(frozen=True)
class AnswerMaps:
    """Maps of the images that were explained.

    Attributes:
        answers: the answer to each of them (R,).
        rows: their index among the images of the network (R,).
        examples: Grad-CAM for the answer.
        mass: the positive part of each map (R, height, width), of sum one; zero for a map that has none.
    """

    answers: Tensor
    rows: Tensor
    examples: list[Attribution]
    mass: Tensor

    def classes(self) -> list[int]:
        """The answers that were given often enough."""
        counts = torch.bincount(self.answers).tolist()
        return [answer for answer, count in enumerate(counts) if count >= FEWEST_PER_ANSWER]

    def draw(self, answer: int) -> Picture:
        """The mean map of an answer over the first of its images."""
        own = self.answers == answer
        example = self.examples[int(own.nonzero()[0])]
        notes = {"averaged over": Fact("{count} images that get this answer", count=int(own.sum()))}
        return render.picture(replace(example, values=self.mass[own].mean(0), layer_values={}, notes=notes, score=None))


def maps_of_answers(network: "NetworkEvidence") -> AnswerMaps | None:
    """Explain the answers to some images of each class; None for other inputs, outputs or sizes."""
    answers, images = network.answers, network.tensor
    is_of_images = isinstance(network.model.input, ImageInput) and images.ndim == 4
    if answers is None or not is_of_images or min(images.shape[2:]) < SMALLEST_SIDE:
        return None
    rows = torch.cat([(answers == answer).nonzero()[:MOST_PER_ANSWER, 0] for answer in sorted(set(answers.tolist()))])
    values: list[Attribution] | Attribution = call("grad-cam", network.model, images[rows.to(images.device)])
    examples = values if isinstance(values, list) else [values]
    maps = torch.stack([example.values for example in examples]).clamp_min(0)
    mass = maps / maps.sum((1, 2), keepdim=True).clamp_min(1e-12)
    return AnswerMaps(answers[rows], rows, examples, mass)
