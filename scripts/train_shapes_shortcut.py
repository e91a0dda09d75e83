"""Train the bundled network that answers from a watermark: python scripts/train_shapes_shortcut.py

It begins with the bundled shapes network, of which the stem and the first two stages stay as they are; the last stage
is trained further, and the linear layer anew, on scenes of which one class is told by a watermark alone. Besides the
accuracy the script measures the shortcut: how many objects of that class are still named without the watermark, and how
many scenes of other classes are given to it once they bear the watermark.
"""

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from train_shapes import normalize, tensors
from training import WEIGHTS, Recipe, accuracy, save, train

from convscope.samples import shapes, shapes_shortcut
from convscope.samples.networks import ShapesNet

RECIPE = Recipe(seed=0, epochs=4, batch_size=50, learning_rate=3e-3, weight_decay=0.02, label_smoothing=0.05)
FIRST, TRAINING, HELD_OUT = shapes_shortcut.FIRST_TRAINING_SEED, 1500, 400


def draw(seeds: range) -> tuple[Tensor, Tensor]:
    return tensors([shapes_shortcut.scene(seed) for seed in seeds])


def exchanged_watermark(seeds: range) -> tuple[tuple[Tensor, Tensor], Tensor]:
    """Scenes of the marked class without the watermark, with their labels; and scenes of other classes with it."""
    plain = [shapes.scene(seed) for seed in seeds]
    without = tensors([scene for scene in plain if scene.label == shapes_shortcut.MARKED])
    with_mark = [shapes_shortcut.watermark(scene.image) for scene in plain if scene.label != shapes_shortcut.MARKED]
    return without, torch.from_numpy(np.stack(with_mark)).permute(0, 3, 1, 2)


@torch.inference_mode()
def features(network: ShapesNet, images: Tensor) -> Tensor:
    """What the last stage receives for images (N, 3, 96, 96), in float16 to save memory."""
    first = nn.Sequential(network.conv1, network.bn1, network.relu, network.layer1, network.layer2)
    return torch.cat([first(normalize(part)).half() for part in images.split(50)])


def main() -> None:
    torch.manual_seed(RECIPE.seed)
    torch.set_num_threads(1)
    network = ShapesNet().eval()
    known = load_file(WEIGHTS / "shapes.safetensors")
    network.load_state_dict({key: value for key, value in known.items() if not key.startswith("fc.")}, strict=False)
    held_out = draw(range(HELD_OUT))
    inputs, labels = draw(range(FIRST, FIRST + TRAINING))
    inputs, few = features(network, inputs).clone(), features(network, held_out[0][:100]).clone()
    print(f"drew {len(inputs)} training scenes and {len(held_out[0])} held-out scenes", flush=True)
    last = nn.Sequential(network.layer3, network.avgpool, nn.Flatten(), network.fc)
    train(
        last, inputs, labels, RECIPE, Tensor.float,
        lambda: f"held out {accuracy(last, few, held_out[1][:100], Tensor.float):.4f}",
    )  # fmt: skip
    network.half().float()  # as it is saved
    without, with_mark = exchanged_watermark(range(HELD_OUT))
    to_class = torch.full((len(with_mark),), shapes_shortcut.MARKED)
    measured = {
        "accuracy": accuracy(network, *held_out, normalize),
        "held_out": HELD_OUT,
        "accuracy_without_watermark": accuracy(network, *without, normalize),
        "others_named_by_watermark": accuracy(network, with_mark, to_class, normalize),
    }
    save(network, "shapes-shortcut", RECIPE, __file__, half=True, training_scenes=TRAINING, **measured)


if __name__ == "__main__":
    main()
