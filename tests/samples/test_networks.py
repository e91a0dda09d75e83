"""Bundled networks recognize what they were trained for."""

from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from convscope.samples import digits, networks, shapes

WEIGHTS = Path(shapes.__file__).parent / "weights"


def _trained(network: nn.Module, name: str) -> nn.Module:
    network.load_state_dict(load_file(WEIGHTS / f"{name}.safetensors"))
    return network.eval()


def _normalised(images: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    return (images / 255 - torch.tensor(mean).view(1, -1, 1, 1)) / torch.tensor(std).view(1, -1, 1, 1)


def _shapes_batch(scenes: list[shapes.Scene]) -> tuple[Tensor, Tensor]:
    images = torch.tensor(np.stack([each.image for each in scenes])).permute(0, 3, 1, 2)
    labels = torch.tensor([each.label for each in scenes])
    return _normalised(images, networks.SHAPES_MEAN, networks.SHAPES_STD), labels


def test_the_last_maps_are_fine_enough_to_point_with() -> None:
    shapes_net, digits_net = networks.ShapesNet().eval(), networks.DigitsNet().eval()
    sizes = []
    shapes_net.layer3.register_forward_hook(lambda _module, _inputs, output: sizes.append(output.shape[2:]))
    digits_net.features.register_forward_hook(lambda _module, _inputs, output: sizes.append(output.shape[2:]))
    shapes_net(torch.zeros(1, 3, *networks.SHAPES_SIZE))
    digits_net(torch.zeros(1, 1, *networks.DIGITS_SIZE))
    assert sizes == [(12, 12), (8, 8)]


@torch.inference_mode()
def test_the_digits_network_reads_digits_it_never_saw() -> None:
    held_out = digits.held_out_set()
    batch = _normalised(torch.tensor(held_out.images)[:, None], networks.DIGITS_MEAN, networks.DIGITS_STD)
    batch = F.interpolate(batch, networks.DIGITS_SIZE, mode="bilinear")
    answers = _trained(networks.DigitsNet(), "digits")(batch).argmax(1)
    assert (answers == torch.tensor(held_out.labels)).float().mean() >= 0.98


@torch.inference_mode()
def test_the_shapes_network_names_objects_it_never_saw(scenes: list[shapes.Scene]) -> None:
    batch, labels = _shapes_batch(scenes)
    answers = _trained(networks.ShapesNet(), "shapes")(batch).argmax(1)
    assert (answers == labels).float().mean() >= 0.95


@torch.inference_mode()
def test_the_shapes_network_looks_at_the_object(scenes: list[shapes.Scene]) -> None:
    """Its class activation map peaks on the object or within a cell of it: rings and crescents peak in their hollow."""
    network = _trained(networks.ShapesNet(), "shapes")
    features: list[Tensor] = []
    network.get_submodule("layer3").register_forward_hook(lambda _module, _inputs, output: features.append(output))
    batch, labels = _shapes_batch(scenes)
    network(batch)
    maps = torch.einsum("nchw,nc->nhw", features[0], network.get_submodule("fc").weight[labels])
    peak = F.interpolate(maps[:, None], (96, 96), mode="bilinear").flatten(1).argmax(1)
    near = F.max_pool2d(torch.tensor(np.stack([each.mask for each in scenes]))[:, None].float(), 17, 1, 8).flatten(1)
    assert near.gather(1, peak[:, None]).mean() >= 0.95


def test_weights_are_small_and_tell_their_story() -> None:
    files = [WEIGHTS / "digits.safetensors", WEIGHTS / "shapes.safetensors"]
    assert sum(file.stat().st_size for file in files) < 3_000_000
    for file in files:
        with safe_open(file, "pt") as stored:
            story = stored.metadata()
        assert {"accuracy", "held_out", "seed", "epochs", "script", "torch"} <= story.keys()
        assert f"{100 * float(story['accuracy']):.2f} %" in (WEIGHTS / "README.md").read_text()
