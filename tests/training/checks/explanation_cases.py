"""Seeded maps of small networks: maps that are as they should be, and a defect per check."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

import convscope as cs
from convscope.training.checks.explanation_evidence import ExplanationEvidence
from tests.training.checks.network_cases import number

SIDE = 16
SPEC = cs.ImageInput(size=(SIDE, SIDE), mean=(0.0,) * 3, std=(1.0,) * 3)


class ByColor(nn.Module):
    """Red, green or blue by the mean of its channel; each class has a bit of noise of its own."""

    def __init__(self, *, sign: float = 1.0, last: nn.Module | None = None, stop: bool = False, side: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1, bias=False)
        self.relu = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(side)
        self.fc = nn.Linear(3 * side * side, 3)
        self.last = last or nn.Identity()
        self.stop = stop
        with torch.no_grad():
            colors = torch.eye(3, device="cpu") + 0.05 * torch.rand(3, 3, device="cpu")
            self.conv.weight.copy_(colors.view(3, 3, 1, 1))
            self.fc.weight.copy_(sign * torch.eye(3, device="cpu").repeat_interleave(side * side, 1) * number(10, 30))
            self.fc.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        maps = self.relu(self.conv(x))
        if self.stop:
            maps = (8 * maps).round() / 8
        return self.last(self.fc(self.pool(maps).flatten(1)))


class Mixed(nn.Module):
    """Each token gets the mean of all."""

    def forward(self, x: Tensor) -> Tensor:
        return x + x.mean(1, keepdim=True)


class Tokens(nn.Module):
    """Patches and a class token, which are mixed; the answer is read from the class token."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, stride=4)
        self.first = nn.Sequential(nn.Linear(8, 8), nn.GELU())
        self.mixed = Mixed()
        self.last = nn.Sequential(nn.Linear(8, 8), nn.GELU())
        self.fc = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([torch.ones_like(tokens[:, :1]), tokens], 1)
        return self.fc(self.last(self.mixed(self.first(tokens)))[:, 0])


def picture() -> Tensor:
    """A red, a green and a blue blob at different places, the red one the strongest."""
    image = 0.2 * torch.rand(1, 3, SIDE, SIDE, device="cpu")
    corners = [(0, 0), (0, 9), (9, 0)]
    for channel, index in enumerate(torch.randperm(3, device="cpu").tolist()):
        top, left = corners[index]
        image[0, channel, top : top + 6, left : left + 6] = number(0.85, 1.0) if channel == 0 else number(0.3, 0.6)
    return image


def explained(seed: int, net: Callable[[], nn.Module], explain: Callable[[cs.Model, Tensor], Any],
              image: Callable[[], Tensor] = picture) -> ExplanationEvidence:  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model, tensor = cs.Model(net().eval(), input=SPEC), image()
        return ExplanationEvidence(explain(model, tensor), model, tensor)


def cam(model: cs.Model, image: Tensor, **options: Any) -> cs.Attribution:
    value = cs.grad_cam(model, image, **options)
    return value[0] if isinstance(value, list) else value


def healthy(seed: int) -> ExplanationEvidence:
    """Grad-CAM with or without its negative part, saliency or occlusion."""
    ways = (
        lambda model, image: cam(model, image, relu=True), lambda model, image: cam(model, image, relu=False),
        cs.gradient_x_input, lambda model, image: cs.occlusion(model, image, patch=4, stride=4),
    )  # fmt: skip
    return explained(seed, ByColor, ways[seed % 4])


def removed_by_relu(seed: int) -> ExplanationEvidence:
    return explained(seed, lambda: ByColor(sign=-1.0), lambda m, x: cam(m, x, target=seed % 3, relu=True))


def kept_negative(seed: int) -> ExplanationEvidence:
    """What speaks against the class, which is not blank."""
    return explained(seed, lambda: ByColor(sign=-1.0), lambda model, image: cam(model, image, relu=False))


def stopped_gradient(seed: int) -> ExplanationEvidence:
    return explained(
        seed, lambda: ByColor(stop=True), (cs.saliency, cs.gradient_x_input)[seed % 2]
    )  # rounding passes no gradient


def blank_map(seed: int) -> ExplanationEvidence:
    """The input is zero, and multiplied by."""
    return explained(seed, lambda: nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 3)), cs.gradient_x_input,
                     lambda: torch.zeros(1, 3, SIDE, SIDE, device="cpu"))  # fmt: skip


def nonfinite_map(seed: int) -> ExplanationEvidence:
    evidence = healthy(seed)
    values = evidence.attribution.values.clone()
    values.view(-1)[seed * 7 % values.numel()] = (torch.nan, torch.inf)[seed % 2]
    return ExplanationEvidence(replace(evidence.attribution, values=values), evidence.model, evidence.tensor)


def flat_map(seed: int) -> ExplanationEvidence:
    """A layer of two by two positions, or the gradient of a network that is linear in the mean of each channel."""
    if seed % 2:
        return explained(seed, ByColor, cs.saliency)
    return explained(seed, lambda: ByColor(side=2), lambda model, image: cam(model, image, layer="pool", relu=False))


def inverted_map(seed: int) -> ExplanationEvidence:
    evidence = explained(seed, ByColor, lambda model, image: cam(model, image, relu=False))
    return ExplanationEvidence(
        replace(evidence.attribution, values=-evidence.attribution.values), evidence.model, evidence.tensor
    )


def same_for_classes(seed: int) -> ExplanationEvidence:
    """A lens without target, or absolute values of weights that are the same for all classes."""
    if seed % 2:
        return explained(seed, ByColor, cs.eigen_cam)

    def all_alike() -> nn.Module:
        net = ByColor()
        with torch.no_grad():
            strengths = torch.tensor([[1.0], [0.9], [0.8]], device="cpu")
            net.fc.weight.copy_(strengths * (1 + 0.02 * torch.rand(3, 3, device="cpu")))
        return net

    return explained(seed, all_alike, lambda model, image: cam(model, image, relu=False))


def saturated_score(seed: int) -> ExplanationEvidence:
    def sure() -> nn.Module:
        net = ByColor(last=nn.Softmax(1))
        net.fc.weight.data *= number(30, 60)
        return net

    return explained(seed, sure, lambda model, image: cs.saliency(model, image))


def unsure(seed: int) -> ExplanationEvidence:
    """A softmax over scores that are not far apart."""

    def net() -> nn.Module:
        net = ByColor(last=nn.Softmax(1))
        net.fc.weight.data *= number(0.1, 0.5)
        return net

    return explained(seed, net, lambda model, image: cs.saliency(model, image))


def class_token_only(seed: int) -> ExplanationEvidence:
    return explained(seed, Tokens, lambda model, image: cam(model, image, layer="last", relu=False))


def earlier_tokens(seed: int) -> ExplanationEvidence:
    return explained(seed, Tokens, lambda model, image: cam(model, image, layer="first", relu=False))


HEALTHY: dict[str, Callable[[int], ExplanationEvidence]] = {
    "removed_by_relu": kept_negative, "stopped_gradient": removed_by_relu, "blank_map": stopped_gradient,
    "saturated_score": unsure, "class_token_only": earlier_tokens, "inverted_map": kept_negative,
}  # fmt: skip
SICK = (
    removed_by_relu, stopped_gradient, class_token_only, saturated_score, blank_map, nonfinite_map, flat_map,
    inverted_map, same_for_classes,
)  # fmt: skip
