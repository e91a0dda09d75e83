"""Units that die while the network is trained."""

import numpy as np

from convscope.training.checks.declaration import check
from convscope.training.checks.run_evidence import RunEvidence
from convscope.training.checks.run_pictures import dead_shares
from convscope.training.store import tags
from convscope.values.facts import Fact

SHARE, GROWTH = 0.5, 0.2


@check(
    "run",
    title="dying units",
    looks_for="More than half of the channels of a layer are zero on whole batches at the end, a fifth more than "
    "before.",
    cause="steps that were too large pushed the biases so far down that ReLU passes nothing, and so no gradient",
    remedy="nn.LeakyReLU(0.1)  # in place of nn.ReLU\n"
    "for group in optimizer.param_groups: group['lr'] /= 3  # and a warm-up",
    draw=dead_shares,
)
def dying_units(run: RunEvidence) -> list[tuple[str, Fact]]:
    """Compare the share of dead units at the end with its smallest."""
    findings = []
    for layer, series in run.layers(tags.DEAD).items():
        values = series.values[np.isfinite(series.values)]
        if len(values) >= 3 and values[-2:].mean() > SHARE and values[-2:].mean() - values.min() > GROWTH:
            findings.append(
                (
                    layer,
                    Fact(
                        "{start} of its channels were dead at first, {end} at the end",
                        start=f"{values[0]:.0%}",
                        end=f"{values[-2:].mean():.0%}",
                    ),
                )
            )
    return findings
