"""Two folders are compared as the parts of one, by what can be measured of images and by the features of a network."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import convscope as cs
from convscope.training.checks.folder_evidence import read_folders


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scenes of shapes: training images, others of the same kind, and others with their pixels in another order."""
    root = tmp_path_factory.mktemp("folders")
    for folder in ("photos", "use", "shuffled"):
        (root / folder).mkdir()
    order = np.random.default_rng(0).permutation(96 * 96)
    for number in range(36):
        pixels = np.asarray(cs.sample(f"shapes/{number}").image)
        Image.fromarray(pixels).save(root / ("photos" if number < 18 else "use") / f"{number}.png")
        if number >= 18:
            shuffled = pixels.reshape(-1, 3)[order].reshape(pixels.shape)
            Image.fromarray(shuffled).save(root / "shuffled" / f"{number}.png")
    return root


def test_images_of_another_kind_are_told_by_the_features_of_a_network(folders: Path) -> None:
    model, checks = cs.load("bundled:shapes"), ["feature_drift", "split_leak"]
    same = cs.diagnose(model, data=folders / "use", reference=folders / "photos", checks=checks)
    assert (same.findings, same.checked) == ((), ("split_leak", "feature_drift"))
    (drift,) = cs.diagnose(model, data=folders / "shuffled", reference=folders / "photos", checks=checks).findings
    assert drift.check == "feature_drift"
    assert drift.evidence.parameters["count"] == 18


def test_two_folders_are_the_parts_of_one(folders: Path) -> None:
    evidence = read_folders(folders / "use", folders / "photos")
    training, validation = evidence.parts()
    assert [len(training), len(validation)] == [18, 18]
    assert evidence.images[validation[0]].name == "use/18.png"
    assert evidence.features is None
    with pytest.raises(cs.ConvScopeError, match="is compared with itself"):
        read_folders(folders / "use", folders / "use" / ".." / "use")
    with pytest.raises(cs.ConvScopeError, match="is compared with the reference: give it as data="):
        cs.diagnose(cs.load("bundled:shapes"), "sample:shapes/0", reference=folders / "use")
