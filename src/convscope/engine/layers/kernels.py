"""The weights of convolutions as filters (outputs, inputs, …), what can be seen of them, and what is odd about them.

A filter is all that one output channel is computed with: a kernel for each input channel of its group. Transposed
convolutions keep theirs the other way round and are turned; weights that are computed from others (weight norm,
spectral norm, any parametrisation) are taken as the network uses them.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from convscope.engine.inputs.specs import ImageInput
from convscope.engine.network.packaged import hidden_layers, scripted
from convscope.engine.network.quantized import dequantized, packed_weights
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
"""Correlations between neighbours up to this are noise's, however many weights there are to tell."""
FEWEST_TO_COMPARE, FEWEST_TO_JUDGE = 4, 48
"""So many weights a filter must have to be compared with others, and to be told from noise."""
_SPECTRUM = {1: 64, 2: 32, 3: 16}
"""To how many places a side kernels are filled up with zeros for their spectrum, by the number of axes."""


@dataclass(frozen=True)
class Oddities:
    """Filters that deserve a look, by number.

    Attributes:
        near_zero: their norm is below 1 % of the layer's median norm.
        near_duplicate: (filter, the earlier one of its group that it repeats, their cosine), each filter once. Those
            of other groups read other channels.
        noise_like: neighbouring weights are as uncorrelated as those of white noise.
    """

    near_zero: tuple[int, ...] = ()
    near_duplicate: tuple[tuple[int, int, float], ...] = ()
    noise_like: tuple[int, ...] = ()


def kernels_of(model: "Model", address: str) -> Tensor:
    """The filters of a layer (outputs, inputs of a group, …) as it uses them, in float32 on the processor.

    Raises:
        LayerError: it has none; the message names the nearest layers that have.
    """
    module = dict(model.module.named_modules())[address]  # a scripted module knows no ``get_submodule``
    if not has_kernels(module, model):
        raise LayerError(_without(model, address, module))
    weight = effective_weight(module).detach().float().cpu()
    if is_transposed(module):
        return _turned(weight, groups_of(module))
    if not is_convolution(module):
        return weight.reshape(len(weight), *_input_shape(model)).contiguous()
    return weight.clone(memory_format=torch.contiguous_format)


def has_kernels(module: nn.Module, model: "Model") -> bool:
    """Whether a layer is a convolution, or linear in the pixels of the model's own input."""
    if is_linear(module):
        shape = _input_shape(model)
        return len(shape) > 1 and math.prod(shape) == module.in_features  # of a vector's numbers none lie side by side
    return is_convolution(module)


def is_convolution(module: nn.Module) -> bool:
    """Whether a layer is a convolution, in floating point or quantised."""
    return isinstance(module, CONVOLUTIONS) or ("weight" in packed_weights(module) and hasattr(module, "kernel_size"))


def is_transposed(module: nn.Module) -> bool:
    """Whether a layer is a transposed convolution, in floating point or quantised."""
    return is_convolution(module) and bool(getattr(module, "transposed", False))


def is_linear(module: nn.Module) -> bool:
    """Whether a layer is linear, in floating point or quantised."""
    quantised = "weight" in packed_weights(module) and hasattr(module, "in_features")
    return isinstance(module, nn.Linear) or quantised


def groups_of(module: nn.Module) -> int:
    """In how many groups a layer's channels are kept apart."""
    return int(getattr(module, "groups", 1))


def in_colour(model: "Model", address: str, weights: Tensor) -> bool:
    """Whether the three input channels of a layer are red, green and blue: it is the first, and the input has three."""
    first = next((a for a, m in model.module.named_modules() if has_kernels(m, model)), "")
    shape = _input_shape(model)
    return weights.shape[1] == 3 and weights.ndim == 4 and address == first and (not shape or shape[0] == 3)


def judged(weights: Tensor) -> bool:
    """Whether filters have enough weights side by side to be told from noise."""
    return weights[0].numel() >= FEWEST_TO_JUDGE and max(weights.shape[2:]) >= 3


def as_patterns(weights: Tensor, view: str) -> tuple[Tensor, Tensor | None]:
    """Filters (n, inputs, …) as what a view shows of each, and for ``component`` the share it stands for."""
    if view == "norm":
        return weights.norm(dim=1), None
    if view == "component":
        return _component(weights)
    if view == "spectrum":
        return spectrum(weights), None
    return weights, None


