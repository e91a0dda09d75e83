"""What a network is built of, and what its places see."""

from tests.fuzz import references as slow
from tests.fuzz.checks.maps import layers
from tests.fuzz.comparing import Comparison
from tests.fuzz.networks import Network


def structure(c: Comparison, net: Network) -> None:
    (value,) = c.ask("structure") or (None,)
    if value is None:
        return
    c.holds(
        f"structure: {value.parameters} parameters",
        value.parameters == sum(p.numel() for p in net.module.parameters()),
    )
    if "recurrent" not in net.kinds:  # torch's counter sees nothing of what a recurrent layer multiplies
        true = slow.flops(net)
        c.holds(f"structure: {value.flops} FLOPs, by torch's counter {true}", value.flops == true)


def fields(c: Comparison, net: Network) -> None:
    """Nothing outside the box moves the place, and the heat is where its gradient is."""
    for layer in layers(net):
        (value,) = c.ask("receptive_field", unit=layer) or (None,)
        if value is None:
            continue
        place = value.position
        touched = slow.dependence(net, layer, place)
        inside = touched.clone()
        inside[tuple(slice(first, last + 1) for first, last in value.box)] = False
        c.holds(f"receptive_field of {layer} at {place}: moved from outside of {value.box}", not inside.any())
        c.holds(f"receptive_field of {layer} at {place}: heat where nothing moves it", not value.values[~touched].any())
        ends = [(int(where.min()), int(where.max())) for where in touched.nonzero().T]
        if _tight(net, layer):
            c.holds(f"receptive_field of {layer} at {place}: {value.box} for {ends}", list(value.box) == ends)


LOOSE = {"tokens", "linear patches", "recurrent", "folded"}


def _tight(net: Network, layer: str) -> bool:
    """Whether a box has no excuse for being larger than what moves the place."""
    return False
