"""How good drawn pictures are: whether one excites its channel more than any of 500 real inputs does, and how robustly.

Over 32 random live channels of `bundled:shapes` and of networks trained by others, for every parametrisation:
the share of channels whose picture beats the best real input, and the share of its excitation (median over channels)
that is left when it is moved by 4 pixels or saved as a JPEG of quality 75.
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
from benchmarks.measure import Row, said
from convscope.engine.optimize.canvas import canvas_of
from convscope.engine.optimize.loop import climb_all
from convscope.engine.optimize.objectives import channel
from convscope.engine.optimize.parametrizations import BY_NAME
from convscope.engine.optimize.prefix import Cut
from convscope.engine.optimize.transforms import BY_NAME as TRANSFORMS

ASSETS = Path(__file__).parents[2] / "shared/assets"
CHANNELS, REAL = 32, 500


@dataclass(frozen=True)
class Subject:
    """A trained network, real inputs of it, and the layers of which channels are drawn at random."""

    name: str
    model: cs.Model
    inputs: Tensor
    layers: tuple[str, ...]
    size: int


@dataclass(frozen=True)
class Outcome:
    """What pictures of some channels reach: per channel the score, that of the best real input, and what is left."""

    reached: Tensor
    real: Tensor
    moved: Tensor
    saved: Tensor

    @property
    def beaten(self) -> float:
        """The share of channels whose picture excites them more than any real input."""
        return float((self.reached > self.real).float().mean())

    def kept(self, of: Tensor) -> tuple[float, float]:
        """The median share of the excitation that is left, and of how many channels 60 % is."""
        shares = of / self.reached.clamp_min(1e-9)
        return float(shares.median()), float((shares >= 0.6).float().mean())


def subjects() -> Iterator[Subject]:
    """The bundled network, and those of the shared assets that are here."""
    yield shapes()
    if (ASSETS / "models").is_dir():
        yield cifar()
        yield squeezenet()


def shapes() -> Subject:
    """The bundled network and 500 of its scenes, none of which it was trained on."""
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
    """SqueezeNet trained on ImageNet and 500 random parts of photographs."""
    model = cs.load("torchvision:squeezenet1_1", weights=ASSETS / "models/squeezenet1_1.safetensors")
    files = [*(ASSETS / "photos").iterdir(), *(ASSETS / "imagenet_samples").iterdir()]
    photos = [Image.open(file).convert("RGB") for file in sorted(files)]
    rng = np.random.default_rng(0)
    inputs = model.prepare([part_of(photos[i % len(photos)], rng) for i in range(REAL)]).tensor
    return Subject("squeezenet1_1", model, inputs, ("features.3", "features.6", "features.8", "features.11"), 128)


def part_of(photo: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A random part of a photograph, of three fifths to the whole of its shorter side."""
    side = int(min(photo.size) * rng.uniform(0.6, 1))
    left, top = (int(rng.integers(0, length - side + 1)) for length in photo.size)
    return photo.crop((left, top, left + side, top + side))


def live_channels(subject: Subject, count: int = CHANNELS, seed: int = 0) -> list[tuple[str, int, float]]:
    """Random channels that some real input excites, each with the most that one does."""
    found: list[tuple[str, int, float]] = []
    with subject.model.untouched(), torch.no_grad():
        cut = Cut(subject.model, subject.layers, subject.inputs[:1])
        parts = [cut.read(chunk) for chunk in torch.split(subject.inputs, 20)]
        for layer in subject.layers:
            best = torch.cat([part[layer].flatten(2).mean(2) for part in parts]).amax(0)
            found += [(layer, unit, float(value)) for unit, value in enumerate(best) if value > 1e-3]
    order = np.random.default_rng(seed).permutation(len(found))
    return [found[i] for i in order[:count]]


def outcome(subject: Subject, channels: list[tuple[str, int, float]], pictures: Tensor) -> Outcome:
    """What pictures of channels reach as they are, moved, and saved as JPEG."""
    model, reached, moved, saved = subject.model, [], [], []
    with model.untouched(), torch.no_grad():
        for (layer, unit, _), picture in zip(channels, pictures, strict=True):
            shifts = [torch.roll(picture, by, (1, 2)) for by in ((4, 4), (-4, 4), (4, -4), (-4, -4))]
            batch = torch.stack([picture, jpeg(model, picture), *shifts])
            scores = channel(layer, unit).score(Cut(model, [layer], batch[:1]).read(batch))
            reached.append(scores[0])
            saved.append(scores[1])
            moved.append(scores[2:].mean())
    real = torch.tensor([value for _, _, value in channels])
    return Outcome(torch.stack(reached), real, torch.stack(moved), torch.stack(saved))


def jpeg(model: cs.Model, picture: Tensor, quality: int = 75) -> Tensor:
    """A prepared picture as it is after it was saved as a JPEG and opened again."""
    file = io.BytesIO()
    Image.fromarray(np.asarray(model.input.picture(picture))).save(file, "JPEG", quality=quality)
    pixels = torch.from_numpy(np.asarray(Image.open(file), np.float32).transpose(2, 0, 1).copy()) / 255
    black, white = model.input.level(0.0), model.input.level(1.0)
    return black + (white - black) * pixels


def drawn(subject: Subject, channels: list[tuple[str, int, float]], name: str, **how: Any) -> Tensor:
    """Pictures of channels under one parametrisation."""
    canvas = canvas_of(subject.model, subject.size)
    transform = TRANSFORMS[how.pop("transform", "standard")](canvas.extent)
    make: Callable[..., Any] = BY_NAME[name]
    with subject.model.untouched():
        objectives = [channel(layer, unit) for layer, unit, _ in channels]
        return climb_all(subject.model, objectives, make(canvas), transform=transform, **how).pictures


def excitation(rounds: int) -> list[Row]:
    """The table of all parametrisations."""
    rows: list[Row] = []
    for subject in subjects():
        channels = live_channels(subject)
        for name in BY_NAME:
            found = outcome(subject, channels, drawn(subject, channels, name))
            (moved, _), (saved, _) = found.kept(found.moved), found.kept(found.saved)
            text = f"{found.beaten:.0%} beat the best of {REAL}; {moved:.0%} left when moved, {saved:.0%} as JPEG"
            rows += said(
                [(f"Pictures of {len(channels)} channels of {subject.name}", name, text, "≥ 90 %, 60 %, 60 %")]
            )
    return rows
