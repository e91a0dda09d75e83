"""How far the gradients of successive steps point in the same direction, of each layer and of the whole network."""

from convscope.render.line_plot import PlotLine, draw_lines
from convscope.render.palette import class_colours
from convscope.render.rendered_picture import Picture
from convscope.training.run import TrainingLog
from convscope.training.store import tags
from convscope.training.views.declaration import view
from convscope.training.views.layer_numbers import layer_series


@view(
    title="Cosine of successive gradients",
    asks="Do successive steps go in the same direction, or do they undo each other?",
    reads="Near 1 the steps agree: the learning rate could be larger. Near 0 batches disagree: noise rules. Below 0 "
    "the steps go back and forth across a valley: the learning rate is too large.",
)
def gradient_cosine(log: TrainingLog) -> list[Picture]:
    """One plot for each run that measured it."""
    pictures = []
    for run in log:
        series = layer_series(run, tags.GRADIENT_COSINE)
        whole = tags.layer_tag(tags.GRADIENT_COSINE, tags.ALL_LAYERS)
        if whole in run.tags:
            series = {"all layers": run.series(whole), **series}
        lines = [
            PlotLine(layer, numbers.steps.astype(float), numbers.values, colour)
            for (layer, numbers), colour in zip(series.items(), class_colours(len(series)), strict=True)
        ]
        if lines:
            title = f"cosine with the gradient of the step before · {run.name}"
            pictures.append(draw_lines(lines, title=title, x_label="step", marks=[(0.0, "unrelated")]))
    return pictures
