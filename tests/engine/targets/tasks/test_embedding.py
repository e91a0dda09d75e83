"""Networks without a classifier: an embedding is explained by what it is similar to."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, normalize

import convscope as cs
from convscope.errors import InputError, OutputError
from convscope.render.captions import class_name
from tests.dense_networks import INPUT, SIDE, scene
from tests.nets import seeded


def network(last: nn.Module | None = None) -> nn.Module:
    body = lambda: nn.Sequential(  # noqa: E731
        nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), last or nn.Identity()
    )
    return seeded(body, seed=1).eval()


def photograph(path: Path, seed: int) -> Tensor:
    pixels = np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255


def test_only_a_network_without_a_head_and_labels_is_an_embedding() -> None:
    for module, labels, name in (
        (network(), None, "embedding"),
        (network(), list("abcdef"), "classification"),
        (network(nn.Linear(6, 6)), None, "classification"),
        (network(nn.ReLU()), None, "classification"),
    ):
        model = cs.Model(module, input=INPUT, labels=labels)
        cs.predict(model, scene())
        assert model.task is not None
        assert model.task.name == name


def test_the_target_is_the_cosine_to_the_embedding_of_another_image(tmp_path: Path) -> None:
    other = photograph(tmp_path / "other.png", 3)
    value = cs.integrated_gradients(cs.Model(network(), input=INPUT), scene(), target=f"like:{tmp_path / 'other.png'}")
    assert value.score == pytest.approx(
        float(cosine_similarity(network()(scene()), network()(other)).detach()), abs=1e-5
    )
    assert value.target == value.record.parameters["target"] == f"like:{tmp_path / 'other.png'}"


def test_a_folder_is_the_mean_of_its_directions_and_a_file_a_vector(tmp_path: Path) -> None:
    (folder := tmp_path / "photos").mkdir()
    images = [photograph(folder / f"{seed}.png", seed) for seed in range(3)]
    mean = torch.cat([normalize(network()(image)) for image in images]).mean(0).detach()
    np.save(tmp_path / "mean.npy", 7 * mean.numpy())
    expected = float(cosine_similarity(network()(scene()), mean[None]).detach())
    for address in (folder, tmp_path / "mean.npy"):
        value = cs.saliency(cs.Model(network(), input=INPUT), scene(), target=f"like:{address}")
        assert value.score == pytest.approx(expected, abs=1e-5)


def test_without_a_target_the_length_along_its_own_direction_is_explained() -> None:
    image = scene().requires_grad_()
    embedding = network()(image)
    (gradient,) = torch.autograd.grad(embedding.norm(), image)
    value = cs.saliency(cs.Model(network(), input=INPUT), scene())
    assert value.score == pytest.approx(float(embedding.detach().norm()))
    torch.testing.assert_close(value.channels, gradient[0])
    assert cs.grad_cam(cs.Model(network(), input=INPUT), scene()).layers == ("1",)
    prediction: Any = cs.predict(cs.Model(network(), input=INPUT), scene())
    largest = int(embedding[0].argmax())
    assert prediction.labels[0] == class_name(prediction.labels[0], largest) == f"number {largest}"


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "short.npy", np.ones(3))
    np.save(tmp_path / "zero.npy", np.zeros(6))
    (tmp_path / "empty").mkdir()
    model = cs.Model(network(), input=INPUT)
    for target, kind, message in (
        ("like:", InputError, "like: names an image"),
        ("like:absent.png", InputError, "no such file: 'absent.png'"),
        (f"like:{tmp_path / 'absent.npy'}", InputError, "is no vector saved as .npy"),
        (f"like:{tmp_path / 'short.npy'}", OutputError, "holds 3 numbers, and an embedding of this network 6"),
        (f"like:{tmp_path / 'zero.npy'}", InputError, "there is no direction to it"),
        (f"like:{tmp_path / 'empty'}", InputError, "names a folder without images"),
    ):
        with pytest.raises(kind, match=message):
            cs.saliency(model, scene(), target=target)