def spectrum(weights: Tensor) -> Tensor:
    """How strongly each filter passes each frequency (n, …), frequency zero in the middle.

    The magnitude of the discrete Fourier transform of the kernels filled up with zeros: the root of the sum of squares
    over input channels.
    """
    axes = tuple(range(2, weights.ndim))
    side = [max(_SPECTRUM[len(axes)], n) for n in weights.shape[2:]]
    passed = torch.fft.fftn(weights, s=side, dim=axes).abs().square().sum(1).sqrt()
    shifted: Tensor = torch.fft.fftshift(passed, dim=[axis - 1 for axis in axes])
    return shifted


def chosen(weights: Tensor, sort: str, most: int) -> list[int]:
    """The filters to show: the ``most`` strongest by norm (0: all), by number, by norm, or alike beside alike."""
    norms = _flat(weights).norm(dim=1)
    strongest = torch.argsort(norms, descending=True, stable=True)[: most or None]
    if sort == "none":
        return sorted(strongest.tolist())
    if sort == "norm":
        return [int(i) for i in strongest]
    return strongest[_chain(_directions(weights[strongest]))].tolist()


def oddities(weights: Tensor, groups: int = 1) -> Oddities:
    """What is odd about the filters of a layer that has them in so many groups."""
    norms = _flat(weights).norm(dim=1)
    alive = norms[norms > 0]
    floor = NEAR_ZERO * float(alive.median()) if len(alive) else 0.0
    faint = (norms == 0) | (norms < floor)
    return Oddities(
        near_zero=tuple(torch.nonzero(faint)[:, 0].tolist()),
        near_duplicate=tuple(_duplicates(weights, ~faint, groups)),
        noise_like=tuple(torch.nonzero(_noise_like(weights) & ~faint)[:, 0].tolist()),
    )


