"""The loss fell at first, and then no more, at a level that is still high."""

from convscope.training.checks.declaration import check
from convscope.training.checks.run_evidence import RunEvidence
from convscope.training.checks.run_pictures import losses
from convscope.values.facts import Fact

FELL, FLAT, LEVEL = 0.15, 0.03, 0.25


@check(
    "run",
    title="plateau",
    looks_for="The training loss fell by 15 % in the first half and by less than 3 % in the second, above a quarter of "
    "where it began.",
    cause="the learning rate no longer fits: too large to descend further, or decayed to nothing too early",
    remedy="torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.3, patience=3)\n"
    "torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr, total_steps=steps)",
    severity="note",
    draw=losses,
)
def plateau(run: RunEvidence) -> list[tuple[str, Fact]]:
    """Compare both halves of the training loss."""
    course = run.course()
    if course is None or len(course) < 6:
        return []
    half = len(course) // 2
    start, middle, end = course[0], float(course[half : half + 2].mean()), float(course[-2:].mean())
    if not (middle < (1 - FELL) * start and abs(middle - end) < FLAT * middle and end > LEVEL * start):
        return []
    evidence = Fact(
        "training loss {start} at first, {middle} half way, {end} at the end",
        start=f"{start:.3g}", middle=f"{middle:.3g}", end=f"{end:.3g}",
    )  # fmt: skip
    return [(run.name, evidence)]
