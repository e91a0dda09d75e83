"""Whether an image is blurred is told from its edges, and from the other images of its class."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from convscope.training.checks.blurred_images import blurred_images
from convscope.training.checks.folder_evidence import FolderEvidence, ImageFile, read_folder
from tests.training.checks.folder_cases import with_shapes


def folder_of(losses: list[float], contrast: float = 0.2) -> FolderEvidence:
    return FolderEvidence(
        [
            ImageFile(f"{number}.png", "", "", "", (64, 64), 0.5, contrast, edge_loss=loss)
            for number, loss in enumerate(losses)
        ]
    )


def test_a_blurred_image_among_sharp_ones_is_named() -> None:
    (finding,) = blurred_images.run(folder_of([0.3] + [0.85] * 7))
    assert finding.evidence == "1 image is blurred: 0.png"


@pytest.mark.parametrize(
    "evidence",
    [
        folder_of([0.3, 0.3, 0.3] + [0.85] * 6),  # a third of the class
        folder_of([0.45] + [0.6] * 7),  # hardly softer than the others
        folder_of([0.55] + [0.9] * 7),
        folder_of([0.3] + [0.85] * 7, contrast=0.0),  # blank
    ],
)
def test_soft_classes_and_blank_images_are_not_named(evidence: FolderEvidence) -> None:
    assert blurred_images.run(evidence) == []


def test_the_share_falls_with_the_blur_and_not_with_contrast_or_size(tmp_path: Path) -> None:
    sharp = with_shapes(np.random.default_rng(0), 6, 1.0).resize((200, 200), Image.Resampling.NEAREST)
    pictures = {f"blurred{radius}": sharp.filter(ImageFilter.GaussianBlur(radius)) for radius in (1, 2, 4, 8)}
    pictures |= {
        "sharp": sharp,
        "pale": Image.eval(sharp, lambda level: 100 + level // 4),
        "large": sharp.resize((1200, 1200)).filter(ImageFilter.GaussianBlur(2)),
        "tiny": sharp.resize((17, 17)),
    }
    for name, picture in pictures.items():
        picture.save(tmp_path / f"{name}.png")
    loss = {image.name.removesuffix(".png"): image.edge_loss for image in read_folder(tmp_path).images}
    assert loss["sharp"] > loss["blurred1"] > loss["blurred2"] > loss["blurred4"] > loss["blurred8"]
    assert loss["blurred2"] < 0.5 < 0.8 < loss["sharp"]
    assert loss["pale"] == pytest.approx(loss["sharp"], abs=0.05)
    assert loss["large"] > 0.7  # soft at full size, sharp at the size of a network
    assert loss["tiny"] == 1
