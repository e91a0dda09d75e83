"""The loss is NaN or infinite, or grows far beyond where it was."""

import numpy as np

from convscope.training.checks.declaration import check
from convscope.training.checks.run_evidence import RunEvidence
from convscope.training.checks.run_pictures import losses
from convscope.values.facts import Fact

GROWTH = 2.0


@check(
    "run",
    title="divergence",
    looks_for="The training loss is NaN or infinite, or ends above twice its smallest value and above where it began; "
    "one that is not always positive, above twice the largest magnitude of its first half.",
    cause="steps that are too large: a learning rate that is too high, no warm-up, exploding gradients, or half "
    "precision without a scaled loss",
    remedy="torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)  # before optimizer.step()\n"
    "torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=0.01, total_iters=500)  # warm-up\n"
    "for group in optimizer.param_groups: group['lr'] /= 10",
    severity="error",
    draw=losses,
)
def divergence(run: RunEvidence) -> list[tuple[str, Fact]]:
    """Look for numbers that are not finite, and compare the end with the beginning."""
    if run.training is None or not len(run.training):
        return []
    values, steps = run.training.values, run.training.steps
    broken = np.flatnonzero(~np.isfinite(values))
    if len(broken):
        first = int(broken[0])
        return [
            (
                run.name,
                Fact(
                    "the training loss is {value} at step {step}",
                    value=str(values[first]),
                    step=f"{int(steps[first]):,}",
                ),
            )
        ]
    course = run.course()
    if course is None or len(course) < 4:
        return []
    end, least = float(course[-1]), float(course.min())
    if least > 0:
        diverged = end > GROWTH * least and end > 1.1 * course[0]
    else:  # multiples of a loss whose zero means nothing say nothing
        diverged = end > GROWTH * float(np.abs(course[: len(course) // 2]).max())
    if diverged:
        evidence = Fact(
            "training loss {start} at first, {least} at its smallest, {end} at the end",
            start=f"{course[0]:.3g}", least=f"{least:.3g}", end=f"{end:.3g}",
        )  # fmt: skip
        return [(run.name, evidence)]
    return []
