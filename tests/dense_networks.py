"""Small networks for tasks other than classification: segmenters, detectors, a regressor, an embedding.

The segmenter and the detector answer by color, so that it is known which pixels matter: a red square is class 1, a blue
one class 2, everything else background.
"""

import torch
from torch import Tensor, nn

import convscope as cs

SIDE = 32
CLASSES = ("background", "red", "blue")
INPUT = cs.ImageInput(size=SIDE)


class ByColor(nn.Module):
    """Two convolutions with weights set by hand: channel 1 is how red a neighborhood is, channel 2 how blue."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.relu, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 1)
        with torch.no_grad():
            self.first.weight.zero_(), self.first.bias.zero_(), self.second.weight.zero_()
            for channel, (color, other) in enumerate(((0, 2), (2, 0))):
                self.first.weight[channel, color] = 1 / 9
                self.first.weight[channel, other] = -0.5 / 9
            self.second.weight[1, 0], self.second.weight[2, 1] = 8.0, 8.0
            self.second.bias.copy_(torch.tensor([4.0, 0.0, 0.0]))

    def forward(self, images: Tensor) -> Tensor:
        return self.second(self.relu(self.first(images)))


class Segmenter(nn.Module):
    """`ByColor` at half the resolution, enlarged, under the key ``out`` as in torchvision."""

    def __init__(self) -> None:
        super().__init__()
        self.shrink, self.colors = nn.AvgPool2d(2), ByColor()

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        scores = self.colors(self.shrink(images))
        return {"out": nn.functional.interpolate(scores, scale_factor=2, mode="bilinear", align_corners=False)}


class UNet(nn.Module):
    """Two steps down and two transposed convolutions up, with the maps of each size beside them (Ronneberger 2015)."""

    def __init__(self, channels: int = 6) -> None:
        super().__init__()
        self.down = nn.ModuleList([_block(3, channels), _block(channels, channels), _block(channels, channels)])
        self.enlarge = nn.ModuleList([nn.ConvTranspose2d(channels, channels, 2, stride=2) for _ in range(2)])
        self.up = nn.ModuleList([_block(2 * channels, channels) for _ in range(2)])
        self.scores = nn.Conv2d(channels, 3, 1)

    def forward(self, images: Tensor) -> Tensor:
        first = self.down[0](images)
        second = self.down[1](nn.functional.max_pool2d(first, 2))
        maps = self.down[2](nn.functional.max_pool2d(second, 2))
        for enlarge, block, beside in zip(self.enlarge, self.up, (second, first), strict=True):
            maps = block(torch.cat([enlarge(maps), beside], 1))
        return self.scores(maps)


def _block(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(inplace=True))


class Foreground(nn.Module):
    """One map with a sigmoid at its end, as of a U-Net for one class: where the image is red."""

    def __init__(self) -> None:
        super().__init__()
        self.colors = ByColor()

    def forward(self, images: Tensor) -> Tensor:
        return torch.sigmoid(self.colors(images)[:, 1:2] - 2)


class Detector(nn.Module):
    """Boxes of 8 × 8 pixels on a grid, at half its spacing, scored by color; overlapping ones are suppressed.

    It gives a list of dicts as the detectors of torchvision do; of images without red and blue the dicts are empty.
    """

    def __init__(self, threshold: float = 0.3) -> None:
        super().__init__()
        self.backbone = nn.Sequential(ByColor(), nn.AvgPool2d(8, stride=4))
        self.threshold = threshold

    def forward(self, images: Tensor) -> list[dict[str, Tensor]]:
        maps = self.backbone(images)
        top, left = torch.meshgrid(*(4.0 * torch.arange(n) for n in maps.shape[2:]), indexing="ij")
        corners = torch.stack([left, top, left + 8, top + 8], -1).flatten(0, 1)
        detections = []
        for scores in maps.softmax(1).flatten(2).transpose(1, 2):  # positions × classes
            best, labels = scores[:, 1:].max(1)
            boxes = corners + (1 - best)[:, None] * torch.tensor([1.0, 1.0, -1.0, -1.0])
            kept = _suppress(boxes.detach(), best.detach(), self.threshold)
            detections.append({"boxes": boxes[kept], "scores": best[kept], "labels": labels[kept] + 1})
        return detections


def _suppress(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """The boxes above a score that overlap no better box, the best first."""
    kept: list[int] = []
    for index in scores.argsort(descending=True).tolist():
        if scores[index] <= threshold:
            break
        corners = (torch.maximum(boxes[index, :2], boxes[kept, :2]), torch.minimum(boxes[index, 2:], boxes[kept, 2:]))
        if not kept or float((corners[1] - corners[0]).clamp(min=0).prod(1).max()) < 16:
            kept.append(index)
    return torch.tensor(kept, dtype=torch.long)


def scene() -> Tensor:
    """A gray image with a red square (rows 4–11, columns 4–11) and a blue one (rows 16–23, columns 20–27)."""
    image = torch.full((1, 3, SIDE, SIDE), 0.5)
    image[0, :, 4:12, 4:12] = torch.tensor([0.9, 0.1, 0.1])[:, None, None]
    image[0, :, 16:24, 20:28] = torch.tensor([0.1, 0.1, 0.8])[:, None, None]
    return image


RED, BLUE = (slice(4, 12), slice(4, 12)), (slice(16, 24), slice(20, 28))
"""Rows and columns of the squares in `scene`."""


def segmenter() -> cs.Model:
    """`Segmenter` with its labels."""
    return cs.Model(Segmenter().eval(), input=INPUT, labels=CLASSES)


def detector(threshold: float = 0.3) -> cs.Model:
    """`Detector` with its labels."""
    return cs.Model(Detector(threshold).eval(), input=INPUT, labels=CLASSES)


class Brightness(nn.Module):
    """Maps of two classes: dark and bright positions, as the mean over 9 × 9 pixels tells them."""

    def __init__(self) -> None:
        super().__init__()
        self.blur, self.relu = nn.Conv2d(3, 2, 9, padding=4), nn.ReLU()
        self.scores = nn.Conv2d(2, 2, 1)
        with torch.no_grad():
            self.blur.weight.fill_(1 / 243), self.blur.bias.zero_()
            self.scores.weight.copy_(torch.tensor([[-9.0, 0], [9, 0]])[..., None, None])
            self.scores.bias.copy_(torch.tensor([4.0, -4]))

    def forward(self, images: Tensor) -> Tensor:
        return self.scores(self.relu(self.blur(images)))


class BrightBoxes(nn.Module):
    """A box for each cell of a grid of 3 × 3 whose score is that of its brightness."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(Brightness(), nn.AdaptiveAvgPool2d(3))

    def forward(self, images: Tensor) -> list[dict[str, Tensor]]:
        scores = self.backbone(images).softmax(1)[:, 1].flatten(1)
        side = images.shape[-1] / 3
        top, left = torch.meshgrid(side * torch.arange(3), side * torch.arange(3), indexing="ij")
        boxes = torch.stack([left, top, left + side, top + side], -1).flatten(0, 1)
        return [{"boxes": boxes, "scores": row, "labels": torch.ones(9)} for row in scores]


def bright_segmenter() -> cs.Model:
    """`Brightness` for pictures of the bundled shapes."""
    return cs.Model(Brightness().eval(), input=cs.ImageInput(size=48), labels=["dark", "bright"], task="segmentation")


def lightness() -> cs.Model:
    """Two numbers for pictures of the bundled shapes: the mean brightness, and its negative."""
    head = nn.Conv2d(3, 2, 1)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([1.0, -1.0]).view(2, 1, 1, 1).expand(2, 3, 1, 1) / 3), head.bias.zero_()
    network = nn.Sequential(head, nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    return cs.Model(network, input=cs.ImageInput(size=48), labels=["light", "dark"], task="regression", units="cd")


def bright_detector() -> cs.Model:
    """`BrightBoxes` for pictures of the bundled shapes."""
    return cs.Model(BrightBoxes().eval(), input=cs.ImageInput(size=48), labels=["background", "bright"])
