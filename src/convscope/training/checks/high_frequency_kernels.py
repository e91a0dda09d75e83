"""First-layer filters that answer to the finest patterns only."""

import torch
from torch import Tensor

from convscope.engine.layers.kernels import read_kernels
from convscope.training.checks.declaration import check
from convscope.training.checks.network_evidence import NetworkEvidence
from convscope.training.checks.network_pictures import draw_kernels
from convscope.values.facts import Fact

SHARE, OF_FILTERS, GRID, SMALLEST = 0.9, 0.5, 16, 3


@check(
    "network",
    title="first layer of high frequencies",
    looks_for="Half of the filters of the first convolution have 90 % of their power beyond half of the highest "
    "frequency (filters of noise have 80 %).",
    cause="the network learned noise, compression artefacts or a pattern of the sensor; it is easily misled by changes "
    "that nobody sees",
    remedy="torch.optim.AdamW(model.parameters(), weight_decay=0.05)\n"
    "transforms.GaussianBlur(3, sigma=(0.1, 1.5))  # as augmentation; or a larger first kernel with a smaller stride",
    severity="note",
    draw=draw_kernels,
)
def high_frequency_kernels(network: NetworkEvidence) -> list[tuple[str, Fact]]:
    """Measure the spectrum of each filter of the first convolution."""
    address, module = next(network.convolutions(), ("", None))
    if module is None:
        return []
    weights = read_kernels(network.model, address)
    if weights.ndim != 4 or min(weights.shape[2:]) < SMALLEST:
        return []
    shares = high_frequency_share(weights)
    count = int((shares > SHARE).sum())
    if count < OF_FILTERS * len(weights):
        return []
    evidence = Fact(
        "{count} of its {filters} filters has {share} of its power beyond half of the highest frequency"
        if count == 1
        else "{count} of its {filters} filters have {share} of their power (median) beyond half of the highest "
        "frequency",
        count=count, filters=len(weights), share=f"{float(shares.median()):.0%}",
    )  # fmt: skip
    return [(address, evidence)]


def high_frequency_share(weights: Tensor) -> Tensor:
    """The share of the power of each filter (N,) beyond half of the highest frequency."""
    power = torch.fft.fft2(weights.double(), s=(GRID, GRID)).abs().square().sum(1)
    frequency = torch.fft.fftfreq(GRID, dtype=torch.float64, device="cpu")
    is_high = frequency[:, None].hypot(frequency[None]) > 0.25
    share: Tensor = power[:, is_high].sum(1) / power.sum((1, 2)).clamp_min(1e-30)
    return share
