"""Networks whose answers are sick or healthy: what they answer is set by hand, on images of colors and blobs."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import convscope as cs
from convscope.training.checks.network_evidence import NetworkEvidence
from tests.training.checks.network_cases import (
    MainColor,
    bundled,
    fit_norms,
    fitted,
    large_filters,
    network,
    number,
    of_kind,
    pictures,
    unchanged,
    whole,
)
from tests.training.checks.network_cases import evidence as without_classes


def seeded(make: Callable[[], NetworkEvidence], seed: int) -> NetworkEvidence:
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        return make()


def evidence(net: nn.Module, images: Tensor, classes: Tensor) -> NetworkEvidence:
    spec = cs.ImageInput(size=(images.shape[2], images.shape[3]), mean=(0.0,) * 3, std=(1.0,) * 3)
    model = cs.Model(net.eval(), input=spec, labels=["red", "green", "blue"])
    return NetworkEvidence(model, TensorDataset(images, classes))


def linear(weight: Tensor) -> nn.Sequential:
    """The mean color, and a linear layer without bias."""
    net = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, len(weight), bias=False))
    of_kind(net, nn.Linear)[0].weight.copy_(weight)
    return net


def eye(scale: float) -> Tensor:
    return scale * torch.eye(3, device="cpu")


def of_color(colors: Tensor, side: int = 12) -> Tensor:
    """Images (N, 3, side, side) of a mean color, with a pattern that does not change it."""
    pattern = torch.rand(len(colors), 3, side, side, device="cpu") - 0.5
    return colors[:, :, None, None] + 0.2 * (pattern - pattern.mean((2, 3), keepdim=True))


def colored(count: int, spread: float, side: int = 12) -> tuple[Tensor, Tensor]:
    """Images that are mostly red, green or blue, and their classes."""
    classes = torch.arange(count, device="cpu") % 3
    colors = 0.3 + 0.4 * torch.eye(3, device="cpu")[classes] + spread * torch.randn(count, 3, device="cpu")
    return of_color(colors, side), classes


def confident(temperature: float) -> NetworkEvidence:
    """Classes that are drawn from the network's probabilities at a temperature."""
    count = whole(80, 200)
    colors = torch.rand(count, 3, device="cpu")
    images = of_color(colors)
    scores = images.mean((2, 3)) * number(3, 6)
    classes = torch.multinomial(scores.softmax(1), 1)[:, 0]
    scale = float((scores / images.mean((2, 3))).mean()) / temperature
    return evidence(linear(eye(scale)), images, classes)


def miscalibration(seed: int) -> NetworkEvidence:
    return seeded(lambda: confident((0.15, 0.3, 8.0)[seed % 3]), seed)


def calibrated(seed: int) -> NetworkEvidence:
    return seeded(lambda: confident(number(0.85, 1.2)), seed)


def relabelled(seed: int, wrong: int, spread: float) -> NetworkEvidence:
    def make() -> NetworkEvidence:
        images, classes = colored(whole(30, 60), spread)
        chosen = torch.randperm(len(classes), device="cpu")[:wrong]
        classes[chosen] = (classes[chosen] + 1) % 3
        return evidence(linear(eye(20.0)), images, classes)

    return seeded(make, seed)


def wrong_labels(seed: int) -> NetworkEvidence:
    return relabelled(seed, 1 + seed % 4, 0.05)


def right_labels(seed: int) -> NetworkEvidence:
    return relabelled(seed, 0, 0.12)


def erring(seed: int, inside: float, outside: float) -> NetworkEvidence:
    """A network that is wrong on these shares of a class, or of the darkest images, and of the others."""

    def make() -> NetworkEvidence:
        images, classes = colored(whole(60, 120), 0.03)
        dark = torch.rand(len(images), device="cpu") < 0.25
        images[dark] -= 0.25
        group = dark if seed % 2 else classes == 1
        wrong = torch.rand(len(images), device="cpu") < torch.where(group, inside, outside)
        images[wrong] = images[wrong].roll(1, 1)  # another color, and so another answer
        return evidence(linear(eye(20.0)), images, classes)

    return seeded(make, seed)


def worst_groups(seed: int) -> NetworkEvidence:
    return erring(seed, number_of(seed, 0.65, 0.95), 0.05)


def even_errors(seed: int) -> NetworkEvidence:
    share = number_of(seed, 0.05, 0.35)
    return erring(seed, share, share)


def number_of(seed: int, least: float, most: float) -> float:
    """A number of a seed."""
    return least + (most - least) * float(torch.rand((), generator=torch.Generator("cpu").manual_seed(seed)))


def high_frequency_kernels(seed: int) -> NetworkEvidence:
    """Smooth patterns whose sign changes from weight to weight."""

    def alternate(net: nn.Sequential) -> None:
        weight = of_kind(net, nn.Conv2d)[0].weight
        positions = torch.arange(weight.shape[2], device="cpu")
        signs = 1.0 - 2.0 * ((positions[:, None] + positions) % 2)
        size = tuple(weight.shape[2:])
        coarse = torch.rand(*weight.shape[:2], 2, 2, device="cpu") + 0.3
        weight.copy_(signs * nn.functional.interpolate(coarse, size, mode="bilinear", align_corners=True))

    return fitted(large_filters, alternate, seed)


def filters_of_noise(seed: int) -> NetworkEvidence:
    return fitted(large_filters, unchanged, seed)


