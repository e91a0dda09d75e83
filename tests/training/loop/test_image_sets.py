"""Images from every kind of file; damaged and foreign files are one sentence."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import convscope as cs
from convscope.engine.inputs.image_io import open_image
from convscope.training.loop.image_sets import SHAPES_SIDE, open_image_set


def write_idx(path: Path, array: np.ndarray) -> None:
    data = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def write_classes(folder: Path, classes: dict[str, int]) -> None:
    for value, (name, count) in enumerate(classes.items()):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (9, 7), (40 * value, 10 * number, 0)).save(folder / name / f"{number}.png")


def test_mnist_is_read_from_its_files(assets: Path) -> None:
    images = open_image_set("mnist", assets / "mnist")
    assert (len(images.training), len(images.validation)) == (60_000, 10_000)
    assert images.training.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert images.classes == tuple("0123456789")
    assert [*images.statistics()[0], *images.statistics()[1]] == pytest.approx([0.1307, 0.3081], abs=1e-4)


def test_cifar_is_read_from_an_npz_file(assets: Path) -> None:
    images = open_image_set("cifar", assets / "cifar10")
    assert images.training.images.shape[1:] == (3, 32, 32)
    assert len(images.training) + len(images.validation) == 500


def test_idx_files_without_a_test_part_hold_some_images_out(tmp_path: Path) -> None:
    write_idx(tmp_path / "train-images-idx3-ubyte.gz", np.zeros((20, 5, 5)))
    write_idx(tmp_path / "train-labels-idx1-ubyte", np.arange(20) % 3)
    images = open_image_set(str(tmp_path))
    assert (len(images.training), len(images.validation)) == (17, 3)


def test_class_folders_with_a_broken_image(tmp_path: Path) -> None:
    write_classes(tmp_path, {"cat": 8, "dog": 8})
    (tmp_path / "cat" / "broken.jpg").write_bytes(b"\xff\xd8 no picture")
    images = open_image_set(str(tmp_path))
    assert images.classes == ("cat", "dog")
    assert len(images.training) + len(images.validation) == 16
    assert [name for name, _ in images.skipped] == ["cat/broken.jpg"]


def test_a_folder_with_a_validation_part(tmp_path: Path) -> None:
    write_classes(tmp_path / "train", {"cat": 3, "dog": 3})
    write_classes(tmp_path / "val", {"cat": 1, "dog": 2})
    images = open_image_set(str(tmp_path))
    assert (len(images.training), images.validation.labels.tolist()) == (6, [0, 1, 1])


def test_classes_that_only_one_part_has_are_named(tmp_path: Path) -> None:
    write_classes(tmp_path / "whole" / "train", {"cat": 3, "dog": 3})
    write_classes(tmp_path / "whole" / "val", {"cat": 1, "cow": 2})
    images = open_image_set(str(tmp_path / "whole"))
    assert images.skipped == (("val/cow", "there is no such class in the training part"),)
    assert images.unlearnt == ()
    write_classes(tmp_path / "sparse", {f"class{number}": 1 for number in range(12)})
    sparse = open_image_set(str(tmp_path / "sparse"))
    assert [sparse.classes.index(name) for name in sparse.unlearnt] == sorted(sparse.validation.labels.tolist())


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        ([0, 1, -1, 0], "has labels below 0, as of images whose class is unknown"),
        ([0, 1, 2**40, 0], "gives 4 images for 1,099,511,627,777 classes, since labels go up to 1099511627776"),
        ([1, 0, 0, 0], "of which those held out leave one class"),
    ],
)
def test_labels_that_no_network_can_learn_are_one_sentence(labels: list[int], sentence: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x=np.zeros((4, 9, 9), np.uint8), y=np.array(labels))
    with pytest.raises(cs.ConvScopeError, match=sentence):
        open_image_set(str(tmp_path / "data.npz"))


def test_validation_files_of_other_classes_are_one_sentence(tmp_path: Path) -> None:
    for part, labels in (("train", [0, 1, 1]), ("t10k", [0, 4])):
        write_idx(tmp_path / f"{part}-images-idx3-ubyte", np.zeros((len(labels), 5, 5)))
        write_idx(tmp_path / f"{part}-labels-idx1-ubyte", np.array(labels))
    with pytest.raises(cs.ConvScopeError, match=r"validation images of class 4, and its training .* with class 1"):
        open_image_set("mnist", tmp_path)


def test_the_network_file_prepares_the_same_pixels_as_the_training(tmp_path: Path) -> None:
    """Images that are not square, of 16-bit grey, and with transparent pixels; the shapes, which are reduced."""
    write_classes(tmp_path / "val", {"cat": 1, "dog": 1})
    (tmp_path / "train" / "cat").mkdir(parents=True)
    (tmp_path / "train" / "dog").mkdir()
    grey = np.linspace(0, 65535, 90 * 70).reshape(70, 90).astype(np.uint16)
    Image.fromarray(grey).save(tmp_path / "train/cat/grey.png")
    clear = np.random.default_rng(0).integers(0, 256, (120, 80, 4)).astype(np.uint8)
    Image.fromarray(clear).save(tmp_path / "train/dog/clear.png")
    images = open_image_set(str(tmp_path)).training.images
    spec = cs.ImageInput(size=(images.shape[-2], images.shape[-1]))
    for row, file in zip(images, ("cat/grey.png", "dog/clear.png"), strict=True):
        assert torch.equal(row, (spec.prepare(open_image(tmp_path / "train" / file)) * 255).round().byte())


@pytest.mark.slow
def test_bundled_images_are_trained_on_as_their_samples_are_prepared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convscope.training.loop.image_sets.SHAPES_FOR_TRAINING", 2)
    for name in ("shapes", "digits"):
        images = open_image_set(name).validation.images
        spec = cs.ImageInput(size=(images.shape[-2], images.shape[-1]), mean=(0.0,) * images.shape[1])
        prepared = spec.prepare(open_image(f"sample:{name}/0")) * 255
        assert torch.equal(images[0], prepared.round().byte()), name


@pytest.mark.slow
def test_shapes_for_training_are_no_bundled_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convscope.training.loop.image_sets.SHAPES_FOR_TRAINING", 10)
    images = open_image_set("shapes")
    assert images.training.images.shape == (10, 3, SHAPES_SIDE, SHAPES_SIDE)
    assert images.mirrored


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("mnist", "name its folder with --data FOLDER, since mnist is not bundled"),
        ("no/such", "there are no images at 'no/such'.*digits, shapes"),
        ("{folder}", "0 images of 0 classes"),
    ],
)
def test_missing_images_are_one_sentence(address: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(cs.ConvScopeError, match=sentence):
        open_image_set(address.format(folder=tmp_path))


def test_one_class_and_damaged_files_are_one_sentence(tmp_path: Path) -> None:
    write_classes(tmp_path / "single", {"cat": 4})
    with pytest.raises(cs.ConvScopeError, match="gives 4 images of 1 class; training needs images of two classes"):
        open_image_set(str(tmp_path / "single"))
    (tmp_path / "data.npz").write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(cs.ConvScopeError, match="is no NPZ file of arrays"):
        open_image_set(str(tmp_path / "data.npz"))
    np.savez(tmp_path / "floats.npz", x=np.zeros((2, 3)))
    with pytest.raises(cs.ConvScopeError, match=r"must hold images, uint8 .* it holds float64 \(2, 3\)"):
        open_image_set(str(tmp_path / "floats.npz"))
    (tmp_path / "idx").mkdir()
    (tmp_path / "idx" / "train-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03" + b"\0" * 11)
    write_idx(tmp_path / "idx" / "train-labels-idx1-ubyte", np.zeros(2))
    with pytest.raises(cs.ConvScopeError, match="is no IDX file"):
        open_image_set(str(tmp_path / "idx"))
