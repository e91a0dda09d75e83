"""The rules of layer-wise relevance propagation (LRP) for affine operations, each written as its formula.

A rule distributes the relevance R_k of each output over the terms z_jk = x_j·w_jk (and the bias) of which the output is
the sum. It is written as **streams**: a signal s_k = R_k / denominator_k is propagated through some version of the
weights to the positive inputs, the negative inputs or both. The multiplier of an input is G_j = Σ_k w_jk·s_k, its
relevance is x_j·G_j.

Three rules for the first layer (flat, w², box) do not distribute in proportion to x_j: they give the relevance itself.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from convscope.engine.rules.affine import Affine
from convscope.values.facts import Fact

_NEGLIGIBLE = 1e-6
"""The sum of the terms of one sign counts as zero if it is less than this fraction of the sum of the other sign."""


@dataclass(frozen=True, eq=False)
class Stream:
    """Part of the backward pass of a rule: ``signal`` is propagated through the transpose of ``op``.

    ``output`` is the part of the operation's output that ``op`` computes from the inputs of that ``sign`` (0: all).
    """

    op: Affine
    signal: Tensor
    output: Tensor
    sign: int = 0


Split = Callable[[Affine, Tensor, Tensor, Tensor], list[Stream]]
"""``(op, x, z, relevance) -> streams``, where z = op(x)."""


@dataclass(frozen=True, eq=False)
class Inputs:
    """What a rule of the first layer needs to know about the elements that the layer reads."""

    presence: Tensor
    """1 for an element of the input, 0 for padding or another constant; in between after a mean over both."""
    low: Tensor
    high: Tensor
    """Bounds of the elements' values."""


Share = Callable[[Affine, Tensor, Tensor, Inputs], tuple[Tensor, Tensor]]
"""``(op, x, relevance, inputs) -> (multiplier, unshared)``.

The relevance of an element is its presence times the multiplier; ``unshared`` is the relevance of outputs that have no
input over which to distribute it.
"""


@dataclass(frozen=True)
class Rule:
    """One way of distributing relevance; exactly one of ``split`` and ``share`` is set."""

    name: str
    split: Split | None = None
    share: Share | None = None
    unbiased: bool = False
    """Whether the operation is passed to the rule without its bias."""


def safe_divide(numerator: Tensor | float, denominator: Tensor, epsilon: float = 0.0) -> Tensor:
    """``numerator / denominator``, and 0 where the denominator is 0; ``epsilon`` moves the denominator away from 0.

    No other safeguard is needed: a multiplier is propagated, which stays finite for small denominators.
    """
    if epsilon:
        return numerator / (denominator + torch.where(denominator < 0, -epsilon, epsilon))
    return numerator / denominator.masked_fill(denominator == 0, torch.inf)


class _SignedInputs:
    """An input split into its positive and its negative part; after a ReLU there is no negative part."""

    def __init__(self, x: Tensor) -> None:
        self.mixed = bool(x.amin() < 0)
        self.positive = x.clamp_min(0) if self.mixed else x
        self.negative = x.clamp_max(0) if self.mixed else None

    def through(self, op: Affine, other: Affine) -> Tensor:
        """``op`` of the positive inputs, with its bias, plus ``other`` of the negative inputs, without its bias."""
        return op(self.positive) if self.negative is None else op(self.positive) + other.unbiased()(self.negative)

    def streams(self, op: Affine, other: Affine, signal: Tensor, output: Tensor) -> list[Stream]:
        """The backward pass of ``through``."""
        if self.negative is None:
            return [Stream(op, signal, output)]
        return [Stream(op, signal, output, +1), Stream(other.unbiased(), signal, output.new_zeros(()), -1)]


def epsilon(strength: float = 0.0) -> Rule:
    """LRP-ε, R_j = Σ_k z_jk / (z_k + ε·sign z_k) · R_k (Bach et al. 2015)."""

    def split(op: Affine, x: Tensor, z: Tensor, relevance: Tensor) -> list[Stream]:
        return [Stream(op, safe_divide(relevance, z, strength), z)]

    return Rule(Fact("epsilon {strength}", strength=f"{strength:g}") if strength else "epsilon", split)