def strided(kernels: tuple[tuple[int, int], ...], seed: int) -> NetworkEvidence:
    """A network whose first convolution has a kernel and a stride."""

    def make() -> NetworkEvidence:
        size, stride = kernels[seed % len(kernels)]
        net = network(nn.ReLU, whole(2, 3))
        width = of_kind(net, nn.Conv2d)[0].out_channels
        net[0] = nn.Conv2d(3, width, size, stride=stride, padding=size // 2)
        images = nn.functional.interpolate(pictures(), 32, mode="bilinear")
        fit_norms(net, images)
        return without_classes(net, images)

    return seeded(make, seed)


def checkerboard(seed: int) -> NetworkEvidence:
    return strided(((1, 2), (2, 3), (3, 4), (1, 4)), seed)


def even_strides(seed: int) -> NetworkEvidence:
    return strided(((3, 2), (4, 2), (7, 2), (5, 4), (3, 1)), seed)


class Fineness(nn.Module):
    """Two classes: whether neighbors differ much or little, wherever that is."""

    def forward(self, x: Tensor) -> Tensor:
        steps = x.diff(dim=3).abs().mean((1, 2, 3))
        return 50 * torch.stack([steps - 0.1, 0.1 - steps, torch.full_like(steps, -1.0)], 1)


def texture_bias(seed: int) -> NetworkEvidence:
    def make() -> NetworkEvidence:
        if seed % 2:
            return evidence(MainColor(), *colored(whole(24, 48), 0.05, 16))
        images = nn.functional.interpolate(pictures(24), 48, mode="bilinear")
        images[::2] += 0.5 * torch.rand_like(images[::2])
        return evidence(Fineness(), images, torch.arange(24, device="cpu") % 2)

    return seeded(make, seed)


def shape_networks(seed: int) -> NetworkEvidence:
    """Networks that know where things are: bundled ones, and templates of whole images."""
    if seed % 3 == 0:
        return NetworkEvidence(bundled(("shapes", "digits")[seed % 2]), f"sample:digits/{seed}-{seed + 29}")

    def make() -> NetworkEvidence:
        images = nn.functional.interpolate(pictures(30), 24, mode="bilinear")
        templates = (images[:3] - images.mean(0)).flatten(1)
        net = nn.Sequential(nn.Flatten(), nn.Linear(templates.shape[1], 3))
        of_kind(net, nn.Linear)[0].weight.copy_(templates)
        return evidence(net, images, torch.arange(30, device="cpu") % 3)

    return seeded(make, seed)


class AreaColor(nn.Module):
    """Red, green or blue by the mean color of an area."""

    def __init__(self, area: Tensor) -> None:
        super().__init__()
        self.channels = nn.Conv2d(3, 4, 1)
        self.channels.weight.copy_(torch.eye(4, 3, device="cpu").view(4, 3, 1, 1))
        self.channels.bias.zero_()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.register_buffer("area", area)

    def forward(self, x: Tensor) -> Tensor:
        return 60 * self.pool(self.channels(x)[:, :3] * self.area).flatten(1)


def blobs(seed: int, *, of_background: bool) -> NetworkEvidence:
    """Dark blobs before a background of the class's color, or the other way round; every second case has masks."""

    def make() -> NetworkEvidence:
        count, side, has_masks = 24, 32, seed % 2 == 0
        classes = torch.arange(count, device="cpu") % 3
        masks = torch.zeros(count, side, side, dtype=torch.bool, device="cpu")
        for mask in masks:
            top, left, size = whole(6, 10), whole(6, 10), whole(11, 14)
            mask[top : top + size, left : left + size] = True
        if not has_masks:
            masks[:] = False
            masks[:, 4:-4, 4:-4] = True
        colors = 0.1 + 0.6 * torch.eye(3, device="cpu")[classes][:, :, None, None]
        bright = ~masks if of_background else masks
        images = torch.where(bright[:, None], colors, torch.tensor(0.1, device="cpu"))
        images = images + 0.05 * torch.rand_like(images)
        model = evidence(AreaColor(bright.any(0).float()), images, classes).model
        return NetworkEvidence(model, TensorDataset(images, classes), masks if has_masks else None)

    return seeded(make, seed)


def background_answers(seed: int) -> NetworkEvidence:
    if seed % 5 == 4:
        return NetworkEvidence(bundled("shapes-shortcut"), f"sample:shapes-shortcut/{seed * 10}-{seed * 10 + 29}")
    return blobs(seed, of_background=True)


def object_answers(seed: int) -> NetworkEvidence:
    if seed % 5 == 1:
        return NetworkEvidence(bundled("shapes"), f"sample:shapes-shortcut/{seed * 10}-{seed * 10 + 29}")
    return blobs(seed, of_background=False)


def healthy(seed: int) -> NetworkEvidence:
    """A deep network on images without classes; or the bundled digits network."""
    if seed % 4 == 0:
        return fitted(lambda: network(nn.ReLU, whole(2, 5)), unchanged, seed)
    return NetworkEvidence(bundled("digits"), f"sample:digits/{seed}-{seed + 49}")


HEALTHY: dict[str, Callable[[int], NetworkEvidence]] = {
    "miscalibration": calibrated, "wrong_labels": right_labels, "worst_groups": even_errors,
    "high_frequency_kernels": filters_of_noise, "checkerboard": even_strides, "texture_bias": shape_networks,
    "background_answers": object_answers,
}  # fmt: skip
SICK = (
    high_frequency_kernels, checkerboard, background_answers, texture_bias, miscalibration, worst_groups, wrong_labels,
)  # fmt: skip
