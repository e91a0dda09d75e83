"""Seeded folders of tiny images with a training and a validation part: healthy ones, and a defect per check."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from convscope.training.checks.folder_evidence import FolderEvidence, ImageFile, read_folder

Random = np.random.Generator
SIDE = 12


def picture(rng: Random) -> np.ndarray:
    """Smooth random colors with some noise."""
    coarse = Image.fromarray(rng.integers(20, 236, (3, 3, 3)).astype(np.uint8))
    return np.asarray(coarse.resize((SIDE, SIDE), Image.Resampling.BILINEAR)) + rng.integers(0, 20, (SIDE, SIDE, 3))


def save(path: Path, pixels: np.ndarray) -> None:
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)


def write(path: Path, rng: Random, counts: Mapping[str, int], held_out: int = 3) -> None:
    """Write so many images of each class to the training part, and a few to the validation part."""
    for part in ("train", "val"):
        for label, count in counts.items():
            (path / part / label).mkdir(parents=True)
            for number in range(count if part == "train" else held_out):
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


def near_duplicates(seed: int, path: Path) -> FolderEvidence:
    """An image that is there again: compressed, brighter, or in another size."""

    def change(rng: Random, path: Path) -> None:
        side = int(rng.integers(28, 48))
        image = Image.open(path / "train/cat/0.png").resize((side, side), Image.Resampling.BICUBIC)
        image.save(path / "train/cat/large.png")
        target = path / ("train", "val")[seed % 2] / rng.choice(["cat", "dog"])
        if seed % 3 == 0:
            image.save(target / "again.jpg", quality=int(rng.integers(80, 96)))
        elif seed % 3 == 1:
            save(target / "again.png", np.asarray(image) * 0.9 + rng.integers(-8, 8))
        else:
            image.resize((side - 8, side - 8), Image.Resampling.BILINEAR).save(target / "again.png")
        (path / "train/cat/0.png").unlink()

    return folder(seed, path, change)


def same_backgrounds(seed: int, path: Path) -> FolderEvidence:
    """Images with one background and an object at another place."""

    def change(rng: Random, path: Path) -> None:
        background = picture(rng)
        for number in range(3):
            pixels = background.copy()
            top, left = rng.integers(0, SIDE - 5, 2)
            pixels[top : top + 5, left : left + 5] = rng.integers(0, 256, 3)
            save(path / "train/cat" / f"background{number}.png", pixels)

    return folder(seed, path, change)


def many(seed: int, path: Path, change: Callable[[Random, np.ndarray, str, str], np.ndarray]) -> FolderEvidence:
    """A larger folder, of which every image is changed by its part and its class."""
    rng = np.random.default_rng(seed)
    write(path, rng, {label: int(rng.integers(14, 20)) for label in ("cat", "dog")}, held_out=10)
    for file in path.rglob("*.png"):
        part, label = file.relative_to(path).parts[:2]
        pixels = np.asarray(Image.open(file)).astype(float)
        save(file, change(rng, pixels, part, label))
    return read_folder(path)


def otherwise_taken(rng: Random, pixels: np.ndarray, kind: int, strength: float) -> np.ndarray:
    """A picture as another camera gives it: darker, of less contrast, of another color, grey, or larger."""
    if kind == 0:
        return pixels * (1 - 0.6 * strength)
    if kind == 1:
        return 128 + (pixels - 128) * (1 - 0.7 * strength)
    if kind == 2:
        return pixels + strength * np.array([90.0, 0.0, -90.0])
    if kind == 3:
        return strength * pixels.mean(2, keepdims=True) + (1 - strength) * pixels
    side = SIDE + round(8 * strength)
    return np.asarray(Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).resize((side, side)))


def telling_properties(seed: int, path: Path) -> FolderEvidence:
    def change(rng: Random, pixels: np.ndarray, part: str, label: str) -> np.ndarray:
        return otherwise_taken(rng, pixels, seed % 5, 1.0) if label == "dog" else pixels

    return many(seed, path, change)


def part_drift(seed: int, path: Path) -> FolderEvidence:
    if seed % 6 == 5:
        rng = np.random.default_rng(seed)
        write(path, rng, {"cat": 20, "dog": 20}, held_out=22)
        for file in (path / "val/cat").iterdir():
            file.unlink()
        return read_folder(path)

    def change(rng: Random, pixels: np.ndarray, part: str, label: str) -> np.ndarray:
        return otherwise_taken(rng, pixels, seed % 6, 1.0) if part == "val" else pixels

    return many(seed, path, change)


def one_source(seed: int, path: Path) -> FolderEvidence:
    """Images that vary as those of several cameras do, in all classes and parts."""

    def change(rng: Random, pixels: np.ndarray, part: str, label: str) -> np.ndarray:
        return otherwise_taken(rng, pixels, int(rng.integers(5)), float(rng.uniform(0, 1)))

    return many(seed, path, change)


def embedded(features: np.ndarray, parts: list[str]) -> FolderEvidence:
    """Images of which nothing is known but their features."""
    images = [
        ImageFile(f"{part}/{number}.png", part, "cat", str(number), (SIDE, SIDE), 0.5, 0.2)
        for number, part in enumerate(parts)
    ]
    return FolderEvidence(images, features=features.astype(np.float32))


def class_features(rng: Random, count: int, size: int) -> np.ndarray:
    """Features of images of three classes, some more alike than others."""
    centers = rng.normal(0, rng.uniform(0.5, 1.5), (3, size))
    return centers[rng.integers(0, 3, count)] + rng.normal(0, 1, (count, size))


def of_two_parts(seed: int, change: Callable[[Random, np.ndarray], np.ndarray]) -> FolderEvidence:
    """Features of both parts, those of the validation part changed."""
    rng = np.random.default_rng(seed)
    size, training, held_out = int(rng.integers(8, 33)), int(rng.integers(24, 60)), int(rng.integers(24, 40))
    features = class_features(rng, training + held_out, size)
    features[training:] = change(rng, features[training:])
    return embedded(features, ["train"] * training + ["val"] * held_out)


def feature_drift(seed: int, path: Path) -> FolderEvidence:
    """The validation images lie elsewhere, are more alike, or are of a class of their own."""

    def change(rng: Random, features: np.ndarray) -> np.ndarray:
        direction = rng.normal(0, 1, features.shape[1])
        if seed % 3 == 0:
            return features + direction * rng.uniform(0.8, 1.5)
        if seed % 3 == 1:
            return features.mean(0) + rng.uniform(0.2, 0.4) * (features - features.mean(0))
        return direction * 2 + rng.normal(0, 1, features.shape)

    return of_two_parts(seed, change)


def small_drift(seed: int, path: Path) -> FolderEvidence:
    """The validation images differ by much less than images of one class do."""
    return of_two_parts(seed, lambda rng, features: features + rng.normal(0, 0.1, features.shape[1]))


def embedded_copies(seed: int, closeness: tuple[float, float]) -> FolderEvidence:
    """One to three images once more, at such a part of the usual distance of the nearest image."""
    rng = np.random.default_rng(seed)
    count, size, copied = int(rng.integers(24, 60)), int(rng.integers(12, 33)), int(rng.integers(1, 4))
    features = class_features(rng, count, size)
    nearest = np.sort(np.linalg.norm(features[:, None] - features, axis=2), 1)[:, 1]
    steps = rng.normal(0, 1, (copied, size))
    steps *= np.median(nearest) * rng.uniform(*closeness, (copied, 1)) / np.linalg.norm(steps, axis=1, keepdims=True)
    return embedded(np.concatenate([features, features[:copied] + steps]), ["train"] * count + ["val"] * copied)


def similar_features(seed: int, path: Path) -> FolderEvidence:
    return embedded_copies(seed, (0.0, 0.18))


def alike_features(seed: int, path: Path) -> FolderEvidence:
    """Images that are closer than others, but no copies."""
    return embedded_copies(seed, (0.5, 0.9))


def with_shapes(rng: Random, shapes: int, contrast: float) -> Image.Image:
    """Rectangles with sharp edges before a smooth background, larger where there are fewer."""
    side, largest = 40, 32 if shapes < 3 else 14
    coarse = Image.fromarray(rng.integers(60, 196, (3, 3, 3)).astype(np.uint8))
    pixels = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC)).astype(float)
    for _ in range(shapes):
        (top, left), (height, width) = rng.integers(0, side - 8, 2), rng.integers(5, largest, 2)
        pixels[top : top + height, left : left + width] = rng.integers(0, 256, 3)
    pixels = 128 + contrast * (pixels - 128) + rng.normal(0, 1, pixels.shape)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def of_shapes(path: Path, rng: Random, count: int, blur: float = 0.0) -> None:
    """Images of a class with sharp edges, all blurred if a radius is given."""
    (path / "train/shape").mkdir(parents=True)
    for number in range(count):
        image = with_shapes(rng, int(rng.integers(3, 9)), 1.0)
        image.filter(ImageFilter.GaussianBlur(blur)).save(path / "train/shape" / f"{number}.png")


def blurred_images(seed: int, path: Path) -> FolderEvidence:
    """One or two images out of focus, in motion, or enlarged."""
    rng = np.random.default_rng(seed)
    of_shapes(path, rng, int(rng.integers(8, 14)))
    for number in range(int(rng.integers(1, 3))):
        image = with_shapes(rng, int(rng.integers(3, 9)), 1.0)
        if seed % 3 == 0:
            image = image.filter(ImageFilter.GaussianBlur(float(rng.uniform(1.5, 4))))
        elif seed % 3 == 1:
            image = image.filter(ImageFilter.BoxBlur(float(rng.uniform(2, 4))))
        else:
            image = image.resize((10, 10), Image.Resampling.BOX).resize(image.size, Image.Resampling.BICUBIC)
        image.save(path / "train/shape" / f"blurred{number}.png")
    return read_folder(path)


def smooth_images(seed: int, path: Path) -> FolderEvidence:
    """Images of low contrast or of one large shape among others, or a folder of which all images are as smooth."""
    rng = np.random.default_rng(seed)
    of_shapes(path, rng, int(rng.integers(8, 14)), 2.0 if seed % 3 == 0 else 0.0)
    if seed % 3:
        with_shapes(rng, 1, 1.0).save(path / "train/shape/large.png")
        with_shapes(rng, 4, 0.3).save(path / "train/shape/low.png")
    return read_folder(path)


HEALTHY: dict[str, Callable[[int, Path], FolderEvidence]] = {
    "split_leak": similar_images, "exact_duplicates": similar_images, "unusual_images": extreme_images,
    "blurred_images": smooth_images,
    "unusual_sizes": various_sizes, "class_imbalance": unequal_classes, "near_duplicates": same_backgrounds,
    "telling_properties": one_source, "part_drift": one_source,
    "feature_drift": small_drift, "similar_features": alike_features,
}  # fmt: skip
SICK = (split_leak, exact_duplicates, unreadable_images, unusual_images, blurred_images, unusual_sizes, class_imbalance,
    near_duplicates, telling_properties, part_drift, similar_features, feature_drift,
)  # fmt: skip
