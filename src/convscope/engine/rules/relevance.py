"""The rules of layer-wise relevance propagation for affine operations, each as its formula.

A rule splits the relevance R_k of each output among the terms z_jk = x_j·w_jk (and the bias) of which it is made. It is
written as **streams**: a signal s_k = R_k / denominator_k sent back through some version of the weights, to the
positive inputs, the negative ones or both. The multiplier of an input is G_j = Σ_k w_jk·s_k, its relevance x_j·G_j.

Three rules for the first layer (flat, w², box) split by something else than x_j: they give the relevance itself.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from convscope.engine.rules.affine import Affine

_NOTHING = 1e-6
"""What terms of one sign bring is nothing if it is less than this share of what those of the other sign bring."""


@dataclass(frozen=True, eq=False)
class Stream:
    """Relevance on its way back: ``signal`` through ``op``, which made ``carried`` of the inputs of that ``sign``."""

    op: Affine
    signal: Tensor
    carried: Tensor
    sign: int = 0


Split = Callable[[Affine, Tensor, Tensor, Tensor], list[Stream]]
"""``(op, x, z, relevance) -> streams``, where z = op(x)."""


@dataclass(frozen=True, eq=False)
class Inputs:
    """What a rule of the first layer knows of the cells that the layer reads."""

    presence: Tensor
    """1 where a cell is an input, 0 where it is a pad or another constant; between them behind a mean over both."""
    low: Tensor
    high: Tensor
    """Bounds of the cells' values."""


Share = Callable[[Affine, Tensor, Tensor, Inputs], tuple[Tensor, Tensor]]
"""``(op, x, relevance, inputs) -> (multiplier, unshared)``.

The relevance of a cell is its presence times the multiplier; ``unshared`` is the relevance of outputs that see nothing
to share it among.
"""


@dataclass(frozen=True)
class Rule:
    """One way of splitting relevance; exactly one of ``split`` and ``share`` is there."""

    name: str
    split: Split | None = None
    share: Share | None = None
    unbiased: bool = False
    """Whether the map is to be given without its bias."""


def per(amount: Tensor | float, tensor: Tensor, epsilon: float = 0.0) -> Tensor:
    """``amount / tensor``, and nothing where that is zero; with ``epsilon`` the denominator is moved away from zero.

    No other guard is needed: what flows is a multiplier, which no small denominator blows up.
    """
    if epsilon:
        return amount / (tensor + torch.where(tensor < 0, -epsilon, epsilon))
    return amount / tensor.masked_fill(tensor == 0, torch.inf)


class _Signed:
    """An input with its positive and its negative part apart; mostly, after a ReLU, there is no negative part."""

    def __init__(self, x: Tensor) -> None:
        self.mixed = bool(x.amin() < 0)
        self.above = x.clamp_min(0) if self.mixed else x
        self.below = x.clamp_max(0) if self.mixed else None

    def through(self, op: Affine, other: Affine) -> Tensor:
        """What positive inputs bring through ``op``, with its bias, and negative ones through ``other``."""
        return op(self.above) if self.below is None else op(self.above) + other.unbiased()(self.below)

    def streams(self, op: Affine, other: Affine, signal: Tensor, carried: Tensor) -> list[Stream]:
        """The way back of ``through``."""
        if self.below is None:
            return [Stream(op, signal, carried)]
        return [Stream(op, signal, carried, +1), Stream(other.unbiased(), signal, carried.new_zeros(()), -1)]


def epsilon(strength: float = 0.0) -> Rule:
    """LRP-ε, R_j = Σ_k z_jk / (z_k + ε·sign z_k) · R_k (Bach et al. 2015)."""

    def split(op: Affine, x: Tensor, z: Tensor, relevance: Tensor) -> list[Stream]:
        return [Stream(op, per(relevance, z, strength), z)]

    return Rule(f"epsilon {strength:g}" if strength else "epsilon", split)


