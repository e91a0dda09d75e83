"""Cost of backward rules: guided backpropagation and DeconvNet, and relevance propagation compared with zennit."""

from functools import partial

import torch
from torch import nn

import convscope as cs
from benchmarks.contenders import Work, input_gradient, network, ours, plain
from benchmarks.measure import Row, interleaved, rows_of
from convscope.catalogue import find

LRP_AIMS = {("epsilon-plus-flat", 1): 5.5, ("epsilon-plus-flat", 16): 7, ("epsilon-gamma-box", 1): 10}


def modified_gradients(rounds: int) -> list[Row]:
    """Relative to forward + input gradient, compared with Captum."""
    from captum.attr import Deconvolution, GuidedBackprop

    rows: list[Row] = []
    for lens, captum_class in ((cs.guided_backprop, GuidedBackprop), (cs.deconvnet, Deconvolution)):
        module, x = network("resnet50"), torch.randn(1, 3, 224, 224)
        contenders: dict[str, Work] = {
            contender: partial(lens, model, x, target=0) for contender, model in ours(module).items()
        }
        contenders["Captum"] = partial(captum_class(module).attribute, x, target=0)
        ratios = interleaved(input_gradient(module, x), contenders, rounds=rounds)
        rows += rows_of(f"{find(lens.__name__).title}, resnet50, in forward + input gradient", ratios, 1.1)
    return rows


def relevance(rounds: int) -> list[Row]:
    """LRP of resnet50 relative to plain forward passes of the same batch, compared with zennit with its canonizer."""
    rows: list[Row] = []
    for (composite, batch), aim in LRP_AIMS.items():
        module, x = network("resnet50"), torch.randn(batch, 3, 224, 224)
        contenders: dict[str, Work] = {
            contender: partial(cs.lrp, model, x, target=[0] * batch, composite=composite)
            for contender, model in ours(module).items()
        }
        contenders["zennit"] = _zennit(module, x, composite)
        fewer_rounds = rounds if batch == 1 else max(3, rounds // 5)
        ratios = interleaved(plain(module, x), contenders, rounds=fewer_rounds)
        rows += rows_of(f"LRP {composite}, resnet50, batch {batch}", ratios, aim)
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
    one_hot = torch.eye(1000)[[0] * len(x)]

    def work() -> object:
        with Gradient(module, composite) as attribute:
            return attribute(x, one_hot)

    return work
