"""How far each step moves the weights of each layer, relative to their norm."""

from convscope.render.rendered_picture import Picture
from convscope.training.run import TrainingLog
from convscope.training.store import tags
from convscope.training.views.declaration import view
from convscope.training.views.layer_numbers import lines_over_steps

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
    title = "change of the weights in a step / weights"
    return lines_over_steps(log, tags.UPDATE_RATIO, title, logarithmic=True, marks=[(USUAL, "usual")])
