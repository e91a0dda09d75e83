"""Quick trials of remedies: a few steps of training on a changed copy of the network, and the symptom before and after.

The network itself is not touched. A copy without any change takes the same steps, since training alone can help too.
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from convscope.engine.network.model import Model
from convscope.training.checks.declaration import Finding
from convscope.training.checks.network_evidence import NetworkEvidence
from convscope.training.checks.quarters import first_and_last_quarter
from convscope.values.facts import Fact

STEPS, BATCH, LEARNING_RATE, FEWEST_LABELS = 20, 32, 1e-3, 8
SATURATING = (nn.Sigmoid, nn.Tanh, nn.Hardtanh, nn.ReLU)
CONVOLUTIONS: dict[type[nn.Module], type[Any]] = {
    nn.Conv1d: nn.BatchNorm1d,
    nn.Conv2d: nn.BatchNorm2d,
    nn.Conv3d: nn.BatchNorm3d,
}


class Residual(nn.Module):
    """A layer beside an identity: x + layer(x)."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """The sum of input and output."""
        output: Tensor = x + self.layer(x)
        return output


def _leaky_relu(module: nn.Module) -> None:
    for parent, name, child in _children(module):
        if isinstance(child, SATURATING):
            setattr(parent, name, nn.LeakyReLU(0.1))


def _new_weights(module: nn.Module) -> None:
    for layer in module.modules():
        if isinstance(layer, (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)):
            layer.reset_parameters()


def _batch_norms(module: nn.Module) -> None:
    for parent, name, child in _children(module):
        norm = CONVOLUTIONS.get(type(child))
        if norm is not None:
            device, dtype = child.weight.device, child.weight.dtype
            setattr(parent, name, nn.Sequential(child, norm(child.out_channels, device=device, dtype=dtype)))


def _residuals(module: nn.Module) -> None:
    for parent, name, child in _children(module):
        if isinstance(child, SATURATING):
            child.inplace = False  # ReLU would write over the x that is added
        if isinstance(child, SATURATING) or (type(child) in CONVOLUTIONS and _keeps_shape(child)):
            setattr(parent, name, Residual(child))


def _children(module: nn.Module) -> Iterator[tuple[nn.Module, str, Any]]:
    """The layers of a network with their parent and their name there, collected before anything is replaced."""
    yield from [(parent, name, child) for parent in module.modules() for name, child in parent.named_children()]


def _keeps_shape(layer: Any) -> bool:
    is_same_size = all(
        stride == 1 and 2 * padding == dilation * (size - 1)
        for size, stride, padding, dilation in zip(
            layer.kernel_size, layer.stride, layer.padding, layer.dilation, strict=True
        )
        if not isinstance(layer.padding, str)
    )
    return is_same_size and not isinstance(layer.padding, str) and layer.in_channels == layer.out_channels


REMEDIES: dict[Fact, Callable[[nn.Module], None]] = {
    Fact("LeakyReLU as activation function"): _leaky_relu,
    Fact("new weights (Kaiming)"): _new_weights,
    Fact("batch norm after each convolution"): _batch_norms,
    Fact("residual connections around convolutions and activation functions"): _residuals,
}


@dataclass(frozen=True)
class Symptom:
    """What is measured before and after: a number that is large where the symptom is there, and what it counts."""

    measure: Callable[[NetworkEvidence], float]
    says: Fact


def _gradient_factor(network: NetworkEvidence) -> float:
    kinds = ("Conv", "Linear")
    layers = [layer for layer in network.gradients.layers if layer.kind.startswith(kinds) and layer.ratio is not None]
    ends = first_and_last_quarter([layer.ratio or 0.0 for layer in layers])
    return 1.0 if ends is None else max(ends[0] / ends[1], ends[1] / ends[0])


SYMPTOMS = {
    "gradient_by_depth": Symptom(
        _gradient_factor, Fact("the factor between the gradients at both ends of the network")
    ),
    "dead_units": Symptom(
        lambda network: float(sum(layer.dead or 0 for layer in network.activations.layers)),
        Fact("the number of dead channels"),
    ),
    "saturated_units": Symptom(
        lambda network: float(sum(layer.saturated or 0 for layer in network.activations.layers)),
        Fact("the number of saturated channels"),
    ),
}


def with_trials(findings: list[Finding], network: NetworkEvidence) -> list[Finding]:
    """The findings, the first of each of `SYMPTOMS` with what each remedy changed; nothing is tried without classes."""
    rows = [row for row, index in enumerate(network.classes) if index is not None]
    if len(rows) < FEWEST_LABELS:
        return findings
    results: list[Finding] = []
    untried = set(SYMPTOMS)
    for finding in findings:
        if finding.check in untried:
            untried.remove(finding.check)
            finding = replace(finding, trials=tuple(_trials(SYMPTOMS[finding.check], network, rows)))
        results.append(finding)
    return results


def _trials(symptom: Symptom, network: NetworkEvidence, rows: list[int]) -> Iterator[Fact]:
    """One sentence for each remedy."""
    before = symptom.measure(network)
    unchanged, usual_loss = _after(symptom, network, rows, lambda module: None)
    for name, change in REMEDIES.items():
        after, loss = _after(symptom, network, rows, change)
        yield Fact(
            "{remedy}: {symptom} is {before} now and {after} after {steps} steps of training ({unchanged} without the "
            "remedy); the loss is {loss} ({usual_loss} without)",
            remedy=name, symptom=symptom.says, before=f"{before:.3g}", after=f"{after:.3g}", steps=STEPS,
            unchanged=f"{unchanged:.3g}", loss=f"{loss:.3g}", usual_loss=f"{usual_loss:.3g}",
        )  # fmt: skip


def _after(
    symptom: Symptom, network: NetworkEvidence, rows: list[int], change: Callable[[nn.Module], None]
) -> tuple[float, float]:
    """The symptom of a changed copy after a few steps, and its loss."""
    images = network.tensor[torch.tensor(rows, device=network.tensor.device)].detach()
    classes = torch.tensor([network.classes[row] for row in rows], dtype=torch.int64, device=images.device)
    module = copy.deepcopy(network.model.module)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        change(module)
        loss = _train(module, images, classes)
    model = Model(module.eval(), input=network.model.input, labels=network.model.labels)
    return symptom.measure(NetworkEvidence(model, TensorDataset(images, classes))), loss


def _train(module: nn.Module, images: Tensor, classes: Tensor) -> float:
    """A few steps in training mode; the mean loss of the last quarter of them."""
    module.train().requires_grad_(True)
    optimizer = torch.optim.AdamW(module.parameters(), lr=LEARNING_RATE)
    losses = []
    with torch.enable_grad():
        for _ in range(STEPS):
            rows = torch.randperm(len(images), device="cpu")[:BATCH].to(images.device)
            loss = F.cross_entropy(module(images[rows].clone()).flatten(1), classes[rows])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # of torch's stubs
            optimizer.step()
            losses.append(float(loss.detach()))
    return sum(losses[-STEPS // 4 :]) / len(losses[-STEPS // 4 :])
