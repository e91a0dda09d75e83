from typing import Annotated, Any, Literal

import torch
from torch import Tensor

from convscope.engine.inputs.specs import Images
from convscope.engine.layers.addresses import UnitAddress, resolve_unit
from convscope.engine.network.model import Model
from convscope.engine.rules.modified_gradients import deconvnet, guided
from convscope.engine.rules.run import backpropagate, operation_notes
from convscope.engine.targets.target import Target
from convscope.errors import UnknownName
from convscope.runtime.declaration import attributions, lens
from convscope.spec import Param
from convscope.values import Attribution
from convscope.values.facts import Fact

RULES = {"deconvnet": deconvnet, "guided": guided}


@lens(
    family="learned",
    title="Deconvolution of a unit",
    cite="zeiler2014visualizing",
    asks="Which pattern in this image activated this unit?",
    reads="The structures in the receptive field of the unit's strongest position that its activation is traced back "
    "to. They show what was there, not everything that the unit responds to.",
    claims={"deterministic"},
)
def deconv_unit(
    model: Model,
    image: Images,
    *,
    unit: Any = None,
    rule: Annotated[
        Literal["deconvnet", "guided"],
        Param(
            help="backward rule of ReLU: set negative gradients to zero (deconvnet), or also those of inactive units "
            "(guided)"
        ),
    ] = "deconvnet",
) -> list[Attribution]:
    """Project the strongest activation of one unit back to the pixels through the transposed network.

        p* = argmax_p A_u(p),   G = e_(u, p*) at the layer,   G_x = max(G_y, 0) at each ReLU;   S = Σ_channels G

    All other units of the layer are set to zero; max pooling passes the signal to the position of its maximum. The
    result is the part of the image that activated this unit.

    Args:
        model: the network.
        image: one image or several.
        unit: ``"layer3[17]"``, or at one position, ``"layer3[17, 4, 5]"``; ``"layer3"`` alone means the layer's most
            active unit in each image, and no unit the most active one of the last spatial layer.
        rule: ``deconvnet`` as in the paper, or ``guided`` (Springenberg et al. 2015), which gives sharper structures in
            networks without pooling.

    Returns:
        A signed map of the back-projected signal, at full resolution and zero outside the unit's receptive field; per
        channel in ``channels``. ``score`` is the activation, ``notes["place"]`` its position.

    Raises:
        UnknownName: no such layer, unit or position.
        NoRule: the network contains an operation without a rule.
        NoGradient: the layer does not depend on the input.

    Differs from the paper: batch norm, residual sums and other operations that the paper's network does not have use
    their ordinary gradient.

    Example:
        >>> import convscope as cs
        >>> a = cs.deconv_unit(cs.load("bundled:shapes"), "sample:shapes/7", unit="layer2[5]")
        >>> a.target
        'layer2[5]'

    Source: :cite:`zeiler2014visualizing`, section 2.1; the rule ``guided`` :cite:`springenberg2015striving`.
    """
    address = resolve_unit(model, unit, lambda: image.tensor)
    strongest = _StrongestPositions(address, len(image))
    target = Target(len(image), strongest.scores, layer=address.layer)
    flow = backpropagate(model, image, target, lambda ledger, rows, copies: RULES[rule](), on_missing="gradient")
    target.descriptions = strongest.descriptions
    notes = [
        {"place": place, "rules": flow.ledgers[0].rule_counts(), **operation_notes(flow)}
        for place in strongest.positions
    ]
    return attributions(
        model,
        image,
        target,
        flow.multiplier.sum(1),
        channels=flow.multiplier,
        notes=notes,
        otherwise=Fact("the unit is not activated by this image, or no positive gradient reaches the input from it"),
    )


class _StrongestPositions:
    """The strongest position of a unit in each image, and its activation."""

    def __init__(self, address: UnitAddress, images: int) -> None:
        self.address = address
        self.descriptions, self.positions = [""] * images, [""] * images

    def scores(self, activation: Tensor, rows: Tensor) -> Tensor:
        """The activation at the strongest position of each image; the gradient is zero elsewhere."""
        address = self.address
        if address.unit is not None and address.unit >= activation.shape[1]:
            raise UnknownName(f"no unit {address}: {address.layer!r} has units 0 to {activation.shape[1] - 1}")
        extent = tuple(activation.shape[2:])
        if address.position and (
            len(address.position) != len(extent) or any(p >= n for p, n in zip(address.position, extent, strict=True))
        ):
            raise UnknownName(f"no position {address}: the map of {address.layer!r} is {extent}")
        indices = [self._strongest(of_image.detach(), extent) for of_image in activation]
        for row, (unit, *position) in zip(rows.tolist(), indices, strict=True):
            self.descriptions[row] = str(UnitAddress(address.layer, unit, address.position))
            self.positions[row] = (
                Fact("{position} of {extent:×}", position=position, extent=extent) if extent else Fact("all")
            )
        return torch.stack([of_image[tuple(index)] for of_image, index in zip(activation, indices, strict=True)])

    def _strongest(self, activation: Tensor, extent: tuple[int, ...]) -> list[int]:
        """The index (unit, position …) of the strongest activation in (C, …)."""
        if self.address.position:
            assert self.address.unit is not None, "a position belongs to a unit"
            return [self.address.unit, *self.address.position]
        if self.address.unit is not None:
            position = torch.unravel_index(activation[self.address.unit].argmax(), extent)
            return [self.address.unit, *(int(p) for p in position)]
        return [int(p) for p in torch.unravel_index(activation.argmax(), activation.shape)]
