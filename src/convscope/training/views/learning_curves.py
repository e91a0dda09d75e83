"""The metrics over the steps, on training and on validation data, of one or of several runs."""

import numpy as np

from convscope.render.line_plot import Floats, PlotLine, draw_lines
from convscope.render.palette import class_colours
from convscope.render.rendered_picture import Picture
from convscope.training.roles import curves
from convscope.training.run import TrainingLog
from convscope.training.views.declaration import view

SMOOTHING, FEWEST_SMOOTHED = 0.8, 40
"""The weight of the past in the moving average, and how long a curve must be to be smoothed."""

FEWEST_TURNS = 0.1
"""How often a curve must turn up or down, as a share of its steps, to be smoothed: a learning rate seldom does."""

MOST_METRICS = 24


@view(
    title="Learning curves",
    asks="Does the network learn, and does it learn what also holds for data that it was not trained on?",
    reads="A bold line over a faint one is its moving average. Training and validation falling together is learning; "
    "validation rising while training falls is overfitting.",
)
def learning_curves(log: TrainingLog) -> list[Picture]:
    """One plot for each metric."""
    pictures = []
    for metric, of_metric in list(curves(log).items())[:MOST_METRICS]:
        named = len({curve.run for curve in of_metric}) > 1
        colours = class_colours(len(of_metric))
        lines = []
        for curve, colour in zip(of_metric, colours, strict=True):
            values = curve.series.values
            name = (curve.name if named else curve.role) or metric
            smooth = is_noisy(values)
            lines.append(
                PlotLine(
                    name,
                    curve.series.steps.astype(float),
                    smoothed(values, SMOOTHING) if smooth else values,
                    colour,
                    values if smooth else None,
                )
            )
        pictures.append(draw_lines(lines, title=metric, x_label="step"))
    return pictures


def is_noisy(values: Floats) -> bool:
    """Whether a curve is long and turns so often that a moving average shows its course better."""
    directions = np.sign(np.diff(values[np.isfinite(values)]))
    turns = np.count_nonzero(directions[1:] * directions[:-1] < 0)
    return len(values) >= FEWEST_SMOOTHED and int(turns) >= FEWEST_TURNS * len(values)


def smoothed(values: Floats, weight: float) -> Floats:
    """The exponential moving average without a bias to zero at its beginning, as TensorBoard draws it.

    Numbers that are not finite are left out and stay as they are.
    """
    result = values.copy()
    total = mass = 0.0
    for index in np.flatnonzero(np.isfinite(values)):
        total = weight * total + (1 - weight) * values[index]
        mass = weight * mass + (1 - weight)
        result[index] = total / mass
    return result
