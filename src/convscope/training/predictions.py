"""What a network answered on validation samples over a training, as the recorder stored it."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from convscope.errors import InputError
from convscope.training.recorder.answers import FIELDS
from convscope.training.run import Run
from convscope.training.store import tags

Floats = np.ndarray[Any, np.dtype[np.float64]]
BINS = 15
"""The bins of confidence in which calibration is measured, as in Guo et al. (2017)."""


@dataclass(frozen=True)
class Predictions:
    """The answers at one validation, as arrays with one number for each sample.

    Attributes:
        samples: positions in the validation set; `labels` and `answers` are indices of classes.
        confidence: the probability of the answer.
        label_probability: that of the label.
        margin: the score of the label minus the largest of the others.
        total: the number of samples there were, of which these are evenly spaced.
        names: the names of the classes.
    """

    step: int
    samples: "np.ndarray[Any, np.dtype[np.int64]]"
    labels: "np.ndarray[Any, np.dtype[np.int64]]"
    answers: "np.ndarray[Any, np.dtype[np.int64]]"
    confidence: Floats
    label_probability: Floats
    margin: Floats
    total: int
    names: tuple[str, ...]

    @property
    def right(self) -> "np.ndarray[Any, np.dtype[np.bool_]]":
        """Whether each answer is the label."""
        return np.asarray(self.labels == self.answers)

    def counts(self) -> Floats:
        """How many samples of each label, in rows, had each answer, in columns."""
        size = len(self.names)
        cells = self.labels * size + self.answers
        return np.bincount(cells, minlength=size * size).reshape(size, size).astype(np.float64)

    def calibration(self) -> "Calibration":
        """Confidence and accuracy in bins of equal width; samples whose scores are not finite are left out."""
        finite = np.isfinite(self.confidence)
        confidence, right = self.confidence[finite], self.right[finite].astype(np.float64)
        bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
        counts = np.bincount(bins, minlength=BINS).astype(np.float64)
        with np.errstate(invalid="ignore"):
            return Calibration(
                counts,
                np.bincount(bins, confidence, BINS) / counts,
                np.bincount(bins, right, BINS) / counts,
            )


@dataclass(frozen=True)
class Calibration:
    """In each of `BINS` bins of confidence: how many samples, their mean confidence, their accuracy; NaN if empty."""

    counts: Floats
    confidence: Floats
    accuracy: Floats

    @property
    def error(self) -> float:
        """The expected calibration error: the mean distance of confidence and accuracy over the samples."""
        filled = self.counts > 0
        distances = np.abs(self.accuracy - self.confidence)[filled] * self.counts[filled]
        return float(distances.sum() / self.counts.sum()) if filled.any() else float("nan")


def stored_predictions(run: Run) -> list[Predictions]:
    """The predictions of a run by their steps; a damaged file is left out, and `Run.problems` names it."""
    predictions = []
    for stored in run.arrays(tags.PREDICTIONS):
        try:
            arrays = stored.load()
            numbers: dict[str, Any] = {
                name: arrays[name].astype(np.float64 if arrays[name].dtype.kind == "f" else np.int64) for name in FIELDS
            }
            names = tuple(str(name) for name in arrays["names"])
            classes = int(arrays["classes"])
            total = int(arrays["total"])
        except (InputError, KeyError, ValueError, TypeError):
            continue
        names = names if len(names) == classes else tuple(str(index) for index in range(classes))
        predictions.append(Predictions(stored.step, **numbers, total=total, names=names))
    return predictions


def of_same_samples(predictions: list[Predictions]) -> list[Predictions]:
    """Those that are of the same samples with the same labels as the last one, so that samples can be followed."""
    last = predictions[-1] if predictions else None
    return [
        p
        for p in predictions
        if last is not None and np.array_equal(p.samples, last.samples) and np.array_equal(p.labels, last.labels)
    ]


def forgetting_events(right: "np.ndarray[Any, np.dtype[np.bool_]]") -> "np.ndarray[Any, np.dtype[np.int64]]":
    """How often each sample was answered wrongly after it had been answered rightly (Toneva et al., 2019).

    Args:
        right: (validations, samples).
    """
    return np.asarray((right[:-1] & ~right[1:]).sum(0), np.int64)
