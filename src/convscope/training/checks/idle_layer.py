"""A layer that does not learn while others do."""

import numpy as np

from convscope.training.checks.declaration import check
from convscope.training.checks.run_evidence import RunEvidence, median_of_later_half
from convscope.training.checks.run_pictures import update_ratios
from convscope.training.store import tags
from convscope.values.facts import Fact

SHARE = 1e-3


@check(
    "run",
    title="a layer does not learn",
    looks_for="A step moves the weights of a layer by less than a thousandth of what is the median of all layers.",
    cause="the layer is frozen, is missing from the optimizer, or no gradient reaches it: detach(), dead units, or a "
    "branch that is not used",
    remedy="[n for n, p in model.named_parameters() if not p.requires_grad]  # frozen on purpose?\n"
    "optimizer = torch.optim.AdamW(model.parameters())  # after the model was changed",
    draw=update_ratios,
)
def idle_layer(run: RunEvidence) -> list[tuple[str, Fact]]:
    """Compare the update ratio of each layer with the median of all."""
    measured = {layer: median_of_later_half(series) for layer, series in run.layers(tags.UPDATE_RATIO).items()}
    ratios = {layer: ratio for layer, ratio in measured.items() if np.isfinite(ratio)}
    weights = run.layers(tags.WEIGHT_NORM)
    missing = {layer: 0.0 for layer in weights if layer not in ratios} if ratios else {}
    usual = float(np.median(list(ratios.values()))) if ratios else 0.0
    return [
        (
            layer,
            Fact(
                "its update ratio is {ratio}, the median of all layers {usual}",
                ratio=f"{ratio:.1e}",
                usual=f"{usual:.1e}",
            ),
        )
        for layer, ratio in {**ratios, **missing}.items()
        if usual > 0 and ratio < SHARE * usual
    ]
