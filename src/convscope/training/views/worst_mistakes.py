"""The mistakes whose labels the network finds least probable, as pictures, with Grad-CAM for answer and label."""

from typing import Any

import numpy as np

from convscope.errors import InputError
from convscope.render.picture_table import PictureCell, draw_picture_table
from convscope.render.rendered_picture import Picture
from convscope.training.predictions import stored_predictions
from convscope.training.run import Run, TrainingLog
from convscope.training.store import tags
from convscope.training.views.declaration import view

Arrays = dict[str, "np.ndarray[Any, Any]"]


@view(
    title="Worst mistakes",
    asks="What do the samples look like that the network is most wrong about?",
    reads="Each sample as the network received it, Grad-CAM for its answer and Grad-CAM for the label. Some of these "
    "are wrong labels, others show what the network looks at instead of the object.",
)
def worst_mistakes(log: TrainingLog) -> list[Picture]:
    """A table of pictures for each run that stored its mistakes."""
    pictures = []
    for run in log:
        names = _names(run)
        step, mistakes = _last_mistakes(run)
        if not mistakes or "photos" not in mistakes:
            continue
        shown = [mistakes[name] for name in ("photos", "answer_maps", "label_maps") if name in mistakes]
        cells = [
            PictureCell([pictures[row] for pictures in shown], _lines(mistakes, row, names))
            for row in range(len(mistakes["labels"]))
        ]
        legend = "image, Grad-CAM for the answer, Grad-CAM for the label; the least probable label first"
        if "without_maps" in mistakes:
            legend = f"there are no maps: {mistakes['without_maps']}"
        title = f"worst mistakes at step {step:,} · {run.name}"
        pictures.append(draw_picture_table(cells, title=title, legend=legend))
    return pictures


def _last_mistakes(run: Run) -> tuple[int, Arrays]:
    """The last mistakes that can be read; a damaged file is named by `Run.problems`."""
    for stored in reversed(run.arrays(tags.MISTAKES)):
        try:
            return stored.step, stored.load()
        except InputError:
            continue
    return 0, {}


def _names(run: Run) -> tuple[str, ...]:
    stored = stored_predictions(run)
    return stored[-1].names if stored else ()


def _lines(mistakes: Arrays, row: int, names: tuple[str, ...]) -> list[str]:
    answer, label = (
        names[index] if index < len(names) else str(index)
        for index in (int(mistakes["answers"][row]), int(mistakes["labels"][row]))
    )
    return [
        f"answer {answer}, {float(mistakes['confidence'][row]):.1%}",
        f"label {label}, {float(mistakes['label_probability'][row]):.1%}",
        f"sample {int(mistakes['samples'][row])}",
    ]
