"""Cost of explaining detectors, segmenters and volumes, relative to a plain forward pass of the same network.

Networks have random weights. The detector gives boxes of any score, so that there are twenty to explain.
"""

from collections.abc import Callable
from functools import partial
from statistics import median

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import convscope as cs
from benchmarks.contenders import plain
from benchmarks.measure import Ratio, Row, interleaved, report, rows_of, timed
from benchmarks.memory import peak_growth
from benchmarks.occlusion import scores_of_windows
from convscope.engine.incremental import window_starts
from convscope.loaders.torchvision_operators import import_torchvision

BOXES = 20
FEW, MANY = 4, 12
"""How many windows of a volume are scored: what one costs is the difference, without the passes on the clean volume."""


def tasks(rounds: int) -> list[Row]:
    """Maps of one box, of twenty, of a class over a region, and of a volume."""
    rounds = max(3, rounds // 3)
    parts = (detection, segmentation, unet, volume, volume_memory, volume_occlusion)
    return [row for part in parts for row in part(rounds)]


def detection(rounds: int) -> list[Row]:
    """Grad-CAM of one box of Faster R-CNN, and of twenty boxes in one call."""
    model = cs.load("torchvision:fasterrcnn_resnet50_fpn?weights=none", size=480)
    model.module.transform.min_size = (480,)
    model.module.roi_heads.score_thresh, model.module.roi_heads.detections_per_img = 0.0, BOXES
    x = torch.rand(1, 3, 480, 480)
    single = partial(cs.grad_cam, model, x, target="box:0")
    twenty = partial(cs.compare, model, x, "grad-cam", targets=[f"box:{number}" for number in range(BOXES)])
    rows = rows_of("Grad-CAM of a box, Faster R-CNN, 480²", measured(model.module, x, single, rounds), 1.5)
    ratios = interleaved(single, {"ConvScope, loaded": twenty}, rounds=max(1, rounds // 3))
    return rows + rows_of(f"{BOXES} boxes in one call, in one box", ratios, 4)


def segmentation(rounds: int) -> list[Row]:
    """Grad-CAM of a class everywhere, LR-ASPP at the size for which it was trained."""
    model = cs.load("torchvision:lraspp_mobilenet_v3_large?weights=none")
    x = torch.randn(1, 3, 520, 520)
    explain = partial(cs.grad_cam, model, x, target="cat everywhere")
    return rows_of("Grad-CAM of a class everywhere, LR-ASPP", measured(model.module, x, explain, rounds), 1.2)


def unet(rounds: int) -> list[Row]:
    """Grad-CAM of a class everywhere, a U-Net at 512²."""
    model = cs.Model(UNet().eval(), input=cs.ImageInput(size=512), task="segmentation")
    x = torch.randn(1, 3, 512, 512)
    explain = partial(cs.grad_cam, model, x, target="class 1 everywhere")
    return rows_of("Grad-CAM of a class everywhere, U-Net, 512²", measured(model.module, x, explain, rounds), 1.2)


def volume(rounds: int) -> list[Row]:
    """Grad-CAM of a 3-D ResNet-18, 96³."""
    module = import_torchvision().models.video.r3d_18(weights=None).eval()
    model = cs.Model(module, input=cs.VideoInput(shape=(3, 96, 96, 96)))
    x = torch.randn(1, 3, 96, 96, 96)
    return rows_of("Grad-CAM, 3-D ResNet-18, 96³", measured(module, x, partial(cs.grad_cam, model, x), rounds), 1.15)


def volume_memory(rounds: int) -> list[Row]:
    """The peak memory of the same map in peaks of a plain forward pass, without and with the checks of the network."""
    growth = partial(peak_growth, name="r3d_18", batch=1, processes=rounds)
    of_plain, title = growth("plain"), "Peak memory of Grad-CAM, 3-D ResNet-18, 96³, in a plain forward's"
    repeated, first = growth("grad-cam-repeated") / of_plain, growth("grad-cam") / of_plain
    return report(
        [
            (title, "ConvScope, own module", f"{repeated:.2f}", "≤ 1.2"),
            ("The same, the first call, which checks the network", "ConvScope, own module", f"{first:.2f}", ""),
        ]
    )


def volume_occlusion(rounds: int) -> list[Row]:
    """Occlusion of a volume by cubes of 16 every 8 voxels: its time and its scores, from a sample of the cubes."""
    module = import_torchvision().models.video.r3d_18(weights=None).eval()
    model = cs.Model(module, input=cs.VideoInput(shape=(3, 96, 96, 96)))
    x = torch.randn(1, 3, 96, 96, 96)
    plain(module, x)()  # the first pass allocates
    scores = partial(scores_of_windows, model, x, 16, 8)
    some, all_voxels = scores(sample=FEW, incremental=True), scores(sample=FEW, incremental=False)
    of_windows = [partial(scores, sample=count, incremental=True) for count in (FEW, MANY)]
    works: list[Callable[[], object]] = [*of_windows, plain(module, x.expand(FEW, -1, -1, -1, -1))]
    seconds = [[timed(work)[0] for work in works] for _ in range(rounds)]  # interleaved
    few, many, forwards = map(median, zip(*seconds, strict=True))
    forward, cube = forwards / FEW, (many - few) / (MANY - FEW)
    cubes = len(window_starts(x.shape[2:], (16,) * 3, (8,) * 3))
    speedup = cubes * forward / (few + (cubes - FEW) * cube)
    title = f"Occlusion, 3-D ResNet-18, 96³, {cubes:,} cubes: times faster than batches of whole volumes"
    error = float((some.changed - all_voxels.changed).abs().max() / all_voxels.changed.abs().max())
    equality = ("The same: difference of the scores", "ConvScope, loaded", f"{error:.1e} of the score", "≤ 1e-5")
    return report([(title, "ConvScope, loaded", f"{speedup:.2f}", "≥ 3"), equality])


def measured(module: nn.Module, x: Tensor, explain: Callable[[], object], rounds: int) -> dict[str, Ratio]:
    """The time of an explanation in forward passes."""
    return interleaved(plain(module, x), {"ConvScope, loaded": explain}, rounds=rounds)


class UNet(nn.Module):
    """Four steps down and up (Ronneberger et al., 2015), a quarter of the paper's channels."""

    def __init__(self, channels: int = 16, classes: int = 3) -> None:
        super().__init__()
        widths = [channels * 2**step for step in range(5)]
        self.down = nn.ModuleList([_block(a, b) for a, b in zip([3, *widths[:-1]], widths, strict=True)])
        self.up = nn.ModuleList([_block(3 * width, width) for width in widths[-2::-1]])
        self.scores = nn.Conv2d(channels, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """The scores of the classes at each pixel."""
        skipped: list[Tensor] = []
        for block in self.down:
            x = block(F.max_pool2d(x, 2) if skipped else x)
            skipped.append(x)
        for block, beside in zip(self.up, skipped[-2::-1], strict=True):
            x = block(torch.cat([F.interpolate(x, scale_factor=2.0), beside], 1))
        scores: Tensor = self.scores(x)
        return scores


def _block(inputs: int, outputs: int) -> nn.Module:
    layers = [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(), nn.Conv2d(outputs, outputs, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers)
