"""The gradient of the loss over a data set with respect to the parameters, accumulated chunk by chunk."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from convscope.engine.context.metering import count_passes
from convscope.engine.data.data_set import Chunk, Dataset
from convscope.engine.network.output_meaning import Meaning, log_probabilities
from convscope.engine.network.parametrized import owning_layer, weight_modules
from convscope.engine.targets.classes import class_scores
from convscope.errors import LayerError, NoGradient, NotFinite, OutputError

if TYPE_CHECKING:
    from convscope.engine.network.model import Model

OWN_PARAMETERS = "(its own)"
"""The name for parameters that belong to the network itself and to none of its layers."""


def parameters_by_layer(model: "Model") -> dict[str, dict[str, nn.Parameter]]:
    """The parameters by module: address → name → parameter. A shared parameter is listed once.

    Raises:
        LayerError: there are none.
    """
    parameters: dict[str, dict[str, nn.Parameter]] = {}
    seen_ids: set[int] = set()
    weights = weight_modules(model.module)
    for address, module in model.module.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            if id(parameter) not in seen_ids and parameter.is_floating_point():
                seen_ids.add(id(parameter))
                layer = owning_layer(address, weights)
                path = address[len(layer) :].lstrip(".")
                parameters.setdefault(layer or OWN_PARAMETERS, {})[f"{path}.{name}" if path else name] = parameter
    if not parameters and model.quantized_part() is not None:
        raise LayerError(
            f"the weights of {model.name} are quantised (packed int8 numbers), to which there is no gradient: look at "
            "the network before quantisation"
        )
    if not parameters:
        raise LayerError(f"{model.name} has no parameters: there is nothing that a gradient could move")
    return parameters


def loss_gradients(
    model: "Model", images: Dataset, layers: Mapping[str, Mapping[str, nn.Parameter]]
) -> tuple[dict[str, Tensor], float, int, int]:
    """The gradient of the mean loss over a data set with respect to the parameters of each layer.

    The loss is the cross-entropy with the label, or with the network's own top class where there is no label.

    Returns:
        The flattened gradient by layer, the mean loss, the number of images, and how many of them have a known label.

    Raises:
        NoGradient: the output does not depend on any of the parameters.
        NotFinite: the loss or a gradient is NaN or infinite; the layer is named.
    """
    parameters = [p for group in layers.values() for p in group.values()]
    sums = [torch.zeros_like(p, dtype=torch.float32) for p in parameters]
    image_count, loss, labeled = 0, 0.0, 0

    def step(chunk: Chunk) -> None:
        nonlocal image_count, loss, labeled
        classes = images.classes(chunk.labels)
        output = model.run(model.input_copy(chunk.tensor))
        summed = _loss(model, output, classes)
        model.require_gradient()
        if not summed.requires_grad:
            raise NoGradient(f"the output of {model.name} does not depend on these parameters: there is no gradient")
        gradients = torch.autograd.grad(summed, parameters, allow_unused=True)
        count_passes(backwards=len(chunk))
        for total, gradient in zip(sums, gradients, strict=True):
            if gradient is not None:
                total += gradient
        image_count, loss = image_count + len(chunk), loss + float(summed.detach())
        labeled += sum(index is not None for index in classes)

    with _requiring_grad(parameters):
        images.for_each_chunk(step)
    flat, start = {}, 0
    for address, group in layers.items():
        flat[address] = torch.cat([total.reshape(-1) for total in sums[start : start + len(group)]]) / image_count
        start += len(group)
        if not bool(torch.isfinite(flat[address]).all()):
            raise NotFinite(f"the gradient of the loss to {address!r} holds NaN or infinite numbers")
    return flat, loss / image_count, image_count, labeled


def _loss(model: "Model", output: Tensor, classes: Sequence[int | None]) -> Tensor:
    """The summed cross-entropy of a batch; where a class is no column of the output, of what its task gives it."""
    if model.task is not None and model.task.class_scores is not None:
        return cross_entropy(class_scores(output.float(), model), classes, Meaning("probabilities"))
    return cross_entropy(output, classes, model.meaning)


def cross_entropy(output: Tensor, classes: Sequence[int | None], meaning: Meaning | None = None) -> Tensor:
    """The summed cross-entropy of a batch, of each output with its class, or with its own top class where that is None.

    A single output is treated as binary. Probabilities and their logarithms (see ``meaning``) are used as they are; for
    a dense output the loss is averaged over positions.
    """
    output, meaning = output.float(), meaning or Meaning()
    if output.shape[1] == 1:
        return _binary_cross_entropy(output, classes, meaning)
    targets = output.detach().argmax(1)
    for row, index in enumerate(classes):
        if index is not None:
            if index >= output.shape[1]:
                raise OutputError(f"class {index} is out of range: the output has {output.shape[1]} classes")
            targets[row] = index
    logs = log_probabilities(output, meaning)
    logs = output.log_softmax(1) if logs is None else logs
    losses = functional.nll_loss(logs, targets, reduction="none")
    return losses.flatten(1).mean(1).sum() if losses.ndim > 1 else losses.sum()


def _binary_cross_entropy(output: Tensor, classes: Sequence[int | None], meaning: Meaning) -> Tensor:
    """The summed loss of a single output, a logit or a probability; its own prediction replaces unknown labels."""
    logs = log_probabilities(output, meaning)
    targets = (output.detach() > 0 if logs is None else logs.detach().exp() > 0.5).float()
    for row, label in enumerate(classes):
        if label is not None:
            targets[row] = float(label)
    if logs is None:
        losses = functional.binary_cross_entropy_with_logits(output, targets, reduction="none")
    else:
        losses = functional.binary_cross_entropy(logs.exp().clamp(0, 1), targets, reduction="none")
    return losses.flatten(1).mean(1).sum()


@contextmanager
def _requiring_grad(parameters: Sequence[nn.Parameter]) -> Iterator[None]:
    """Enable gradients of these parameters within the context; ``.grad`` is never written."""
    previous = [parameter.requires_grad for parameter in parameters]
    try:
        for parameter in parameters:
            parameter.requires_grad_(True)
        with torch.enable_grad():
            yield
    finally:
        for parameter, required in zip(parameters, previous, strict=True):
            parameter.requires_grad_(required)
