"""Noise of the gradient, length of the steps against the curvature, and the largest eigenvalue of the Hessian."""

from convscope.render.line_plot import PlotLine, draw_lines
from convscope.render.palette import line_colours
from convscope.render.rendered_picture import Picture
from convscope.training.run import Run, TrainingLog
from convscope.training.store import tags
from convscope.training.views.declaration import view

NOISE = tags.layer_tag(tags.GRADIENT_NOISE, tags.ALL_LAYERS)
LENGTH = f"{tags.CURVATURE}/step_length"
SHOWN: tuple[tuple[str, str, tuple[tuple[float, str], ...], bool], ...] = (
    (NOISE, "noise of the gradient", ((1.0, "as large as the mean"),), True),
    (LENGTH, "length of the step, in distances to its minimum", ((1.0, "at the minimum"), (2.0, "no gain")), False),
    (f"{tags.CURVATURE}/along_step", "curvature along the step", (), False),
    (f"{tags.CURVATURE}/largest_eigenvalue", "largest eigenvalue of the Hessian", (), False),
)  # fmt: skip
"""The tag of each plot, its title, its marks, and whether its axis is logarithmic."""


@view(
    title="Noise and curvature",
    asks="Are batch size and learning rate right for the slope and the curvature of the loss?",
    reads="Noise is the variance of successive gradients relative to the square of their mean: far above 1 a larger "
    "batch or a smaller learning rate helps. A step of length 1 ends at the minimum along its direction, one "
    "beyond 2 higher than it began. Plain gradient descent is stable up to a learning rate of 2 divided by the largest "
    "eigenvalue.",
)
def curvature(log: TrainingLog) -> list[Picture]:
    """A plot for each run and number that was measured."""
    return [_plot(run, *shown) for run in log for shown in SHOWN if shown[0] in run.tags]


def _plot(run: Run, tag: str, title: str, marks: tuple[tuple[float, str], ...], logarithmic: bool) -> Picture:
    series = run.series(tag)
    title = f"{title} · {run.name}"
    line = PlotLine(title, series.steps.astype(float), series.values, line_colours(1)[0])
    return draw_lines([line], title=title, x_label="step", marks=marks, logarithmic=logarithmic)