def alpha_beta(alpha: float = 2.0, beta: float = 1.0) -> Rule:
    """LRP-αβ, R_j = Σ_k (α·z⁺_jk / z⁺_k - β·z⁻_jk / z⁻_k) R_k with α - β = 1 (Bach et al. 2015)."""
    if alpha - beta != 1:
        raise ValueError("α - β must be 1, so that relevance is conserved")

    def split(op: Affine, x: Tensor, z: Tensor, relevance: Tensor) -> list[Stream]:
        inputs = _SignedInputs(x)
        plus = op.plus()
        minus = op.minus() if beta or inputs.mixed else plus  # otherwise unused
        positive_sum = inputs.through(plus, minus)
        negative_sum = inputs.through(minus, plus) if beta else z
        # If β is 0, z stands for the sum of the negative terms: it equals it where the positive terms are negligible.
        no_positive = positive_sum <= (negative_sum * -_NEGLIGIBLE).clamp_min(0)
        if beta:  # an output whose terms have one sign distributes all of its relevance over them
            no_negative = negative_sum >= -_NEGLIGIBLE * positive_sum
            positive_share = torch.where(no_negative, 1.0, alpha).masked_fill(no_positive, 0).to(z)
            negative_share = torch.where(no_positive, 1.0, -beta).masked_fill(no_negative, 0).to(z)
            return [
                *inputs.streams(plus, minus, safe_divide(positive_share * relevance, positive_sum), positive_sum),
                *inputs.streams(minus, plus, safe_divide(negative_share * relevance, negative_sum), negative_sum),
            ]
        streams = inputs.streams(
            plus, minus, relevance / positive_sum.masked_fill(no_positive, torch.inf), positive_sum
        )
        no_positive &= relevance != 0
        if bool(no_positive.any()):  # outputs without positive terms give their relevance to the negative ones
            signal = torch.where(no_positive, safe_divide(relevance, z), 0)
            streams += inputs.streams(op.minus(), plus, signal, z)
        return streams

    name = Fact("alpha{alpha}-beta{beta}", alpha=f"{alpha:g}", beta=f"{beta:g}")
    return Rule("z-plus" if (alpha, beta) == (1, 0) else name, split)


def z_plus() -> Rule:
    """LRP-z⁺, R_j = Σ_k z⁺_jk / z⁺_k · R_k: only positive terms receive relevance (Montavon et al. 2017)."""
    return alpha_beta(1.0, 0.0)


def excitation() -> Rule:
    """Marginal winning probabilities, P_j = Σ_k x_j·w⁺_jk / Σ x·w⁺ · P_k, biases left out (Zhang et al. 2018)."""
    return Rule("excitation", z_plus().split, unbiased=True)


def contrast() -> Rule:
    """Excitation of the unit minus that of its dual with all weights negated (Zhang et al. 2018)."""

    def split(op: Affine, x: Tensor, z: Tensor, relevance: Tensor) -> list[Stream]:
        inputs, plus, minus = _SignedInputs(x), op.plus(), op.minus()
        positive_sum, negative_sum = inputs.through(plus, minus), inputs.through(minus, plus)
        return [
            *inputs.streams(plus, minus, safe_divide(relevance, positive_sum), positive_sum),
            *inputs.streams(minus, plus, safe_divide(-relevance, negative_sum), negative_sum),
        ]

    return Rule("contrast", split, unbiased=True)


def gamma(strength: float = 0.25) -> Rule:
    """LRP-γ, R_j = Σ_k x_j(w_jk + γ·w⁺_jk) / Σ_j … · R_k (Montavon et al. 2019), for inputs and outputs of any sign.

    The terms that have the sign of the output are strengthened: the positive terms of a positive output, the negative
    terms of a negative one.
    """

    def split(op: Affine, x: Tensor, z: Tensor, relevance: Tensor) -> list[Stream]:
        inputs, plus, minus = _SignedInputs(x), op.plus(), op.minus()
        positive_sum = inputs.through(plus, minus)
        streams = []
        for favoured, opposed, denominator, has_sign in (
            (plus, minus, z + strength * positive_sum, z > 0),
            (minus, plus, z + strength * (z - positive_sum), z < 0),
        ):
            signal = torch.where(has_sign, safe_divide(relevance, denominator), 0)
            favoured, opposed = (_strengthened(op, part, strength) for part in (favoured, opposed))
            streams += inputs.streams(favoured, opposed, signal, denominator)
        return streams

    return Rule("gamma", split)


