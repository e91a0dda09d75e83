"""How many directions the features of each layer use, over the steps."""

from convscope.render.rendered_picture import Picture
from convscope.training.run import TrainingLog
from convscope.training.store import tags
from convscope.training.views.declaration import view
from convscope.training.views.layer_numbers import lines_over_steps


@view(
    title="Effective rank of the features",
    asks="How many different directions do the features of a layer use?",
    reads="The exponential of the entropy of the variances of a layer's features over the images of a batch: 1 if all "
    "images differ along a single direction only. A rank that collapses means that the layer tells images apart less "
    "and less.",
)
def effective_ranks(log: TrainingLog) -> list[Picture]:
    """One plot for each run that has ranks."""
    return lines_over_steps(log, tags.EFFECTIVE_RANK, "effective rank")
