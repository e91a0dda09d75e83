"""Weight matrices whose spectrum is that of random weights, or that hold little more than one direction: a hint."""

from collections.abc import Iterator
from functools import partial

import numpy as np
from torch import Tensor

from convscope.engine.layers.kernels import effective_weight, is_convolution, is_linear, read_kernels
from convscope.engine.statistics.weight_spectrum import WeightSpectrum, spectrum_of, untrained_like
from convscope.render.line_plot import PlotLine, draw_lines
from convscope.render.palette import line_colours
from convscope.render.rendered_picture import Picture
from convscope.training.checks.declaration import Evidenced, check
from convscope.training.checks.network_evidence import NetworkEvidence
from convscope.values.facts import Fact

SMALLEST, LARGEST = 50, 2048
"""The shorter side of a matrix that gives a hint: fewer eigenvalues say nothing, more take too long."""
ONE_DIRECTION = 0.6
NAMED = 4


@check(
    "network",
    title="weights like random ones, or of one direction (a hint)",
    looks_for="No eigenvalue of a weight matrix lies beyond the bulk of random weights (Marchenko–Pastur), or one "
    "direction holds 60 % of its squared weights; matrices with a side below 50 give no hint.",
    cause="the layer was hardly trained, is frozen or was initialised again after the weights had been loaded; or the "
    "layer has collapsed, after a learning rate that was too high or by inputs that are far from zero mean",
    remedy="[n for n, p in model.named_parameters() if not p.requires_grad]  # frozen on purpose?\n"
    "print(model.load_state_dict(state, strict=False))  # which weights were missing?\n"
    "nn.BatchNorm2d(channels)  # before a layer that has collapsed",
    severity="note",
)
def weight_spectra(network: NetworkEvidence) -> list[Evidenced]:
    """Compute the spectra of all large weight matrices, and compare them with those of an untrained copy."""
    random, collapsed = [], []
    for address, weights in _matrices(network):
        spectrum = spectrum_of(weights)
        if spectrum is None:
            continue
        if spectrum.outliers == 0:
            random.append((address, spectrum, weights))
        elif spectrum.largest_share >= ONE_DIRECTION:
            collapsed.append((address, spectrum, weights))
    findings: list[Evidenced] = []
    if random:
        address, spectrum, weights = random[0]
        evidence = Fact(
            "no eigenvalue of {layers} is beyond those of random weights; of the first, the stable rank is {rank}, and "
            "that of an untrained copy {untrained}{fit}",
            layers=_named([layer for layer, _, _ in random]), rank=f"{spectrum.stable_rank:.1f}",
            untrained=_untrained_rank(weights), fit=_fit(spectrum),
        )  # fmt: skip
        findings.append((address, evidence, partial(_draw, address, spectrum, weights)))
    if collapsed:
        address, spectrum, weights = collapsed[0]
        evidence = Fact(
            "one direction holds {share} of the squared weights of {layers}; of the first, the stable rank is {rank}, "
            "and that of an untrained copy {untrained}{fit}",
            share=f"{min(s.largest_share for _, s, _ in collapsed):.0%}", rank=f"{spectrum.stable_rank:.1f}",
            layers=_named([layer for layer, _, _ in collapsed]), untrained=_untrained_rank(weights),
            fit=_fit(spectrum),
        )  # fmt: skip
        findings.append((address, evidence, partial(_draw, address, spectrum, weights)))
    return findings


def _matrices(network: NetworkEvidence) -> Iterator[tuple[str, Tensor]]:
    """The weights of layers whose matrix is large enough, and not too large."""
    for address, module in network.model.module.named_modules():
        if is_convolution(module):
            weights = read_kernels(network.model, address)
        elif is_linear(module):
            weights = effective_weight(module).detach().float().cpu()
        else:
            continue
        if SMALLEST <= min(weights.shape[0], weights[0].numel()) <= LARGEST:
            yield address, weights


def _untrained_rank(weights: Tensor) -> str:
    untrained = spectrum_of(untrained_like(weights))
    return f"{untrained.stable_rank:.1f}" if untrained else "0"


def _fit(spectrum: WeightSpectrum) -> str:
    """The exponent of the power law with the quality of its fit, where there are enough eigenvalues."""
    law = spectrum.power_law
    if law is None:
        return ""
    return Fact(
        "; a power law of exponent {exponent} {fits} its largest {tail} eigenvalues (distance {distance})",
        exponent=f"{law.exponent:.1f}", fits=Fact("fits") if law.fits else Fact("does not fit"), tail=law.tail,
        distance=f"{law.distance:.2f}",
    )  # fmt: skip


def _named(layers: list[str]) -> str:
    if len(layers) <= NAMED:
        return Fact("{layers}", layers=layers)
    more = len(layers) - NAMED
    return Fact(
        "{layers} and {more} more layer" if more == 1 else "{layers} and {more} more layers",
        layers=layers[:NAMED],
        more=more,
    )


def _draw(address: str, spectrum: WeightSpectrum, weights: Tensor) -> Picture:
    """The spectrum of a layer and of an untrained copy, each relative to the edge of its own random bulk."""
    named = {"this layer": spectrum, "untrained copy": spectrum_of(untrained_like(weights))}
    lines = [
        PlotLine(name, np.arange(1.0, len(s.eigenvalues) + 1), s.eigenvalues / s.edge, colour)
        for (name, s), colour in zip(named.items(), line_colours(2), strict=True)
        if s is not None
    ]
    title = f"eigenvalues of the weights of {address}, relative to the edge of random ones"
    marks = ((1.0, "edge of the random bulk"),)
    return draw_lines(lines, title=title, x_label="eigenvalues, the largest first", logarithmic=True, marks=marks)
