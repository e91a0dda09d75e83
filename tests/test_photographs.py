"""Really trained networks on real photographs: the explanation shows the animal, not the background."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import convscope as cs
from convscope.engine.inputs.specs import ImageInput

NETWORKS = {"squeezenet1_1": "squeezenet1_1.safetensors", "mobilenet_v2": "mobilenet_v2_tf2.safetensors"}
ANIMALS = ["blackswan_00000", "blackswan_00024", "camel_00020", "camel_00060", "cows_00050"]


@pytest.fixture(scope="module", params=NETWORKS)
def trained(request: pytest.FixtureRequest, assets: Path, torchvision: object) -> cs.Model:
    """A network with weights that were trained on ImageNet."""
    return cs.load(f"torchvision:{request.param}", weights=assets / "models" / NETWORKS[request.param])


def inside(mask: Path, spec: ImageInput) -> torch.Tensor:
    """The object's pixels in the prepared image."""
    plain = ImageInput(size=spec.size, resize=spec.resize, channels=1, interpolation="nearest")
    return plain.prepare(Image.open(mask).convert("L"))[0] > 0.5


@pytest.mark.parametrize("lens", ["grad_cam", "layer_cam", "hires_cam", "integrated_gradients"])
def test_the_evidence_lies_on_the_animal(trained: cs.Model, lens: str, assets: Path) -> None:
    """Where the animal is, evidence is denser than over the picture, even on a 7×7 map that spills over it."""
    entries = json.loads((assets / "masks.json").read_text("utf-8"))
    gains = []
    for name in (f"davis_{animal}" for animal in ANIMALS):
        target = entries[name]["objects"][0]["classes"][0]
        options = {"steps": 8} if lens == "integrated_gradients" else {}
        attribution = getattr(cs, lens)(trained, assets / entries[name]["image"], target=target, **options)
        assert isinstance(trained.input, ImageInput)
        mask = inside(assets / entries[name]["mask"], trained.input)
        evidence = attribution.values.clamp_min(0)
        gains.append(float(evidence[mask].sum() / evidence.sum() / mask.float().mean()))
    assert np.median(gains) > 1.3, gains


def test_two_animals_in_one_photograph_are_told_apart(trained: cs.Model, assets: Path) -> None:
    """The dog sits above the cat: evidence for the dog lies higher."""
    photo = assets / "photos/pytorch-grad-cam__both.png"
    heights = {}
    for animal, target in (("dog", "boxer"), ("cat", "tiger cat")):
        rows = cs.grad_cam(trained, photo, target=target, relu=True).values.sum(1)
        heights[animal] = float((rows * torch.arange(len(rows))).sum() / rows.sum())
    assert heights["dog"] < heights["cat"]


def test_the_right_answers_are_given(trained: cs.Model, assets: Path) -> None:
    photos = {"test_data__parrot.jpg": "macaw", "captum__zebra.jpg": "zebra", "hub__dog.jpg": "Samoyed"}
    answers = cs.predict(trained, [assets / "photos" / name for name in photos])
    assert [answer.labels[0] for answer in answers] == list(photos.values())
