"""How alike the probe images are to the network over the steps, by the features before its last linear layer."""

from itertools import combinations

import numpy as np

from convscope.errors import InputError
from convscope.render.line_plot import PlotLine, draw_lines
from convscope.render.palette import line_colours
from convscope.render.rendered_picture import Picture
from convscope.training.picture_titles import probe_name
from convscope.training.run import Run, TrainingLog
from convscope.training.store import tags
from convscope.training.views.declaration import view

MOST_PAIRS = 8
"""Of more pairs the most and the least alike at the end are drawn."""

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


@view(
    title="Similarity of probe images",
    asks="Which of the probe images are alike to the network?",
    reads="Each line is the cosine similarity of the features of two probe images before the last linear layer: 1 is "
    "the same direction. Images of one class should come together, those of different classes should part. A network "
    "to which all images stay alike does not tell them apart. Images are named with the answer that they ended with.",
)
def probe_similarity(log: TrainingLog) -> list[Picture]:
    """For each run with embeddings of probe images at several steps, a line for each pair of images."""
    pictures = []
    for run in log:
        lines = _lines(run)
        if lines:
            title = f"similarity of the embeddings of probe images · {run.name}"
            pictures.append(draw_lines(lines, title=title, x_label="step"))
    return pictures


def _lines(run: Run) -> list[PlotLine]:
    """A line for each pair; none of logs without embeddings, of one image or of one step."""
    records = []
    for stored in run.arrays(tags.PROBES):
        try:
            arrays = stored.load()
            records.append((stored.step, _similarities(arrays["embedding"]), arrays["names"], arrays["answers"]))
        except (InputError, KeyError):  # damaged, which `Run.problems` names, or of a network without embeddings
            continue
    if len(records) < 2 or len({len(names) for _, _, names, _ in records}) > 1 or len(records[-1][2]) < 2:
        return []
    steps = np.array([step for step, *_ in records], float)
    _, last, names, answers = records[-1]
    titles = [f"{_short_name(str(name))} ({answer})" for name, answer in zip(names, answers, strict=True)]
    pairs = sorted(combinations(range(len(names)), 2), key=lambda pair: -np.nan_to_num(last[pair], nan=-2.0))
    if len(pairs) > MOST_PAIRS:
        pairs = [*pairs[: MOST_PAIRS // 2], *pairs[-MOST_PAIRS // 2 :]]
    return [
        PlotLine(
            f"{titles[first]} and {titles[second]}",
            steps,
            np.array([similarities[first, second] for _, similarities, _, _ in records]),
            colour,
        )
        for (first, second), colour in zip(pairs, line_colours(len(pairs)), strict=True)
    ]


def _short_name(name: str) -> str:
    """The number of an image of a tensor, the name of another: two of them fit into a legend."""
    full = probe_name(name)
    return str(full.parameters.get("number", full))


def _similarities(features: Floats) -> Floats:
    """The cosine similarity of each pair of rows (N, N); NaN for rows of zeros."""
    lengths = np.linalg.norm(features.astype(np.float64), axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        result: Floats = (features @ features.T) / np.outer(lengths, lengths)
    return result
