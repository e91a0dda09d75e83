"""The weights of convolutions as filters (outputs, inputs, …), views of them, and which of them are unusual.

A filter is everything that computes one output channel: a kernel for each input channel of its group. Transposed
convolutions store their weights with inputs first and are transposed; weights that are computed from others (weight
norm, spectral norm, any parametrization) are taken as the network uses them.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from convscope.engine.inputs.specs import ImageInput
from convscope.engine.network.quantized import dequantized, packed_weights
from convscope.engine.network.scripted_modules import hidden_layers_hint, is_scripted
from convscope.errors import LayerError

if TYPE_CHECKING:
    from convscope.engine.network.model import Model

TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, *TRANSPOSED)

NEAR_ZERO = 0.01
"""A filter is near zero when its norm is below this share of the layer's median norm."""
NEAR_DUPLICATE = 0.98
"""A filter nearly duplicates an earlier one when the cosine between them is at least this."""
UNCORRELATED = 0.05
"""Correlations between neighbors up to this count as noise, however many weights the test has."""
MIN_WEIGHTS_TO_COMPARE, MIN_WEIGHTS_TO_TEST = 4, 48
"""The number of weights that a filter needs to be compared with others, and to be tested for noise."""
_SPECTRUM_SIZE = {1: 64, 2: 32, 3: 16}
"""The size per axis to which kernels are zero-padded for their spectrum, by the number of axes."""


@dataclass(frozen=True)
class FilterOddities:
    """Unusual filters, by index.

    Attributes:
        near_zero: their norm is below 1 % of the layer's median norm.
        near_duplicate: (filter, the earlier one of its group that it repeats, their cosine), each filter once. Filters
            of other groups read other channels and are not compared.
        noise_like: neighboring weights are as uncorrelated as those of white noise.
    """

    near_zero: tuple[int, ...] = ()
    near_duplicate: tuple[tuple[int, int, float], ...] = ()
    noise_like: tuple[int, ...] = ()


def read_kernels(model: "Model", address: str) -> Tensor:
    """The filters of a layer (outputs, inputs of a group, …) as it uses them, in float32 on the CPU.

    Raises:
        LayerError: it has none; the message names the nearest layers that have some.
    """
    module = dict(model.module.named_modules())[address]  # a scripted module has no ``get_submodule``
    if not has_kernels(module, model):
        raise LayerError(_no_kernels_message(model, address, module))
    weight = effective_weight(module).detach().float().cpu()
    if is_transposed(module):
        return _transpose(weight, groups_of(module))
    if not is_convolution(module):
        return weight.reshape(len(weight), *_input_shape(model)).contiguous()
    return weight.clone(memory_format=torch.contiguous_format)


def has_kernels(module: nn.Module, model: "Model") -> bool:
    """Whether a layer is a convolution, or linear in the pixels of the model's own input."""
    if is_linear(module):
        shape = _input_shape(model)
        return len(shape) > 1 and math.prod(shape) == module.in_features  # the elements of a vector are not neighbors
    return is_convolution(module)


def is_convolution(module: nn.Module) -> bool:
    """Whether a layer is a convolution, in floating point or quantized."""
    return isinstance(module, CONVOLUTIONS) or ("weight" in packed_weights(module) and hasattr(module, "kernel_size"))


def is_transposed(module: nn.Module) -> bool:
    """Whether a layer is a transposed convolution, in floating point or quantized."""
    return is_convolution(module) and bool(getattr(module, "transposed", False))


def is_linear(module: nn.Module) -> bool:
    """Whether a layer is linear, in floating point or quantized."""
    quantized = "weight" in packed_weights(module) and hasattr(module, "in_features")
    return isinstance(module, nn.Linear) or quantized


def groups_of(module: nn.Module) -> int:
    """The number of channel groups of a layer."""
    return int(getattr(module, "groups", 1))


def reads_rgb(model: "Model", address: str, weights: Tensor) -> bool:
    """Whether the input channels of a layer are red, green and blue: it is the first layer and reads three channels."""
    first = next((a for a, m in model.module.named_modules() if has_kernels(m, model)), "")
    shape = _input_shape(model)
    return weights.shape[1] == 3 and weights.ndim == 4 and address == first and (not shape or shape[0] == 3)


def can_test_noise(weights: Tensor) -> bool:
    """Whether filters have enough neighboring weights to be tested for noise."""
    return weights[0].numel() >= MIN_WEIGHTS_TO_TEST and max(weights.shape[2:]) >= 3


def view_patterns(weights: Tensor, view: str) -> tuple[Tensor, Tensor | None]:
    """What a view shows of each filter (n, inputs, …), and for ``component`` its share of the squared weights."""
    if view == "norm":
        return weights.norm(dim=1), None
    if view == "component":
        return _first_component(weights)
    if view == "spectrum":
        return spectrum(weights), None
    return weights, None


