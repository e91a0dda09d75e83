"""Train the bundled shapes network on generated scenes and measure it on others: python scripts/train_shapes.py

Besides the accuracy it measures where the network looks: how often the class activation map of the right class peaks
at the object. A sample for explanations is only useful if there is something right to find.
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


def drawn(seeds: range) -> list[Scene]:
    with multiprocessing.Pool(THREADS) as pool:
        return pool.map(scene, seeds, chunksize=250)


def tensors(scenes: list[Scene]) -> tuple[Tensor, Tensor]:
    """Images, channels first, and labels; one copy, for there are many."""
    images = torch.from_numpy(np.stack([each.image for each in scenes])).permute(0, 3, 1, 2)
    return images, torch.tensor([each.label for each in scenes])


def normalised(images: Tensor) -> Tensor:
    return prepare(images, SHAPES_MEAN, SHAPES_STD)


def varied(images: Tensor) -> Tensor:
    """An eighth of the batch in each of the eight ways to turn and mirror a square, with its colours exchanged."""
    parts = [
        torch.rot90(part.flip(3) if way >= 4 else part, way % 4, dims=(2, 3))[:, torch.randperm(3)]
        for way, part in enumerate(images.chunk(8))
    ]
    return normalised(torch.cat(parts))


@torch.inference_mode()
def pointing(network: ShapesNet, scenes: list[Scene], margin: int = 8) -> float:
    """The share of scenes whose class activation map peaks within `margin` pixels of the object.

    The margin is one cell of the map. Without it rings and crescents would count as misses: their maps peak in the
    hollow, which is what sets them apart from a disc.
    """
    maps: list[Tensor] = []
    hook = network.layer3.register_forward_hook(lambda _module, _inputs, output: maps.append(output))
    images, labels = tensors(scenes)
    for part in images.split(250):
        network(normalised(part))
    hook.remove()
    cam = torch.einsum("nchw,nc->nhw", torch.cat(maps), network.fc.weight[labels])
    peak = F.interpolate(cam[:, None], images.shape[2:], mode="bilinear").flatten(1).argmax(1, keepdim=True)
    masks = torch.from_numpy(np.stack([each.mask for each in scenes])[:, None]).float()
    near = F.max_pool2d(masks, 2 * margin + 1, stride=1, padding=margin).flatten(1)
    return int(near.gather(1, peak).sum()) / len(scenes)


def main() -> None:
    torch.manual_seed(RECIPE.seed)
    torch.set_num_threads(THREADS)
    held_out = drawn(HELD_OUT_SEEDS)
    images, labels = tensors(drawn(TRAINING_SEEDS))
    print(f"drew {len(images)} scenes to train on and {len(held_out)} to be judged by", flush=True)
    network = ShapesNet()

    def measure(scenes: list[Scene]) -> float:
        return accuracy(network, *tensors(scenes), normalised)

    train(network, images, labels, RECIPE, varied, lambda: f"held out {measure(held_out[:500]):.4f}")
    measured = {"accuracy": measure(held_out), "held_out": len(held_out), "pointing": pointing(network, held_out)}
    save(network, "shapes", RECIPE, __file__, training_scenes=len(images), **measured)


if __name__ == "__main__":
    main()
