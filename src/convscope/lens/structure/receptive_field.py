from typing import Annotated, Any

from convscope.engine.data.data_set import Dataset
from convscope.engine.graph.to_structure import sight
from convscope.engine.layers.addresses import UnitAddress, one_unit
from convscope.engine.network.model import Model
from convscope.engine.statistics.effective_field import effective_field
from convscope.runtime.declaration import lens
from convscope.spec import Param
from convscope.values import ReceptiveField


@lens(
    family="structure",
    title="Effective receptive field",
    cite="luo2016understanding",
    asks="How much of what a unit can see does it really look at?",
    reads="Bright places move the unit most, on average over the inputs; the frame is all that it can see at all. It "
    "says how far the unit looks, not for what.",
    claims={"deterministic", "non-negative"},
)
def receptive_field(
    model: Model,
    images: Dataset,
    *,
    unit: Any = None,
    seed: Annotated[int, Param(help="of the signs with which a layer's channels are added up", min=0, max=2**31)] = 0,
) -> ReceptiveField:
    """Average the size of a unit's gradient to the input over many inputs.

        E(q) = mean over inputs x of  Σ_channels |∂ a_u(p; x) / ∂ x(q)|,    p the middle of the map

    For a whole layer, a_u is the sum of all channels at p with random signs s_k = ±1, new for every input. The size is
    that of the smallest set of positions that holds 95 % of E, and σ the spread of E along each axis.

    Args:
        model: the network.
        images: the inputs to average over.
        unit: a channel, ``"layer3[12]"``, or one place of it, ``"layer3[12, 4, 5]"``; a bare ``"layer3"`` means all of
            its channels, and nothing at all the last spatial layer.
        seed: of the random signs.

    Returns:
        The mean size of the gradient at every input position, never negative; the box of all that the place can see;
        the effective size (``area``, ``side``, ``spread``) beside the theoretical one (``field``).

    Raises:
        UnknownName: no such layer, channel or place.
        LayerError: the layer has no spatial extent.
        NoGradient: the unit does not move with any of the inputs.

    Differs from the paper: |gradient| is averaged over given inputs instead of its square over random ones; the size is
    that of the positions that hold 95 % of E, where the paper counts those above 1 − 95.45 % of the centre's value.

    Example:
        >>> import convscope as cs
        >>> f = cs.receptive_field(cs.load("bundled:shapes"), "sample:shapes/0-3", unit="layer2")
        >>> f.field, f.side < 49
        ((49, 49), True)

    Source: :cite:`luo2016understanding`, section 3.
    """
    address = one_unit(model, unit, lambda: images.first().tensor)
    found = effective_field(model, images, address, seed=seed)
    field, *_ = sight(found.graph.visits[address.layer].seen, found.graph)
    silent = found.images - found.reached
    return ReceptiveField(
        values=found.heat.float(),
        unit=str(UnitAddress(address.layer, address.unit)),
        position=found.position,
        extent=found.extent,
        box=found.box,
        field=field,
        images=found.images,
        photo=images.first().photo(0) if found.images == 1 else None,  # type: ignore[arg-type]
        notes={**images.notes(), **({"inputs that do not move the unit": silent} if silent else {})},
    )
