"""Compares a converted network with the original in its own engine when it is opened."""

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from torch import Tensor

from convscope.engine.network.conversion import Conversion
from convscope.engine.network.hooks import first_tensor, on_forward
from convscope.engine.network.model import Model
from convscope.errors import LoadError

MAX_DIFFERENCE = 1e-3
"""A network that differs by more than this, relative to its largest output, is refused."""

LayerOutputs = Callable[[], Iterable[tuple[str, np.ndarray]]]
"""The outputs of the original's layers by address, in the order of execution, laid out as the converted network's."""


def check_conversion(
    model: Model,
    inputs: Tensor | tuple[Tensor, ...],
    expected: np.ndarray,
    *,
    engine: str,
    layers: LayerOutputs | None = None,
    limit: float = MAX_DIFFERENCE,
    actual: Tensor | None = None,
) -> None:
    """Compare the output of a converted network with that of the original, and keep the result in the model.

    Args:
        model: the converted network; ``model.conversion`` is set.
        inputs: prepared inputs (N, C, …); as a tuple, what the module itself takes, and ``actual`` is needed.
        expected: what the original gives for them, as the converted network returns it (its selected output).
        engine: the engine that ran the original, with its version, such as ``ONNX Runtime 1.23``.
        layers: outputs of the original's layers; called only if the outputs differ.
        limit: the largest difference, relative to the largest output, that is accepted.
        actual: what the converted network gives for them, if it has run; otherwise it runs.

    Raises:
        LoadError: they differ by more than the limit; the message names the first layer that differs.
    """
    if actual is None:
        assert isinstance(inputs, Tensor), "several inputs are run by the caller"
        with model.preserve_state(), torch.no_grad():
            actual = model.run(inputs.detach().clone())  # in one memory format: no trial of others
    difference = relative_difference(actual.float().cpu().numpy(), expected)
    if not difference <= limit:
        where = _first_difference(model, inputs, layers, limit) if layers is not None else ""
        raise LoadError(
            f"{model.name} was converted wrongly: its output differs from {engine} by {difference:.1e} of the largest "
            f"value{where}; please report this file"
        )
    model.conversion = Conversion(engine, difference)


def relative_difference(actual: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference, divided by the largest expected value; infinite for shapes that differ."""
    expected = np.asarray(expected, dtype=np.float64).reshape(-1)
    actual = np.asarray(actual, dtype=np.float64).reshape(-1)
    if actual.shape != expected.shape:
        return float("inf")
    largest = float(np.abs(expected).max(initial=0))
    return float(np.abs(actual - expected).max(initial=0)) / (largest or 1.0)


def _first_difference(model: Model, inputs: Tensor | tuple[Tensor, ...], layers: LayerOutputs, limit: float) -> str:
    """The words that name the first layer whose output differs."""
    expected = dict(layers())
    own = set(model.layers())
    outputs = _outputs_of_layers(model, [address for address in expected if address in own], inputs)
    for address, output in outputs.items():
        difference = relative_difference(output, expected[address])
        if not difference <= limit:
            return f", first at layer {address!r} ({difference:.1e})"
    return ", though every layer that could be compared agrees"


def _outputs_of_layers(
    model: Model, addresses: list[str], inputs: Tensor | tuple[Tensor, ...]
) -> dict[str, np.ndarray]:
    """The outputs of layers in one forward pass, in the order of execution; those that are no tensors are left out."""
    outputs: dict[str, np.ndarray] = {}

    def keep(address: str) -> Callable[..., None]:
        def hook(_module: Any, _inputs: Any, output: Any) -> None:
            tensor = first_tensor(output)
            if tensor is not None:
                outputs[address] = tensor.detach().float().cpu().numpy().copy()  # the next layer may overwrite it

        return hook

    with ExitStack() as hooks, model.preserve_state(), torch.no_grad():
        for address in addresses:
            hooks.callback(on_forward(model.module, address, keep(address)).remove)
        if isinstance(inputs, tuple):
            model.module(*(part.clone() for part in inputs))
        else:
            model.run_module(model.input_copy(inputs))
    return outputs
