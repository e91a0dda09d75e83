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

MOST_METRICS = 24


@view(
    title="Learning curves",
    asks="Does the network learn, and does it learn what also holds for data that it was not trained on?",
    reads="The bold line is a moving average of the faint one. Training and validation falling together is learning; "
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
            smooth = len(values) >= FEWEST_SMOOTHED
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