def alpha_beta(alpha: float = 2.0, beta: float = 1.0) -> Rule:
    """LRP-αβ, R_j = Σ_k (α·z⁺_jk / z⁺_k - β·z⁻_jk / z⁻_k) R_k with α - β = 1 (Bach et al. 2015)."""
    if alpha - beta != 1:
        raise ValueError("what α gives more than all, β takes back: α - β = 1")

    def split(op: Affine, x: Tensor, z: Tensor, relevance: Tensor) -> list[Stream]:
        inputs = _Signed(x)
        plus = op.plus()
        minus = op.minus() if beta or inputs.mixed else plus  # not asked otherwise
        raising = inputs.through(plus, minus)
        lowering = inputs.through(minus, plus) if beta else z
        unraised = raising <= (lowering * -_NOTHING).clamp_min(
            0
        )  # where so little was raised, the sum z is what was lowered
        if beta:  # an output of terms of one sign shares all it has among them
            unlowered = lowering >= -_NOTHING * raising
            up = torch.where(unlowered, 1.0, alpha).masked_fill(unraised, 0).to(z)
            down = torch.where(unraised, 1.0, -beta).masked_fill(unlowered, 0).to(z)
            return [
                *inputs.streams(plus, minus, per(up * relevance, raising), raising),
                *inputs.streams(minus, plus, per(down * relevance, lowering), lowering),
            ]
        streams = inputs.streams(plus, minus, relevance / raising.masked_fill(unraised, torch.inf), raising)
        unraised &= relevance != 0
        if bool(unraised.any()):  # what nothing raised hands its relevance to what lowered it
            down = torch.where(unraised, per(relevance, z), 0)
            streams += inputs.streams(op.minus(), plus, down, z)
        return streams

    return Rule("z-plus" if (alpha, beta) == (1, 0) else f"alpha{alpha:g}-beta{beta:g}", split)


def z_plus() -> Rule:
    """LRP-z⁺, R_j = Σ_k z⁺_jk / z⁺_k · R_k: only what raised an output receives from it (Montavon et al. 2017)."""
    return alpha_beta(1.0, 0.0)


def excitation() -> Rule:
    """Marginal winning probabilities, P_j = Σ_k x_j·w⁺_jk / Σ x·w⁺ · P_k, biases left out (Zhang et al. 2018)."""
    return Rule("excitation", z_plus().split, unbiased=True)


def contrast() -> Rule:
    """Excitation minus that of the dual unit with all weights negated (Zhang et al. 2018)."""

    def split(op: Affine, x: Tensor, z: Tensor, relevance: Tensor) -> list[Stream]:
        inputs, plus, minus = _Signed(x), op.plus(), op.minus()
        raising, lowering = inputs.through(plus, minus), inputs.through(minus, plus)
        return [
            *inputs.streams(plus, minus, per(relevance, raising), raising),
            *inputs.streams(minus, plus, per(-relevance, lowering), lowering),
        ]

    return Rule("contrast", split, unbiased=True)


def gamma(strength: float = 0.25) -> Rule:
    """LRP-γ, R_j = Σ_k x_j(w_jk + γ·w⁺_jk) / Σ_j … · R_k (Montavon et al. 2019), for inputs and outputs of any sign.

    What favours the sign of the output is strengthened: for a positive output the positive terms, for a negative one
    the negative terms.
    """

    def split(op: Affine, x: Tensor, z: Tensor, relevance: Tensor) -> list[Stream]:
        inputs, plus, minus = _Signed(x), op.plus(), op.minus()
        raising = inputs.through(plus, minus)
        streams = []
        for favoured, opposed, carried, where in (
            (plus, minus, z + strength * raising, z > 0),
            (minus, plus, z + strength * (z - raising), z < 0),
        ):
            signal = torch.where(where, per(relevance, carried), 0)
            favoured, opposed = (_stronger(op, one, strength) for one in (favoured, opposed))
            streams += inputs.streams(favoured, opposed, signal, carried)
        return streams

    return Rule("gamma", split)


