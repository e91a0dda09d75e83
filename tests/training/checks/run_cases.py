"""Seeded runs as series of numbers: healthy ones, some close to a symptom, and sick ones for each check."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from convscope.training.checks.run_evidence import RunEvidence
from convscope.training.run import Run
from convscope.training.store import tags
from convscope.training.store.event_file import EventFile
from convscope.training.store.records import RecordFile
from convscope.training.store.series import Series

Values = np.ndarray
Layers = dict[str, dict[str, Values]]
"""Kind of measurement → layer → its numbers."""
Random = np.random.Generator


def series(values: Values, apart: int = 1) -> Series:
    """Numbers that were written every so many steps."""
    numbers = Series()
    for step, value in enumerate(values):
        numbers.append(apart * step, float(apart * step), float(value))
    return numbers


def evidence(training: Values, validation: Values | None = None, layers: Layers | None = None) -> RunEvidence:
    """A run with these losses and these measurements of layers; the validation loss has some twenty numbers."""
    scalars = {
        tags.layer_tag(kind, layer): series(values, 100)
        for kind, by_layer in (layers or {}).items()
        for layer, values in by_layer.items()
    }
    run = Run("run", Path("no-folder"), [EventFile(RecordFile(Path("no-file")), scalars)])
    apart = max(1, len(training) // 20)
    held_out = None if validation is None else series(validation[::apart], apart)
    return RunEvidence("run", series(training), held_out, (run,) if scalars else ())


def times(rng: Random) -> Values:
    """The steps of a training of random length, as numbers from 0 to 1."""
    return np.linspace(0, 1, int(rng.integers(80, 1200)))


def noisy(rng: Random, values: Values, least: float = 0.01, most: float = 0.15) -> Values:
    """Values with the noise of batches."""
    return np.asarray(values * np.exp(rng.normal(0, rng.uniform(least, most), len(values))))


def falling(rng: Random, t: Values) -> Values:
    """A loss that falls as in a healthy training: exponentially, by a power of the step, or in stairs."""
    start, kind = rng.uniform(0.7, 6.0), rng.integers(3)
    if kind == 0:
        floor = rng.uniform(0.005, 0.15)
        return np.asarray(start * (floor + (1 - floor) * np.exp(-rng.uniform(4, 15) * t)))
    if kind == 1:
        return np.asarray(start * (1 + rng.uniform(30, 100) * t) ** -rng.uniform(0.4, 0.9))
    stairs = 0.5 * np.exp(-20 * t) + 0.3 * (t < 0.4) + 0.12 * (t < 0.75)
    return np.asarray(start * (stairs + rng.uniform(0.03, 0.15)))


def healthy(seed: int) -> RunEvidence:
    """A run in which the loss falls on both kinds of data, and the layers learn about equally fast."""
    rng = np.random.default_rng(seed)
    loss = falling(rng, times(rng))
    gap = rng.uniform(0.95, 1.3)
    return evidence(noisy(rng, loss), noisy(rng, gap * loss, 0.005, 0.04), healthy_layers(rng))


def healthy_layers(rng: Random) -> Layers:
    """Measurements of layers: gradients within a factor of 30, updates within a factor of 50, few units dead."""
    names = [f"layer{number}" for number in range(rng.integers(4, 16))]
    rows = int(rng.integers(3, 12))

    def measured(center: float, spread: float) -> dict[str, Values]:
        level = {name: center * np.exp(rng.uniform(-1, 1) * np.log(spread) / 2) for name in names}
        return {name: noisy(rng, np.full(rows, value), 0.02, 0.2) for name, value in level.items()}

    dead = {name: np.full(rows, rng.uniform(0, 0.6)) * rng.uniform(0.9, 1.1, rows) for name in names[1::2]}
    return {
        tags.WEIGHT_NORM: measured(5, 4), tags.GRADIENT_NORM: measured(0.1, 30),
        tags.UPDATE_RATIO: measured(rng.uniform(2e-4, 5e-3), 10), tags.DEAD: dead,
    }  # fmt: skip


def almost_overfitting(seed: int) -> RunEvidence:
    """The validation loss stops falling, but hardly rises."""
    rng = np.random.default_rng(seed)
    t = times(rng)
    start = rng.uniform(1, 4)
    held_out = start * (0.3 + 0.7 * np.exp(-10 * t) + rng.uniform(0, 0.03) * t)
    return evidence(noisy(rng, start * (0.03 + 0.97 * np.exp(-7 * t))), noisy(rng, held_out, 0.001, 0.02))


def overfitting(seed: int) -> RunEvidence:
    rng = np.random.default_rng(seed)
    t = times(rng)
    start, best, level = rng.uniform(1, 4), rng.uniform(0.1, 0.6), rng.uniform(0.1, 0.5)
    training = start * (0.01 + 0.99 * np.exp(-rng.uniform(5, 10) * t))
    held_out = start * (level + (1 - level) * np.exp(-5 * t / best))
    held_out *= 1 + rng.uniform(0.4, 1.5) * np.clip(t - best, 0, None) / (1 - best)
    return evidence(noisy(rng, training), noisy(rng, held_out, 0.005, 0.04))


def underfitting(seed: int) -> RunEvidence:
    rng = np.random.default_rng(seed)
    t = times(rng)
    level = rng.uniform(0.6, 0.92)
    loss = rng.uniform(0.7, 5) * (level + (1 - level) * np.exp(-rng.uniform(12, 40) * t))
    return evidence(noisy(rng, loss, 0.005, 0.05), noisy(rng, loss * rng.uniform(0.98, 1.08), 0.002, 0.01))


def plateau(seed: int) -> RunEvidence:
    rng = np.random.default_rng(seed)
    t = times(rng)
    level = rng.uniform(0.4, 0.65)
    loss = rng.uniform(0.7, 5) * (level + (1 - level) * np.exp(-rng.uniform(12, 25) * t))
    return evidence(noisy(rng, loss, 0.005, 0.05), noisy(rng, 1.3 * loss, 0.005, 0.03))


def divergence(seed: int) -> RunEvidence:
    """A loss that grows without bound, that is NaN or infinite from a step on, or that returns to its beginning."""
    rng = np.random.default_rng(seed)
    t = times(rng)
    loss, start = noisy(rng, falling(rng, t)), rng.uniform(0.5, 0.9)
    kind = seed % 4
    if kind == 0:
        loss = loss + loss[0] * np.exp(15 * (t - start))
    elif kind == 1:
        loss[int(start * len(t)) :] = rng.choice([np.nan, np.inf])
    elif kind == 2:
        loss[int(rng.uniform(0.1, 0.9) * len(t))] = np.nan
    else:
        loss[int(start * len(t)) :] = loss[0] * rng.uniform(1.0, 1.5)
    return evidence(loss, None)


def high_learning_rate(seed: int) -> RunEvidence:
    """Steps that overwrite the weights, a loss that jumps between levels, or one that is thrown back repeatedly."""
    rng = np.random.default_rng(seed)
    t = times(rng)
    kind = seed % 3
    if kind == 0:
        layers = healthy_layers(rng)
        layers[tags.UPDATE_RATIO] = {n: v * 0.08 / np.median(v) for n, v in layers[tags.UPDATE_RATIO].items()}
        return evidence(noisy(rng, falling(rng, t)), None, layers)
    start = rng.uniform(1, 4)
    if kind == 1:
        levels = rng.uniform(0.4, 1.8, int(rng.integers(15, 30)))
        loss = start * levels[(t * (len(levels) - 1)).astype(int)]
    else:
        since = (t * rng.uniform(5, 8) + rng.uniform(0, 1)) % 1
        loss = start * (0.4 + rng.uniform(1.2, 2.5) * np.exp(-4 * since))
    return evidence(noisy(rng, loss, 0.01, 0.1))


def low_learning_rate(seed: int) -> RunEvidence:
    """Steps that hardly move the weights, or a loss that falls along a line that is nearly level."""
    rng = np.random.default_rng(seed)
    t = times(rng)
    if seed % 2:
        layers = healthy_layers(rng)
        center = 10 ** rng.uniform(-8, -5.3)
        layers[tags.UPDATE_RATIO] = {n: v * center / np.median(v) for n, v in layers[tags.UPDATE_RATIO].items()}
        return evidence(noisy(rng, np.full(len(t), 2.3)), None, layers)
    loss = rng.uniform(1, 5) * (1 - rng.uniform(0.05, 0.25) * t ** rng.uniform(0.9, 1.2))
    return evidence(noisy(rng, loss, 0.002, 0.02))


def gradient_depth(seed: int) -> RunEvidence:
    rng = np.random.default_rng(seed)
    layers = healthy_layers(rng)
    names = list(layers[tags.GRADIENT_NORM])
    decades = rng.uniform(5, 10) * rng.choice([-1, 1])
    for number, name in enumerate(names):
        layers[tags.GRADIENT_NORM][name] = layers[tags.GRADIENT_NORM][name] * 10 ** (decades * number / len(names))
    t = times(rng)
    return evidence(noisy(rng, falling(rng, t)), None, layers)


def idle_layer(seed: int) -> RunEvidence:
    """A layer that does not move at all, hardly moves, or is unknown to the optimizer."""
    rng = np.random.default_rng(seed)
    layers = healthy_layers(rng)
    name = str(rng.choice(list(layers[tags.UPDATE_RATIO])))
    if seed % 3 == 0:
        del layers[tags.UPDATE_RATIO][name]
    else:
        layers[tags.UPDATE_RATIO][name] = layers[tags.UPDATE_RATIO][name] * (0.0 if seed % 3 == 1 else 1e-5)
    return evidence(noisy(rng, falling(rng, times(rng))), None, layers)


def dying_units(seed: int) -> RunEvidence:
    rng = np.random.default_rng(seed)
    layers = healthy_layers(rng)
    name = str(rng.choice(list(layers[tags.DEAD])))
    rows, start = len(layers[tags.DEAD][name]), rng.uniform(0, 0.25)
    end = rng.uniform(0.6, 1.0)
    layers[tags.DEAD][name] = start + (end - start) * np.clip(np.linspace(0, 1.5, rows), 0, 1)
    return evidence(noisy(rng, falling(rng, times(rng))), None, layers)


def leak_like_jump(seed: int) -> RunEvidence:
    """The validation loss falls to a part of it at once, and the training loss goes on as before."""
    rng = np.random.default_rng(seed)
    t = times(rng)
    loss = rng.uniform(1, 5) * (0.2 + 0.8 * np.exp(-rng.uniform(3, 6) * t))
    held_out = rng.uniform(1.0, 1.3) * loss * np.where(t > rng.uniform(0.5, 0.8), rng.uniform(0.15, 0.45), 1.0)
    return evidence(noisy(rng, loss, 0.01, 0.08), noisy(rng, held_out, 0.005, 0.03))


def stairs(seed: int) -> RunEvidence:
    """Both losses fall at once, as when the learning rate is lowered."""
    rng = np.random.default_rng(seed)
    t = times(rng)
    level = np.where(t < rng.uniform(0.4, 0.7), 1.0, rng.uniform(0.2, 0.5))
    loss = rng.uniform(1, 5) * level * (0.4 + 0.6 * np.exp(-8 * t))
    return evidence(noisy(rng, loss), noisy(rng, rng.uniform(1.0, 1.4) * loss, 0.005, 0.04))


def batch_noise(seed: int) -> RunEvidence:
    rng = np.random.default_rng(seed)
    t = times(rng)
    level = rng.uniform(0.45, 0.9)
    loss = rng.uniform(0.7, 5) * (level + (1 - level) * np.exp(-rng.uniform(3, 15) * t))
    return evidence(noisy(rng, loss, 0.45, 0.8), noisy(rng, loss, 0.005, 0.03))


def noise_of_a_small_loss(seed: int) -> RunEvidence:
    """A loss that ends near zero, where the noise of batches is large relative to it; or a little noise."""
    rng = np.random.default_rng(seed)
    t = times(rng)
    start, floor = rng.uniform(0.7, 5), rng.uniform(0.01, 0.1)
    loss = start * (floor + (1 - floor) * np.exp(-rng.uniform(8, 15) * t))
    return evidence(noisy(rng, loss, 0.3, 0.6), noisy(rng, loss, 0.005, 0.03))


HEALTHY: dict[str, Callable[[int], RunEvidence]] = {
    "overfitting": almost_overfitting, "leak_like_jump": stairs, "batch_noise": noise_of_a_small_loss,
}  # fmt: skip
"""Other healthy runs than usual, for every second case."""
SICK = (
    divergence, overfitting, underfitting, high_learning_rate, low_learning_rate, plateau, gradient_depth, idle_layer,
    dying_units, leak_like_jump, batch_noise,
)  # fmt: skip
