"""Train the bundled segmenter on generated scenes and measure it on others: python scripts/train_segmenter.py"""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from training import Recipe, prepare, save, train

from convscope.samples.scene_networks import SCENES_MEAN, SCENES_STD, SegmenterNet
from convscope.samples.scenes import CLASSES, FIRST_TRAINING_SEED, scene

RECIPE = Recipe(seed=0, epochs=5, batch_size=32, learning_rate=6e-3, weight_decay=0.02, label_smoothing=0.0)
TRAINING, HELD_OUT = 4000, 500


def draw(seeds: range) -> tuple[Tensor, Tensor]:
    """Images, channels first, and the class of each pixel, of which 0 is the background."""
    scenes = [scene(seed) for seed in seeds]
    images = torch.from_numpy(np.stack([each.image for each in scenes])).permute(0, 3, 1, 2)
    return images, torch.from_numpy(np.stack([each.classes.astype(np.uint8) for each in scenes]))


def normalize(images: Tensor) -> Tensor:
    return prepare(images, SCENES_MEAN, SCENES_STD)


def augment(images: Tensor) -> Tensor:
    """Each eighth of the batch with its color channels permuted."""
    return normalize(torch.cat([part[:, torch.randperm(3)] for part in images.chunk(8)]))


def loss(output: Tensor, classes: Tensor) -> Tensor:
    return F.cross_entropy(output, classes.long())


@torch.inference_mode()
def measure(network: SegmenterNet, images: Tensor, classes: Tensor) -> dict[str, float]:
    """The share of pixels with their class, and the mean over classes of intersection over union."""
    predicted = torch.cat([network(normalize(part)).argmax(1) for part in images.split(100)])
    overlaps = []
    for index in range(len(CLASSES) + 1):
        own, true = predicted == index, classes == index
        overlaps.append(float((own & true).sum() / (own | true).sum()))
    return {"accuracy": float((predicted == classes).float().mean()), "mean_iou": sum(overlaps) / len(overlaps)}


def main() -> None:
    torch.manual_seed(RECIPE.seed)
    held_out = draw(range(HELD_OUT))
    images, classes = draw(range(FIRST_TRAINING_SEED, FIRST_TRAINING_SEED + TRAINING))
    network = SegmenterNet()
    train(network, images, classes, RECIPE, augment, lambda: str(measure(network, *held_out)), loss)
    save(
        network,
        "segmenter",
        RECIPE,
        __file__,
        training_scenes=TRAINING,
        held_out=HELD_OUT,
        **measure(network, *held_out),
    )


if __name__ == "__main__":
    main()
