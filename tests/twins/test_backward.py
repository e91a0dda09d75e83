"""Second implementations of backward rules in float64 on dense matrices, without convolutions, autograd or the engine.

Each function here has the name of its lens. A network is a chain of steps (`tests/twins/chains.py`); gradients and
relevance are propagated back step by step, with every term z_jk = x_j·w_jk of a layer in memory.
"""

import copy
import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import convscope as cs
from tests.twins import test_cam as cams
from tests.twins.chains import Chain, Dense, Maxima, Rectifier, Residual, chain_of, values
from tests.twins.slow import TOLERANCE, relative_error
from tests.twins.subjects import Subject, subject_called

CHAINS = ("plain", "flatten", "residual", "signal", "volume")
SPATIAL = {
    "plain": ("features.1", 2, 6),
    "residual": ("relu", 4, 6),
    "volume": ("features.1", 2, 6),
    "signal": ("features", 4, 8),
}
"""By network: a layer, the number of chain steps before its output, and its number of channels."""

# Modified gradients


def backwards(chain: Chain, activations: list[Tensor], gradient: Tensor, rectifier: Callable) -> list[Tensor]:
    """The gradient at the input of each step and at the output, with ``rectifier(gradient, x, y)`` at each ReLU."""
    gradients = [gradient]
    for step, x, y in reversed(list(zip(chain, activations, activations[1:], strict=False))):
        g = gradients[0]
        if isinstance(step, Dense):
            input_gradient = step.weight.T @ g
        elif isinstance(step, Rectifier):
            input_gradient = rectifier(g, x, y)
        elif isinstance(step, Maxima):
            input_gradient = torch.zeros_like(x)
            for k, window in enumerate(step.windows):
                input_gradient[window[x[window].argmax()]] += g[k]
        else:
            input_gradient = g + backwards(step.branch, values(step.branch, x), g, rectifier)[0]
        gradients.insert(0, input_gradient)
    return gradients


def one_hot(scores: Tensor, target: int) -> Tensor:
    return torch.eye(len(scores), dtype=torch.double)[target]


def modified_gradient(chain: Chain, x: Tensor, target: int, rectifier: Callable) -> Tensor:
    activations = values(chain, x.flatten())
    return backwards(chain, activations, one_hot(activations[-1], target), rectifier)[0].view(x.shape)


def guided_backprop(chain: Chain, x: Tensor, target: int) -> Tensor:
    return modified_gradient(chain, x, target, lambda g, x, y: torch.where((x > 0) & (g > 0), g, 0))


def deconvnet(chain: Chain, x: Tensor, target: int) -> Tensor:
    return modified_gradient(chain, x, target, lambda g, x, y: torch.where(g > 0, g, 0))


def rectified_gradient(chain: Chain, x: Tensor, target: int, quantile: float = 0.9) -> Tensor:
    def rectifier(g: Tensor, _x: Tensor, y: Tensor) -> Tensor:
        importance = g * y
        threshold = importance.sort().values[max(1, round(quantile * len(y))) - 1]
        return torch.where(importance > threshold, g, 0)

    return x * modified_gradient(chain, x, target, rectifier)


def guided_grad_cam(chain: Chain, x: Tensor, target: int, activation: Tensor, gradient: Tensor) -> Tensor:
    region = cams.grad_cam(activation, gradient).clamp(min=0)
    return guided_backprop(chain, x, target) * enlarged(region, x.shape[1:])


def full_grad(chain: Chain, x: Tensor, target: int) -> Tensor:
    """ψ of the term of the input, and of the term of each bias that has a map."""
    activations = values(chain, x.flatten())
    gradients = backwards(
        chain, activations, one_hot(activations[-1], target), lambda g, x, y: torch.where(x > 0, g, 0)
    )
    parts = [psi(gradients[0].view(x.shape) * x, x.shape[1:])]
    for step, g in zip(chain, gradients[1:], strict=True):
        inner = step.branch[-1] if isinstance(step, Residual) else step
        if isinstance(inner, Dense) and inner.kind == "conv":
            parts.append(psi((g * inner.bias).view(_map_shape(inner, x)), x.shape[1:]))
    return sum(parts)