def spectrum(weights: Tensor) -> Tensor:
    """The frequency response of each filter (n, …), frequency zero in the middle.

    It is the magnitude of the discrete Fourier transform of the zero-padded kernels: the root of the sum of squares
    over input channels.
    """
    axes = tuple(range(2, weights.ndim))
    size = [max(_SPECTRUM_SIZE[len(axes)], n) for n in weights.shape[2:]]
    response = torch.fft.fftn(weights, s=size, dim=axes).abs().square().sum(1).sqrt()
    shifted: Tensor = torch.fft.fftshift(response, dim=[axis - 1 for axis in axes])
    return shifted


def select_filters(weights: Tensor, sort: str, most: int) -> list[int]:
    """The ``most`` strongest filters by norm (0: all), sorted by index, by norm, or with similar ones side by side."""
    norms = _flat(weights).norm(dim=1)
    strongest = torch.argsort(norms, descending=True, stable=True)[: most or None]
    if sort == "none":
        return sorted(strongest.tolist())
    if sort == "norm":
        return [int(i) for i in strongest]
    return strongest[_order_by_similarity(_unit_vectors(weights[strongest]))].tolist()


def find_oddities(weights: Tensor, groups: int = 1) -> FilterOddities:
    """The unusual filters of a layer with ``groups`` groups."""
    norms = _flat(weights).norm(dim=1)
    nonzero = norms[norms > 0]
    threshold = NEAR_ZERO * float(nonzero.median()) if len(nonzero) else 0.0
    near_zero = (norms == 0) | (norms < threshold)
    return FilterOddities(
        near_zero=tuple(torch.nonzero(near_zero)[:, 0].tolist()),
        near_duplicate=tuple(_find_duplicates(weights, ~near_zero, groups)),
        noise_like=tuple(torch.nonzero(_noise_like(weights) & ~near_zero)[:, 0].tolist()),
    )


def effective_weight(module: Any) -> Tensor:
    """The weight as the next forward pass would use it.

    Hooks of the old weight norm and of pruning compute it only then; a quantized layer stores it packed.
    """
    packed = packed_weights(module)
    if "weight" in packed:
        return dequantized(packed["weight"])
    for hook in module._forward_pre_hooks.values():
        if getattr(hook, "name", None) == "weight" and hasattr(hook, "compute_weight"):
            spectral = {"do_power_iteration": False} if hasattr(hook, "n_power_iterations") else {}
            computed: Tensor = hook.compute_weight(module, **spectral)
            return computed
        if getattr(hook, "_tensor_name", None) == "weight" and hasattr(hook, "apply_mask"):
            pruned: Tensor = hook.apply_mask(module)
            return pruned
    weight: Tensor = module.weight
    return weight


