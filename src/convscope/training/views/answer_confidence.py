"""How sure the network is of its answers over the steps: of right and of wrong ones, and of each probe image."""

import numpy as np

from convscope.errors import InputError
from convscope.render.line_plot import PlotLine, draw_lines
from convscope.render.palette import class_colours, line_colours
from convscope.render.rendered_picture import Picture
from convscope.training.picture_titles import probe_name
from convscope.training.predictions import Predictions, stored_predictions
from convscope.training.run import Run, TrainingLog
from convscope.training.store import tags
from convscope.training.views.declaration import view


@view(
    title="Predictions with confidence",
    asks="How sure is the network, where it is right and where it is wrong?",
    reads="The mean probability of right answers should rise and that of wrong answers should not: a network that "
    "grows sure of its mistakes overfits. Each probe image has a line of its own, with the answer that it ended with.",
)
def answer_confidence(log: TrainingLog) -> list[Picture]:
    """For each run, the confidence on validation samples and on probe images, as far as they were recorded."""
    pictures = []
    for run in log:
        stored = stored_predictions(run)
        if len(stored) > 1:
            pictures.append(_of_validation(run, stored))
        lines = _of_probes(run)
        if lines:
            title = f"confidence of the answers for the probe images · {run.name}"
            pictures.append(draw_lines(lines, title=title, x_label="step"))
    return pictures


def _of_validation(run: Run, stored: list[Predictions]) -> Picture:
    steps = np.array([p.step for p in stored], float)
    curves = {
        "confidence of right answers": [_mean(p.confidence[p.right]) for p in stored],
        "confidence of wrong answers": [_mean(p.confidence[~p.right]) for p in stored],
        "accuracy": [float(p.right.mean()) for p in stored],
    }
    lines = [
        PlotLine(line, steps, np.array(values), colour)
        for (line, values), colour in zip(curves.items(), line_colours(3), strict=True)
    ]
    return draw_lines(lines, title=f"confidence on validation samples · {run.name}", x_label="step")


def _of_probes(run: Run) -> list[PlotLine]:
    """A line for each probe image; none of logs without them or of one step."""
    records = []
    for stored in run.arrays(tags.PROBES):
        try:
            arrays = stored.load()
            records.append((stored.step, arrays["confidence"], arrays["names"], arrays["answers"]))
        except (InputError, KeyError):  # damaged, which `Run.problems` names, or of an earlier version
            continue
    count = min((len(confidence) for _, confidence, _, _ in records), default=0)
    if len(records) < 2 or not count:
        return []
    steps = np.array([step for step, *_ in records], float)
    _, _, names, answers = records[-1]
    if not np.isfinite(records[-1][1]).any():
        return []  # the network gives plain values
    return [
        PlotLine(
            f"{probe_name(str(names[row]))}: {answers[row]}",
            steps,
            np.array([float(confidence[row]) for _, confidence, _, _ in records]),
            colour,
        )
        for row, colour in enumerate(class_colours(count))
    ]


def _mean(values: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else float("nan")
