from typing import Annotated, Any, Literal

import torch
from torch import Tensor

from convscope.engine.inputs.specs import Images
from convscope.engine.layers.addresses import UnitAddress, one_unit
from convscope.engine.network.model import Model
from convscope.engine.rules.modified_gradients import deconvnet, guided
from convscope.engine.rules.run import flow_back, said_of
from convscope.engine.targets.target import Aim
from convscope.errors import UnknownName
from convscope.runtime.declaration import attributions, lens
from convscope.spec import Param
from convscope.values import Attribution

RULES = {"deconvnet": deconvnet, "guided": guided}


@lens(
    family="learned",
    title="Deconvolution of a unit",
    cite="zeiler2014visualizing",
    asks="Which pattern in this image excited this unit?",
    reads="Structures that the unit's strongest place is painted back into, within its receptive field; it shows what "
    "was there, not all that the unit answers to.",
    claims={"deterministic"},
)
def deconv_unit(
    model: Model,
    image: Images,
    *,
    unit: Any = None,
    rule: Annotated[
        Literal["deconvnet", "guided"],
        Param(help="what a rectifier does to what flows back: cut off the negative, or also what was switched off"),
    ] = "deconvnet",
) -> list[Attribution]:
    """Send the strongest activation of one unit back to the pixels through the transposed network.

        p* = argmax_p A_u(p),   G = e_(u, p*) at the layer,   G_x = max(G_y, 0) at each rectifier;   S = Σ_channels G

    All other units of the layer are set to zero; pooling sends back to where its maximum was. What arrives is the part
    of the image that this unit fired for.

    Args:
        model: the network.
        image: one image or several.
        unit: ``"layer3[17]"``, or one place of it, ``"layer3[17, 4, 5]"``; a bare ``"layer3"`` means its most excited
            unit, each image its own, and nothing at all the most excited unit of the last spatial layer.
        rule: ``deconvnet`` as in the paper, or ``guided`` (Springenberg et al. 2015), which is crisper where the
            network has no pooling.

    Returns:
        A signed map of what was painted back, at full resolution and zero outside the unit's receptive field; per
        channel in ``channels``. ``score`` is the activation; ``notes["place"]`` the place it was found at.

    Raises:
        UnknownName: no such layer, unit or place.
        NoRule: an operation that no rule is known for.
        NoGradient: the layer is cut off from the input.

    Differs from the paper: batch norm, residual sums and other operations the paper's network did not have keep
    their gradient.

    Example:
        >>> import convscope as cs
        >>> a = cs.deconv_unit(cs.load("bundled:shapes"), "sample:shapes/7", unit="layer2[5]")
        >>> a.target
        'layer2[5]'

    Source: :cite:`zeiler2014visualizing`, section 2.1; the rule ``guided`` :cite:`springenberg2015striving`.
    """
    address = one_unit(model, unit, lambda: image.tensor)
    winners = _Winners(address, len(image))
    aim = Aim(len(image), winners.scores, layer=address.layer)
    flow = flow_back(model, image, aim, lambda ledger, rows, copies: RULES[rule](), on_missing="gradient")
    aim.words = winners.words
    notes = [{"place": place, "rules": flow.ledgers[0].rules(), **said_of(flow)} for place in winners.places]
    return attributions(
        model,
        image,
        aim,
        flow.multiplier.sum(1),
        channels=flow.multiplier,
        notes=notes,
        otherwise="the unit is not excited by anything in this image, or nothing positive flows back from it",
    )


class _Winners:
    """The strongest place of a unit in each image, and its score."""

    def __init__(self, address: UnitAddress, images: int) -> None:
        self.address = address
        self.words, self.places = [""] * images, [""] * images

    def scores(self, activation: Tensor, rows: Tensor) -> Tensor:
        """The activation at the winning place of each image, which alone has a gradient."""
        address = self.address
        if address.unit is not None and address.unit >= activation.shape[1]:
            raise UnknownName(f"no unit {address}: {address.layer!r} has units 0 to {activation.shape[1] - 1}")
        extent = tuple(activation.shape[2:])
        if address.position and (
            len(address.position) != len(extent) or any(p >= n for p, n in zip(address.position, extent, strict=True))
        ):
            raise UnknownName(f"no position {address}: the map of {address.layer!r} is {extent}")
        winners = [self._winner(one.detach(), extent) for one in activation]
        for row, (unit, *place) in zip(rows.tolist(), winners, strict=True):
            self.words[row] = str(UnitAddress(address.layer, unit, address.position))
            self.places[row] = f"{', '.join(map(str, place))} of {'×'.join(map(str, extent))}" if extent else "all"
        return torch.stack([one[tuple(place)] for one, place in zip(activation, winners, strict=True)])

    def _winner(self, activation: Tensor, extent: tuple[int, ...]) -> list[int]:
        """The index of the winning number in (C, …)."""
        if self.address.position:
            assert self.address.unit is not None, "a place is one of a unit"
            return [self.address.unit, *self.address.position]
        if self.address.unit is not None:
            place = torch.unravel_index(activation[self.address.unit].argmax(), extent)
            return [self.address.unit, *(int(p) for p in place)]
        return [int(p) for p in torch.unravel_index(activation.argmax(), activation.shape)]
