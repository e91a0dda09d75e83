"""The loss on validation data rises while that on training data still falls."""

import numpy as np

from convscope.training.checks.declaration import check
from convscope.training.checks.run_evidence import RunEvidence
from convscope.values.facts import Fact

RISE, FALL, FEWEST = 0.15, 0.9, 4


@check(
    "run",
    title="overfitting",
    looks_for="The loss on validation data ends 15 % above its minimum, while that on training data fell by 10 % "
    "since.",
    cause="the network learns the training images by heart: it is large for so few images, or is trained for too long",
    remedy="# more varied images, less capacity, or an earlier end:\n"
    "transforms.RandomResizedCrop(size); transforms.RandomHorizontalFlip()\n"
    "torch.optim.AdamW(model.parameters(), weight_decay=0.05)\n"
    "nn.Dropout(0.3)  # before the last linear layer",
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
    if end <= (1 + RISE) * losses[best] or not training[1] < FALL * training[0]:
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
