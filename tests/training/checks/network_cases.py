"""Seeded small networks whose weights are set: healthy ones, some close to a symptom, and a defect per check."""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import convscope as cs
from convscope.training.checks.network_evidence import NetworkEvidence

ACTIVATIONS: tuple[type[nn.Module], ...] = (nn.ReLU, nn.LeakyReLU, nn.GELU, nn.SiLU)
IMAGES = 24


def pictures(count: int = IMAGES) -> Tensor:
    """Smooth random images, which differ from each other."""
    coarse = torch.rand(count, 3, 4, 4, device="cpu")
    return nn.functional.interpolate(coarse, 12, mode="bilinear") + 0.1 * torch.rand(count, 3, 12, 12, device="cpu")


def number(least: float, most: float) -> float:
    return least + (most - least) * float(torch.rand(()))


def whole(least: int, most: int) -> int:
    return int(torch.randint(least, most + 1, ()))


def network(activation: Callable[[], nn.Module], depth: int, size: int = 3, *, norm: bool = True) -> nn.Sequential:
    """Convolutions with activation functions, and a linear layer."""
    width = whole(8, 20)
    layers: list[nn.Module] = []
    for position in range(depth):
        layers.append(nn.Conv2d(width if position else 3, width, size, padding=size // 2))
        layers += [nn.BatchNorm2d(width)] if norm else []
        layers.append(activation())
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, whole(3, 10)))


def usual() -> nn.Sequential:
    return network(ACTIVATIONS[whole(0, 3)], whole(2, 5))


def fit_norms(net: nn.Module, images: Tensor) -> None:
    """Set the running statistics of batch norms to those of the images."""
    for norm in of_kind(net, nn.BatchNorm2d):
        norm.momentum = None
    net.train()
    with torch.no_grad():
        net(images)
    net.eval()


def of_kind(net: nn.Module, kind: type[nn.Module]) -> list[Any]:
    return [module for module in net.modules() if isinstance(module, kind)]


def evidence(net: nn.Module, images: Tensor) -> NetworkEvidence:
    return NetworkEvidence(cs.Model(net.eval()), images)


def some_channels(count: int, least: float, most: float) -> Tensor:
    return torch.randperm(count, device="cpu")[: max(1, round(number(least, most) * count))]


Damage = Callable[[int], NetworkEvidence]


def fitted(make: Callable[[], nn.Sequential], change: Callable[[nn.Sequential], None], seed: int) -> NetworkEvidence:
    """A seeded network with fitted norms, which is then changed."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        net, images = make(), pictures()
        fit_norms(net, images)
        change(net)
        return evidence(net, images)


def unchanged(net: nn.Sequential) -> None:
    """Nothing is wrong."""


def healthy(seed: int) -> NetworkEvidence:
    return fitted(usual, unchanged, seed)


def push_down(net: nn.Sequential, least: float, most: float) -> None:
    norms = of_kind(net, nn.BatchNorm2d)
    norm = norms[whole(0, len(norms) - 1)]
    norm.bias[some_channels(len(norm.bias), least, most)] = -50


def dead_units(seed: int) -> NetworkEvidence:
    return fitted(lambda: network(nn.ReLU, whole(2, 5)), lambda net: push_down(net, 0.35, 0.9), seed)


def few_dead_units(seed: int) -> NetworkEvidence:
    return fitted(lambda: network(nn.ReLU, whole(2, 5)), lambda net: push_down(net, 0.05, 0.15), seed)


def bounded() -> nn.Sequential:
    return network((nn.Tanh, nn.Sigmoid, nn.Hardtanh)[whole(0, 2)], whole(2, 4))


def saturated_units(seed: int) -> NetworkEvidence:
    def push(net: nn.Sequential) -> None:
        norms = of_kind(net, nn.BatchNorm2d)
        norm = norms[whole(0, len(norms) - 1)]
        channels = some_channels(len(norm.bias), 0.35, 0.9)
        if seed % 2:
            norm.weight[channels] = 500.0
        else:
            norm.bias[channels] = 50.0 * (torch.randint(0, 2, (len(channels),), device="cpu") * 2 - 1)

    return fitted(bounded, push, seed)


def bounded_units(seed: int) -> NetworkEvidence:
    return fitted(bounded, unchanged, seed)


def gradient_by_depth(seed: int) -> NetworkEvidence:
    """Gradients vanish after sigmoids or PyTorch's initialisation, and explode with large weights and tanh."""

    def make() -> nn.Sequential:
        if seed % 3 == 0:
            return network(nn.Sigmoid, whole(9, 12), norm=False)
        if seed % 3 == 1:
            return network(nn.ReLU, whole(18, 22), norm=False)
        net = network(nn.Tanh, whole(12, 16), norm=False)
        for layer in of_kind(net, nn.Conv2d):
            layer.weight *= 40
        return net

    return fitted(make, unchanged, seed)


