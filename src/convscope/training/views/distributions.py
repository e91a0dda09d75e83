"""The histograms of a log over its steps, as heat maps."""

from typing import Any

import numpy as np

from convscope.render.line_plot import draw_heat
from convscope.render.rendered_picture import Picture
from convscope.render.scale import format_number
from convscope.training.run import TrainingLog
from convscope.training.store.entries import Histogram
from convscope.training.store.event_file import Item
from convscope.training.views.declaration import view

ROWS, MOST_COLUMNS, MOST_TAGS = 60, 60, 36
COVERED = 0.995
"""The share of the numbers that the vertical axis covers at least, at every step."""

Floats = np.ndarray[Any, np.dtype[np.float64]]


@view(
    title="Distributions over time",
    asks="How do weights, gradients and activations spread while the network learns?",
    reads="Each column is the histogram of one step, the largest numbers at the top. A band that narrows to a line "
    "is a layer that collapses, one that widens without end a layer that diverges.",
)
def distributions(log: TrainingLog) -> list[Picture]:
    """A heat map for each tag with histograms of at least two steps."""
    pictures: list[Picture] = []
    for run in log:
        for tag, items in run.items("histogram").items():
            histograms = _readable(items)
            if len(histograms) >= 2 and len(pictures) < MOST_TAGS:
                pictures.append(_draw(f"{tag} · {run.name}" if len(log) > 1 else tag, histograms))
    return pictures


def _readable(items: list[Item]) -> list[tuple[int, Histogram]]:
    """The histograms of evenly spaced steps."""
    chosen = np.unique(np.linspace(0, len(items) - 1, min(len(items), MOST_COLUMNS)).round().astype(int))
    histograms = [(items[index].step, items[index].histogram()) for index in chosen]
    return [(step, h) for step, h in histograms if h is not None and h.counts.sum() > 0]


def _draw(title: str, histograms: list[tuple[int, Histogram]]) -> Picture:
    low = min(_quantile(h, (1 - COVERED) / 2) for _, h in histograms)
    high = max(_quantile(h, (1 + COVERED) / 2) for _, h in histograms)
    if not high > low:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, ROWS + 1)
    columns = [rebinned(histogram, edges) for _, histogram in histograms]
    values = np.sqrt(np.stack(columns, 1)[::-1])
    names = [""] * ROWS
    names[0], names[-1] = format_number(high), format_number(low)
    if low < 0 < high:
        names[min(ROWS - 2, max(1, int(high / (high - low) * ROWS)))] = "0"
    ends = (f"step {histograms[0][0]:,}", f"step {histograms[-1][0]:,}")
    legend = "square root of the share of numbers in a cell"
    return draw_heat(values, title=title, x_ends=ends, y_names=names, legend=legend)


def rebinned(histogram: Histogram, edges: Floats) -> Floats:
    """The share of the numbers between each two of other edges, spread evenly within the bins of the histogram."""
    cumulative = np.concatenate([[0.0], np.cumsum(histogram.counts)])
    result: Floats = np.diff(np.interp(edges, histogram.edges, cumulative)) / cumulative[-1]
    return result


def _quantile(histogram: Histogram, share: float) -> float:
    cumulative = np.concatenate([[0.0], np.cumsum(histogram.counts)])
    return float(np.interp(share * cumulative[-1], cumulative, histogram.edges))
