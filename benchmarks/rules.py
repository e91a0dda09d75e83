"""What backward rules cost: guided backpropagation and DeconvNet, and relevance propagation beside zennit."""

from functools import partial

import torch
from torch import nn

import convscope as cs
from benchmarks.contenders import Work, input_gradient, network, ours, plain
from benchmarks.measure import Row, interleaved, rows_of

LRP_AIMS = {("epsilon-plus-flat", 1): 5.5, ("epsilon-plus-flat", 16): 7, ("epsilon-gamma-box", 1): 10}


def modified_gradients(rounds: int) -> list[Row]:
    """Against a forward with its input gradient, Captum beside ours."""
    from captum.attr import Deconvolution, GuidedBackprop

    rows: list[Row] = []
    for lens, theirs in ((cs.guided_backprop, GuidedBackprop), (cs.deconvnet, Deconvolution)):
        module, x = network("resnet50"), torch.randn(1, 3, 224, 224)
        works: dict[str, Work] = {who: partial(lens, model, x, target=0) for who, model in ours(module).items()}
        works["Captum"] = partial(theirs(module).attribute, x, target=0)
        found = interleaved(input_gradient(module, x), works, rounds=rounds)
        rows += rows_of(f"{lens.declaration.title}, resnet50, in forward + input gradient", found, 1.1)
    return rows


def relevance(rounds: int) -> list[Row]:
    """LRP of resnet50 against plain forwards of the same batch, zennit with its canonizer beside ours."""
    rows: list[Row] = []
    for (composite, batch), aim in LRP_AIMS.items():
        module, x = network("resnet50"), torch.randn(batch, 3, 224, 224)
        works = {
            who: partial(cs.lrp, model, x, target=[0] * batch, composite=composite)
            for who, model in ours(module).items()
        }
        works["zennit"] = _zennit(module, x, composite)
        few = rounds if batch == 1 else max(3, rounds // 5)
        found = interleaved(plain(module, x), works, rounds=few)
        rows += rows_of(f"LRP {composite}, resnet50, batch {batch}", found, aim)
    return rows


def _zennit(module: nn.Module, x: torch.Tensor, name: str) -> Work:
    from zennit.attribution import Gradient
    from zennit.composites import EpsilonGammaBox, EpsilonPlusFlat
    from zennit.torchvision import ResNetCanonizer

    canonizers = [ResNetCanonizer()]
    if name == "epsilon-plus-flat":
        composite = EpsilonPlusFlat(canonizers=canonizers)
    else:
        composite = EpsilonGammaBox(low=-3.0, high=3.0, canonizers=canonizers)
    wanted = torch.eye(1000)[[0] * len(x)]

    def work() -> object:
        with Gradient(module, composite) as attribute:
            return attribute(x, wanted)

    return work