def _map_shape(step: Dense, x: Tensor) -> tuple[int, ...]:
    """The shape (channels, …) of the output of a convolution with stride 1 or 2."""
    for halved in (1, 2):
        extent = [-(-n // halved) for n in x.shape[1:]]
        channels = len(step.bias) // torch.Size(extent).numel()
        if channels in (6, 8):
            return (channels, *extent)
    raise AssertionError("no such network here")


def psi(term: Tensor, extent: tuple[int, ...]) -> Tensor:
    magnitude = enlarged(term.abs().sum(0), extent)
    return magnitude / magnitude.max()


def enlarged(small: Tensor, extent: tuple[int, ...]) -> Tensor:
    mode = ("linear", "bilinear", "trilinear")[small.ndim - 1]
    return F.interpolate(small[None, None], extent, mode=mode)[0, 0]


@pytest.mark.parametrize("subject", CHAINS, indirect=True)
@pytest.mark.parametrize("formula", [guided_backprop, deconvnet, rectified_gradient])
def test_a_modified_gradient_is_its_formula(formula: Callable, subject: Subject) -> None:
    chain = chain_of(subject)
    for attribution, slow in zip(subject.explained(formula.__name__), subject.slow, strict=True):
        assert relative_error(attribution.channels, formula(chain, slow.x, slow.target)) < TOLERANCE


@pytest.mark.parametrize("quantile", [0.0, 0.5, 0.98])
def test_the_quantile_of_a_rectified_gradient_means_the_same(quantile: float) -> None:
    subject = subject_called("plain")
    chain = chain_of(subject)
    for attribution, slow in zip(subject.explained("rectified_gradient", quantile=quantile), subject.slow, strict=True):
        assert (
            relative_error(attribution.channels, rectified_gradient(chain, slow.x, slow.target, quantile)) < TOLERANCE
        )


@pytest.mark.parametrize("subject", ["plain", "residual", "signal", "volume"], indirect=True)
def test_guided_grad_cam_is_a_product(subject: Subject) -> None:
    chain, layer = chain_of(subject), subject.layers[-1]
    pairs = [
        (attribution, guided_grad_cam(chain, slow.x, slow.target, *slow.at(layer)))
        for attribution, slow in zip(subject.explained("guided_grad_cam", layer=layer), subject.slow, strict=True)
    ]
    assert any(bool(expected.any()) for _, expected in pairs)
    for attribution, expected in pairs:
        if attribution.blank:
            assert not expected.any()
        else:
            assert relative_error(attribution.channels, expected) < TOLERANCE


@pytest.mark.parametrize("subject", CHAINS, indirect=True)
def test_full_grad_is_its_formula_and_complete(subject: Subject) -> None:
    chain = chain_of(subject)
    for attribution, slow in zip(subject.explained("full_grad"), subject.slow, strict=True):
        assert relative_error(attribution.values, full_grad(chain, slow.x, slow.target)) < TOLERANCE
        assert abs(attribution.notes["completeness gap"]) < 1e-5


# Relevance

Rule = Callable[[Dense, Tensor, Tensor, "Bounds"], Tensor]
Bounds = tuple[Tensor, Tensor]


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


def z_plus(*arguments) -> Tensor:
    return alpha_beta(*arguments, alpha=1.0, beta=0.0)


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


def lrp(chain: Chain, x: Tensor, target: int, rules: dict[str, Rule], bounds: Bounds, keep=None) -> list[Tensor]:
    """The relevance before every step; rules by address, or by ``first`` and kind; pooling is proportional."""

    def rule_of(step: Dense) -> Rule:
        first = {"first": rules["first"]} if step is chain[0] and "first" in rules else {}
        return rules.get(step.address) or first.get("first") or rules.get(step.kind, zero)

    activations = values(chain, x.flatten())
    start = one_hot(activations[-1], target) * activations[-1]
    return relevances(chain, x.flatten(), start, rule_of, bounds, keep)


def bounds_of(subject: Subject, x: Tensor) -> Bounds:
    """Black and white as preprocessed for the network, extended to the input's own range."""
    low, high = (subject.model.input.level(end).double().expand(x[None].shape)[0] for end in (0.0, 1.0))
    return torch.minimum(low, x).flatten(), torch.maximum(high, x).flatten()


@pytest.mark.parametrize("subject", CHAINS, indirect=True)
@pytest.mark.parametrize("composite", COMPOSITES)
def test_lrp_is_its_rules_on_matrices(composite: str, subject: Subject) -> None:
    chain = chain_of(subject)
    for attribution, slow in zip(subject.explained("lrp", composite=composite), subject.slow, strict=True):
        expected = lrp(chain, slow.x, slow.target, COMPOSITES[composite], bounds_of(subject, slow.x))[0]
        assert relative_error(attribution.channels.flatten(), expected) < 5 * TOLERANCE


def epsilon_half(*arguments) -> Tensor:
    return zero(*arguments, epsilon=0.5)


def alpha3_beta2(*arguments) -> Tensor:
    return alpha_beta(*arguments, alpha=3.0, beta=2.0)


def gamma_one(*arguments) -> Tensor:
    return gamma(*arguments, strength=1.0)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("zero", zero), ("epsilon 0.5", epsilon_half), ("gamma 1", gamma_one), ("alpha-beta 3 2", alpha3_beta2),
        ("z-plus", z_plus), ("flat", flat), ("w-square", w_square), ("box", box),
    ],
)  # fmt: skip
@pytest.mark.parametrize("subject", ["flatten", "signal"], indirect=True)
@pytest.mark.parametrize("extent", ["first", "everywhere"])
def test_every_rule_is_its_formula_in_the_first_layer_and_everywhere(
    extent: str, text: str, rule: Rule, subject: Subject
) -> None:
    if extent == "everywhere" and text in ("flat", "w-square", "box"):
        return  # their relevance is no multiple of the input, so they are defined for the first layer only
    chain = chain_of(subject)
    places = ["first"] if extent == "first" else ["conv", "linear"]
    attributions = subject.explained("lrp", composite="zero", rules=", ".join(f"{place}: {text}" for place in places))
    for attribution, slow in zip(attributions, subject.slow, strict=True):
        rules = {"conv": zero, "linear": zero, **dict.fromkeys(places, rule)}
        expected = lrp(chain, slow.x, slow.target, rules, bounds_of(subject, slow.x))[0]
        assert relative_error(attribution.channels.flatten(), expected) < 5 * TOLERANCE


