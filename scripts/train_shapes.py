"""Train the bundled shapes network on generated scenes and measure it on others: python scripts/train_shapes.py

Besides the accuracy it measures localization: how often the class activation map of the correct class peaks at the
object. A network for examples of explanations is only useful if the correct explanation is known.
"""

import multiprocessing

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from training import THREADS, Recipe, accuracy, prepare, save, train

from convscope.samples.networks import SHAPES_MEAN, SHAPES_STD, ShapesNet
from convscope.samples.shapes import FIRST_TRAINING_SEED, Scene, scene

TRAINING_SEEDS = range(FIRST_TRAINING_SEED, FIRST_TRAINING_SEED + 30_000)
HELD_OUT_SEEDS = range(2_000)
RECIPE = Recipe(
    seed=0,
    epochs=16,
    batch_size=64,
    learning_rate=4e-3,
    weight_decay=0.02,
    label_smoothing=0.05,
    precision=torch.bfloat16,
)


def generate_scenes(seeds: range) -> list[Scene]:
    with multiprocessing.Pool(THREADS) as pool:
        return pool.map(scene, seeds, chunksize=250)


def tensors(scenes: list[Scene]) -> tuple[Tensor, Tensor]:
    """Images, channels first, and labels; the images are copied once, since there are many."""
    images = torch.from_numpy(np.stack([scene.image for scene in scenes])).permute(0, 3, 1, 2)
    return images, torch.tensor([scene.label for scene in scenes])


def normalize(images: Tensor) -> Tensor:
    return prepare(images, SHAPES_MEAN, SHAPES_STD)


def augment(images: Tensor) -> Tensor:
    """Each eighth of the batch in another of the eight symmetries of the square, with color channels permuted."""
    parts = [
        torch.rot90(part.flip(3) if symmetry >= 4 else part, symmetry % 4, dims=(2, 3))[:, torch.randperm(3)]
        for symmetry, part in enumerate(images.chunk(8))
    ]
    return normalize(torch.cat(parts))


@torch.inference_mode()
def pointing(network: ShapesNet, scenes: list[Scene], margin: int = 8) -> float:
    """The share of scenes whose class activation map peaks within `margin` pixels of the object.

    The margin is one cell of the map. Without it rings and crescents would count as misses: their maps peak in the
    hole, which distinguishes them from a disc.
    """
    maps: list[Tensor] = []
    hook = network.layer3.register_forward_hook(lambda _module, _inputs, output: maps.append(output))
    images, labels = tensors(scenes)
    for part in images.split(250):
        network(normalize(part))
    hook.remove()
    cam = torch.einsum("nchw,nc->nhw", torch.cat(maps), network.fc.weight[labels])
    peak = F.interpolate(cam[:, None], images.shape[2:], mode="bilinear").flatten(1).argmax(1, keepdim=True)
    masks = torch.from_numpy(np.stack([scene.mask for scene in scenes])[:, None]).float()
    near = F.max_pool2d(masks, 2 * margin + 1, stride=1, padding=margin).flatten(1)
    return int(near.gather(1, peak).sum()) / len(scenes)


def main() -> None:
    torch.manual_seed(RECIPE.seed)
    torch.set_num_threads(THREADS)
    held_out = generate_scenes(HELD_OUT_SEEDS)
    images, labels = tensors(generate_scenes(TRAINING_SEEDS))
    print(f"generated {len(images)} training scenes and {len(held_out)} held-out scenes", flush=True)
    network = ShapesNet()

    def measure(scenes: list[Scene]) -> float:
        return accuracy(network, *tensors(scenes), normalize)

    train(network, images, labels, RECIPE, augment, lambda: f"held out {measure(held_out[:500]):.4f}")
    measured = {"accuracy": measure(held_out), "held_out": len(held_out), "pointing": pointing(network, held_out)}
    save(network, "shapes", RECIPE, __file__, training_scenes=len(images), **measured)


if __name__ == "__main__":
    main()
