"""The norm of the gradient of each layer, by depth, at several steps."""

import numpy as np

from convscope.render.line_plot import PlotLine, draw_lines
from convscope.render.palette import line_colours
from convscope.render.rendered_picture import Picture
from convscope.training.run import TrainingLog
from convscope.training.store import tags
from convscope.training.views.declaration import view
from convscope.training.views.layer_numbers import layer_series, table

SHOWN_STEPS = 4


@view(
    title="Gradient flow",
    asks="Does the gradient reach the first layers?",
    reads="Layers from the input on the left to the output on the right, each line at one step, on a logarithmic axis: "
    "a line that falls to the left by orders of magnitude is a vanishing gradient, one that rises is an exploding one.",
)
def gradient_flow(log: TrainingLog) -> list[Picture]:
    """One plot for each run that has norms of gradients of layers."""
    pictures = []
    for run in log:
        series = layer_series(run, tags.GRADIENT_NORM)
        if len(series) < 2:
            continue
        values, steps = table(series)
        chosen = np.unique(np.linspace(0, len(steps) - 1, SHOWN_STEPS).round().astype(int))
        lines = [
            PlotLine(f"step {steps[column]:,}", np.arange(len(series), dtype=float), values[:, column], colour)
            for column, colour in zip(chosen, line_colours(len(chosen)), strict=True)
        ]
        title = f"norm of the gradient by layer · {run.name}"
        pictures.append(draw_lines(lines, title=title, x_label="", logarithmic=True, x_names=list(series)))
    return pictures
