"""Seeded sick and healthy cases: losses by formula, small networks with a defect, folders of drawn images."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

import convscope as cs
from convscope.training.checks.network_evidence import NetworkEvidence
from convscope.training.checks.run_evidence import RunEvidence
from convscope.training.store.series import Series

STEPS = 400


def series(values: np.ndarray, apart: int = 1) -> Series:
    numbers = Series()
    for step, value in enumerate(values):
        numbers.append(apart * step, float(apart * step), float(value))
    return numbers


def run(kind: str, seed: int) -> RunEvidence:
    """The losses of a training that is healthy, or sick in the way that ``kind`` names."""
    rng = np.random.default_rng(seed)
    t = np.linspace(0, 1, STEPS)
    start, speed = rng.uniform(1.0, 4.0), rng.uniform(6, 12)
    training = start * (0.03 + 0.97 * np.exp(-speed * t)) * rng.uniform(0.9, 1.1, STEPS)
    validation = training * 1.05
    if kind == "overfitting":
        validation = start * (0.3 + 0.7 * np.exp(-12 * t) + rng.uniform(0.3, 0.6) * t)
    elif kind == "underfitting":
        training = start * (0.8 + 0.2 * np.exp(-20 * t)) * rng.uniform(0.97, 1.03, STEPS)
        validation = training * 1.02
    elif kind == "plateau":
        training = start * (rng.uniform(0.4, 0.6) + 0.4 * np.exp(-25 * t)) * rng.uniform(0.98, 1.02, STEPS)
    elif kind == "divergence":
        training = training + start * np.exp(12 * (t - rng.uniform(0.7, 0.9)))
    elif kind == "high_learning_rate":
        training = start * np.repeat(rng.choice([0.6, 1.6], STEPS // 20), 20)
    elif kind == "low_learning_rate":
        training = start * (1 - rng.uniform(0.08, 0.2) * t) * rng.uniform(0.995, 1.005, STEPS)
    return RunEvidence("run", series(training), series(validation[::40], 40), ())


def network(kind: str, seed: int) -> NetworkEvidence:
    """A network of three convolutions with a defect, or without one."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        deep = kind == "gradient_by_depth"
        activation: type[nn.Module] = nn.Sigmoid if kind in ("saturated_units", "gradient_by_depth") else nn.ReLU
        layers: list[nn.Module] = []
        for depth in range(9 if deep else 3):
            layers += [nn.Conv2d(8 if depth else 3, 8, 3, padding=1), nn.BatchNorm2d(8), activation()]
        if deep:
            layers = [layer for layer in layers if not isinstance(layer, nn.BatchNorm2d)]
        net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
        images = torch.rand(32, 3, 16, 16)
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = None
        net.train()
        with torch.no_grad():
            net(images)
            _damage(net, kind)
        return NetworkEvidence(cs.Model(net.eval()), images)


def _damage(net: nn.Sequential, kind: str) -> None:
    convolutions = [m for m in net if isinstance(m, nn.Conv2d)]
    norms = [m for m in net if isinstance(m, nn.BatchNorm2d)]
    if kind == "dead_units":
        norms[1].bias[:5] = -50
    elif kind == "saturated_units":
        norms[1].bias[:5] = 50
    elif kind == "duplicate_kernels":
        convolutions[1].weight[3:] = convolutions[1].weight[:1]
    elif kind == "nonfinite_values":
        convolutions[2].weight[0, 0, 0, 0] = torch.nan
    elif kind == "batch_norm_statistics":
        assert norms[0].running_mean is not None
        norms[0].running_mean += 10
    elif kind == "input_independence":
        convolutions[1].weight.zero_()


def folder(kind: str, seed: int, path: Path) -> Path:
    """A folder of two classes in a training and a validation part."""
    rng = np.random.default_rng(seed)
    counts: Mapping[str, int] = {"cat": 12, "dog": 2 if kind == "class_imbalance" else 10}
    for part in ("train", "val"):
        for label, count in counts.items():
            (path / part / label).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                _save(path / part / label / f"{number}.png", rng.integers(0, 256, (12, 12, 3)))
    if kind == "exact_duplicates":
        (path / "train/dog/copy.png").write_bytes((path / "train/cat/1.png").read_bytes())
    elif kind == "split_leak":
        (path / "val/cat/copy.png").write_bytes((path / "train/cat/1.png").read_bytes())
    elif kind == "unusual_images":
        _save(path / "train/cat/dark.png", rng.integers(0, 4, (12, 12, 3)))
    return path


def _save(path: Path, pixels: np.ndarray) -> None:
    Image.fromarray(pixels.astype(np.uint8)).save(path)
