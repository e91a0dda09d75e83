"""The loss on a slice through the space of the weights, around the end of the training."""

from typing import Any

import numpy as np

from convscope.errors import InputError
from convscope.render.line_plot import PlotLine, draw_heat, draw_lines
from convscope.render.palette import line_colours
from convscope.render.rendered_picture import Picture
from convscope.render.scale import format_number
from convscope.training.landscape import NAME
from convscope.training.run import Run, TrainingLog
from convscope.training.views.declaration import view


@view(
    title="Loss landscape",
    asks="Is the loss around the trained weights flat or sharp?",
    reads="The loss on validation images along two random directions, in which each filter is moved relative to its "
    "own norm (Li et al., 2018); the trained weights are in the middle. A wide dark basin is a flat minimum, which as "
    "a rule generalises better than a narrow one; bright ridges nearby are a loss that is hard to train on.",
)
def loss_landscape(log: TrainingLog) -> list[Picture]:
    """A map and a section for each run for which ``convscope training --landscape`` has measured it."""
    return [picture for run in log for picture in _of_run(run)]


def _of_run(run: Run) -> list[Picture]:
    arrays = _last(run)
    if arrays is None:
        return []
    positions, losses = arrays["positions"].astype(float), arrays["losses"].astype(float)
    middle = len(losses) // 2
    colours = line_colours(2)
    lines = [PlotLine("along the first direction", positions, losses[middle], colours[0])]
    pictures = []
    if len(losses) > 1:
        lines.append(PlotLine("along the second direction", positions, losses[:, losses.shape[1] // 2], colours[1]))
        smallest = float(np.nanmin(losses))
        pictures.append(
            draw_heat(
                np.log10(losses[::-1] / max(smallest, 1e-12)),
                title=f"loss around the trained weights · {run.name}",
                x_ends=(f"{positions[0]:g}", f"{positions[-1]:g}"),
                y_names=[f"{y:g}" if y in (positions[0], 0, positions[-1]) else "" for y in positions[::-1]],
                legend=f"powers of ten above the smallest loss, {format_number(smallest)}, on "
                f"{int(arrays['images'])} images; the first direction to the right, the second upwards, "
                f"of seed {int(arrays['seed'])}",
            )
        )
    title = f"loss through the trained weights · {run.name}"
    return [*pictures, draw_lines(lines, title=title, x_label="share of the norm of each filter")]


def _last(run: Run) -> "dict[str, np.ndarray[Any, Any]] | None":
    """The last slice that can be read; a damaged file is named by `Run.problems`."""
    for stored in reversed(run.arrays(NAME)):
        try:
            arrays = stored.load()
        except InputError:
            continue
        if {"positions", "losses", "images", "seed"} <= arrays.keys():
            return arrays
    return None
