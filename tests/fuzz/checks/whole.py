"""What a network says, whom it looks at, and where it is looked at by default."""

import torch
from torch import Tensor, nn

import convscope as cs
from tests.fuzz.comparing import Comparison
from tests.fuzz.networks import Network
from tests.fuzz.references import known

ALONE = [
    ("grad_cam", {}), ("eigen_cam", {}), ("score_cam", {"channels": 3}), ("lrp", {}), ("feature_maps", {}),
    ("rise", {"samples": 6}), ("guided_grad_cam", {}),
]  # fmt: skip
"""What the other checks do not hold to one image at a time already."""


def prediction(c: Comparison, net: Network) -> None:
    values = c.ask("predict", top=3)
    with torch.no_grad():
        scores = [net.module(image[None])[0] for image in net.images]
    for value, row in zip(values or (), scores, strict=False):
        best = row.topk(3)
        c.holds(f"predict: {value.indices} for {best.indices.tolist()}", list(value.indices) == best.indices.tolist())
        c.agree("predict, its scores", torch.tensor(value.scores), best.values)


def independence(c: Comparison, net: Network) -> None:
    """Each image alone gives what it gives in company."""
    for lens, parameters in ALONE:
        together = c.ask(lens, **parameters)
        for row, value in enumerate(together or ()):
            given = dict(parameters)
            if "target" in getattr(cs, lens).declaration.inputs:
                target = c.target()
                given["target"] = target[row] if isinstance(target, list) else target
            alone = getattr(cs, lens)(net.module, net.images[row : row + 1], **given)
            alone = alone[0] if isinstance(alone, list) else alone
            for name in _numbers(value):
                c.agree(f"{lens} alone, {name}", _numbers(value)[name], _numbers(alone)[name])


def _numbers(value: cs.Value) -> dict[str, Tensor]:
    if isinstance(value, cs.FeatureMaps):
        return dict(value.maps)
    return {"values": value.values, **value.layer_values}


def default_layer(c: Comparison, net: Network) -> None:
    """The layer that CAM lenses look at lies on every path to the answer, and no later one with places does."""
    (value, *_) = c.ask("grad_cam") or (None,)
    if value is None:
        return
    (address,) = value.layers
    c.holds(f"default layer {address}: a path to the answer goes past it", _cut(net, address))
    order = _finished(net.module, net.images[:1])
    late = [a for a in net.layouts if order.index(a) > order.index(address) and not a.startswith(f"{address}.")]
    late = [a for a in late if not a.endswith("head.classes")]  # a map of the scores is no layer below them
    late = [a for a in late if any(slow.at(a)[1].any() for slow in known(net))]  # behind a class token nothing is
    later = [a for a in late if not address.startswith(f"{a}.") or not _same(net, a, address)]
    c.holds(f"default layer {address}: later with places are {later}", not later)


def _cut(net: Network, address: str) -> bool:
    """Whether nothing of the image reaches the scores where the layer's output is held."""
    handle = net.module.get_submodule(address).register_forward_hook(lambda m, i, o: o.detach())
    x = net.images[:1].clone().requires_grad_()
    with torch.enable_grad():
        score = net.module(x)[0, net.targets[0]]
    handle.remove()
    if not score.requires_grad:
        return True
    (gradient,) = torch.autograd.grad(score, x, allow_unused=True)
    return gradient is None or not gradient.any()


def _finished(module: nn.Module, x: Tensor) -> list[str]:
    """The addresses of all modules in the order in which their last calls finish."""
    names: list[str] = []
    handles = [m.register_forward_hook(lambda *_, n=n: names.append(n)) for n, m in module.named_modules()]
    with torch.no_grad():
        module(x)
    for handle in handles:
        handle.remove()
    return [name for place, name in enumerate(names) if name not in names[place + 1 :]]


def _same(net: Network, one: str, other: str) -> bool:
    """Whether two layers give the same numbers."""
    from tests.fuzz.references import output_of

    a, b = output_of(net, one), output_of(net, other)
    return a.shape == b.shape and torch.equal(a, b)
