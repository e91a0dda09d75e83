"""Generated heartbeats with ground truth: four seconds of an electrocardiogram in which one beat may be abnormal.

A recording is a function of its seed. Each beat is a sum of five bell curves, the waves P, Q, R, S and T. In an
abnormal recording one beat differs, and the samples in which it differs are its mask: the map of a correct explanation
lies there. Seeds below `FIRST_TRAINING_SEED` are for samples and evaluation; seeds from there on are for training.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.random import PCG64, Generator
from numpy.typing import NDArray

CLASSES = ("normal", "premature beat", "raised ST segment", "inverted T wave")
RATE = 180.0
"""Samples per second."""
LENGTH = 720
FIRST_TRAINING_SEED = 1_000_000


@dataclass(frozen=True, eq=False)
class Recording:
    """A signal float32 (1, 720) in millivolts, the class index, and the mask (720,) of what is abnormal."""

    signal: NDArray[np.float32]
    label: int
    mask: NDArray[np.bool_]


@dataclass(frozen=True)
class _Wave:
    """A bell curve: its time after the R wave and its width in seconds, its height in millivolts."""

    time: float
    width: float
    height: float


_NORMAL = {
    "P": _Wave(-0.17, 0.025, 0.13),
    "Q": _Wave(-0.03, 0.010, -0.12),
    "R": _Wave(0.0, 0.012, 1.0),
    "S": _Wave(0.035, 0.012, -0.25),
    "T": _Wave(0.26, 0.05, 0.30),
}
_PREMATURE = {"R": _Wave(0.0, 0.045, 1.1), "S": _Wave(0.10, 0.04, -0.35), "T": _Wave(0.30, 0.06, -0.35)}
"""A beat that starts in a ventricle: no P wave, a wide R wave, and a T wave of the opposite sign."""
_DIFFERING = {1: (-0.12, 0.45), 2: (0.05, 0.30), 3: (0.14, 0.40)}
"""The interval around the R wave in which the abnormal beat of each class differs, in seconds."""


def recording(seed: int) -> Recording:
    """Draw the recording of a seed; its class is `CLASSES[seed % 4]`, so consecutive seeds are balanced."""
    rng = Generator(PCG64(seed))
    label = seed % len(CLASSES)
    person = {name: _varied(wave, rng, 0.15) for name, wave in _NORMAL.items()}
    interval = rng.uniform(0.75, 1.05)
    beats = [rng.uniform(-0.3, 0.3)]
    while beats[-1] < LENGTH / RATE + 1:
        beats.append(beats[-1] + interval * rng.normal(1, 0.03))
    inner = [index for index, time in enumerate(beats) if 0.4 < time < LENGTH / RATE - 0.6]
    chosen = inner[rng.integers(len(inner))]
    if label == 1:
        beats[chosen] -= interval * rng.uniform(0.15, 0.3)
    signal = np.zeros(LENGTH)
    for index, time in enumerate(beats):
        waves = _abnormal(label, person, rng) if index == chosen else person
        signal += _beat(time, {name: _varied(wave, rng, 0.05) for name, wave in waves.items()})
    return Recording(_recorded(signal, rng), label, _mask(label, beats[chosen]))


def _abnormal(label: int, person: dict[str, _Wave], rng: Generator) -> dict[str, _Wave]:
    """The waves of the abnormal beat of a class."""
    if label == 1:
        return {name: _varied(wave, rng, 0.1) for name, wave in _PREMATURE.items()}
    if label == 2:
        return {**person, "ST": _Wave(0.14, 0.05, rng.uniform(0.3, 0.45))}
    if label == 3:
        return {**person, "T": replace(person["T"], height=-person["T"].height * rng.uniform(0.8, 1.2))}
    return person


def _varied(wave: _Wave, rng: Generator, share: float) -> _Wave:
    return replace(wave, width=wave.width * rng.normal(1, share / 2), height=wave.height * rng.normal(1, share))


def _beat(time: float, waves: dict[str, _Wave]) -> NDArray[np.float64]:
    times = np.arange(LENGTH) / RATE - time
    curves = [wave.height * np.exp(-0.5 * ((times - wave.time) / wave.width) ** 2) for wave in waves.values()]
    beat: NDArray[np.float64] = np.sum(curves, 0)
    return beat


def _recorded(signal: NDArray[np.float64], rng: Generator) -> NDArray[np.float32]:
    """The signal as an electrode records it: another gain, a wandering baseline, and noise."""
    times = np.arange(LENGTH) / RATE
    wander = rng.uniform(0, 0.15) * np.sin(2 * np.pi * (rng.uniform(0.15, 0.4) * times + rng.uniform()))
    noise = rng.normal(0, rng.uniform(0.01, 0.04), LENGTH)
    return ((rng.uniform(0.8, 1.2) * signal + wander + noise)[None]).astype(np.float32)


def _mask(label: int, time: float) -> NDArray[np.bool_]:
    times = np.arange(LENGTH) / RATE - time
    first, last = _DIFFERING.get(label, (1.0, 0.0))
    return (times >= first) & (times <= last)
