"""The loss stays high on training data too."""

import numpy as np

from convscope.training.checks.declaration import check
from convscope.training.checks.run_evidence import RunEvidence
from convscope.training.checks.run_pictures import losses
from convscope.values.facts import Fact

LEVEL, APART, FLAT = 0.5, 0.15, 0.05


@check(
    "run",
    title="underfitting",
    looks_for="The training loss ends above half of where it began and no longer falls, and the validation loss is "
    "about the same.",
    cause="the network is too small for the task, is regularised too strongly, or cannot see what tells classes apart",
    remedy="# more capacity, less regularisation:\n"
    "cs.train(data, folder, arch='resnet')\n"
    "torch.optim.AdamW(model.parameters(), weight_decay=0.0)  # and a smaller nn.Dropout",
    draw=losses,
)
def underfitting(run: RunEvidence) -> list[tuple[str, Fact]]:
    """Compare the end of the training loss with its beginning, and with the validation loss."""
    course = run.course()
    if course is None or len(course) < 4 or run.validation is None or not len(run.validation):
        return []
    start, end, quarter = course[0], float(course[-2:].mean()), course[-max(2, len(course) // 4) :]
    validation = float(np.nanmean(run.validation.values[-2:]))
    flat = abs(quarter[0] - quarter[-1]) < FLAT * end
    if not (LEVEL * start < end <= start and flat and abs(validation - end) < APART * end):
        return []
    evidence = Fact(
        "training loss {start} at first and {end} at the end, validation loss {validation}",
        start=f"{start:.3g}", end=f"{end:.3g}", validation=f"{validation:.3g}",
    )  # fmt: skip
    return [(run.name, evidence)]
