"""Gradients to the parameters of a network: the loss of a data set, added up chunk by chunk."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from convscope.engine.context.metering import count_passes
from convscope.engine.data.data_set import Chunk, Dataset
from convscope.engine.network.output_meaning import Meaning, log_probabilities
from convscope.engine.network.parametrized import layer_of, weight_modules
from convscope.errors import LayerError, NoGradient, NotFinite, OutputError

if TYPE_CHECKING:
    from convscope.engine.network.model import Model

ITSELF = "(its own)"
"""What the parameters are called that belong to the network and to none of its layers."""


def owned(model: "Model") -> dict[str, dict[str, nn.Parameter]]:
    """The parameters of each module that has some of its own: address → name → parameter; a shared one once.

    Raises:
        LayerError: there are none.
    """
    found: dict[str, dict[str, nn.Parameter]] = {}
    met: set[int] = set()
    weights = weight_modules(model.module)
    for address, module in model.module.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            if id(parameter) not in met and parameter.is_floating_point():
                met.add(id(parameter))
                layer = layer_of(address, weights)
                within = address[len(layer) :].lstrip(".")
                found.setdefault(layer or ITSELF, {})[f"{within}.{name}" if within else name] = parameter
    if not found and model.quantized_part() is not None:
        raise LayerError(
            f"the weights of {model.name} are quantised (packed int8 numbers), to which there is no gradient: look at "
            "the network as it was before it was quantised"
        )
    if not found:
        raise LayerError(f"{model.name} has no parameters: there is nothing that a gradient could move")
    return found


def loss_gradients(
    model: "Model", images: Dataset, layers: Mapping[str, Mapping[str, nn.Parameter]]
) -> tuple[dict[str, Tensor], float, int, int]:
    """The gradient of the mean loss over a data set to each layer's parameters, flat; the loss; images; labels known.

    The loss is cross-entropy against the label, or against the network's own top class where there is none.

    Raises:
        NoGradient: the output does not depend on any of the parameters.
        NotFinite: the loss or a gradient is NaN or infinite; the layer is named.
    """
    parameters = [p for group in layers.values() for p in group.values()]
    sums = [torch.zeros_like(p, dtype=torch.float32) for p in parameters]
    seen, loss, known = 0, 0.0, 0

    def step(chunk: Chunk) -> None:
        nonlocal seen, loss, known
        classes = images.classes(chunk.labels)
        output = model.run(model.laid_out(chunk.tensor))
        summed = cross_entropy(output, classes, model.meaning)
        model.require_gradient()
        if not summed.requires_grad:
            raise NoGradient(f"the output of {model.name} does not depend on these parameters: there is no gradient")
        gradients = torch.autograd.grad(summed, parameters, allow_unused=True)
        count_passes(backwards=len(chunk))
        for total, gradient in zip(sums, gradients, strict=True):
            if gradient is not None:
                total += gradient
        seen, loss = seen + len(chunk), loss + float(summed.detach())
        known += sum(one is not None for one in classes)

    with _recorded(parameters):
        images.each(step)
    flat, start = {}, 0
    for address, group in layers.items():
        flat[address] = torch.cat([one.reshape(-1) for one in sums[start : start + len(group)]]) / seen
        start += len(group)
        if not bool(torch.isfinite(flat[address]).all()):
            raise NotFinite(f"the gradient of the loss to {address!r} holds NaN or infinite numbers")
    return flat, loss / seen, seen, known


def cross_entropy(output: Tensor, classes: Sequence[int | None], meaning: Meaning | None = None) -> Tensor:
    """The summed loss of a batch: each output against its class, or against its own best where that is None.

    A single output is one class against none; probabilities and their logarithms, which ``meaning`` knows, are taken as
    they are; a dense output counts as its mean over places.
    """
    output, meaning = output.float(), meaning or Meaning()
    if output.shape[1] == 1:
        return _against_none(output, classes, meaning)
    best = output.detach().argmax(1)
    for row, index in enumerate(classes):
        if index is not None:
            if index >= output.shape[1]:
                raise OutputError(f"class {index} is out of range: the output has {output.shape[1]} classes")
            best[row] = index
    logs = log_probabilities(output, meaning)
    logs = output.log_softmax(1) if logs is None else logs
    each = functional.nll_loss(logs, best, reduction="none")
    return each.flatten(1).mean(1).sum() if each.ndim > 1 else each.sum()


def _against_none(output: Tensor, classes: Sequence[int | None], meaning: Meaning) -> Tensor:
    """The summed loss of a single output, a logit or a probability: its own answer where nothing is known."""
    logs = log_probabilities(output, meaning)
    own = (output.detach() > 0 if logs is None else logs.detach().exp() > 0.5).float()
    for row, one in enumerate(classes):
        if one is not None:
            own[row] = float(one)
    if logs is None:
        each = functional.binary_cross_entropy_with_logits(output, own, reduction="none")
    else:
        each = functional.binary_cross_entropy(logs.exp().clamp(0, 1), own, reduction="none")
    return each.flatten(1).mean(1).sum()


@contextmanager
def _recorded(parameters: Sequence[nn.Parameter]) -> Iterator[None]:
    """Have these parameters take part in the graph; ``.grad`` is never written."""
    wanted = [parameter.requires_grad for parameter in parameters]
    try:
        for parameter in parameters:
            parameter.requires_grad_(True)
        with torch.enable_grad():
            yield
    finally:
        for parameter, before in zip(parameters, wanted, strict=True):
            parameter.requires_grad_(before)
