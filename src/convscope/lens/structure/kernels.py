from dataclasses import asdict
from typing import Annotated, Literal

from torch import Tensor, nn

from convscope.engine.context.metering import report_progress
from convscope.engine.layers.addresses import FIRST_CONVOLUTION, Layers
from convscope.engine.layers.kernels import (
    can_test_noise,
    find_oddities,
    groups_of,
    is_transposed,
    read_kernels,
    reads_rgb,
    select_filters,
    view_patterns,
)
from convscope.engine.network.model import Model
from convscope.engine.network.parametrized import class_name, pruned_counts
from convscope.engine.network.quantized import packed_weights
from convscope.errors import LayerError
from convscope.runtime.declaration import lens
from convscope.spec import Param
from convscope.values import KernelLayer, Kernels
from convscope.values.facts import Fact

View = Literal["auto", "colour", "channels", "norm", "component", "spectrum"]


@lens(
    family="structure",
    title="Kernels",
    cite="krizhevsky2012imagenet",
    asks="Which patterns do the filters of a convolution respond to?",
    reads="Each tile is one filter; zero is mid-grey in colour tiles and white in the others, and a filter responds "
    "most to an input that looks like it. After the first layer a kernel shows how channels are combined, not what "
    "they mean.",
    claims={"deterministic"},
)
def kernels(
    model: Model,
    *,
    layer: Layers = FIRST_CONVOLUTION,
    view: Annotated[
        View,
        Param(
            help="what to show of each filter: its weights in colour or per input channel, their norm over input "
            "channels, their first principal component, or their frequency spectrum"
        ),
    ] = "auto",
    scale: Annotated[
        Literal["shared", "each"], Param(help="one colour scale for all filters of a layer, or one for each filter")
    ] = "shared",
    sort: Annotated[
        Literal["none", "norm", "similarity"],
        Param(help="the layer's own order, largest norm first, or similar filters next to each other"),
    ] = "none",
    most: Annotated[
        int,
        Param(help="number of filters to show per layer, those with the largest norm; 0 shows all", min=0, max=65536),
    ] = 64,
) -> Kernels:
    """Show the weights of convolutions, one tile per filter, and report unusual filters.

    A filter o has a kernel w[o, c] for each input channel c of its group. It is shown by its weights or by

        norm[o, k] = √Σ_c w[o, c, k]²
        component: σ₁ v₁ of the singular value decomposition w[o] = Σ_i σ_i u_i v_iᵀ (channels × positions)
        spectrum[o, f] = √Σ_c |DFT(w[o, c])[f]|², with the kernel padded by zeros

    Three kinds of filter are flagged. *Near zero*: ‖w[o]‖ is below 1 % of the layer's median. *Near duplicate*: the
    cosine with an earlier filter of the same group is 0.98 or more. *Like noise*: by the test of Box and Pierce over
    all pairs of weights up to two positions apart, Σ n r² does not exceed the 99th percentile of χ², or r is at most
    0.05; filters with fewer than 48 weights, or without neighbouring weights, are not tested.

    Args:
        model: the network.
        layer: one or several convolutions with one to three spatial axes, including grouped and transposed ones, or a
            linear layer whose input are the pixels; the first convolution by default.
        view: what to show of each filter. ``auto`` shows a first layer with three input channels in colour, kernels
            with a single input channel or a single position as they are, others by their first principal component.
        scale: ``shared`` makes filters comparable, ``each`` makes the pattern of weak filters visible.
        sort: the order of the filters.
        most: how many filters to show per layer, 0 for all; a note says how many are left out.

    Returns:
        All weights, float32 (filters, input channels per group, positions …), as the layer uses them (weight norm and
        other parametrisations applied, transposed kernels flipped); the patterns shown; the unusual filters.

    Raises:
        LayerError: the layer has no kernels, or not three input channels with ``view="colour"``.

    Example:
        >>> import convscope as cs
        >>> k = cs.kernels(cs.load("bundled:shapes"))
        >>> [tuple(w.shape[1:]) for w in k.weights.values()], k.scale
        ([(3, 5, 5)], 'shared')

    Source: :cite:`krizhevsky2012imagenet`; the test :cite:`box1970distribution`.
    """
    weights: dict[str, Tensor] = {}
    patterns: dict[str, Tensor] = {}
    shares: dict[str, Tensor] = {}
    layers: dict[str, KernelLayer] = {}
    notes: dict[str, str] = {}
    for done, address in enumerate(layer, start=1):
        weight = read_kernels(model, address)
        module = model.module.get_submodule(address)
        layer_view = _view(model, address, weight, view)
        shown = select_filters(weight, sort, most)
        weights[address] = weight
        patterns[address], share = view_patterns(weight[shown], layer_view)
        if share is not None:
            shares[address] = share
        layers[address] = KernelLayer(
            kind=_kind(module, weight),
            view=layer_view,
            shown=tuple(shown),
            total=len(weight),
            judged=can_test_noise(weight),
            groups=groups_of(module),
            **asdict(find_oddities(weight, groups_of(module))),
        )
        notes |= _notes(address, layers[address], share) | _weight_notes(address, module)
        report_progress(done, len(layer))
    return Kernels(weights=weights, patterns=patterns, shares=shares, layers=layers, scale=scale, notes=notes)


