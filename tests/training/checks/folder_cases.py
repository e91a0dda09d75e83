"""Seeded folders of tiny images with a training and a validation part: healthy ones, and a defect per check."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from convscope.training.checks.folder_evidence import FolderEvidence, read_folder

Random = np.random.Generator
SIDE = 12


def picture(rng: Random) -> np.ndarray:
    """Smooth random colors with some noise."""
    coarse = Image.fromarray(rng.integers(20, 236, (3, 3, 3)).astype(np.uint8))
    return np.asarray(coarse.resize((SIDE, SIDE), Image.Resampling.BILINEAR)) + rng.integers(0, 20, (SIDE, SIDE, 3))


def save(path: Path, pixels: np.ndarray) -> None:
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)


def write(path: Path, rng: Random, counts: Mapping[str, int]) -> None:
    """Write so many images of each class to the training part, and a few to the validation part."""
    for part in ("train", "val"):
        for label, count in counts.items():
            (path / part / label).mkdir(parents=True)
            for number in range(count if part == "train" else 3):
                save(path / part / label / f"{number}.png", picture(rng))


def folder(seed: int, path: Path, change: Callable[[Random, Path], None]) -> FolderEvidence:
    rng = np.random.default_rng(seed)
    write(path, rng, {label: int(rng.integers(5, 9)) for label in ("cat", "dog")})
    change(rng, path)
    return read_folder(path)


def healthy(seed: int, path: Path) -> FolderEvidence:
    return folder(seed, path, lambda rng, path: None)


def copies(part: str) -> Callable[[Random, Path], None]:
    """Copies of some training images under other names, in this part, a third of them in another format."""

    def change(rng: Random, path: Path) -> None:
        for number in range(int(rng.integers(1, 4))):
            image = Image.open(path / "train" / rng.choice(["cat", "dog"]) / f"{number}.png")
            image.save(path / part / str(rng.choice(["cat", "dog"])) / f"copy{number}.{rng.choice(['png', 'bmp'])}")

    return change


def split_leak(seed: int, path: Path) -> FolderEvidence:
    return folder(seed, path, copies("val"))


def exact_duplicates(seed: int, path: Path) -> FolderEvidence:
    return folder(seed, path, copies("train"))


def similar_images(seed: int, path: Path) -> FolderEvidence:
    """Images that differ from another by a little noise, in both parts."""

    def change(rng: Random, path: Path) -> None:
        pixels = np.asarray(Image.open(path / "train/cat/0.png")).astype(int)
        for part in ("train", "val"):
            save(path / part / "cat/similar.png", pixels + rng.integers(-2, 3, pixels.shape))

    return folder(seed, path, change)


def unusual_images(seed: int, path: Path) -> FolderEvidence:
    """An image that is nearly black, nearly white, or of one color."""

    def change(rng: Random, path: Path) -> None:
        level = (0, 250, int(rng.integers(30, 220)))[seed % 3]
        save(path / "train/cat/unusual.png", level + rng.integers(0, 4, (SIDE, SIDE, 3)))

    return folder(seed, path, change)


def extreme_images(seed: int, path: Path) -> FolderEvidence:
    """Images that are dark or bright, but can be made out."""

    def change(rng: Random, path: Path) -> None:
        save(path / "train/cat/dark.png", picture(rng) * 0.2)
        save(path / "train/dog/bright.png", 255 - picture(rng) * 0.2)

    return folder(seed, path, change)


def unreadable_images(seed: int, path: Path) -> FolderEvidence:
    """A file that was cut off, is empty, or is a page of an error."""

    def change(rng: Random, path: Path) -> None:
        content = (path / "train/cat/0.png").read_bytes()
        cut = (content[: int(rng.integers(1, len(content) // 2))], b"", b"<html>404</html>")[seed % 3]
        (path / rng.choice(["train", "val"]) / "dog" / "other.png").write_bytes(cut)

    return folder(seed, path, change)


def unusual_sizes(seed: int, path: Path) -> FolderEvidence:
    """An image that is far smaller, larger, wider or higher."""

    def change(rng: Random, path: Path) -> None:
        factor = rng.uniform(3.5, 5)
        scale = ((1 / factor, 1 / factor), (factor, factor), (factor, 1.0), (1.0, factor))[seed % 4]
        size = round(SIDE * scale[0]), round(SIDE * scale[1])
        Image.open(path / "train/cat/0.png").resize(size).save(path / "train/cat/odd.png")

    return folder(seed, path, change)


def various_sizes(seed: int, path: Path) -> FolderEvidence:
    """Images whose sides are up to a half longer than others."""

    def change(rng: Random, path: Path) -> None:
        for file in path.rglob("*.png"):
            width, height = rng.integers(SIDE, SIDE * 3 // 2 + 1, 2)
            Image.open(file).resize((int(width), int(height))).save(file)

    return folder(seed, path, change)


def class_imbalance(seed: int, path: Path) -> FolderEvidence:
    rng = np.random.default_rng(seed)
    few = int(rng.integers(1, 5))
    write(path, rng, {"cat": int(rng.integers(6, 9) * few), "dog": few, "fox": few + 2})
    return read_folder(path)


def unequal_classes(seed: int, path: Path) -> FolderEvidence:
    """The largest class has up to four times as many images."""
    rng = np.random.default_rng(seed)
    few = int(rng.integers(3, 6))
    write(path, rng, {"cat": int(rng.uniform(1, 4) * few), "dog": few})
    return read_folder(path)


HEALTHY: dict[str, Callable[[int, Path], FolderEvidence]] = {
    "split_leak": similar_images, "exact_duplicates": similar_images, "unusual_images": extreme_images,
    "unusual_sizes": various_sizes, "class_imbalance": unequal_classes,
}  # fmt: skip
SICK = (split_leak, exact_duplicates, unreadable_images, unusual_images, unusual_sizes, class_imbalance)
