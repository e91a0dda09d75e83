"""All views of a log, in the order in which every surface shows them."""

from convscope.training.views.answer_confidence import answer_confidence
from convscope.training.views.calibration import calibration
from convscope.training.views.confusion_matrix import confusion_matrix
from convscope.training.views.curvature import curvature
from convscope.training.views.declaration import View
from convscope.training.views.distributions import distributions
from convscope.training.views.effective_ranks import effective_ranks
from convscope.training.views.example_difficulty import example_difficulty
from convscope.training.views.gradient_cosine import gradient_cosine
from convscope.training.views.gradient_flow import gradient_flow
from convscope.training.views.inactive_units import inactive_units
from convscope.training.views.learning_curves import learning_curves
from convscope.training.views.loss_landscape import loss_landscape
from convscope.training.views.probe_similarity import probe_similarity
from convscope.training.views.update_ratios import update_ratios
from convscope.training.views.worst_mistakes import worst_mistakes

VIEWS: tuple[View, ...] = (
    learning_curves,
    confusion_matrix,
    worst_mistakes,
    calibration,
    answer_confidence,
    probe_similarity,
    example_difficulty,
    gradient_flow,
    gradient_cosine,
    update_ratios,
    curvature,
    loss_landscape,
    inactive_units,
    effective_ranks,
    distributions,
)
