from dataclasses import asdict
from typing import Annotated, Literal

from torch import Tensor, nn

from convscope.engine.context.metering import report_progress
from convscope.engine.layers.addresses import FIRST_KERNELS, Layers
from convscope.engine.layers.kernels import (
    as_patterns,
    chosen,
    groups_of,
    in_colour,
    is_transposed,
    judged,
    kernels_of,
    oddities,
)
from convscope.engine.network.model import Model
from convscope.engine.network.parametrized import kind_of, masked_weights
from convscope.engine.network.quantized import packed_weights
from convscope.errors import LayerError
from convscope.runtime.declaration import lens
from convscope.spec import Param
from convscope.values import KernelLayer, Kernels

View = Literal["auto", "colour", "channels", "norm", "component", "spectrum"]


@lens(
    family="structure",
    title="Kernels",
    cite="krizhevsky2012imagenet",
    asks="Which patterns do the filters of a convolution look for?",
    reads="Each tile is one filter; zero is mid-grey in colour and white elsewhere, and a filter answers most to an "
    "input that looks like it. Above the first layer a kernel shows how channels are combined, not what they mean.",
    claims={"deterministic"},
)
def kernels(
    model: Model,
    *,
    layer: Layers = FIRST_KERNELS,
    view: Annotated[
        View,
        Param(
            help="what to show of each filter: its weights in colour or for each input channel, their norm over input "
            "channels, their first principal component, or the frequencies it passes"
        ),
    ] = "auto",
    scale: Annotated[
        Literal["shared", "each"], Param(help="one scale for all filters of a layer, or one for each filter")
    ] = "shared",
    sort: Annotated[
        Literal["none", "norm", "similarity"],
        Param(help="keep the layer's order, begin with the strongest, or put alike beside alike"),
    ] = "none",
    most: Annotated[
        int, Param(help="filters to show of each layer, the strongest by norm; 0 shows all", min=0, max=65536)
    ] = 64,
) -> Kernels:
    """Show the weights of convolutions, one tile a filter, and point out the filters that are odd.

    A filter o has a kernel w[o, c] for each input channel c of its group. Beside the weights themselves it is seen by

        norm[o, k] = √Σ_c w[o, c, k]²
        component: σ₁ v₁ of the singular value decomposition w[o] = Σ_i σ_i u_i v_iᵀ (channels × places)
        spectrum[o, f] = √Σ_c |DFT(w[o, c])[f]|², the kernel filled up with zeros

    Three kinds of filter are flagged. *Near zero*: ‖w[o]‖ is below 1 % of the layer's median. *Near duplicate*: the
    cosine with an earlier filter of the same group is 0.98 or more. *Like noise*: by the test of Box and Pierce over
    all pairs of weights up to two places apart, Σ n r² does not exceed the 99th percentile of χ², or r is 0.05 at most;
    a filter of fewer than 48 weights, or without neighbours, is not judged.

    Args:
        model: the network.
        layer: one or several convolutions of one, two or three axes, grouped and transposed ones too, or a linear layer
            that reads the input's pixels; the first convolution by default.
        view: what to show of each filter. ``auto`` shows a first layer of three input channels in colour, kernels of a
            single channel and kernels of one place as they are, others by their first principal component.
        scale: ``shared`` lets filters be compared, ``each`` shows the pattern of weak ones.
        sort: the order of the filters.
        most: how many filters to show of each layer, 0 for all; a note says how many are left out.

    Returns:
        All weights, float32 (filters, input channels of a group, places …), as the layer uses them (weight norm and
        other parametrisations applied, transposed kernels turned); the patterns shown; the odd filters.

    Raises:
        LayerError: the layer has no kernels, or not three input channels for ``view="colour"``.

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
        weight = kernels_of(model, address)
        module = model.module.get_submodule(address)
        seen_as = _view(model, address, weight, view)
        shown = chosen(weight, sort, most)
        weights[address] = weight
        patterns[address], share = as_patterns(weight[shown], seen_as)
        if share is not None:
            shares[address] = share
        odd = oddities(weight, groups_of(module))
        layers[address] = KernelLayer(
            kind=_kind(module, weight),
            view=seen_as,
            shown=tuple(shown),
            total=len(weight),
            judged=judged(weight),
            groups=groups_of(module),
            **asdict(odd),
        )
        notes |= _notes(address, layers[address], share) | _of_hidden_weights(address, module)
        report_progress(done, len(layer))
    return Kernels(weights=weights, patterns=patterns, shares=shares, layers=layers, scale=scale, notes=notes)


def _view(model: Model, address: str, weight: Tensor, asked: View) -> str:
    """What is shown of each filter of a layer."""
    colour = in_colour(model, address, weight)
    if asked == "colour" and weight.shape[1] != 3:
        raise LayerError(
            f"layer {address!r} has {weight.shape[1]} input channels a filter, and only three make a colour: choose "
            "view='channels', 'norm' or 'component'"
        )
    if asked != "auto":
        return asked
    if colour:
        return "colour"
    places = weight[0, 0].numel()
    return "channels" if weight.shape[1] == 1 or places == 1 else "component"


def _kind(module: nn.Module, weight: Tensor) -> str:
    size = "×".join(str(n) for n in weight.shape[2:])
    groups = groups_of(module)
    inputs = module.in_channels if is_transposed(module) else weight.shape[1] * groups
    grouped = f", {groups} groups" if groups > 1 else ""
    return f"{kind_of(module)}, {inputs} → {len(weight)} channels, {size}{grouped}"


def _of_hidden_weights(address: str, module: nn.Module) -> dict[str, str]:
    """How the weights that are shown differ from those that are kept."""
    notes: dict[str, str] = {}
    packed = packed_weights(module).get("weight")
    if packed is not None:
        kind = str(packed.dtype).removeprefix("torch.q")
        notes[f"weights of {address}"] = f"quantised ({kind}), shown as the numbers they stand for"
    zero, prunable = masked_weights(module)
    if prunable:
        notes[f"pruned of {address}"] = f"{zero} of {prunable} weights are masked to zero, and shown so"
    return notes


def _notes(address: str, layer: KernelLayer, share: Tensor | None) -> dict[str, str]:
    """What of a layer is left out, and what stands for what."""
    notes: dict[str, str] = {}
    if len(layer.shown) < layer.total:
        notes[f"shown of {address}"] = f"{len(layer.shown)} of {layer.total} filters, the strongest by norm"
    if share is not None:
        median = f"{float(share.median()):.0%} of a filter's energy, in the median"
        notes[f"first principal components of {address}"] = median
    return notes
