"""How far each step moves the weights of each layer, relative to their norm."""

from convscope.render.line_plot import PlotLine, draw_lines
from convscope.render.palette import class_colours
from convscope.render.rendered_picture import Picture
from convscope.training.run import TrainingLog
from convscope.training.store import tags
from convscope.training.views.declaration import view
from convscope.training.views.layer_numbers import layer_series

USUAL = 1e-3
"""The update ratio that is usual in the middle of a training; far from it the learning rate does not fit."""


@view(
    title="Update ratios",
    asks="Is the learning rate too large or too small for a layer?",
    reads="The norm of what a step adds to the weights, divided by the norm of the weights. Around 0.001 is usual; far "
    "below, a layer hardly learns; far above, its weights are overwritten rather than trained.",
)
def update_ratios(log: TrainingLog) -> list[Picture]:
    """One plot for each run that has update ratios."""
    pictures = []
    for run in log:
        series = layer_series(run, tags.UPDATE_RATIO)
        if series:
            lines = [
                PlotLine(layer, numbers.steps.astype(float), numbers.values, colour)
                for (layer, numbers), colour in zip(series.items(), class_colours(len(series)), strict=True)
            ]
            title = f"change of the weights in a step / weights · {run.name}"
            marks = [(USUAL, "usual")]
            pictures.append(draw_lines(lines, title=title, x_label="step", logarithmic=True, marks=marks))
    return pictures
