"""Quality of activation maximization: whether a picture activates its channel more than 500 real inputs, and robustly.

Over 32 random active channels of `bundled:shapes` and of networks trained by others, for every parametrization:
the share of channels whose picture exceeds the best real input, and the share of its activation (median over channels)
that remains when it is shifted by 4 pixels or saved as a JPEG of quality 75.
"""

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import convscope as cs
from benchmarks.measure import Row, report
from convscope.engine.optimize.loop import maximize_all
from convscope.engine.optimize.objectives import channel
from convscope.engine.optimize.parametrizations import BY_NAME
from convscope.engine.optimize.picture_space import picture_space_of
from convscope.engine.optimize.transforms import BY_NAME as TRANSFORMS
from convscope.engine.optimize.truncated_network import TruncatedNetwork

ASSETS = Path(__file__).parents[2] / "shared/assets"
CHANNELS, REAL = 32, 500


@dataclass(frozen=True)
class Subject:
    """A trained network, real inputs, and the layers from which channels are sampled."""

    name: str
    model: cs.Model
    inputs: Tensor
    layers: tuple[str, ...]
    size: int


@dataclass(frozen=True)
class Outcome:
    """Per channel the score of its picture, of the best real input, and of the picture shifted and as JPEG."""

    reached: Tensor
    real: Tensor
    shifted: Tensor
    compressed: Tensor

    @property
    def exceeding(self) -> float:
        """The share of channels whose picture activates them more than any real input."""
        return float((self.reached > self.real).float().mean())

    def remaining(self, scores: Tensor) -> tuple[float, float]:
        """The median share of the activation that remains, and the share of channels where it is at least 60 %."""
        shares = scores / self.reached.clamp_min(1e-9)
        return float(shares.median()), float((shares >= 0.6).float().mean())


def subjects() -> Iterator[Subject]:
    """The bundled network, and those of the shared assets if available."""
    yield shapes()
    if (ASSETS / "models").is_dir():
        yield cifar()
        yield squeezenet()


def shapes() -> Subject:
    """The bundled network and 500 of its scenes, none of them from its training set."""
    model = cs.load("bundled:shapes")
    inputs = model.prepare([f"sample:shapes/{seed}" for seed in range(REAL)]).tensor
    return Subject("bundled:shapes", model, inputs, ("layer1", "layer2", "layer3"), 96)


def cifar() -> Subject:
    """A ResNet-20 trained on CIFAR-10 and 500 of its test pictures."""
    from benchmarks.resnet20 import resnet20

    model = cs.Model(
        resnet20(ASSETS / "models/cifar_resnet20.safetensors"),
        input=cs.ImageInput(size=32, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
        name="cifar_resnet20",
    )
    pictures = np.load(ASSETS / "cifar10/cifar10_test_0_500.npz")["images"]
    return Subject("cifar_resnet20", model, model.prepare(list(pictures)).tensor, ("layer1", "layer2", "layer3"), 32)


def squeezenet() -> Subject:
    """SqueezeNet trained on ImageNet and 500 random crops of photographs."""
    model = cs.load("torchvision:squeezenet1_1", weights=ASSETS / "models/squeezenet1_1.safetensors")
    files = [*(ASSETS / "photos").iterdir(), *(ASSETS / "imagenet_samples").iterdir()]
    photos = [Image.open(file).convert("RGB") for file in sorted(files)]
    rng = np.random.default_rng(0)
    inputs = model.prepare([random_crop(photos[i % len(photos)], rng) for i in range(REAL)]).tensor
    return Subject("squeezenet1_1", model, inputs, ("features.3", "features.6", "features.8", "features.11"), 128)


def random_crop(photo: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A random square crop of a photograph, of 60 to 100 % of its shorter side."""
    side = int(min(photo.size) * rng.uniform(0.6, 1))
    left, top = (int(rng.integers(0, length - side + 1)) for length in photo.size)
    return photo.crop((left, top, left + side, top + side))


def live_channels(subject: Subject, count: int = CHANNELS, seed: int = 0) -> list[tuple[str, int, float]]:
    """Random channels that some real input activates, each with the largest activation."""
    channels: list[tuple[str, int, float]] = []
    with subject.model.preserve_state(), torch.no_grad():
        prefix = TruncatedNetwork(subject.model, subject.layers, subject.inputs[:1])
        activations = [prefix.activations(chunk) for chunk in torch.split(subject.inputs, 20)]
        for layer in subject.layers:
            best = torch.cat([chunk[layer].flatten(2).mean(2) for chunk in activations]).amax(0)
            channels += [(layer, unit, float(value)) for unit, value in enumerate(best) if value > 1e-3]
    order = np.random.default_rng(seed).permutation(len(channels))
    return [channels[i] for i in order[:count]]


def outcome(subject: Subject, channels: list[tuple[str, int, float]], pictures: Tensor) -> Outcome:
    """The scores of pictures of channels, and of the pictures shifted and saved as JPEG."""
    model, reached, shifted, compressed = subject.model, [], [], []
    with model.preserve_state(), torch.no_grad():
        for (layer, unit, _), picture in zip(channels, pictures, strict=True):
            shifts = [torch.roll(picture, offset, (1, 2)) for offset in ((4, 4), (-4, 4), (4, -4), (-4, -4))]
            batch = torch.stack([picture, jpeg(model, picture), *shifts])
            scores = channel(layer, unit).score(TruncatedNetwork(model, [layer], batch[:1]).activations(batch))
            reached.append(scores[0])
            compressed.append(scores[1])
            shifted.append(scores[2:].mean())
    real = torch.tensor([value for _, _, value in channels])
    return Outcome(torch.stack(reached), real, torch.stack(shifted), torch.stack(compressed))


def jpeg(model: cs.Model, picture: Tensor, quality: int = 75) -> Tensor:
    """A prepared picture after saving it as JPEG and loading it again."""
    file = io.BytesIO()
    Image.fromarray(np.asarray(model.input.picture(picture))).save(file, "JPEG", quality=quality)
    pixels = torch.from_numpy(np.asarray(Image.open(file), np.float32).transpose(2, 0, 1).copy()) / 255
    black, white = model.input.level(0.0), model.input.level(1.0)
    return black + (white - black) * pixels


def optimized_pictures(subject: Subject, channels: list[tuple[str, int, float]], name: str, **options: Any) -> Tensor:
    """Pictures of channels with one parametrization."""
    space = picture_space_of(subject.model, subject.size)
    transform = TRANSFORMS[options.pop("transform", "standard")](space.extent)
    make: Callable[..., Any] = BY_NAME[name]
    with subject.model.preserve_state():
        objectives = [channel(layer, unit) for layer, unit, _ in channels]
        return maximize_all(subject.model, objectives, make(space), transform=transform, **options).pictures


def excitation(rounds: int) -> list[Row]:
    """The table of all parametrizations."""
    rows: list[Row] = []
    for subject in subjects():
        channels = live_channels(subject)
        for name in BY_NAME:
            result = outcome(subject, channels, optimized_pictures(subject, channels, name))
            (shifted, _), (compressed, _) = result.remaining(result.shifted), result.remaining(result.compressed)
            text = (
                f"{result.exceeding:.0%} beat the best of {REAL}; "
                f"{shifted:.0%} left when moved, {compressed:.0%} as JPEG"
            )
            rows += report(
                [(f"Pictures of {len(channels)} channels of {subject.name}", name, text, "≥ 90 %, 60 %, 60 %")]
            )
    return rows
