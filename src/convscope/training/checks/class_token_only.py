"""A layer of tokens behind which only the class token counts."""

from functools import partial

import numpy as np
from torch import Tensor

from convscope.render.line_plot import PlotLine, draw_lines
from convscope.render.palette import line_colours
from convscope.render.rendered_picture import Picture
from convscope.training.checks.declaration import Evidenced, check
from convscope.training.checks.explanation_evidence import ExplanationEvidence
from convscope.values.facts import Fact

SHARE = 1e-6


@check(
    "explanation",
    title="only the class token has a gradient",
    looks_for="At a layer of tokens (N, tokens, channels) the gradient is zero at all tokens but the first (needs the "
    "network and the image).",
    cause="the layer is the last one, of which the network reads the class token alone: what the other tokens hold no "
    "longer matters",
    remedy="cs.grad_cam(model, image, layer='blocks.10.norm1')  # a layer before the last attention\n"
    "cs.attention_rollout(model, image)",
)
def class_token_only(explanation: ExplanationEvidence) -> list[Evidenced]:
    """Compare the gradient of the first token with that of the others."""
    attribution = explanation.attribution
    target = attribution.target_index
    if explanation.model is None or target is None:
        return []
    findings: list[Evidenced] = []
    for layer in attribution.layers:
        gradient = explanation.gradient_at(layer, target)
        if gradient.ndim != 3 or gradient.shape[1] < 2:
            continue
        first, others = float(gradient[:, 0].norm()), float(gradient[:, 1:].norm())
        if first > 0 and others <= SHARE * first:
            evidence = Fact(
                "the gradient of the first token of {layer} is {first}, that of the other {count} is {others}",
                layer=repr(layer), first=f"{first:.1e}", count=gradient.shape[1] - 1, others=f"{others:.1e}",
            )  # fmt: skip
            findings.append((layer, evidence, partial(_draw, layer, gradient)))
    return findings


def _draw(layer: str, gradient: Tensor) -> Picture:
    """The norm of the gradient (N, tokens, channels) at each token."""
    title = f"norm of the gradient at the tokens of {layer}"
    norms = gradient.double().norm(dim=2).mean(0).cpu().numpy()
    line = PlotLine(title, np.arange(len(norms), dtype=np.float64), norms, line_colours(1)[0])
    return draw_lines([line], title=title, x_label="token; 0 is the class token")
