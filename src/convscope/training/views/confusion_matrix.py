"""Which classes are answered in place of which, at the last validation of a run."""

import numpy as np

from convscope.render.count_matrix import draw_counts
from convscope.render.rendered_picture import Picture
from convscope.training.predictions import Predictions, stored_predictions
from convscope.training.run import TrainingLog
from convscope.training.views.declaration import view

MOST_CLASSES = 200


@view(
    title="Confusion matrix",
    asks="Which classes does the network take for which?",
    reads="Rows are labels, columns answers, of validation samples: what lies off the diagonal is a mistake. A bright "
    "column is an answer that the network prefers, a bright pair on both sides of the diagonal two classes that it "
    "cannot tell apart.",
)
def confusion_matrix(log: TrainingLog) -> list[Picture]:
    """A matrix for each run that stored predictions."""
    pictures = []
    for run in log:
        stored = stored_predictions(run)
        if not stored or len(stored[-1].names) > MOST_CLASSES:
            continue
        last = stored[-1]
        pictures.append(
            draw_counts(
                last.counts(),
                last.names,
                title=f"answers by label at step {last.step:,} · {run.name}",
                row_title="label",
                column_title="answer",
                legend=f"colours: square root of the share of the label; {_most_confused(last)}",
            )
        )
    return pictures


def _most_confused(predictions: Predictions) -> str:
    counts = predictions.counts()
    np.fill_diagonal(counts, 0)
    row, column = np.unravel_index(int(counts.argmax()), counts.shape)
    if not counts[row, column]:
        return "no mistakes"
    names = predictions.names
    return f"most often {names[row]} is taken for {names[column]}: {counts[row, column]:.0f} of its samples"
