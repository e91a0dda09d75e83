"""What the twins look at: networks of different build, each with two images, two classes and two layers."""

import functools
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

import convscope as cs
from tests.conftest import ASSETS, picture_model
from tests.nets import MEAN, SIDE, STD, FlattenNet, PlainNet, ResidualNet, SmoothNet, seeded
from tests.twins.slow import Slow

TINY = ("plain", "residual", "flatten", "signal", "volume")
BUNDLED = ("digits", "shapes")
LARGE = ("resnet18", "squeezenet1_1", "squeezenet1_1, trained")
POOLED = ("plain", "residual", "signal", "volume", "digits", "shapes", "resnet18")
"""Those that end in global average pooling and one linear layer."""


@dataclass(frozen=True)
class Subject:
    """A model, two prepared images, the class to explain of each, and two layers: one midway, one last.

    None of the layers is overwritten in place by what follows, since there the peers are wrong.
    """

    model: cs.Model
    images: Tensor
    layers: tuple[str, str]
    targets: tuple[int, int] = (2, 1)

    @functools.cached_property
    def slow(self) -> list[Slow]:
        """The twins' view of each image."""
        return [Slow(self.model.module, x, t) for x, t in zip(self.images, self.targets, strict=True)]

    def explained(self, lens: str, **parameters: Any) -> list[Any]:
        """The values of the lens for both images, each with its own class."""
        if "target" in getattr(cs, lens).declaration.inputs:
            parameters["target"] = list(self.targets)
        attributions: list[Any] = getattr(cs, lens)(self.model, self.images, **parameters)
        return attributions

    def explained_first(self, lens: str, **parameters: Any) -> Any:
        """The value of a lens that takes a target, for the first image alone."""
        return getattr(cs, lens)(self.model, self.images[:1], target=self.targets[0], **parameters)


@functools.cache
def subject_called(name: str) -> Subject:
    """The subject of that name, built once; the first call of a lens checks a network on inputs of its own."""
    subject = _build(name)
    cs.saliency(subject.model, subject.images, target=list(subject.targets))
    return subject


def _build(name: str) -> Subject:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        match name:
            case "plain":
                return Subject(picture_model(seeded(PlainNet)), _colours(SIDE), ("features.1", "features"))
            case "residual":
                return Subject(picture_model(seeded(ResidualNet)), _colours(SIDE), ("bn2", "relu"))
            case "flatten":
                return Subject(picture_model(seeded(FlattenNet)), _colours(SIDE), ("features.1", "features"))
            case "smooth":
                return Subject(picture_model(seeded(SmoothNet)), _colours(SIDE), ("features.1", "features"))
            case "signal":
                model = cs.Model(seeded(PlainNet, 1, 2), input=cs.TensorInput((2, 24)))
                return Subject(model, torch.randn(2, 2, 24), ("features.1", "features"))
            case "volume":
                model = cs.Model(seeded(PlainNet, 3, 1), input=cs.TensorInput((1, 6, 8, 10)))
                return Subject(model, torch.randn(2, 1, 6, 8, 10), ("features.1", "features"))
            case "digits":
                return _bundled("digits", ("sample:digits/3", "sample:digits/8"), ("features.4", "features"))
            case "shapes":
                return _bundled("shapes", ("sample:shapes/7", "sample:shapes/12"), ("layer2", "layer3"))
            case "resnet18":
                return Subject(cs.load("torchvision:resnet18?weights=none"), _colours(96), ("layer2", "layer4"))
            case "squeezenet1_1":
                model = cs.load("torchvision:squeezenet1_1?weights=none")
                images = _colours(64)  # of the random classes most are dead: only the answer itself has a gradient
                first, second = model.module(images).argmax(1).tolist()
                return Subject(model, images, ("features.7", "features"), (first, second))
            case "squeezenet1_1, trained":
                return _trained_squeezenet()
    raise LookupError(name)


def _colours(side: int) -> Tensor:
    """Two pictures of random colours, prepared."""
    return (torch.rand(2, 3, side, side) - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


def _bundled(name: str, samples: tuple[str, ...], layers: tuple[str, str]) -> Subject:
    model = cs.load(f"bundled:{name}")
    return Subject(model, model.prepare(list(samples)).tensor, layers)


def _trained_squeezenet() -> Subject:
    """A network as people use it, explaining what it sees on two photographs."""
    if not ASSETS.is_dir():
        pytest.skip(f"the shared assets are not here ({ASSETS})")
    model = cs.load("torchvision:squeezenet1_1", weights=ASSETS / "models/squeezenet1_1.safetensors")
    photos = [ASSETS / "photos/test_data__cat_720p.jpg", ASSETS / "photos/test_data__bird.bmp"]
    images = model.prepare(photos).tensor[:, :, 64:160, 64:160]
    return Subject(model, images, ("features.7", "features"), targets=(285, 19))
