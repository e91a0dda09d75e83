"""All views of a log, in the order in which every surface shows them."""

from convscope.training.views.answer_confidence import answer_confidence
from convscope.training.views.calibration import calibration
from convscope.training.views.confusion_matrix import confusion_matrix
from convscope.training.views.declaration import View
from convscope.training.views.distributions import distributions
from convscope.training.views.effective_ranks import effective_ranks
from convscope.training.views.example_difficulty import example_difficulty
from convscope.training.views.gradient_flow import gradient_flow
from convscope.training.views.inactive_units import inactive_units
from convscope.training.views.learning_curves import learning_curves
from convscope.training.views.update_ratios import update_ratios
from convscope.training.views.worst_mistakes import worst_mistakes

VIEWS: tuple[View, ...] = (
    learning_curves,
    confusion_matrix,
    worst_mistakes,
    calibration,
    answer_confidence,
    example_difficulty,
    gradient_flow,
    update_ratios,
    inactive_units,
    effective_ranks,
    distributions,
)
