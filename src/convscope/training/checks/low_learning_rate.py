"""The loss falls steadily and far too slowly."""

import numpy as np

from convscope.training.checks.declaration import check
from convscope.training.checks.run_evidence import RunEvidence
from convscope.training.checks.run_pictures import losses
from convscope.values.facts import Fact

RATIO, DROP, STEADY, RISING = 1e-5, 0.3, 0.6, -0.9


@check(
    "run",
    title="learning rate too low",
    looks_for="In half of the layers a step moves the weights by less than 0.001 % of their norm, or the loss falls by "
    "less than 30 % in all, in the second half nearly as fast as in the first.",
    cause="the steps are so small that the training would need many times as many",
    remedy="for group in optimizer.param_groups: group['lr'] *= 10",
    draw=losses,
)
def low_learning_rate(run: RunEvidence) -> list[tuple[str, Fact]]:
    """Look at the update ratios, and at whether the training loss falls along a line."""
    ratio = run.median_update_ratio()
    if 0 < ratio < RATIO:
        return [
            (
                run.name,
                Fact(
                    "a step moves the weights by {ratio} of their norm (median of layers)",
                    ratio=f"{ratio:.1e}",
                ),
            )
        ]
    course = run.course()
    if course is None or len(course) < 8:
        return []
    half = len(course) // 2
    first, second = course[0] - course[half], course[half] - course[-1]
    line = float(np.corrcoef(np.arange(len(course)), course)[0, 1]) if course.std() > 0 else 0.0
    if line < RISING and 0 < first + second < DROP * course[0] and second > STEADY * first:
        return [
            (
                run.name,
                Fact(
                    "training loss {start} at first and {end} at the end, falling along a line",
                    start=f"{course[0]:.3g}",
                    end=f"{course[-1]:.3g}",
                ),
            )
        ]
    return []
