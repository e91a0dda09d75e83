"""The evidence of findings about a run as pictures: its losses, or what was measured of its layers over the steps."""

from collections.abc import Callable
from typing import Any

from convscope.render.line_plot import PlotLine, draw_lines
from convscope.render.palette import class_colours, line_colours
from convscope.render.rendered_picture import Picture
from convscope.training.checks.run_evidence import RunEvidence
from convscope.training.store import tags

MOST_LAYERS = 12
"""So many layers are drawn at most: evenly spaced ones, and the one that a finding is about."""


def losses(run: RunEvidence, place: str) -> Picture:
    """The loss on training and on validation data over the steps."""
    series = {"training": run.training, "validation": run.validation}
    known = {name: numbers for name, numbers in series.items() if numbers is not None}
    lines = [
        PlotLine(name, numbers.steps.astype(float), numbers.values, colour)
        for (name, numbers), colour in zip(known.items(), line_colours(len(known)), strict=True)
    ]
    return draw_lines(lines, title=f"loss · {run.name}", x_label="step")


def of_layers(kind: str, title: str, **options: Any) -> Callable[[RunEvidence, str], Picture]:
    """What draws a measurement of layers; the losses, where a run has none.

    Args:
        kind: of the measurement, as in `tags`.
        options: further arguments of `draw_lines`.
    """

    def draw(run: RunEvidence, place: str) -> Picture:
        series = run.layers(kind)
        if not series:
            return losses(run, place)
        layers = list(series)
        kept = {place} | set(layers[:: -(-len(layers) // (MOST_LAYERS - 1))])
        shown = {layer: numbers for layer, numbers in series.items() if layer in kept}
        lines = [
            PlotLine(layer, numbers.steps.astype(float), numbers.values, colour)
            for (layer, numbers), colour in zip(shown.items(), class_colours(len(shown)), strict=True)
        ]
        return draw_lines(lines, title=f"{title} · {run.name}", x_label="step", **options)

    return draw


gradient_norms = of_layers(tags.GRADIENT_NORM, "norm of the gradient by layer", logarithmic=True)
update_ratios = of_layers(tags.UPDATE_RATIO, "change of the weights in a step / weights", logarithmic=True)
dead_shares = of_layers(tags.DEAD, "share of dead units")
