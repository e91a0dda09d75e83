"""The bundled networks for scenes with several objects: a detector and a segmenter with the same stages.

Both are convolutional throughout, with layer names as in torchvision: the detector gives boxes in its form.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convscope.samples.networks import BasicBlock

SCENES_MEAN, SCENES_STD = (0.42, 0.42, 0.42), (0.25, 0.25, 0.25)
STRIDE = 4
"""The distance of neighboring cells of the detector, in pixels."""
_THRESHOLD = 0.3
"""The score from which a peak is a box."""


class SceneStages(nn.Module):
    """A stem and three stages with maps of 32 × 32, 16 × 16 and 8 × 8 positions for a scene of 64 × 64 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 5, stride=2, padding=2, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = BasicBlock(16, 16)
        self.layer2 = BasicBlock(16, 32, stride=2)
        self.layer3 = BasicBlock(32, 64, stride=2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The maps of the three stages."""
        first = self.layer1(self.relu(self.bn1(self.conv1(x))))
        second = self.layer2(first)
        return first, second, self.layer3(second)


class FeaturePyramid(nn.Module):
    """The second stage with the enlarged third one added to it (Lin et al., 2017), 16 × 16 positions."""

    def __init__(self, channels: int = 48) -> None:
        super().__init__()
        self.body = SceneStages()
        self.inner = nn.Conv2d(32, channels, 1)
        self.outer = nn.Conv2d(64, channels, 1)
        self.merge = nn.Sequential(*_convolution(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        """The maps from which boxes are read."""
        _, second, third = self.body(x)
        enlarged = F.interpolate(self.outer(third), scale_factor=2.0, mode="nearest")
        maps: Tensor = self.merge(self.inner(second) + enlarged)
        return maps


class DetectorNet(nn.Module):
    """A detector without anchors: each cell scores the classes, and a peak of the scores is the center of a box.

    After CenterNet (Zhou et al., 2019). The distances from the center of a cell to the edges are in pixels.
    """

    def __init__(self, num_classes: int = 6, channels: int = 48) -> None:
        super().__init__()
        self.backbone = FeaturePyramid(channels)
        self.head = nn.Sequential(*_convolution(channels, channels))
        self.scores = nn.Conv2d(channels, num_classes, 1)
        self.distances = nn.Conv2d(channels, 4, 1)
        nn.init.constant_(self.scores.bias, -3.0)  # type: ignore[arg-type]  # most cells are no center

    def cells(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """For each cell the logits of the classes (N, classes, 16, 16), and the distances (N, 4, 16, 16)."""
        maps = self.head(self.backbone(x))
        return self.scores(maps), STRIDE * F.softplus(self.distances(maps))

    def forward(self, x: Tensor) -> list[dict[str, Tensor]]:
        """For each image ``boxes`` (left, top, right, bottom in pixels), ``scores`` and ``labels``, the best first."""
        logits, distances = self.cells(x)
        best, labels = logits.sigmoid().max(1)
        peaks = (best >= F.max_pool2d(best, 3, stride=1, padding=1)) & (best >= _THRESHOLD)
        boxes = cell_centers(logits.shape[2:], x)[None].repeat(1, 2, 1, 1) + torch.cat(
            [-distances[:, :2], distances[:, 2:]], 1
        )
        detections = []
        for image in range(len(x)):
            cells = peaks[image].nonzero(as_tuple=True)
            order = best[image][cells].argsort(descending=True)
            rows, columns = (index[order] for index in cells)
            detections.append(
                {
                    "boxes": boxes[image, :, rows, columns].T,
                    "scores": best[image, rows, columns],
                    "labels": labels[image, rows, columns],
                }
            )
        return detections


def cell_centers(extent: torch.Size, like: Tensor) -> Tensor:
    """The x and the y of the center of each cell, (2, height, width), in pixels."""
    height, width = ((torch.arange(n, device=like.device, dtype=like.dtype) + 0.5) * STRIDE for n in extent)
    return torch.stack([width.expand(len(height), -1), height[:, None].expand(-1, len(width))])


class SegmenterNet(nn.Module):
    """A U-Net (Ronneberger et al., 2015): two steps up, each with the maps of the stage of that size beside them."""

    def __init__(self, num_classes: int = 7) -> None:
        super().__init__()
        self.backbone = SceneStages()
        self.up2 = nn.Sequential(*_convolution(64 + 32, 32))
        self.up1 = nn.Sequential(*_convolution(32 + 16, 24))
        self.classifier = nn.Conv2d(24, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """The scores of the classes at each pixel (N, classes, 64, 64), of which the first is the background."""
        first, second, third = self.backbone(x)
        maps = self.up2(torch.cat([_enlarged(third), second], 1))
        maps = self.up1(torch.cat([_enlarged(maps), first], 1))
        return _enlarged(self.classifier(maps))


def _enlarged(maps: Tensor) -> Tensor:
    return F.interpolate(maps, scale_factor=2.0, mode="bilinear", align_corners=False)


def _convolution(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    return convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
