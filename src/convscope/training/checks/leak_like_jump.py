"""A validation loss that falls at once while the training loss does not: validation images came into the training."""

import numpy as np

from convscope.training.checks.declaration import check
from convscope.training.checks.run_evidence import RunEvidence
from convscope.training.checks.run_pictures import losses
from convscope.values.facts import Fact

FALL, ELSEWHERE, FEWEST = 0.4, 0.15, 6


@check(
    "run",
    title="the validation loss jumps down",
    looks_for="From one measurement to the next, after the first fifth, the validation loss falls by 40 % and stays "
    "there, while the training loss falls by less than 15 % there.",
    cause="from there on validation images are among the training images, as after resuming with another split, or the "
    "validation set or its measure has changed",
    remedy="set(training_files) & set(validation_files)  # empty?\n"
    "train_test_split(files, random_state=0)  # the same split whenever the training is resumed",
    draw=losses,
)
def leak_like_jump(run: RunEvidence) -> list[tuple[str, Fact]]:
    """Compare the levels of both losses before and after every validation."""
    training, validation = run.training, run.validation
    if training is None or validation is None or len(validation) < FEWEST:
        return []
    finite = np.isfinite(validation.values)
    values, steps = validation.values[finite], validation.steps[finite]
    if len(values) < FEWEST or values.min() <= 0:
        return []
    for position in range(max(2, len(values) // 5), len(values) - 1):
        before = np.median(values[max(0, position - 3) : position])
        if values[position:].max() > (1 - FALL) * min(before, values[position - 1]):
            continue
        earlier = _mean_between(run, steps[max(0, position - 2)], steps[position - 1])
        later = _mean_between(run, steps[position], steps[position + 1])
        if np.isfinite(earlier) and np.isfinite(later) and later > (1 - ELSEWHERE) * earlier:
            evidence = Fact(
                "the validation loss falls from {before} to {after} at step {step}, the training loss from {earlier} "
                "to {later}",
                before=f"{values[position - 1]:.3g}", after=f"{values[position]:.3g}", step=int(steps[position]),
                earlier=f"{earlier:.3g}", later=f"{later:.3g}",
            )  # fmt: skip
            return [("", evidence)]
    return []


def _mean_between(run: RunEvidence, first: int, last: int) -> float:
    """The mean of the training loss after a step, up to another; NaN if it was not measured there."""
    assert run.training is not None
    steps, values = run.training.steps, run.training.values
    chosen = values[(steps > first) & (steps <= last) & np.isfinite(values)]
    return float(chosen.mean()) if len(chosen) else float("nan")
