"""Predictions, independence of the images in a batch, and default layers."""

from typing import Any

import torch
from torch import Tensor, nn

import convscope as cs
from tests.fuzz.comparing import Case
from tests.fuzz.networks import RandomNetwork
from tests.fuzz.references import slow_images

INDEPENDENCE_LENSES: list[tuple[str, dict[str, Any]]] = [
    ("grad_cam", {}), ("eigen_cam", {}), ("score_cam", {"channels": 3}), ("lrp", {}), ("feature_maps", {}),
    ("rise", {"samples": 6}), ("guided_grad_cam", {}),
]  # fmt: skip
"""Lenses that the other checks do not already compare with one image at a time."""


def prediction(case: Case, net: RandomNetwork) -> None:
    values = case.call("predict", top=3)
    with torch.no_grad():
        scores = [net.module(image[None])[0] for image in net.images]
    for value, row in zip(values or (), scores, strict=False):
        top = row.topk(3)
        indices = top.indices.tolist()
        case.check(f"predict: {value.indices} for {indices}", list(value.indices) == indices)
        case.compare("predict, its scores", torch.tensor(value.scores), top.values)


def independence(case: Case, net: RandomNetwork) -> None:
    """Each image alone has the same value as in a batch."""
    for lens, parameters in INDEPENDENCE_LENSES:
        batch_values = case.call(lens, **parameters)
        for row, value in enumerate(batch_values or ()):
            arguments = dict(parameters)
            if "target" in getattr(cs, lens).declaration.inputs:
                target = case.target()
                arguments["target"] = target[row] if isinstance(target, list) else target
            single = getattr(cs, lens)(net.module, net.images[row : row + 1], **arguments)
            single = single[0] if isinstance(single, list) else single
            for name in _maps(value):
                case.compare(f"{lens} alone, {name}", _maps(value)[name], _maps(single)[name])


def _maps(value: cs.Value) -> dict[str, Tensor]:
    if isinstance(value, cs.FeatureMaps):
        return dict(value.maps)
    assert isinstance(value, cs.Attribution)
    return {"values": value.values, **value.layer_values}


def default_layer(case: Case, net: RandomNetwork) -> None:
    """The default layer of CAM lenses is on every path to the output, and no later layer with positions is."""
    (value, *_) = case.call("grad_cam") or (None,)
    if value is None:
        return
    (address,) = value.layers
    case.check(f"default layer {address}: not on every path to the output", _is_on_every_path(net, address))
    order = _finish_order(net.module, net.images[:1])
    later = [a for a in net.layouts if order.index(a) > order.index(address) and not a.startswith(f"{address}.")]
    later = [a for a in later if not a.endswith("head.classes")]  # a map of the scores themselves
    later = [a for a in later if any(slow.at(a)[1].any() for slow in slow_images(net))]  # zero after a class token
    later = [a for a in later if not address.startswith(f"{a}.") or not _same_output(net, a, address)]
    case.check(f"default layer {address}: later layers with positions {later}", not later)


def _is_on_every_path(net: RandomNetwork, address: str) -> bool:
    """Whether the scores do not depend on the image if the output of the layer is detached."""
    handle = net.module.get_submodule(address).register_forward_hook(lambda m, i, o: o.detach())
    x = net.images[:1].clone().requires_grad_()
    with torch.enable_grad():
        score = net.module(x)[0, net.targets[0]]
    handle.remove()
    if not score.requires_grad:
        return True
    (gradient,) = torch.autograd.grad(score, x, allow_unused=True)
    return gradient is None or not gradient.any()


def _finish_order(module: nn.Module, x: Tensor) -> list[str]:
    """The addresses of all modules in the order in which their last calls finish."""
    names: list[str] = []
    handles = [m.register_forward_hook(lambda *_, n=n: names.append(n)) for n, m in module.named_modules()]
    with torch.no_grad():
        module(x)
    for handle in handles:
        handle.remove()
    return [name for index, name in enumerate(names) if name not in names[index + 1 :]]


def _same_output(net: RandomNetwork, first: str, second: str) -> bool:
    """Whether two layers have the same output."""
    from tests.fuzz.references import layer_output

    a, b = layer_output(net, first), layer_output(net, second)
    return a.shape == b.shape and torch.equal(a, b)