def _view(model: Model, address: str, weight: Tensor, view: View) -> str:
    """The view of a layer's filters, with ``auto`` resolved."""
    colour = reads_rgb(model, address, weight)
    if view == "colour" and weight.shape[1] != 3:
        raise LayerError(
            f"layer {address!r} has {weight.shape[1]} input channels a filter, and only three make a colour: choose "
            "view='channels', 'norm' or 'component'"
        )
    if view != "auto":
        return view
    if colour:
        return "colour"
    positions = weight[0, 0].numel()
    return "channels" if weight.shape[1] == 1 or positions == 1 else "component"


def _kind(module: nn.Module, weight: Tensor) -> str:
    size = "×".join(str(n) for n in weight.shape[2:])
    groups = groups_of(module)
    inputs = module.in_channels if is_transposed(module) else weight.shape[1] * groups
    facts = {"kind": class_name(module), "inputs": inputs, "outputs": len(weight), "size": size}
    if groups > 1:
        return Fact("{kind}, {inputs} → {outputs} channels, {size}, {groups} groups", groups=groups, **facts)
    return Fact("{kind}, {inputs} → {outputs} channels, {size}", **facts)


def _weight_notes(address: str, module: nn.Module) -> dict[str, str]:
    """Notes on quantized and pruned weights, which are stored differently from how they are shown."""
    notes: dict[str, str] = {}
    packed = packed_weights(module).get("weight")
    if packed is not None:
        kind = str(packed.dtype).removeprefix("torch.q")
        notes[Fact("weights of {layer}", layer=address)] = Fact(
            "quantised ({kind}), shown as the numbers they stand for", kind=kind
        )
    zero, prunable = pruned_counts(module)
    if prunable:
        notes[Fact("pruned of {layer}", layer=address)] = Fact(
            "{zero} of {prunable} weights are masked to zero, and shown so", zero=zero, prunable=prunable
        )
    return notes


def _notes(address: str, layer: KernelLayer, share: Tensor | None) -> dict[str, str]:
    """Notes on filters that are left out, and on how much the principal components represent."""
    notes: dict[str, str] = {}
    if len(layer.shown) < layer.total:
        notes[Fact("shown of {layer}", layer=address)] = Fact(
            "{shown} of {total} filters, the strongest by norm", shown=len(layer.shown), total=layer.total
        )
    if share is not None:
        notes[Fact("first principal components of {layer}", layer=address)] = Fact(
            "{share} of a filter's energy, in the median", share=f"{float(share.median()):.0%}"
        )
    return notes
