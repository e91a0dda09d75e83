"""Filters that repeat another filter of their layer."""

from convscope.engine.layers.kernels import find_oddities, groups_of, read_kernels
from convscope.training.checks.declaration import check
from convscope.training.checks.network_evidence import NetworkEvidence
from convscope.values.facts import Fact

SHARE, FEWEST = 0.1, 2


@check(
    "network",
    title="duplicate kernels",
    looks_for="A tenth of the filters of a convolution, and two at least, repeat an earlier filter of the layer.",
    cause="the layer has more filters than the task needs, or filters began with the same weights",
    remedy="import torch.nn.utils.prune as prune\n"
    "prune.ln_structured(layer, 'weight', amount=0.1, n=2, dim=0)  # then measure the accuracy again",
    severity="note",
)
def duplicate_kernels(network: NetworkEvidence) -> list[tuple[str, Fact]]:
    """Compare the filters of each convolution."""
    findings = []
    for address, module in network.convolutions():
        weights = read_kernels(network.model, address)
        count = len(find_oddities(weights, groups_of(module)).near_duplicate) if weights[0].numel() > 1 else 0
        if count >= max(FEWEST, SHARE * len(weights)):
            findings.append(
                (address, Fact("{count} of its {filters} filters repeat another", count=count, filters=len(weights)))
            )
    return findings