def _transpose(weight: Tensor, groups: int) -> Tensor:
    """The weight of a transposed convolution (inputs, outputs of a group, …) as (outputs, inputs of a group, …)."""
    inputs, outputs = weight.shape[:2]
    grouped = weight.reshape(groups, inputs // groups, outputs, *weight.shape[2:])
    return grouped.transpose(1, 2).reshape(groups * outputs, inputs // groups, *weight.shape[2:]).contiguous()


def _input_shape(model: "Model") -> tuple[int, ...]:
    spec = model.input
    if isinstance(spec, ImageInput):
        return (spec.channels or 3, *spec.size)  # type: ignore[misc]
    return spec.shape or ()


def _no_kernels_message(model: "Model", address: str, module: nn.Module) -> str:
    """The message that a layer has no kernels, with the nearest layers that have some."""
    addresses = [path for path, _ in model.module.named_modules()]
    indices = [n for n, (_, candidate) in enumerate(model.module.named_modules()) if has_kernels(candidate, model)]
    if is_scripted(module):
        return (
            f"layer {address!r} is traced or scripted (torch.jit), which hides its kernels: open the network from its "
            "source"
        )
    problem = f"layer {address!r} is a {type(module).__name__}, which has no kernels"
    if not indices:
        hidden = hidden_layers_hint(model.module, "kernels")
        if hidden:
            return f"{model.name} has no layer whose kernels can be read{hidden}"
        return f"{problem}, and neither has any other layer of {model.name}"
    own_index = addresses.index(address) if address in addresses else 0
    inside = [n for n in indices if addresses[n].startswith(f"{address}.")]
    nearest = sorted(inside or indices, key=lambda n: abs(n - own_index))[:3]
    return f"{problem}: choose {_join_or(repr(addresses[n]) for n in sorted(nearest))}"


def _join_or(names: Iterable[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} or {last}" if first else last


def _first_component(weights: Tensor) -> tuple[Tensor, Tensor]:
    """The first singular vector of each filter over space (n, …), and its share of the squared weights.

    Its sign is that of the sum over input channels.
    """
    matrices = weights.flatten(2).double()
    left, singular_values, right = torch.linalg.svd(matrices, full_matrices=False)
    sign = torch.where(left[..., 0].sum(1) < 0, -1.0, 1.0)
    pattern = right[:, 0] * (singular_values[:, 0] * sign)[:, None]
    share = singular_values[:, 0].square() / singular_values.square().sum(1).clamp_min(torch.finfo(torch.float64).tiny)
    return pattern.reshape(len(weights), *weights.shape[2:]).float(), share.float()


def _flat(weights: Tensor) -> Tensor:
    return weights.flatten(1)


def _unit_vectors(weights: Tensor) -> Tensor:
    return nn.functional.normalize(_flat(weights), dim=1)


def _order_by_similarity(unit_vectors: Tensor) -> list[int]:
    """An order, beginning with the first, in which each is followed by the most similar of those that remain."""
    similarity = unit_vectors @ unit_vectors.T
    order, remaining = [0], torch.ones(len(similarity), dtype=torch.bool, device="cpu")
    remaining[0] = False
    while bool(remaining.any()):
        following = int(torch.where(remaining, similarity[order[-1]], -2.0).argmax())
        order.append(following)
        remaining[following] = False
    return order


def _find_duplicates(weights: Tensor, nonzero: Tensor, groups: int) -> list[tuple[int, int, float]]:
    """For each filter that repeats an earlier one, the most similar earlier one; a few hundred rows at a time."""
    unit_vectors, indices, duplicates = _unit_vectors(weights), torch.arange(len(weights), device="cpu"), []
    if unit_vectors.shape[1] < MIN_WEIGHTS_TO_COMPARE or groups == len(weights):
        return []
    group = indices // (len(weights) // groups)
    for start in range(0, len(unit_vectors), 512):
        similarity, rows = unit_vectors[start : start + 512] @ unit_vectors.T, indices[start : start + 512, None]
        comparable = (indices < rows) & (group == group[rows]) & nonzero
        best, best_index = torch.where(comparable, similarity, -2.0).max(1)
        for row in torch.nonzero((best >= NEAR_DUPLICATE) & nonzero[start : start + len(similarity)])[:, 0].tolist():
            duplicates.append((start + row, int(best_index[row]), round(min(1.0, float(best[row])), 4)))
    return duplicates


def _noise_like(weights: Tensor) -> Tensor:
    """Whether neighboring weights of each filter are as uncorrelated as those of white noise.

    This is the Box-Pierce test over all pairs up to two positions apart (an edge is −1, 0, 1), diagonal ones included:
    for white noise Σ n r² follows a χ² distribution with one degree of freedom per direction, and a filter counts as
    noise below its 99th percentile. With very many weights the test would detect even negligible correlations, so that
    those up to `UNCORRELATED` are ignored.
    """
    from scipy.special import chdtri  # the quantile of scipy.stats.chi2, whose import takes a second

    extent = weights.shape[2:]
    steps = [
        step for step in _neighbor_steps(len(extent)) if all(abs(s) < n for s, n in zip(step, extent, strict=True))
    ]
    if not steps or not can_test_noise(weights):
        return torch.zeros(len(weights), dtype=torch.bool, device="cpu")
    energy = weights.double().flatten(1).square().mean(1)
    statistic, pairs = torch.zeros_like(energy), 0
    for step in steps:
        weight, neighbor = _neighbor_pairs(weights.double(), step)
        correlation = (weight * neighbor).flatten(1).mean(1) / energy.clamp_min(torch.finfo(torch.float64).tiny)
        statistic += weight[0].numel() * correlation.square()
        pairs += weight[0].numel()
    return (statistic / pairs).sqrt() <= max(UNCORRELATED, math.sqrt(float(chdtri(len(steps), 0.01)) / pairs))


def _neighbor_steps(axes: int) -> list[tuple[int, ...]]:
    """The offsets to neighbors up to two positions away, only one of each pair of opposite offsets."""
    return [step for step in product(range(-2, 3), repeat=axes) if step > (0,) * axes]


def _neighbor_pairs(weights: Tensor, step: Sequence[int]) -> tuple[Tensor, Tensor]:
    """The weights that have a neighbor at that offset, and those neighbors."""
    own: list[slice] = [slice(max(0, -s), n - max(0, s)) for s, n in zip(step, weights.shape[2:], strict=True)]
    shifted: list[slice] = [slice(max(0, s), n - max(0, -s)) for s, n in zip(step, weights.shape[2:], strict=True)]
    leading = (slice(None), slice(None))
    return weights[(*leading, *own)], weights[(*leading, *shifted)]
