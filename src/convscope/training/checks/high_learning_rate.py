"""The loss jumps up and down instead of falling, or steps overwrite the weights."""

import numpy as np

from convscope.training.checks.declaration import check
from convscope.training.checks.run_evidence import RunEvidence
from convscope.training.checks.run_pictures import losses
from convscope.values.facts import Fact

RATIO, JUMPS, LEVEL = 0.03, 0.2, 0.5


@check(
    "run",
    title="learning rate too high",
    looks_for="In half of the layers a step moves the weights by more than 3 % of their norm, or the mean of the loss "
    "over twentieths of the training, where it is positive, jumps by a fifth while it stays above half of where it "
    "began.",
    cause="the steps are too large for the loss to follow",
    remedy="for group in optimizer.param_groups: group['lr'] /= 3\n"
    "torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr, total_steps=steps)",
    draw=losses,
)
def high_learning_rate(run: RunEvidence) -> list[tuple[str, Fact]]:
    """Look at the update ratios, and at the jumps of the training loss."""
    ratio = run.median_update_ratio()
    if ratio > RATIO:
        return [
            (
                run.name,
                Fact(
                    "a step moves the weights by {ratio} of their norm (median of layers)",
                    ratio=f"{ratio:.1%}",
                ),
            )
        ]
    course = run.course()
    if course is None or len(course) < 8 or course.min() <= 0:
        return []
    jumps = float(np.abs(np.diff(course)).mean() / course.mean())
    if jumps > JUMPS and course[-4:].mean() > LEVEL * course[0]:
        return [
            (
                run.name,
                Fact(
                    "the mean loss jumps by {jumps} from one twentieth of the training to the next",
                    jumps=f"{jumps:.0%}",
                ),
            )
        ]
    return []
