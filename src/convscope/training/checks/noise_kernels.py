"""First-layer filters that look like noise."""

from convscope.engine.layers.kernels import can_test_noise, find_oddities, groups_of, read_kernels
from convscope.training.checks.declaration import check
from convscope.training.checks.network_evidence import NetworkEvidence
from convscope.training.checks.network_pictures import draw_kernels
from convscope.values.facts import Fact

SHARE = 0.5


@check(
    "network",
    title="noise-like kernels",
    looks_for="Half of the filters of the first convolution have neighboring weights as uncorrelated as white noise.",
    cause="the filters were hardly trained, or fit the noise of few images: filters that see edges or colors are "
    "smooth",
    remedy="# train longer, on more varied images, and with weight decay:\n"
    "torch.optim.AdamW(model.parameters(), weight_decay=0.05)",
    severity="note",
    draw=draw_kernels,
)
def noise_kernels(network: NetworkEvidence) -> list[tuple[str, Fact]]:
    """Test the filters of the first convolution for white noise."""
    address, module = next(network.convolutions(), ("", None))
    if module is None:
        return []
    weights = read_kernels(network.model, address)
    if not can_test_noise(weights):
        return []
    count = len(find_oddities(weights, groups_of(module)).noise_like)
    if count < SHARE * len(weights):
        return []
    evidence = Fact(
        "{count} of its {filters} filters looks like noise"
        if count == 1
        else "{count} of its {filters} filters look like noise",
        count=count, filters=len(weights),
    )  # fmt: skip
    return [(address, evidence)]