def flat() -> Rule:
    """LRP-flat, R_j = Σ_k 1 / n_k · R_k: equally to all inputs in an output's receptive field (Lapuschkin et al. 2019).

    Padding and other constants are no inputs. An element that is repeated by padding (reflected, replicated, circular)
    counts once per repetition.
    """

    def share(op: Affine, x: Tensor, relevance: Tensor, inputs: Inputs) -> tuple[Tensor, Tensor]:
        return _by_weight(op.with_weight(torch.ones_like(op.weight)), x, relevance, inputs.presence)

    return Rule("flat", share=share)


def w_square() -> Rule:
    """LRP-w², R_j = Σ_k w²_jk / Σ_j w²_jk · R_k, over the inputs in its receptive field (Montavon et al. 2017)."""

    def share(op: Affine, x: Tensor, relevance: Tensor, inputs: Inputs) -> tuple[Tensor, Tensor]:
        return _by_weight(op.with_weight(op.weight.square()), x, relevance, inputs.presence)

    return Rule("w-square", share=share)


def box() -> Rule:
    """LRP-zᴮ, R_j = Σ_k (x_j·w - l_j·w⁺ - h_j·w⁻) / Σ_j … · R_k for inputs between l and h (Montavon et al. 2017).

    Computed as (x_j - l_j)·w⁺ + (x_j - h_j)·w⁻, whose terms are never negative: where every input is at its lower bound
    (positive weight) or upper bound (negative weight) the denominator is exactly 0, not a rounding error.
    """

    def share(op: Affine, x: Tensor, relevance: Tensor, inputs: Inputs) -> tuple[Tensor, Tensor]:
        plus, minus = op.unbiased().plus(), op.unbiased().minus()
        above_low, below_high = x - inputs.low, x - inputs.high
        magnitude = op.with_weight(op.weight.abs())(inputs.high - inputs.low)
        signal, unshared = _divide(relevance, plus(above_low) + minus(below_high), magnitude)
        received = above_low * plus.transposed(signal, x) + below_high * minus.transposed(signal, x)
        return safe_divide(received, inputs.presence), unshared

    return Rule("box", share=share)


RULES: dict[str, Callable[..., Rule]] = {
    "zero": epsilon,
    "epsilon": epsilon,
    "gamma": gamma,
    "alpha-beta": alpha_beta,
    "z-plus": z_plus,
    "flat": flat,
    "w-square": w_square,
    "box": box,
    "excitation": excitation,
    "contrast": contrast,
}
"""Rules by name; a rule is written as its name and its numbers: ``gamma 0.25``."""


def multiplier(x: Tensor, streams: Sequence[Stream]) -> Tensor:
    """The multiplier G of each input: the sum over all streams."""
    total: Tensor | None = None
    for stream in streams:
        part = stream.op.transposed(stream.signal, x)
        if stream.sign:
            part = torch.where(x >= 0 if stream.sign > 0 else x < 0, part, 0)
        total = part if total is None else total + part
    assert total is not None, "a rule has at least one stream"
    return total


def _strengthened(op: Affine, favoured: Affine, strength: float) -> Affine:
    bias = None if op.bias is None or favoured.bias is None else op.bias + strength * favoured.bias
    return op.with_weight(op.weight + strength * favoured.weight, bias)


def _by_weight(op: Affine, x: Tensor, relevance: Tensor, presence: Tensor) -> tuple[Tensor, Tensor]:
    """Relevance distributed in proportion to the weights of ``op`` over the inputs in an output's receptive field."""
    if presence.ndim > 1 and bool((presence == presence[:1]).all()):  # the usual case: compute it for one image only
        presence = presence[:1]
    signal, unshared = _divide(relevance, op(presence), op(torch.ones_like(presence)))
    return op.transposed(signal, x), unshared


def _divide(relevance: Tensor, total: Tensor, magnitude: Tensor) -> tuple[Tensor, Tensor]:
    """``relevance / total``, and the relevance where ``total`` is only rounding error of terms of that magnitude."""
    rounding = 8 * min(torch.finfo(total.dtype).eps, torch.finfo(torch.float32).eps)
    negligible = total <= rounding * magnitude
    signal = torch.where(negligible, 0, relevance / total.masked_fill(negligible, torch.inf))
    return signal, torch.where(negligible, relevance, 0)
