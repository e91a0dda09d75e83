"""The bundled samples are what they say: fixed, varied, with true masks, and networks as good as their README says."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from convscope.samples import digits, networks, photos, shapes

WEIGHTS = Path(shapes.__file__).parent / "weights"
SCENES = 300


@pytest.fixture(scope="module")
def scenes() -> list[shapes.Scene]:
    return [shapes.scene(seed) for seed in range(SCENES)]


def _trained(network: nn.Module, name: str) -> nn.Module:
    network.load_state_dict(load_file(WEIGHTS / f"{name}.safetensors"))
    return network.eval()


def _normalised(images: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    return (images / 255 - torch.tensor(mean).view(1, -1, 1, 1)) / torch.tensor(std).view(1, -1, 1, 1)


def _shapes_batch(scenes: list[shapes.Scene]) -> tuple[Tensor, Tensor]:
    images = torch.tensor(np.stack([each.image for each in scenes])).permute(0, 3, 1, 2)
    labels = torch.tensor([each.label for each in scenes])
    return _normalised(images, networks.SHAPES_MEAN, networks.SHAPES_STD), labels


# Scenes


def test_a_scene_follows_from_its_seed_alone() -> None:
    first = shapes.scene(7)
    np.random.default_rng(0).random(5)
    shapes.scene(8)
    again = shapes.scene(7)
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.mask, again.mask)
    assert not np.array_equal(first.image, shapes.scene(17).image)


def test_scenes_have_the_promised_form(scenes: list[shapes.Scene]) -> None:
    for each in scenes:
        assert each.image.shape == (96, 96, 3)
        assert each.image.dtype == np.uint8
        assert each.mask.shape == (96, 96)
        assert each.mask.dtype == np.bool_


def test_any_run_of_seeds_holds_every_class_equally_often(scenes: list[shapes.Scene]) -> None:
    assert np.bincount([each.label for each in scenes]).tolist() == [SCENES // 10] * len(shapes.CLASSES)
    assert {shapes.scene(seed).label for seed in range(1_000_003, 1_000_013)} == set(range(10))


def test_the_object_is_one_piece_well_inside_the_picture(scenes: list[shapes.Scene]) -> None:
    for each in scenes:
        border = np.concatenate([each.mask[0], each.mask[-1], each.mask[:, 0], each.mask[:, -1]])
        assert not border.any()
        assert 0.012 < each.mask.mean() < 0.25


def test_the_mask_is_where_the_object_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw scenes in white with a black object, without uneven light, blur and grain: the mask is what is black."""
    monkeypatch.setattr(shapes, "_add_camera_effects", lambda _rng, canvas: np.round(canvas * 255).astype(np.uint8))
    monkeypatch.setattr(shapes, "_object_colors", lambda _rng, _around: np.zeros((2, 3)))
    monkeypatch.setattr(shapes, "_palette", lambda _rng, count: np.ones((count, 3)))
    for seed in range(30):
        drawn = shapes.scene(seed)
        assert np.array_equal(drawn.image.mean(axis=2) < 128, drawn.mask)


def test_the_object_stands_out_from_what_surrounds_it(scenes: list[shapes.Scene]) -> None:
    """Its mean colour differs visibly, in one channel at least, from that of a narrow band around it."""
    for each in scenes:
        grown = F.max_pool2d(torch.tensor(each.mask)[None, None].float(), 9, stride=1, padding=4)[0, 0].numpy() > 0
        inside, around = each.image[each.mask].mean(axis=0), each.image[grown & ~each.mask].mean(axis=0)
        assert np.abs(inside - around).max() > 30


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(ValueError, match="non-negative"):
        shapes.scene(-1)


# Digits and photographs


def test_the_held_out_digits_are_apart_from_the_training_digits() -> None:
    from sklearn.datasets import load_digits

    training, held_out = digits.training_set(), digits.held_out_set()
    assert len(held_out.images) >= 360
    assert len(training.images) + len(held_out.images) == len(load_digits().images)
    known = {image.tobytes() for image in training.images}
    assert not any(image.tobytes() in known for image in held_out.images)


def test_a_held_out_digit_is_one_of_the_set() -> None:
    image, label = digits.held_out(5)
    assert image.shape == (8, 8)
    assert image.dtype == np.uint8
    assert np.array_equal(image, digits.held_out_set().images[5])
    assert digits.CLASSES[label] == str(digits.held_out_set().labels[5])


def test_the_digits_cannot_be_changed_for_others() -> None:
    with pytest.raises(ValueError, match="read-only"):
        digits.held_out(0)[0][0, 0] = 1


@pytest.mark.parametrize("index", [-1, 400])
def test_a_digit_that_does_not_exist_is_refused(index: int) -> None:
    with pytest.raises(IndexError, match=f"no held-out digit {index}; there are 400"):
        digits.held_out(index)


@pytest.mark.parametrize("name", photos.NAMES)
def test_photographs_are_colour_pictures(name: str) -> None:
    picture = photos.photo(name)
    assert picture.shape == (427, 640, 3)
    assert picture.dtype == np.uint8


def test_an_unknown_photograph_names_those_there_are() -> None:
    with pytest.raises(LookupError, match="no photograph 'cat'; there are china and flower"):
        photos.photo("cat")


# Networks


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
