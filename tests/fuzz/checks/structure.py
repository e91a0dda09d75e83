"""The structure of a network, and receptive fields."""

from tests.fuzz import references as slow
from tests.fuzz.checks.maps import tested_layers
from tests.fuzz.comparing import Case
from tests.fuzz.networks import RandomNetwork


def structure(case: Case, net: RandomNetwork) -> None:
    (value,) = case.call("structure") or (None,)
    if value is None:
        return
    case.check(
        f"structure: {value.parameters} parameters",
        value.parameters == sum(p.numel() for p in net.module.parameters()),
    )
    if "recurrent" not in net.kinds:  # PyTorch's counter ignores recurrent layers
        expected = slow.flops(net)
        case.check(f"structure: {value.flops} FLOPs, by PyTorch's counter {expected}", value.flops == expected)


def fields(case: Case, net: RandomNetwork) -> None:
    """A position does not depend on inputs outside its box, and its map is zero where its gradient is."""
    for layer in tested_layers(net):
        (value,) = case.call("receptive_field", unit=layer) or (None,)
        if value is None:
            continue
        name = f"receptive_field of {layer} at {value.position}"
        dependent = slow.dependence(net, layer, value.position)
        outside = dependent.clone()
        outside[tuple(slice(first, last + 1) for first, last in value.box)] = False
        case.check(f"{name}: depends on inputs outside {value.box}", not outside.any())
        case.check(f"{name}: nonzero where it depends on nothing", not value.values[~dependent].any())
