"""Rules for operations whose outputs combine many positions: products, means, norms, recurrence, sampling."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from convscope.engine.graph import dependence, position_tensors
from convscope.engine.graph.aten_operations import base_name, kind
from convscope.engine.graph.axes import numbered_along, squeezed
from convscope.engine.graph.dependence import Dependence
from convscope.engine.graph.flops import uses_running_statistics
from convscope.engine.graph.grid_sample import is_identity_grid, sampled_at_grid
from convscope.engine.graph.observed_call import DependenceRule, ObservedCall, tensors_in
from convscope.engine.graph.position_numbering import without_pattern


def _matrix_product(call: ObservedCall) -> Sequence[tuple[Dependence, ...]]:
    """Matrix products: rows of the first with columns of the second, and a third that is added."""
    *added, left, right = (call.args[i] for i in range({"addmm": 3, "baddbmm": 3}.get(base_name(call.func), 2)))
    ndim = call.outputs[0].ndim
    parts = [axes for tensor in added if (axes := call.dependence_of(tensor)) is not None]
    for factor, dim in ((left, -1), (right, -2)):
        axes = call.dependence_of(factor)
        if axes is not None:
            parts.append(tuple(dependence.reduced(axis, [factor.ndim + dim]) for axis in axes))
    return [tuple(dependence.union(axis, ndim) for axis in zip(*parts, strict=True))]


def _attention(call: ObservedCall) -> Sequence[tuple[Dependence, ...]]:
    """Every query depends on all keys and values of its head."""
    query, key, value = (call.dependence_of(tensor) for tensor in call.args[:3])
    ndim = call.args[0].ndim
    parts = []
    for axes, dims in ((query, [ndim - 1]), (key, [ndim - 2, ndim - 1]), (value, [ndim - 2, ndim - 1])):
        if axes is not None:
            parts.append(tuple(dependence.reduced(axis, dims) for axis in axes))
    output, *others = call.outputs
    return [tuple(dependence.union(axis, output.ndim) for axis in zip(*parts, strict=True))] + [
        tuple(dependence.fully_mixed(axis, other.ndim) for axis in zip(*parts, strict=True)) for other in others
    ]


def _reduction(call: ObservedCall) -> Sequence[tuple[Dependence, ...]] | None:
    """Reductions along some dimensions: sums, means, maxima; and sorting."""
    tensor: Tensor = call.args[0]
    axes = call.dependence_of(tensor)
    if axes is None:
        return None
    dim = call.argument(1, None, "dim")
    dims = [dim] if isinstance(dim, int) else list(dim or range(tensor.ndim))
    dims = sorted({d % tensor.ndim for d in dims}) if tensor.ndim else []
    if call.outputs[0].shape == tensor.shape:  # sorting, and reductions of dimensions of size one, keep all positions
        return [tuple(_with_all_along(axis, dims) for axis in axes) for _ in call.outputs]
    results = []
    for output in call.outputs:
        keepdim = output.ndim == tensor.ndim
        reduced_axes = []
        for axis in axes:
            reduced = dependence.reduced(axis, dims)
            reduced_axes.append(reduced if keepdim else squeezed(reduced, dims))
        results.append(tuple(reduced_axes))
    return results


def _softmax(call: ObservedCall) -> Sequence[tuple[Dependence, ...]] | None:
    """Softmax: each value depends on all values along a dimension and keeps its position."""
    tensor: Tensor = call.args[0]
    axes = call.dependence_of(tensor)
    if axes is None or tensor.ndim == 0:
        return None
    dim = call.argument(1, None, "dim") % tensor.ndim
    return [tuple(dependence.union([dependence.reduced(axis, [dim]), axis], tensor.ndim) for axis in axes)]


def _vector_norm(call: ObservedCall) -> Sequence[tuple[Dependence, ...]] | None:
    """The norm of vectors: the dimension is the argument after the order of the norm."""
    rest = (call.argument(2, None, "dim"), *call.args[3:])
    return _reduction(replace(call, args=(call.args[0], *rest)))


def _recurrent(call: ObservedCall) -> Sequence[tuple[Dependence, ...]] | None:
    """A recurrent layer over (T, N, F): every step may depend on all steps, the last state has no step."""
    tensor = call.args[0]
    axes = call.dependence_of(tensor)
    if axes is None:
        return None

    def outputs_by_step(axis: Dependence) -> Dependence:
        features = dependence.reduced(axis, [2])
        low, high = features.low.amin(0, keepdim=True), features.high.amax(0, keepdim=True)
        along_steps = features.lies_along(0)
        return replace(
            features,
            low=low,
            high=high,
            pattern=None if along_steps else features.pattern,
            mixes_positions=axis.mixes_positions or along_steps,
        )

    outputs = tuple(outputs_by_step(axis) for axis in axes)
    states = tuple(squeezed(dependence.reduced(axis, [0, 2]), [0]) for axis in axes)
    return [outputs, *[states for _ in call.outputs[1:]]]


def _cumulative(call: ObservedCall) -> Sequence[tuple[Dependence, ...]] | None:
    """Cumulative sums, products, maxima: each value depends on those before it."""
    tensor, axes = call.args[0], call.dependence_of(call.args[0])
    if axes is None:
        return None
    dim = call.argument(1, None, "dim") % tensor.ndim
    results = tuple(
        replace(without_pattern(axis), low=axis.low.cummin(dim).values, high=axis.high.cummax(dim).values)
        if axis.varies_along(dim)
        else axis
        for axis in axes
    )
    return [results for _ in call.outputs]


def _with_all_along(axis: Dependence, dims: Sequence[int]) -> Dependence:
    """The dependence of values computed from their own and from all along these dimensions; positions are kept."""
    reduced = dependence.reduced(axis, dims)
    return axis if reduced is axis else dependence.union([reduced, axis], axis.low.ndim)


def _fourier_transform(call: ObservedCall) -> Sequence[tuple[Dependence, ...]] | None:
    """Fourier transforms: each value depends on all along some dimensions, the last of which may change in size."""
    axes, dims = call.dependence_of(call.args[0]), [d % call.args[0].ndim for d in call.args[1]]
    return None if axes is None else [_all_along_with_positions(axes, dims, call.outputs[0])]


def _sampled(call: ObservedCall) -> Sequence[tuple[Dependence, ...]] | None:
    """Sampling at computed coordinates and scattering by indices: values may come from anywhere on the map."""
    output = call.outputs[0]
    parts = []
    for tensor in tensors_in(call.args):
        axes = call.dependence_of(tensor)
        if axes is not None:
            dims = [d for d in range(1, tensor.ndim) if d > 1 or tensor is not call.args[0]]
            parts.append(tuple(dependence.reduced(axis, dims) for axis in axes))
    *spatial, batch = (dependence.union(list(axis), output.ndim) for axis in zip(*parts, strict=True))
    first = output.ndim - len(spatial)
    numbered = tuple(numbered_along(axis, first + a, output) for a, axis in enumerate(spatial))
    return [(*numbered, batch) for _ in call.outputs]


def _grid_sample(call: ObservedCall) -> Sequence[tuple[Dependence, ...]] | None:
    """``grid_sample``: exact for an evenly spaced grid that does not depend on the input; else the whole map."""
    tensor, grid, corners = call.args[0], call.args[1], bool(call.argument(4, False))
    axes = call.dependence_of(tensor)
    if axes is not None and call.dependence_of(grid) is None:
        sampled = [sampled_at_grid(axis, a, tensor, grid, corners=corners) for a, axis in enumerate(axes[:-1])]
        known = [axis for axis in sampled if axis is not None]
        if len(known) == len(sampled):
            return [(*known, axes[-1])]
    results = _sampled(call)
    if results is None or is_identity_grid(tensor, grid, corners=corners):
        return results
    return [(*(replace(axis, resampled=True) for axis in results[0][:-1]), results[0][-1])]


def _all_along_with_positions(
    axes: tuple[Dependence, ...], dims: Sequence[int], output: Tensor
) -> tuple[Dependence, ...]:
    """The dependence on all along some dimensions, with the positions along them, renumbered where their size changes.

    Along overlapping windows, as in a spectrogram, positions lie from window to window; its frequencies have none.
    """
    results = []
    for axis in axes:
        reduced, position = dependence.reduced(axis, dims), axis.position
        if reduced.position.numel() > 1 and len(torch.unique(position)) < position.numel():
            results.append(without_pattern(reduced))
            continue
        for dim in dims:
            size = output.shape[dim]
            if position.shape[dim] not in (1, size):
                position = position_tensors.renumbered_position(position, dim, size)
        results.append(replace(without_pattern(reduced), position=position))
    return tuple(results)


def _norm(call: ObservedCall) -> Sequence[tuple[Dependence, ...]] | None:
    """Normalization: with running statistics elementwise, else over all values whose statistics are used."""
    tensor: Tensor = call.args[0]
    axes = call.dependence_of(tensor)
    if axes is None:
        return None
    norm_kind = kind(call.func)
    if norm_kind == "layer norm":
        dims = list(range(tensor.ndim - len(call.args[1]), tensor.ndim))
    elif norm_kind == "group norm":
        dims = list(range(1, tensor.ndim))
    else:
        dims = [] if uses_running_statistics(call.func, call.args) else [0, *range(2, tensor.ndim)]
    normalized = tuple(_with_all_along(axis, dims) for axis in axes)
    statistics = [tuple(dependence.fully_mixed([axis], other.ndim) for axis in axes) for other in call.outputs[1:]]
    return [normalized, *statistics]


_REDUCTIONS = (
    "mean", "sum", "amax", "amin", "max", "min", "var", "std", "var_mean", "std_mean", "prod", "argmax", "any",
    "all", "logsumexp", "sort",
)  # fmt: skip

UPPER_BOUNDS = frozenset({
    "grid_sampler_2d", "grid_sampler_3d", "max_unpool2d", "max_unpool3d", "fractional_max_pool2d",
    "fractional_max_pool3d",
})  # fmt: skip
"""Operations that read from positions given by the values of their arguments."""

RULES: dict[str, DependenceRule] = {
    **dict.fromkeys(("mm", "addmm", "bmm", "baddbmm"), _matrix_product),
    **dict.fromkeys(_REDUCTIONS, _reduction),
    **dict.fromkeys(("_softmax", "_log_softmax", "_safe_softmax"), _softmax),
    "linalg_vector_norm": _vector_norm,
    "mkldnn_rnn_layer": _recurrent,
    **dict.fromkeys(("cumsum", "cumprod", "logcumsumexp", "cummax", "cummin"), _cumulative),
    **dict.fromkeys(("_fft_c2c", "_fft_r2c", "_fft_c2r"), _fourier_transform),
    **dict.fromkeys(UPPER_BOUNDS, _sampled),
    **dict.fromkeys(("grid_sampler_2d", "grid_sampler_3d"), _grid_sample),
}

BY_KIND: dict[str, DependenceRule] = {
    "attention": _attention,
    "batch norm": _norm,
    "layer norm": _norm,
    "group norm": _norm,
}
