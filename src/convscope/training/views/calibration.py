"""Whether answers are right as often as their confidence says: reliability diagram, and calibration error over time."""

import numpy as np

from convscope.render.bar_plot import draw_reliability
from convscope.render.line_plot import PlotLine, draw_lines
from convscope.render.palette import line_colours
from convscope.render.rendered_picture import Picture
from convscope.training.predictions import BINS, stored_predictions
from convscope.training.run import TrainingLog
from convscope.training.views.declaration import view


@view(
    title="Calibration",
    asks="Is the network right as often as its confidence says?",
    reads="Bars are the accuracy of the answers of each bin of confidence, lines across them their mean confidence: a "
    "bar below its line is an overconfident network. The expected calibration error is their mean distance, weighted "
    "by the samples of each bin.",
)
def calibration(log: TrainingLog) -> list[Picture]:
    """A reliability diagram for each run that stored predictions, and one plot of the calibration error over steps."""
    pictures, names, curves = [], [], []
    for run in log:
        stored = stored_predictions(run)
        if not stored:
            continue
        last = stored[-1]
        bins = last.calibration()
        gap = float(np.nansum((bins.accuracy - bins.confidence) * bins.counts) / max(1.0, bins.counts.sum()))
        pictures.append(
            draw_reliability(
                bins.counts, bins.confidence, bins.accuracy,
                title=f"reliability at step {last.step:,} · {run.name}",
                legend=f"expected calibration error {bins.error:.2%} in {BINS} bins of {int(bins.counts.sum()):,} "
                f"samples; accuracy minus confidence is {100 * gap:+.2f} percentage points",
            )
        )  # fmt: skip
        if len(stored) > 1:
            names.append(run.name)
            curves.append(([p.step for p in stored], [p.calibration().error for p in stored]))
    if curves:
        lines = [
            PlotLine(name, np.array(steps, float), np.array(errors), colour)
            for name, (steps, errors), colour in zip(names, curves, line_colours(len(curves)), strict=True)
        ]
        pictures.append(draw_lines(lines, title="expected calibration error", x_label="step"))
    return pictures
