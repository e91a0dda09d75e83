from typing import Annotated, Any

from convscope.engine.data.data_set import Dataset
from convscope.engine.graph.to_structure import field_geometry
from convscope.engine.layers.addresses import UnitAddress, resolve_unit
from convscope.engine.network.model import Model
from convscope.engine.statistics.effective_field import measure_effective_field
from convscope.runtime.declaration import lens
from convscope.spec import Param
from convscope.values import ReceptiveField


@lens(
    family="structure",
    title="Effective receptive field",
    cite="luo2016understanding",
    asks="How much of its theoretical receptive field does a unit actually use?",
    reads="Bright positions influence the unit most, on average over the inputs; the frame is its theoretical "
    "receptive field. The map shows how far the unit's receptive field extends in practice, not what it responds to.",
    claims={"deterministic", "non-negative"},
)
def receptive_field(
    model: Model,
    images: Dataset,
    *,
    unit: Any = None,
    seed: Annotated[
        int, Param(help="random seed of the signs with which a layer's channels are summed", min=0, max=2**31)
    ] = 0,
) -> ReceptiveField:
    """Average the magnitude of a unit's gradient with respect to the input over many inputs.

        E(q) = mean over inputs x of  Σ_channels |∂ a_u(p; x) / ∂ x(q)|,    p the centre of the map

    For a whole layer, a_u is the sum of all channels at p with random signs s_k = ±1, drawn anew for every input. The
    effective size is that of the smallest set of positions that contains 95 % of E; σ is the standard deviation of E
    along each axis.

    Args:
        model: the network.
        images: the inputs to average over.
        unit: a channel, ``"layer3[12]"``, or a channel at one position, ``"layer3[12, 4, 5]"``; ``"layer3"`` alone
            means all channels of the layer; by default the last spatial layer.
        seed: the random seed of the signs.

    Returns:
        The mean gradient magnitude at every input position; the box of the theoretical receptive field; the effective
        size (``area``, ``side``, ``spread``) beside the theoretical one (``field``).

    Raises:
        UnknownName: no such layer, channel or position.
        LayerError: the layer has no spatial extent.
        NoGradient: the unit does not depend on any of the inputs.

    Differs from the paper: |gradient| is averaged over given inputs instead of its square over random ones; the size is
    that of the positions that contain 95 % of E, where the paper counts those above 1 − 95.45 % of the centre's value.

    Example:
        >>> import convscope as cs
        >>> f = cs.receptive_field(cs.load("bundled:shapes"), "sample:shapes/0-3", unit="layer2")
        >>> f.field, f.side < 49
        ((49, 49), True)

    Source: :cite:`luo2016understanding`, section 3.
    """
    address = resolve_unit(model, unit, lambda: images.first().tensor)
    effective = measure_effective_field(model, images, address, seed=seed)
    field, *_ = field_geometry(effective.graph.layer_calls[address.layer].dependence, effective.graph)
    without_gradient = effective.images - effective.reached
    return ReceptiveField(
        values=effective.heat.float(),
        unit=str(UnitAddress(address.layer, address.unit)),
        position=effective.position,
        extent=effective.extent,
        box=effective.box,
        field=field,
        images=effective.images,
        photo=images.first().photo(0) if effective.images == 1 else None,  # type: ignore[arg-type]
        notes={
            **images.notes(),
            **({"inputs that do not move the unit": without_gradient} if without_gradient else {}),
        },
    )