def flat() -> Rule:
    """LRP-flat, R_j = Σ_k 1 / n_k · R_k: alike among all inputs an output can see (Lapuschkin et al. 2019).

    Pads and other constants are no inputs. A cell that a pad repeats (reflected, replicated, circular) counts as often
    as it is seen.
    """

    def share(op: Affine, x: Tensor, relevance: Tensor, inputs: Inputs) -> tuple[Tensor, Tensor]:
        return _by_weight(op.of(torch.ones_like(op.weight)), x, relevance, inputs.presence)

    return Rule("flat", share=share)


def w_square() -> Rule:
    """LRP-w², R_j = Σ_k w²_jk / Σ_j w²_jk · R_k, over the inputs an output can see (Montavon et al. 2017)."""

    def share(op: Affine, x: Tensor, relevance: Tensor, inputs: Inputs) -> tuple[Tensor, Tensor]:
        return _by_weight(op.of(op.weight.square()), x, relevance, inputs.presence)

    return Rule("w-square", share=share)


def box() -> Rule:
    """LRP-zᴮ, R_j = Σ_k (x_j·w - l_j·w⁺ - h_j·w⁻) / Σ_j … · R_k for inputs between l and h (Montavon et al. 2017).

    Computed as (x_j - l_j)·w⁺ + (x_j - h_j)·w⁻, of which no term is negative: where every input lies at the bound its
    weight asks for, the denominator is 0 and no rounding error of a difference.
    """

    def share(op: Affine, x: Tensor, relevance: Tensor, inputs: Inputs) -> tuple[Tensor, Tensor]:
        plus, minus = op.unbiased().plus(), op.unbiased().minus()
        above, below = x - inputs.low, x - inputs.high
        magnitude = op.of(op.weight.abs())(inputs.high - inputs.low)
        signal, unshared = _over(relevance, plus(above) + minus(below), magnitude)
        found = above * plus.transposed(signal, x) + below * minus.transposed(signal, x)
        return per(found, inputs.presence), unshared

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
"""By the name that people write, with numbers behind it: ``gamma 0.25``."""


def multiplier(x: Tensor, streams: Sequence[Stream]) -> Tensor:
    """What the streams bring back to each input, G."""
    total: Tensor | None = None
    for stream in streams:
        found = stream.op.transposed(stream.signal, x)
        if stream.sign:
            found = torch.where(x >= 0 if stream.sign > 0 else x < 0, found, 0)
        total = found if total is None else total + found
    assert total is not None, "a rule has at least one stream"
    return total


def _stronger(op: Affine, favoured: Affine, strength: float) -> Affine:
    bias = None if op.bias is None or favoured.bias is None else op.bias + strength * favoured.bias
    return op.of(op.weight + strength * favoured.weight, bias)


def _by_weight(op: Affine, x: Tensor, relevance: Tensor, presence: Tensor) -> tuple[Tensor, Tensor]:
    """Relevance shared by the weights of ``op`` among the inputs that an output can see."""
    if presence.ndim > 1 and bool((presence == presence[:1]).all()):  # mostly: no need to count for every image
        presence = presence[:1]
    signal, unshared = _over(relevance, op(presence), op(torch.ones_like(presence)))
    return op.transposed(signal, x), unshared


def _over(relevance: Tensor, total: Tensor, magnitude: Tensor) -> tuple[Tensor, Tensor]:
    """``relevance / total``, and the relevance where the total is nothing but rounding of terms of that magnitude."""
    rounding = 8 * min(torch.finfo(total.dtype).eps, torch.finfo(torch.float32).eps)
    nothing = total <= rounding * magnitude
    signal = torch.where(nothing, 0, relevance / total.masked_fill(nothing, torch.inf))
    return signal, torch.where(nothing, relevance, 0)
