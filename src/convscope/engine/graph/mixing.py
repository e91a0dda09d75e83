"""Operations that make numbers of many places: products, means, norms, recurrence, sampling."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from convscope.engine.graph import dependence as places
from convscope.engine.graph.axes import placed, without_dims
from convscope.engine.graph.dependence import Dependence
from convscope.engine.graph.flops import settled
from convscope.engine.graph.kinds import kind, packet
from convscope.engine.graph.lines import without_line
from convscope.engine.graph.observed_call import Done, Rule, tensors_in
from convscope.engine.graph.resampled import moves_nothing, read_at


def _multiplied(done: Done) -> Sequence[tuple[Dependence, ...]]:
    """Matrix products: rows of the first with columns of the second, and a third that is added."""
    *added, left, right = (done.args[i] for i in range({"addmm": 3, "baddbmm": 3}.get(packet(done.func), 2)))
    ndim = done.outs[0].ndim
    parts = [seen for one in added if (seen := done.look(one)) is not None]
    for one, dim in ((left, -1), (right, -2)):
        seen = done.look(one)
        if seen is not None:
            parts.append(tuple(places.mixed(axis, [one.ndim + dim]) for axis in seen))
    return [tuple(places.together(axis, ndim) for axis in zip(*parts, strict=True))]


def _attended(done: Done) -> Sequence[tuple[Dependence, ...]]:
    """Every query sees all keys and values of its head."""
    query, key, value = (done.look(one) for one in done.args[:3])
    ndim = done.args[0].ndim
    parts = []
    for seen, dims in ((query, [ndim - 1]), (key, [ndim - 2, ndim - 1]), (value, [ndim - 2, ndim - 1])):
        if seen is not None:
            parts.append(tuple(places.mixed(axis, dims) for axis in seen))
    out = done.outs[0]
    return [tuple(places.together(axis, out.ndim) for axis in zip(*parts, strict=True))] + [
        tuple(places.mixed_whole(axis, one.ndim) for axis in zip(*parts, strict=True)) for one in done.outs[1:]
    ]


def _along(done: Done) -> Sequence[tuple[Dependence, ...]] | None:
    """What is taken along some dimensions: sums, means, maxima, softmax, running sums."""
    tensor: Tensor = done.args[0]
    seen = done.look(tensor)
    if seen is None:
        return None
    given = done.arg(1, None, "dim")
    dims = [given] if isinstance(given, int) else list(given or range(tensor.ndim))
    dims = sorted({d % tensor.ndim for d in dims}) if tensor.ndim else []
    if done.outs[0].shape == tensor.shape:  # softmax and sorting leave as many positions as there were
        return [tuple(_spread(axis, dims) for axis in seen) for _ in done.outs]
    outs = []
    for out in done.outs:
        kept = out.ndim == tensor.ndim
        axes = []
        for axis in seen:
            one = places.mixed(axis, dims)
            axes.append(one if kept else without_dims(one, dims))
        outs.append(tuple(axes))
    return outs


def _in_company(done: Done) -> Sequence[tuple[Dependence, ...]] | None:
    """Softmax: each number sees all along a dimension and stays where it is."""
    tensor: Tensor = done.args[0]
    seen = done.look(tensor)
    if seen is None or tensor.ndim == 0:
        return None
    dim = done.arg(1, None, "dim") % tensor.ndim
    return [tuple(places.together([places.mixed(axis, [dim]), axis], tensor.ndim) for axis in seen)]


def _normed_along(done: Done) -> Sequence[tuple[Dependence, ...]] | None:
    """The length of vectors: the dimension comes after the order of the norm."""
    rest = (done.arg(2, None, "dim"), *done.args[3:])
    return _along(replace(done, args=(done.args[0], *rest)))


def _recurrent(done: Done) -> Sequence[tuple[Dependence, ...]] | None:
    """A recurrent layer over (T, N, F): every step may see all steps, the last state has no step."""
    tensor = done.args[0]
    seen = done.look(tensor)
    if seen is None:
        return None

    def every_step(axis: Dependence) -> Dependence:
        features = places.mixed(axis, [2])
        low, high = features.low.amin(0, keepdim=True), features.high.amax(0, keepdim=True)
        passed_on = features.varies(0)
        return replace(
            features, low=low, high=high, line=None if passed_on else features.line, whole=axis.whole or passed_on
        )

    steps = tuple(every_step(axis) for axis in seen)
    states = tuple(without_dims(places.mixed(axis, [0, 2]), [0]) for axis in seen)
    return [steps, *[states for _ in done.outs[1:]]]


def _running(done: Done) -> Sequence[tuple[Dependence, ...]] | None:
    """Running sums, products, maxima: each number sees those before it."""
    tensor, seen = done.args[0], done.look(done.args[0])
    if seen is None:
        return None
    dim = done.arg(1, None, "dim") % tensor.ndim
    axes = tuple(
        replace(without_line(a), low=a.low.cummin(dim).values, high=a.high.cummax(dim).values) if a.differs(dim) else a
        for a in seen
    )
    return [axes for _ in done.outs]


def _spread(axis: Dependence, dims: Sequence[int]) -> Dependence:
    """What a number sees that is made from its own and from all along these dimensions; it stays in its place."""
    whole = places.mixed(axis, dims)
    return axis if whole is axis else places.together([whole, axis], axis.low.ndim)


def _transformed(done: Done) -> Sequence[tuple[Dependence, ...]] | None:
    """Fourier transforms: each number sees all along some dimensions, of which the last may get another size."""
    seen, dims = done.look(done.args[0]), [d % done.args[0].ndim for d in done.args[1]]
    return None if seen is None else [_anywhere(seen, dims, done.outs[0])]


def _sampled(done: Done) -> Sequence[tuple[Dependence, ...]] | None:
    """Sampling at places that are computed, and what indices put somewhere: from anywhere on the map."""
    out = done.outs[0]
    parts = []
    for one in tensors_in(done.args):
        seen = done.look(one)
        if seen is not None:
            parts.append(
                tuple(
                    places.mixed(a, [d for d in range(1, one.ndim) if d > 1 or one is not done.args[0]]) for a in seen
                )
            )
    *spatial, batch = (places.together(list(axis), out.ndim) for axis in zip(*parts, strict=True))
    first = out.ndim - len(spatial)
    counted = tuple(placed(axis, first + a, out) for a, axis in enumerate(spatial))
    return [(*counted, batch) for _ in done.outs]


def _resampled(done: Done) -> Sequence[tuple[Dependence, ...]] | None:
    """``grid_sample``: known where a grid is even and the same for every input; else from anywhere on the map."""
    tensor, grid, corners = done.args[0], done.args[1], bool(done.arg(4, False))
    seen = done.look(tensor)
    if seen is not None and done.look(grid) is None:
        read = [read_at(axis, a, tensor, grid, corners=corners) for a, axis in enumerate(seen[:-1])]
        known = [axis for axis in read if axis is not None]
        if len(known) == len(read):
            return [(*known, seen[-1])]
    found = _sampled(done)
    if found is None or moves_nothing(tensor, grid, corners=corners):
        return found
    return [(*(replace(axis, resampled=True) for axis in found[0][:-1]), found[0][-1])]


def _anywhere(seen: tuple[Dependence, ...], dims: Sequence[int], out: Tensor) -> tuple[Dependence, ...]:
    """What sees all along some dimensions, with the places along them, counted anew where their number changes.

    Along overlapping windows, as those of a spectrogram, places lie from window to window; its frequencies are none.
    """
    found = []
    for axis in seen:
        whole, place = places.mixed(axis, dims), axis.place
        if whole.place.numel() > 1 and len(torch.unique(place)) < place.numel():
            found.append(without_line(whole))
            continue
        for dim in dims:
            place = place if place.shape[dim] in (1, out.shape[dim]) else places.counted(place, dim, out.shape[dim])
        found.append(replace(without_line(whole), place=place))
    return tuple(found)


def _normed(done: Done) -> Sequence[tuple[Dependence, ...]] | None:
    """Batch norm with kept statistics leaves numbers where they are; other norms look at all they take them from."""
    tensor: Tensor = done.args[0]
    seen = done.look(tensor)
    if seen is None:
        return None
    sort = kind(done.func)
    if sort == "layer norm":
        dims = list(range(tensor.ndim - len(done.args[1]), tensor.ndim))
    elif sort == "group norm":
        dims = list(range(1, tensor.ndim))
    else:
        dims = [] if settled(done.func, done.args) else [0, *range(2, tensor.ndim)]
    out = tuple(_spread(axis, dims) for axis in seen)
    rest = [tuple(places.mixed_whole([axis], one.ndim) for axis in seen) for one in done.outs[1:]]
    return [out, *rest]


_ALONG = (
    "mean", "sum", "amax", "amin", "max", "min", "var", "std", "var_mean", "std_mean", "prod", "argmax", "any",
    "all", "logsumexp", "sort",
)  # fmt: skip

UPPER_BOUNDS = frozenset({
    "grid_sampler_2d", "grid_sampler_3d", "max_unpool2d", "max_unpool3d", "fractional_max_pool2d",
    "fractional_max_pool3d",
})  # fmt: skip
"""Operations that read from places that only the numbers say."""

RULES: dict[str, Rule] = {
    **dict.fromkeys(("mm", "addmm", "bmm", "baddbmm"), _multiplied),
    **dict.fromkeys(_ALONG, _along),
    **dict.fromkeys(("_softmax", "_log_softmax", "_safe_softmax"), _in_company),
    "linalg_vector_norm": _normed_along,
    "mkldnn_rnn_layer": _recurrent,
    **dict.fromkeys(("cumsum", "cumprod", "logcumsumexp", "cummax", "cummin"), _running),
    **dict.fromkeys(("_fft_c2c", "_fft_r2c", "_fft_c2r"), _transformed),
    **dict.fromkeys(UPPER_BOUNDS, _sampled),
    **dict.fromkeys(("grid_sampler_2d", "grid_sampler_3d"), _resampled),
}

BY_KIND: dict[str, Rule] = {
    "attention": _attended,
    "batch norm": _normed,
    "layer norm": _normed,
    "group norm": _normed,
}