def test_rules_by_layer_and_depth_are_the_twins_rules_there() -> None:
    subject = subject_called("flatten")
    chain = chain_of(subject)
    texts = {
        "features.0: gamma 1, classifier.3: z-plus": {"features.0": gamma_one, "classifier.3": z_plus},
        "classifier: gamma 1": {"classifier.1": gamma_one, "classifier.3": gamma_one},
        "classifier.*: gamma 1": {"classifier.1": gamma_one, "classifier.3": gamma_one},
        "depth 0: z-plus, depth -1: gamma 1": {"features.0": z_plus, "classifier.3": gamma_one},
        "depth 1..2: gamma 1": {"classifier.1": gamma_one, "classifier.3": gamma_one},
        "depth 0..-2: gamma 1, classifier.1: z-plus": {"features.0": gamma_one, "classifier.1": z_plus},
    }
    for text, rules in texts.items():
        for attribution, slow in zip(subject.explained("lrp", composite="zero", rules=text), subject.slow, strict=True):
            expected = lrp(chain, slow.x, slow.target, rules, bounds_of(subject, slow.x))[0]
            assert relative_error(attribution.channels.flatten(), expected) < 5 * TOLERANCE, text


def unbiased(chain: Chain) -> Callable[[Rule], Rule]:
    """Wraps a rule so that the bias's share goes to the inputs."""
    return lambda rule: (
        lambda layer, x, r, bounds: rule(
            Dense("", "", layer.weight, torch.zeros_like(layer.bias), layer.reach), x, r, bounds
        )
    )


@pytest.mark.parametrize("subject", CHAINS, indirect=True)
@pytest.mark.parametrize("composite", ["epsilon-plus", "alpha2-beta1"])
def test_a_shared_bias_is_left_to_the_inputs(composite: str, subject: Subject) -> None:
    chain = chain_of(subject)
    rules = {place: unbiased(chain)(rule) for place, rule in COMPOSITES[composite].items()}
    for attribution, slow in zip(
        subject.explained("lrp", composite=composite, bias="share"), subject.slow, strict=True
    ):
        expected = lrp(chain, slow.x, slow.target, rules, bounds_of(subject, slow.x))[0]
        assert relative_error(attribution.channels.flatten(), expected) < 2e-3


