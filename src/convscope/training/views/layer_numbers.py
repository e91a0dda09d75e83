"""Numbers of layers over the steps, for the views that show all layers of a run."""

import json
from typing import Any

import numpy as np

from convscope.render.line_plot import PlotLine, draw_lines
from convscope.render.palette import class_colours
from convscope.render.rendered_picture import Picture
from convscope.training.recorder.recorder import SETTINGS
from convscope.training.run import Run, TrainingLog
from convscope.training.store import tags
from convscope.training.store.series import Series

Floats = np.ndarray[Any, np.dtype[np.float64]]


def layer_series(run: Run, kind: str) -> dict[str, Series]:
    """Layer → its numbers of a kind, in the order of execution where the recorder wrote it down."""
    layers = [layer for layer in tags.layers_of(kind, run.tags) if layer != tags.ALL_LAYERS]
    order = {layer: number for number, layer in enumerate(executed_layers(run))}
    layers.sort(key=lambda layer: order.get(layer, len(order)))
    return {layer: run.series(tags.layer_tag(kind, layer)) for layer in layers}


def lines_over_steps(log: TrainingLog, kind: str, title: str, **options: Any) -> list[Picture]:
    """One plot for each run that has numbers of a kind, with a line for each layer over the steps.

    Args:
        options: further arguments of `draw_lines`.
    """
    pictures = []
    for run in log:
        series = layer_series(run, kind)
        if series:
            lines = [
                PlotLine(layer, numbers.steps.astype(float), numbers.values, colour)
                for (layer, numbers), colour in zip(series.items(), class_colours(len(series)), strict=True)
            ]
            pictures.append(draw_lines(lines, title=f"{title} · {run.name}", x_label="step", **options))
    return pictures


def executed_layers(run: Run) -> list[str]:
    """The layers in the order of execution, as the recorder wrote it down; none of logs of other programs."""
    path = run.folder / SETTINGS
    try:
        layers = json.loads(path.read_text("utf-8"))["layers"] if path.is_file() else []
        return [str(layer) for layer in layers]
    except (OSError, ValueError, KeyError, TypeError):
        return []  # damaged: layers are then shown as the events name them


def table(series: dict[str, Series]) -> tuple[Floats, list[int]]:
    """The numbers of all layers as (layers, steps), NaN where a layer has none, and the steps."""
    steps = sorted({int(step) for numbers in series.values() for step in numbers.steps})
    columns = {step: column for column, step in enumerate(steps)}
    values = np.full((len(series), len(steps)), np.nan)
    for row, numbers in enumerate(series.values()):
        for step, value in zip(numbers.steps, numbers.values, strict=True):
            values[row, columns[int(step)]] = value
    return values, steps
