"""The loss on validation data rises while that on training data still falls."""

import numpy as np

from convscope.training.checks.declaration import check
from convscope.training.checks.run_evidence import RunEvidence
from convscope.training.checks.run_pictures import losses
from convscope.values.facts import Fact

RISE, FALL, FEWEST = 0.15, 0.1, 4


@check(
    "run",
    title="overfitting",
    looks_for="The loss on validation data ends 15 % above its minimum, while that on training data fell by 10 % "
    "since; of losses that are not always positive, by such shares of what they fell in all.",
    cause="the network learns the training images by heart: it is large for so few images, or is trained for too long",
    remedy="# more varied images, less capacity, or an earlier end:\n"
    "transforms.RandomResizedCrop(size); transforms.RandomHorizontalFlip()\n"
    "torch.optim.AdamW(model.parameters(), weight_decay=0.05)\n"
    "nn.Dropout(0.3)  # before the last linear layer",
    draw=losses,
)
def overfitting(run: RunEvidence) -> list[tuple[str, Fact]]:
    """Compare the end of both losses with the step of the smallest validation loss."""
    if run.training is None or run.validation is None or len(run.validation) < FEWEST:
        return []
    steps, losses = run.validation.steps, run.validation.values
    if not np.isfinite(losses).all():
        return []
    best, end = int(losses.argmin()), float(losses[-2:].mean())
    training = _at(run, int(steps[best])), _at(run, int(steps[-1]))
    rise, fall = end - losses[best], training[0] - training[1]
    if losses[best] > 0 and training[1] > 0:
        overfits = rise > RISE * losses[best] and fall > FALL * training[0]
    else:  # multiples of a loss whose zero means nothing say nothing
        span = max(float(np.ptp(losses)), float(np.ptp(run.training.values[np.isfinite(run.training.values)])))
        overfits = rise > RISE * span and fall > FALL * span
    if not overfits:
        return []
    evidence = Fact(
        "validation loss {best} at step {step}, {end} at the end; training loss {before} and {after}",
        best=f"{losses[best]:.3g}", step=f"{int(steps[best]):,}", end=f"{end:.3g}",
        before=f"{training[0]:.3g}", after=f"{training[1]:.3g}",
    )  # fmt: skip
    return [(run.name, evidence)]


def _at(run: RunEvidence, step: int) -> float:
    """The training loss around a step: the mean of a tenth of its numbers."""
    assert run.training is not None, "the caller has checked"
    values, steps = run.training.values, run.training.steps
    end = int(np.searchsorted(steps, step, side="right"))
    part = values[max(0, end - max(1, len(values) // 10)) : max(1, end)]
    return float(np.nanmean(part)) if np.isfinite(part).any() else float("nan")
