"""Filters that repeat another filter of their layer."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from convscope.engine.layers.kernels import find_oddities, groups_of, read_kernels
from convscope.training.checks.declaration import check
from convscope.training.checks.network_evidence import NetworkEvidence
from convscope.training.checks.network_pictures import draw_kernels
from convscope.values.facts import Fact

SHARE, FEWEST = 0.1, 2


@check(
    "network",
    title="duplicate kernels",
    looks_for="A tenth of the filters of a convolution, and two at least, repeat an earlier filter of the layer.",
    cause="the layer has more filters than the task needs, or filters began with the same weights",
    remedy="import torch.nn.utils.prune as prune\n"
    "mask = torch.ones_like(layer.weight)\n"
    "mask[repeated] = 0  # the filters that cs.kernels(model, layer='…') marks as duplicates\n"
    "prune.custom_from_mask(layer, 'weight', mask)\n"
    "if layer.bias is not None:\n"
    "    prune.custom_from_mask(layer, 'bias', mask.flatten(1)[:, 0])  # their outputs are zero then",
    severity="note",
    draw=draw_kernels,
)
def duplicate_kernels(network: NetworkEvidence) -> list[tuple[str, Fact]]:
    """Compare the filters of each convolution, and answer the images without those that repeat another."""
    findings = []
    for address, module in network.convolutions():
        weights = read_kernels(network.model, address)
        if weights[0].numel() < 2:
            continue
        repeated = [index for index, *_ in find_oddities(weights, groups_of(module)).near_duplicate]
        if len(repeated) >= max(FEWEST, SHARE * len(weights)):
            findings.append((address, _evidence(network, module, repeated, len(weights))))
    return findings


def _evidence(network: NetworkEvidence, module: nn.Module, repeated: Sequence[int], filters: int) -> Fact:
    """How many filters repeat another, and the price of pruning them where classes are known."""
    rows = [row for row, index in enumerate(network.classes) if index is not None]
    if network.answers is None or len(rows) < 2:
        return Fact("{count} of its {filters} filters repeat another", count=len(repeated), filters=filters)
    classes = torch.tensor([network.classes[row] for row in rows], dtype=torch.int64, device="cpu")
    pruned = _answers_without(network, module, repeated)
    return Fact(
        "{count} of its {filters} filters repeat another; the accuracy on {images} images is {before}, and {after} "
        "when they are pruned (weights and bias set to zero)",
        count=len(repeated), filters=filters, images=len(rows),
        before=f"{float((network.answers[rows] == classes).double().mean()):.1%}",
        after=f"{float((pruned[rows] == classes).double().mean()):.1%}",
    )  # fmt: skip


def _answers_without(network: NetworkEvidence, module: nn.Module, channels: Sequence[int]) -> torch.Tensor:
    """The answers while some channels of a layer's output are zero; nothing of the layer is changed."""

    def remove(module: nn.Module, inputs: Any, output: torch.Tensor) -> torch.Tensor:
        kept: torch.Tensor = output.clone()
        kept[:, list(channels)] = 0
        return kept

    handle = module.register_forward_hook(remove)
    try:
        return network.scores(network.tensor).argmax(1)
    finally:
        handle.remove()
