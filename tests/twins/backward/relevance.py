"""Rules of relevance propagation on chains of dense matrices, with every term z_jk = x_j·w_jk in memory."""

from collections.abc import Callable

import torch
from torch import Tensor

from tests.twins.chains import Chain, Dense, Maxima, Rectifier, values
from tests.twins.subjects import Subject

Rule = Callable[[Dense, Tensor, Tensor, "Bounds"], Tensor]


Bounds = tuple[Tensor, Tensor]


NO_BOUNDS: Bounds = (torch.empty(0), torch.empty(0))
"""For rules that use none."""


def shared(terms: Tensor, extra: Tensor, relevance: Tensor) -> Tensor:
    """Σ_k terms_kj / (Σ_j terms_kj + extra_k) · R_k, and 0 where the denominator is 0."""
    total = terms.sum(1) + extra
    return (terms * (relevance / torch.where(total == 0, torch.inf, total))[:, None]).sum(0)


def zero(layer: Dense, x: Tensor, relevance: Tensor, _bounds: Bounds, epsilon: float = 0.0) -> Tensor:
    z = layer(x)
    return shared(layer.weight * x, layer.bias + epsilon * torch.where(z < 0, -1, 1), relevance)


def alpha_beta(layer: Dense, x: Tensor, relevance: Tensor, _bounds: Bounds, alpha=2.0, beta=1.0) -> Tensor:
    """An output whose terms all have one sign gives all its relevance to them."""
    z = layer.weight * x
    has_positive = z.clamp(min=0).sum(1) + layer.bias.clamp(min=0) > 0
    has_negative = z.clamp(max=0).sum(1) + layer.bias.clamp(max=0) < 0
    positive_share = torch.where(has_positive, torch.where(has_negative | (beta == 0), alpha, 1.0), 0.0)
    negative_share = torch.where(has_negative, torch.where(has_positive, -beta, 1.0), 0.0)
    return shared(z.clamp(min=0), layer.bias.clamp(min=0), positive_share * relevance) + shared(
        z.clamp(max=0), layer.bias.clamp(max=0), negative_share * relevance
    )


def z_plus(layer: Dense, x: Tensor, relevance: Tensor, bounds: Bounds) -> Tensor:
    return alpha_beta(layer, x, relevance, bounds, alpha=1.0, beta=0.0)


def gamma(layer: Dense, x: Tensor, relevance: Tensor, _bounds: Bounds, strength: float = 0.25) -> Tensor:
    z, out = layer.weight * x, layer(x)
    total = torch.zeros_like(x)
    for favoured, has_sign in ((lambda t: t.clamp(min=0), out > 0), (lambda t: t.clamp(max=0), out < 0)):
        strengthened = z + strength * favoured(z), layer.bias + strength * favoured(layer.bias)
        total += shared(*strengthened, torch.where(has_sign, relevance, 0))
    return total


def flat(layer: Dense, x: Tensor, relevance: Tensor, _bounds: Bounds) -> Tensor:
    return shared(layer.reach, torch.zeros_like(relevance), relevance)


def w_square(layer: Dense, x: Tensor, relevance: Tensor, _bounds: Bounds) -> Tensor:
    return shared(layer.weight**2, torch.zeros_like(relevance), relevance)


def box(layer: Dense, x: Tensor, relevance: Tensor, bounds: Bounds) -> Tensor:
    low, high = bounds
    terms = layer.weight * x - layer.weight.clamp(min=0) * low - layer.weight.clamp(max=0) * high
    return shared(terms, torch.zeros_like(relevance), relevance)


def excitation(layer: Dense, x: Tensor, relevance: Tensor, bounds: Bounds) -> Tensor:
    return z_plus(Dense("", "", layer.weight, torch.zeros_like(layer.bias), layer.reach), x, relevance, bounds)


def contrast(layer: Dense, x: Tensor, relevance: Tensor, _bounds: Bounds) -> Tensor:
    """The excitation of the winner minus that of its dual, the same unit with all weights negated."""
    z, nothing = layer.weight * x, torch.zeros_like(relevance)
    return shared(z.clamp(min=0), nothing, relevance) - shared((-z).clamp(min=0), nothing, relevance)


def relevances(
    chain: Chain, x: Tensor, relevance: Tensor, rule_of: Callable[[Dense], Rule], bounds: Bounds, keep=None
) -> list[Tensor]:
    """The relevance at the input of each step and at the output; ``keep`` = (step, mask) masks it before one step."""
    activations = values(chain, x)
    relevances_before = [relevance]
    for number in reversed(range(len(chain))):
        step, a, r = chain[number], activations[number], relevances_before[0]
        if isinstance(step, Dense):
            input_relevance = rule_of(step)(step, a, r, bounds)
        elif isinstance(step, Rectifier):
            input_relevance = r
        elif isinstance(step, Maxima):
            input_relevance = torch.zeros_like(a)
            for k, window in enumerate(step.windows):
                input_relevance[window[a[window].argmax()]] += r[k]
        else:
            branch_output = values(step.branch, a)[-1]
            total = torch.where(a + branch_output == 0, torch.inf, a + branch_output)
            input_relevance = a / total * r + relevances(step.branch, a, branch_output / total * r, rule_of, bounds)[0]
        if keep is not None and keep[0] == number:
            input_relevance = input_relevance * keep[1]
        relevances_before.insert(0, input_relevance)
    return relevances_before


COMPOSITES: dict[str, dict[str, Rule]] = {
    "epsilon-plus": {"conv": z_plus, "linear": zero},
    "epsilon-plus-flat": {"conv": z_plus, "linear": zero, "first": flat},
    "epsilon-gamma-box": {"conv": gamma, "linear": zero, "first": box},
    "alpha2-beta1": {"conv": alpha_beta, "linear": zero},
    "alpha2-beta1-flat": {"conv": alpha_beta, "linear": zero, "first": flat},
    "deep-taylor": {"conv": z_plus, "linear": z_plus, "first": box},
    "epsilon": {"conv": zero, "linear": zero},
    "zero": {"conv": zero, "linear": zero},
}


def bounds_of(subject: Subject, x: Tensor) -> Bounds:
    """Black and white as preprocessed for the network, extended to the input's own range."""
    low, high = (subject.model.input.level(end).double().expand(x[None].shape)[0] for end in (0.0, 1.0))
    return torch.minimum(low, x).flatten(), torch.maximum(high, x).flatten()


def epsilon_half(layer: Dense, x: Tensor, relevance: Tensor, bounds: Bounds) -> Tensor:
    return zero(layer, x, relevance, bounds, epsilon=0.5)


def alpha3_beta2(layer: Dense, x: Tensor, relevance: Tensor, bounds: Bounds) -> Tensor:
    return alpha_beta(layer, x, relevance, bounds, alpha=3.0, beta=2.0)


def gamma_one(layer: Dense, x: Tensor, relevance: Tensor, bounds: Bounds) -> Tensor:
    return gamma(layer, x, relevance, bounds, strength=1.0)


def unbiased(chain: Chain) -> Callable[[Rule], Rule]:
    """Wraps a rule so that the bias's share goes to the inputs."""
    return lambda rule: (
        lambda layer, x, r, bounds: rule(
            Dense("", "", layer.weight, torch.zeros_like(layer.bias), layer.reach), x, r, bounds
        )
    )
