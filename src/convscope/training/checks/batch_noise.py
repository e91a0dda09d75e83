"""A training loss that varies from batch to batch more than it learns."""

import numpy as np

from convscope.training.checks.declaration import check
from convscope.training.checks.run_evidence import RunEvidence
from convscope.training.checks.run_pictures import losses
from convscope.values.facts import Fact

NOISE, LEVEL, RELATED, FEWEST = 0.3, 0.25, 0.3, 40


@check(
    "run",
    title="noise of small batches",
    looks_for="In the second half the training loss of single steps varies by 30 % of its mean around its course, "
    "without relation from step to step, while it stays above a quarter of where it began.",
    cause="each step sees too few images, so that its gradient says little about all of them",
    remedy="DataLoader(data, batch_size=4 * batch_size)  # or several batches per step:\n"
    "loss.backward(); optimizer.step() if step % 4 == 3 else None\n"
    "torch.optim.swa_utils.AveragedModel(model)  # or the mean of the weights of many steps",
    severity="note",
    draw=losses,
)
def batch_noise(run: RunEvidence) -> list[tuple[str, Fact]]:
    """Compare how far the loss lies from the line through its second half with its mean."""
    course = run.course()
    if course is None or run.training is None or len(run.training) < FEWEST or course.min() <= 0:
        return []
    values = run.training.values[np.isfinite(run.training.values)]
    later = values[len(values) // 2 :]
    positions = np.arange(len(later))
    rest = later - np.polynomial.Polynomial.fit(positions, later, 2)(positions)
    noise, level = rest.std() / later.mean(), later.mean() / course[0]
    related = float((rest[1:] * rest[:-1]).mean() / max(rest.var(), 1e-300))
    if noise < NOISE or level < LEVEL or abs(related) > RELATED:
        return []
    evidence = Fact(
        "the loss of a step lies {noise} around {mean}, where it began at {start}",
        noise=f"±{noise:.0%}", mean=f"{later.mean():.3g}", start=f"{course[0]:.3g}",
    )  # fmt: skip
    return [("", evidence)]