def deep(seed: int) -> NetworkEvidence:
    return fitted(lambda: network(ACTIVATIONS[whole(0, 3)], whole(5, 12)), unchanged, seed)


def repeat_filters(net: nn.Sequential, count: int | None) -> None:
    layers = of_kind(net, nn.Conv2d)
    layer = layers[whole(0, len(layers) - 1)]
    channels = some_channels(len(layer.weight), 0.3, 0.8)[:count]
    source = layer.weight[:1] if int(channels[0]) else layer.weight[-1:]
    layer.weight[channels] = source * (1 + 0.05 * torch.randn_like(layer.weight[channels]))


def duplicate_kernels(seed: int) -> NetworkEvidence:
    return fitted(usual, lambda net: repeat_filters(net, None), seed)


def single_duplicate(seed: int) -> NetworkEvidence:
    return fitted(usual, lambda net: repeat_filters(net, 1), seed)


def large_filters() -> nn.Sequential:
    return network(nn.ReLU, 2, size=(5, 7)[whole(0, 1)])


def noise_kernels(seed: int) -> NetworkEvidence:
    return fitted(large_filters, unchanged, seed)


def smooth_kernels(seed: int) -> NetworkEvidence:
    """Blobs and edges with a little noise, and up to a third of the filters all noise."""

    def smooth(net: nn.Sequential) -> None:
        weight = of_kind(net, nn.Conv2d)[0].weight
        for index in range(len(weight) // 3, len(weight)):
            coarse = torch.randn(1, weight.shape[1], 3, 3, device="cpu")
            pattern = nn.functional.interpolate(coarse, weight.shape[2:], mode="bilinear", align_corners=True)[0]
            weight[index] = pattern + 0.1 * torch.randn_like(pattern)

    return fitted(large_filters, smooth, seed)


class Root(nn.Module):
    """The square root of what it gets, which is not a number where that is negative."""

    def forward(self, x: Tensor) -> Tensor:
        return x.sqrt()


class Quotient(nn.Module):
    """Each number divided by the sum of the positive part of its map, which can be zero."""

    def forward(self, x: Tensor) -> Tensor:
        return x / (x - 1e6).relu().sum((2, 3), keepdim=True)


def nonfinite_values(seed: int) -> NetworkEvidence:
    def make() -> nn.Sequential:
        net = usual()
        layers = of_kind(net, nn.Conv2d)
        layer = layers[whole(0, len(layers) - 1)]
        if seed % 4 == 0:
            layer.weight.view(-1)[whole(0, layer.weight.numel() - 1)] = (torch.nan, torch.inf)[whole(0, 1)]
        elif seed % 4 == 1:
            layer.bias[0] = 3e38
            layer.weight[0] = 3e38
        elif seed % 4 == 2:
            net.insert(0, Root())
        else:
            net.insert(whole(0, 3), Quotient())
        return net

    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        return evidence(make(), pictures() - 0.5)


def large_values(seed: int) -> NetworkEvidence:
    def enlarge(net: nn.Sequential) -> None:
        of_kind(net, nn.Linear)[0].weight *= 10 ** number(10, 30)

    return fitted(usual, enlarge, seed)


def batch_norm_statistics(seed: int) -> NetworkEvidence:
    """Means that are off, variances that are off, or running statistics that never ran."""

    def spoil(net: nn.Sequential) -> None:
        norms = of_kind(net, nn.BatchNorm2d)
        norm = norms[whole(0, len(norms) - 1)]
        sign = torch.randint(0, 2, norm.running_mean.shape, device="cpu") * 2 - 1
        if seed % 3 == 0:
            norm.running_mean += sign * number(1.5, 10) * norm.running_var.sqrt()
        elif seed % 3 == 1:
            norm.running_var *= number(6, 100) ** (1 if seed % 2 else -1)
        else:
            for other in norms:
                other.reset_running_stats()

    return fitted(usual, spoil, seed)


def running_statistics(seed: int) -> NetworkEvidence:
    """Statistics of other images of the same kind."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        net = usual()
        fit_norms(net, pictures())
        return evidence(net, pictures())


def input_independence(seed: int) -> NetworkEvidence:
    def cut(net: nn.Sequential) -> None:
        layers = of_kind(net, nn.Conv2d)
        if seed % 2:
            layers[whole(0, len(layers) - 1)].weight.zero_()
        else:
            of_kind(net, nn.BatchNorm2d)[-1].bias.fill_(-1e4)

    return fitted(lambda: network(nn.ReLU, whole(2, 5)), cut, seed)


def similar_images(seed: int) -> NetworkEvidence:
    """Images that differ by a hundredth."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        net, images = usual(), pictures(1) + 0.01 * torch.rand(IMAGES, 3, 12, 12, device="cpu")
        fit_norms(net, images)
        return evidence(net, images)


class OtherPreprocessing(nn.Module):
    """A network that expects pixels in another way than from 0 to 1."""

    def __init__(self, net: nn.Module, mean: Tensor, std: Tensor, way: str) -> None:
        super().__init__()
        self.net, self.mean, self.std, self.way = net, mean, std, way

    def forward(self, x: Tensor) -> Tensor:
        pixels = {"bytes": x / 255, "symmetric": (x + 1) / 2, "inverted": 1 - x, "bgr": x.flip(1), "": x}[self.way]
        return self.net((pixels - self.mean) / self.std)


@cache
def bundled(name: str) -> cs.Model:
    return cs.load(f"bundled:{name}")


def prepared(name: str, way: str, seed: int) -> NetworkEvidence:
    """A bundled network that expects pixels in some way, and gets them from 0 to 1, on twenty of its samples."""
    model = bundled(name)
    spec = model.input
    assert isinstance(spec, cs.ImageInput)
    assert spec.mean is not None
    assert spec.std is not None
    mean, std = (torch.tensor(v, dtype=torch.float32, device="cpu").view(1, -1, 1, 1) for v in (spec.mean, spec.std))
    zero, unit = (0.0,) * len(spec.mean), (1.0,) * len(spec.mean)
    wrapped = cs.Model(
        OtherPreprocessing(model.module, mean, std, way).eval(),
        input=cs.ImageInput(size=spec.size, mean=zero, std=unit),
        labels=model.labels,
    )
    return NetworkEvidence(wrapped, f"sample:{name}/{seed}-{seed + 19}")


class MainColor(nn.Module):
    """Three classes by the color that is strongest."""

    def forward(self, x: Tensor) -> Tensor:
        return 20 * x.mean((2, 3))


def exchanged_colors(seed: int) -> NetworkEvidence:
    """A network that expects blue, green and red, on images that are red, green or blue."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        classes = torch.arange(18, device="cpu") % 3
        images = 0.5 * pictures(18) + 0.4 * torch.eye(3, device="cpu")[classes].view(18, 3, 1, 1)
    net = OtherPreprocessing(MainColor(), torch.zeros((), device="cpu"), torch.ones((), device="cpu"), "bgr")
    spec = cs.ImageInput(size=(12, 12), mean=(0.0,) * 3, std=(1.0,) * 3)
    model = cs.Model(net.eval(), input=spec, labels=["red", "green", "blue"])
    return NetworkEvidence(model, TensorDataset(images, classes))


def wrong_preprocessing(seed: int) -> NetworkEvidence:
    if seed % 5 == 3:
        return exchanged_colors(seed)
    ways = {0: ("digits", "bytes"), 1: ("digits", "symmetric"), 2: ("digits", "inverted"), 4: ("shapes", "bytes")}
    return prepared(*ways[seed % 5], seed)


def right_preprocessing(seed: int) -> NetworkEvidence:
    return prepared(("digits", "shapes")[seed % 2], "", seed)


HEALTHY: dict[str, Callable[[int], NetworkEvidence]] = {
    "dead_units": few_dead_units, "saturated_units": bounded_units, "gradient_by_depth": deep,
    "duplicate_kernels": single_duplicate, "noise_kernels": smooth_kernels, "nonfinite_values": large_values,
    "batch_norm_statistics": running_statistics, "input_independence": similar_images,
    "wrong_preprocessing": right_preprocessing,
}  # fmt: skip
"""Networks that are close to the symptom of a check, and healthy."""
SICK = (
    nonfinite_values, input_independence, wrong_preprocessing, batch_norm_statistics, dead_units, saturated_units,
    gradient_by_depth, duplicate_kernels, noise_kernels,
)  # fmt: skip