def effective_weight(module: Any) -> Tensor:
    """The weight as the next forward would use it.

    Hooks of the old weight norm and of pruning compute it only then; a quantised layer keeps it packed.
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


def _turned(weight: Tensor, groups: int) -> Tensor:
    """A transposed convolution's weight (inputs, outputs of a group, …) as filters (outputs, inputs of a group, …)."""
    inputs, outputs = weight.shape[:2]
    grouped = weight.reshape(groups, inputs // groups, outputs, *weight.shape[2:])
    return grouped.transpose(1, 2).reshape(groups * outputs, inputs // groups, *weight.shape[2:]).contiguous()


def _input_shape(model: "Model") -> tuple[int, ...]:
    spec = model.input
    if isinstance(spec, ImageInput):
        return (spec.channels or 3, *spec.size)  # type: ignore[misc]
    return spec.shape or ()


def _without(model: "Model", address: str, module: nn.Module) -> str:
    """Which layers near to ``address`` in the network's own order have kernels."""
    addresses = [path for path, _ in model.module.named_modules()]
    having = [n for n, (_, one) in enumerate(model.module.named_modules()) if has_kernels(one, model)]
    if scripted(module):
        return (
            f"layer {address!r} is traced or scripted (torch.jit), which hides its kernels: open the network from its "
            "source"
        )
    asked = f"layer {address!r} is a {type(module).__name__}, which has no kernels"
    if not having:
        hidden = hidden_layers(model.module, "kernels")
        if hidden:
            return f"{model.name} has no layer whose kernels can be read{hidden}"
        return f"{asked}, and neither has any other layer of {model.name}"
    here = addresses.index(address) if address in addresses else 0
    inside = [n for n in having if addresses[n].startswith(f"{address}.")]
    near = sorted(inside or having, key=lambda n: abs(n - here))[:3]
    return f"{asked}: choose {_either(repr(addresses[n]) for n in sorted(near))}"


def _either(names: Iterable[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} or {last}" if first else last


def _component(weights: Tensor) -> tuple[Tensor, Tensor]:
    """Each filter's strongest pattern over space (n, …), the sign that of the sum over its inputs, and its share."""
    matrices = weights.flatten(2).double()
    left, strength, right = torch.linalg.svd(matrices, full_matrices=False)
    sign = torch.where(left[..., 0].sum(1) < 0, -1.0, 1.0)
    pattern = right[:, 0] * (strength[:, 0] * sign)[:, None]
    share = strength[:, 0].square() / strength.square().sum(1).clamp_min(torch.finfo(torch.float64).tiny)
    return pattern.reshape(len(weights), *weights.shape[2:]).float(), share.float()


def _flat(weights: Tensor) -> Tensor:
    return weights.flatten(1)


def _directions(weights: Tensor) -> Tensor:
    return nn.functional.normalize(_flat(weights), dim=1)


def _chain(directions: Tensor) -> list[int]:
    """An order in which each is followed by the one most like it among the rest, from the first."""
    alike = directions @ directions.T
    order, left = [0], torch.ones(len(alike), dtype=torch.bool, device="cpu")
    left[0] = False
    while bool(left.any()):
        following = int(torch.where(left, alike[order[-1]], -2.0).argmax())
        order.append(following)
        left[following] = False
    return order


def _duplicates(weights: Tensor, alive: Tensor, groups: int) -> list[tuple[int, int, float]]:
    """For each filter that repeats an earlier one, the one it repeats best; a few hundred rows at a time."""
    directions, numbers, found = _directions(weights), torch.arange(len(weights), device="cpu"), []
    if directions.shape[1] < FEWEST_TO_COMPARE or groups == len(weights):
        return []
    group = numbers // (len(weights) // groups)
    for start in range(0, len(directions), 512):
        alike, rows = directions[start : start + 512] @ directions.T, numbers[start : start + 512, None]
        comparable = (numbers < rows) & (group == group[rows]) & alive
        best, which = torch.where(comparable, alike, -2.0).max(1)
        for row in torch.nonzero((best >= NEAR_DUPLICATE) & alive[start : start + len(alike)])[:, 0].tolist():
            found.append((start + row, int(which[row]), round(min(1.0, float(best[row])), 4)))
    return found


def _noise_like(weights: Tensor) -> Tensor:
    """Whether neighbouring weights of each filter are as uncorrelated as those of white noise.

    The test of Box and Pierce over all pairs up to two places apart (an edge is −1, 0, 1), diagonal ones too: under
    noise Σ n r² has the distribution of χ² with one degree of freedom for each direction, and a filter is like noise
    below its 99th percentile. With very many weights that test would call the faintest correlation structure; up to
    `UNCORRELATED` it is none.
    """
    places = weights.shape[2:]
    steps = [step for step in _directions_in(len(places)) if all(abs(s) < n for s, n in zip(step, places, strict=True))]
    if not steps or not judged(weights):
        return torch.zeros(len(weights), dtype=torch.bool, device="cpu")
    energy = weights.double().flatten(1).square().mean(1)
    evidence, pairs = torch.zeros_like(energy), 0
    for step in steps:
        one, other = _neighbours(weights.double(), step)
        correlation = (one * other).flatten(1).mean(1) / energy.clamp_min(torch.finfo(torch.float64).tiny)
        evidence += one[0].numel() * correlation.square()
        pairs += one[0].numel()
    return (evidence / pairs).sqrt() <= max(UNCORRELATED, math.sqrt(_chi_square_99(len(steps)) / pairs))


def _directions_in(axes: int) -> list[tuple[int, ...]]:
    """The steps to a place's neighbours up to two places away, each pair of opposite ones once."""
    return [step for step in product(range(-2, 3), repeat=axes) if step > (0,) * axes]


def _neighbours(weights: Tensor, step: Sequence[int]) -> tuple[Tensor, Tensor]:
    """The weights that have a neighbour in that direction, and those neighbours."""
    one: list[slice] = [slice(max(0, -s), n - max(0, s)) for s, n in zip(step, weights.shape[2:], strict=True)]
    other: list[slice] = [slice(max(0, s), n - max(0, -s)) for s, n in zip(step, weights.shape[2:], strict=True)]
    everything = (slice(None), slice(None))
    return weights[(*everything, *one)], weights[(*everything, *other)]


def _chi_square_99(degrees: int) -> float:
    """The 99th percentile of χ², by the cube of Wilson and Hilferty."""
    spread = 2 / (9 * degrees)
    return float(degrees * (1 - spread + 2.3263 * math.sqrt(spread)) ** 3)