def attn_lrp(chain: Chain, x: Tensor, target: int, bounds: Bounds) -> Tensor:
    """On a network without attention: LRP-γ, with γ = 0.25 for convolutions and 0.05 for linear layers."""
    weak_gamma = lambda *arguments: gamma(*arguments, strength=0.05)  # noqa: E731
    return lrp(chain, x, target, {"conv": gamma, "linear": weak_gamma}, bounds)[0]


@pytest.mark.parametrize("subject", CHAINS, indirect=True)
def test_attn_lrp_without_attention_is_lrp_gamma(subject: Subject) -> None:
    chain = chain_of(subject)
    for attribution, slow in zip(subject.explained("attn_lrp"), subject.slow, strict=True):
        expected = attn_lrp(chain, slow.x, slow.target, bounds_of(subject, slow.x))
        assert relative_error(attribution.channels.flatten(), expected) < 5 * TOLERANCE


class AttentiveNet(nn.Module):
    """Patches as tokens, layer norm, one attention head, a residual sum, and a linear layer on the tokens' mean."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 6, 4, stride=4)
        self.norm = nn.LayerNorm(6)
        self.qkv = nn.Linear(6, 18)
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        t = self.patches(x).flatten(2).transpose(1, 2)
        q, k, v = self.qkv(self.norm(t)).chunk(3, -1)
        t = t + F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None])[:, 0]
        return self.head(t.mean(1))


def through_attention(net: AttentiveNet, x: Tensor, target: int, conv_gamma: float, linear_gamma: float) -> Tensor:
    """The rules of the AttnLRP paper written out for one image (3, 16, 16)."""
    net = copy.deepcopy(net).double()
    with torch.no_grad():
        t = net.patches(x[None]).flatten(2)[0].T  # tokens × 6
        centred = t - t.mean(1, keepdim=True)
        spread = (centred.pow(2).mean(1, keepdim=True) + net.norm.eps).sqrt()
        normalized = centred / spread * net.norm.weight + net.norm.bias
        q, k, v = (normalized @ net.qkv.weight.T + net.qkv.bias).chunk(3, 1)
        logits = q @ k.T / 6**0.5
        weights = logits.softmax(1)
        attended = weights @ v
        out = t + attended
        pooled = out.mean(0)
        scores = pooled @ net.head.weight.T + net.head.bias

        def by_gamma(weight: Tensor, bias: Tensor, inputs: Tensor, relevance: Tensor, strength: float) -> Tensor:
            layer = Dense("", "", weight, bias, weight)
            return torch.stack([gamma(layer, a, r, None, strength) for a, r in zip(inputs, relevance, strict=True)])

        start = one_hot(scores, target) * scores
        r = by_gamma(net.head.weight, net.head.bias, pooled[None], start[None], linear_gamma)[0]
        r = out / out.sum(0) * r  # a mean distributes in proportion
        r_direct, r_attended = t / out * r, attended / out * r
        r_weights, r_v = torch.zeros_like(weights), torch.zeros_like(v)
        for i, j, c in itertools.product(range(len(t)), range(len(t)), range(6)):  # half for each of two factors
            half = weights[i, j] * v[j, c] / attended[i, c] * r_attended[i, c] / 2
            r_weights[i, j] += half
            r_v[j, c] += half
        r_logits = logits * (r_weights - weights * r_weights.sum(1, keepdim=True))  # softmax
        r_q, r_k = torch.zeros_like(q), torch.zeros_like(k)
        for i, j, c in itertools.product(range(len(t)), range(len(t)), range(6)):
            half = q[i, c] * k[j, c] / 6**0.5 / logits[i, j] * r_logits[i, j] / 2
            r_q[i, c] += half
            r_k[j, c] += half
        r_qkv = torch.cat([r_q, r_k, r_v], 1)
        r_normalized = by_gamma(net.qkv.weight, net.qkv.bias, normalized, r_qkv, linear_gamma)
        r_centred = centred / spread * net.norm.weight / normalized * r_normalized  # the shift absorbs its share
        multiplier = r_centred / centred
        r_t = r_direct + t * (multiplier - multiplier.mean(1, keepdim=True))  # centring is linear
        patches = x.view(3, 4, 4, 4, 4).permute(1, 3, 0, 2, 4).reshape(16, 48)
        r_x = by_gamma(net.patches.weight.flatten(1), net.patches.bias, patches, r_t, conv_gamma)
    return r_x.view(4, 4, 3, 4, 4).permute(2, 0, 3, 1, 4).reshape(3, 16, 16)


def test_attn_lrp_is_its_rules_by_hand() -> None:
    torch.manual_seed(3)
    net = AttentiveNet().eval()
    nn.init.uniform_(net.norm.weight, 0.5, 1.5)
    nn.init.uniform_(net.norm.bias, -0.5, 0.5)
    with torch.no_grad():
        net.qkv.weight.mul_(2)
    x = torch.randn(2, 3, 16, 16)
    for gammas in ((0.25, 0.05), (0.0, 0.0), (1.0, 0.5)):
        attributions = cs.attn_lrp(net, x, target=[2, 1], conv_gamma=gammas[0], linear_gamma=gammas[1])
        for attribution, image, target in zip(attributions, x, (2, 1), strict=True):
            assert relative_error(attribution.channels, through_attention(net, image.double(), target, *gammas)) < 1e-3


def concept_relevance(chain: Chain, x: Tensor, target: int, bounds: Bounds, place: int, keep: Tensor) -> Tensor:
    """LRP (ε-plus) with the relevance before step ``place`` masked to some channels: ``keep`` (channels,)."""
    size = len(values(chain, x.flatten())[place])
    mask = keep.double().repeat_interleave(size // len(keep))
    return lrp(chain, x, target, COMPOSITES["epsilon-plus"], bounds, keep=(place, mask))[0]


def place_of(subject: Subject) -> tuple[str, int, int]:
    return next(place for name, place in SPATIAL.items() if subject is subject_called(name))


@pytest.mark.parametrize("subject", list(SPATIAL), indirect=True)
def test_concept_relevance_is_lrp_with_channels_masked(subject: Subject) -> None:
    layer, place, count = place_of(subject)
    chain, compared = chain_of(subject), 0
    for channels in ([0], [1, 4], [2, 3, 5]):
        keep = torch.tensor([number in channels for number in range(count)])
        attributions = subject.explained("concept_relevance", layer=layer, channels=", ".join(map(str, channels)))
        for attribution, slow in zip(attributions, subject.slow, strict=True):
            expected = concept_relevance(chain, slow.x, slow.target, bounds_of(subject, slow.x), place, keep)
            assert attribution.notes["channels"] == channels
            assert attribution.blank == (not expected.any())
            if not attribution.blank:
                compared += 1
                assert relative_error(attribution.channels.flatten(), expected) < 5 * TOLERANCE
    assert compared > 2


def excitation_backprop(chain: Chain, x: Tensor, target: int, place: int, count: int, *, contrastive=False) -> Tensor:
    """The winning probability before step ``place``, summed over ``count`` channels."""
    rules: dict[str, Rule] = {"conv": excitation, "linear": excitation}
    if contrastive:
        rules[chain[-1].address] = contrast
    probabilities = lrp(chain, x, target, rules, None)
    return (probabilities[place] / probabilities[-1].sum()).view(count, -1).sum(0)


@pytest.mark.parametrize("subject", list(SPATIAL), indirect=True)
@pytest.mark.parametrize(("contrastive", "relu"), [(False, False), (True, False), (True, True)])
def test_excitation_backprop_is_a_winners_probability(contrastive: bool, relu: bool, subject: Subject) -> None:
    """The contrastive map clamped at zero is that of the paper."""
    layer, place, count = place_of(subject)
    chain = chain_of(subject)
    attributions = subject.explained("excitation_backprop", layer=layer, contrastive=contrastive, relu=relu)
    for attribution, slow in zip(attributions, subject.slow, strict=True):
        expected = excitation_backprop(chain, slow.x, slow.target, place, count, contrastive=contrastive)
        assert not contrastive or expected.min() < 0
        expected = expected.clamp(min=0) if relu else expected
        assert relative_error(attribution.layer_values[layer].flatten(), expected) < TOLERANCE


@pytest.mark.parametrize("subject", list(SPATIAL), indirect=True)
def test_the_epsilon_rule_without_epsilon_is_the_zero_rule(subject: Subject) -> None:
    zero, default, damped = (
        subject.explained("lrp", **parameters)
        for parameters in ({"composite": "zero"}, {"composite": "epsilon"}, {"composite": "epsilon", "epsilon": 0.5})
    )
    for a, b, c in zip(zero, default, damped, strict=True):
        assert torch.equal(a.channels, b.channels)
        assert relative_error(c.channels, a.channels) > 0.01


# Differences from a reference


def deep_lift(chain: Chain, x: Tensor, reference: Tensor, target: int, *, reveal_cancel: bool = False) -> Tensor:
    """The multipliers of the input times its difference from the reference."""
    activations, reference_activations = values(chain, x.flatten()), values(chain, reference.flatten())
    input_multipliers = multipliers(
        chain, activations, reference_activations, one_hot(activations[-1], target), reveal_cancel
    )
    return ((x - reference).flatten() * input_multipliers).view(x.shape)


def multipliers(
    chain: Chain, activations: list[Tensor], reference_activations: list[Tensor], m: Tensor, reveal_cancel: bool
) -> Tensor:
    number = len(chain)
    while number:
        number -= 1
        step, x, x0 = chain[number], activations[number], reference_activations[number]
        if isinstance(step, Dense):
            m = step.weight.T @ m
        elif isinstance(step, Residual):
            inner = multipliers(step.branch, values(step.branch, x), values(step.branch, x0), m, reveal_cancel)
            m = m + inner
        elif isinstance(step, Maxima):
            input_multipliers = torch.zeros_like(x)
            for k, window in enumerate(step.windows):
                change = x[window].max() - x0[window].max()
                position = window[x[window].argmax()] if change >= 0 else window[x0[window].argmax()]
                input_multipliers[position] += m[k] * (change / (x - x0)[position] if change else 0)
            m = input_multipliers
        elif reveal_cancel and isinstance(chain[number - 1], Dense):
            number -= 1
            layer, layer_input, reference_input = chain[number], activations[number], reference_activations[number]
            terms = layer.weight * (layer_input - reference_input)
            positive, negative = terms.clamp(min=0).sum(1), terms.clamp(max=0).sum(1)
            y = [step(x0 + up * positive + down * negative) for up, down in ((0, 0), (1, 0), (0, 1), (1, 1))]
            up = (y[1] - y[0] + y[3] - y[2]) / 2 / torch.where(positive == 0, torch.inf, positive)
            down = (y[2] - y[0] + y[3] - y[1]) / 2 / torch.where(negative == 0, torch.inf, negative)
            term_multipliers = torch.where(terms > 0, up[:, None], down[:, None])
            term_multipliers = (
                torch.where(layer_input == reference_input, ((up + down) / 2)[:, None], term_multipliers) * layer.weight
            )
            m = (m[:, None] * term_multipliers).sum(0)
        else:
            m = m * torch.where(x == x0, (x > 0).double(), (step(x) - step(x0)) / torch.where(x == x0, 1, x - x0))
    return m


def black(subject: Subject, x: Tensor) -> Tensor:
    return subject.model.input.level(0.0).double().expand(x[None].shape)[0]


@pytest.mark.parametrize("subject", CHAINS, indirect=True)
@pytest.mark.parametrize("rule", ["rescale", "reveal-cancel"])
def test_deep_lift_is_its_multipliers(rule: str, subject: Subject) -> None:
    chain = chain_of(subject)
    for attribution, slow in zip(subject.explained("deep_lift", rule=rule), subject.slow, strict=True):
        reference = black(subject, slow.x)
        expected = deep_lift(chain, slow.x, reference, slow.target, reveal_cancel=rule == "reveal-cancel")
        assert relative_error(attribution.channels, expected) < 5 * TOLERANCE
        assert float(expected.sum()) == pytest.approx(slow.score(slow.x) - slow.score(reference), abs=1e-9)


def deep_shap(chain: Chain, x: Tensor, references: Tensor, target: int) -> Tensor:
    return torch.stack([deep_lift(chain, x, reference.double(), target) for reference in references]).mean(0)


@pytest.mark.parametrize("subject", ["plain", "flatten", "residual"], indirect=True)
def test_deep_shap_is_the_mean_of_deep_lift(subject: Subject) -> None:
    chain = chain_of(subject)
    references = torch.randn(5, *subject.images.shape[1:], generator=torch.Generator().manual_seed(5))
    attributions = subject.explained("deep_shap", samples=5, references=references)
    for attribution, slow in zip(attributions, subject.slow, strict=True):
        assert relative_error(attribution.channels, deep_shap(chain, slow.x, references, slow.target)) < 5 * TOLERANCE
