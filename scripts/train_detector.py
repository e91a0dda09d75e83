"""Train the bundled detector on generated scenes and measure it on others: python scripts/train_detector.py

A cell of the truth is, per class, how near it is to the center of an object of that class (1 at the center), then the
distances to the edges of the box, and 1 where those count.
"""

import numpy as np
import torch
from torch import Tensor, nn
from training import Recipe, prepare, save, train

from convscope.engine.targets.tasks.detection import overlaps
from convscope.samples.scene_networks import SCENES_MEAN, SCENES_STD, STRIDE, DetectorNet
from convscope.samples.scenes import CLASSES, FIRST_TRAINING_SEED, SIZE, Scene, scene

RECIPE = Recipe(seed=0, epochs=5, batch_size=32, learning_rate=4e-3, weight_decay=0.02, label_smoothing=0.0)
TRAINING, HELD_OUT = 4500, 500
CELLS = SIZE // STRIDE


class Cells(nn.Module):
    """The detector before peaks are read from its cells, as one tensor (N, classes + 4, 16, 16)."""

    def __init__(self, detector: DetectorNet) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, images: Tensor) -> Tensor:
        return torch.cat(self.detector.cells(images), 1)


def images_of(scenes: list[Scene]) -> Tensor:
    return torch.from_numpy(np.stack([each.image for each in scenes])).permute(0, 3, 1, 2)


def truth_of(drawn: Scene) -> Tensor:
    truth = torch.zeros(len(CLASSES) + 5, CELLS, CELLS)
    y, x = torch.meshgrid(*[(torch.arange(CELLS) + 0.5) * STRIDE] * 2, indexing="ij")
    for each in drawn.objects:
        left, top, right, bottom = each.box
        column, row = (int((low + high) / 2 / STRIDE) for low, high in ((left, right), (top, bottom)))
        squares = (x - x[row, column]) ** 2 + (y - y[row, column]) ** 2
        truth[each.label] = torch.maximum(truth[each.label], torch.exp(-squares / (2 * STRIDE**2)))
        near = squares <= 2 * STRIDE**2
        distances = torch.stack([x - left, y - top, right - x, bottom - y])
        truth[len(CLASSES) : -1, near] = distances[:, near].clamp(min=0.5)
        truth[-1, near] = 1
    return truth


def loss(output: Tensor, truth: Tensor) -> Tensor:
    """The focal loss of centers (Law & Deng, 2018) and the L1 distance of edges."""
    logits, distances = output[:, : len(CLASSES)], output[:, len(CLASSES) :]
    heat, expected, counted = truth[:, : len(CLASSES)], truth[:, len(CLASSES) : -1], truth[:, -1:]
    scores, log, log_not = logits.sigmoid(), nn.functional.logsigmoid(logits), nn.functional.logsigmoid(-logits)
    centers = heat == 1
    focal = torch.where(centers, (1 - scores) ** 2 * log, (1 - heat) ** 4 * scores**2 * log_not)
    edges = ((distances - expected).abs() * counted).sum() / (4 * counted.sum())
    return -focal.sum() / centers.sum() + 0.3 * edges


def normalize(images: Tensor) -> Tensor:
    return prepare(images, SCENES_MEAN, SCENES_STD)


def augment(images: Tensor) -> Tensor:
    """Each eighth of the batch with its color channels permuted."""
    return normalize(torch.cat([part[:, torch.randperm(3)] for part in images.chunk(8)]))


@torch.inference_mode()
def measure(detector: DetectorNet, scenes: list[Scene]) -> dict[str, float]:
    """The share of objects with a box of their class at an overlap of 1/2, and of boxes with such an object."""
    detections = [d for part in images_of(scenes).split(100) for d in detector(normalize(part))]
    hits, objects, on_objects, boxes = 0, 0, 0, 0
    for drawn, detected in zip(scenes, detections, strict=True):
        objects, boxes = objects + len(drawn.objects), boxes + len(detected["boxes"])
        has_object = torch.zeros(len(detected["boxes"]), dtype=torch.bool)
        for each in drawn.objects:
            overlap = overlaps(detected["boxes"][None], torch.tensor([each.box]))[0]
            on_object = (overlap >= 0.5) & (detected["labels"] == each.label)
            hits += int(on_object.any())
            has_object |= on_object
        on_objects += int(has_object.sum())
    return {"accuracy": hits / objects, "boxes_with_object": on_objects / max(1, boxes)}


def main() -> None:
    torch.manual_seed(RECIPE.seed)
    held_out = [scene(seed) for seed in range(HELD_OUT)]
    training = [scene(seed) for seed in range(FIRST_TRAINING_SEED, FIRST_TRAINING_SEED + TRAINING)]
    detector = DetectorNet()
    truth = torch.stack([truth_of(each) for each in training])
    train(Cells(detector), images_of(training), truth, RECIPE, augment, lambda: str(measure(detector, held_out)), loss)
    save(
        detector,
        "detector",
        RECIPE,
        __file__,
        training_scenes=TRAINING,
        held_out=HELD_OUT,
        **measure(detector, held_out),
    )


if __name__ == "__main__":
    main()
