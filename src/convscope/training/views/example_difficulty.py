"""How hard each validation sample is: how often it was forgotten, and its margin over the steps."""

import numpy as np

from convscope.render.bar_plot import draw_bars
from convscope.render.line_plot import PlotLine, draw_lines
from convscope.render.palette import LINE_COLOURS
from convscope.render.rendered_picture import Picture
from convscope.training.predictions import Predictions, forgetting_events, of_same_samples, stored_predictions
from convscope.training.run import TrainingLog
from convscope.training.views.declaration import view

FEWEST_VALIDATIONS, MOST_EVENTS, HARDEST = 3, 5, 8
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@view(
    title="Example difficulty",
    asks="Which samples are learned early and kept, and which are forgotten or never learned?",
    reads="A sample is forgotten where a right answer is followed by a wrong one at the next validation. The margin is "
    "the score of the label minus the largest of the others: below zero the answer is wrong. Samples that are never "
    "learned or often forgotten are rare, ambiguous or wrongly labelled.",
)
def example_difficulty(log: TrainingLog) -> list[Picture]:
    """Two plots for each run with predictions of at least three validations: forgetting, and margins."""
    pictures = []
    for run in log:
        stored = of_same_samples(stored_predictions(run))
        if len(stored) >= FEWEST_VALIDATIONS:
            pictures += [_forgetting(stored, run.name), _margins(stored, run.name)]
    return pictures


def _forgetting(stored: list[Predictions], name: str) -> Picture:
    right = np.stack([p.right for p in stored])
    events, learned = forgetting_events(right), right.any(0)
    counts = np.bincount(np.minimum(events[learned], MOST_EVENTS), minlength=MOST_EVENTS + 1)
    names = [*(str(n) for n in range(MOST_EVENTS)), f"{MOST_EVENTS} or more", "never right"]
    hardest = np.lexsort((stored[-1].margin, -events, learned))[:HARDEST]  # never right, then often forgotten
    listed = ", ".join(str(int(sample)) for sample in stored[-1].samples[hardest])
    return draw_bars(
        np.append(counts, (~learned).sum()).astype(np.float64),
        names,
        title=f"how often samples were forgotten in {len(stored)} validations · {name}",
        x_label="times forgotten",
        legend=f"hardest first: samples {listed}",
    )


def _margins(stored: list[Predictions], name: str) -> Picture:
    steps = np.array([p.step for p in stored], float)
    margins = np.stack([np.where(np.isfinite(p.margin), p.margin, np.nan) for p in stored])
    with np.errstate(all="ignore"):
        quantiles = np.nanquantile(margins, QUANTILES, axis=1)
    lines = [
        PlotLine(f"{share:.0%} of the samples lie below", steps, values, f"#{LINE_COLOURS[number]}")
        for number, (share, values) in enumerate(zip(QUANTILES, quantiles, strict=True))
    ]
    title = f"margin of validation samples · {name}"
    return draw_lines(lines, title=title, x_label="step", marks=[(0.0, "wrong below")])
