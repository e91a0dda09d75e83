"""What a `Model` accepts as its network: modules, exported programs, models of other libraries, functions of arrays."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from convscope.engine.inputs.specs import InputSpec, TensorInput
from convscope.engine.network.exported_layers import (
    accept_other_batches,
    example_input,
    is_program,
    layers_of_program,
)
from convscope.engine.network.foreign_models import convert_foreign
from convscope.engine.network.operation_lists import OperationModule
from convscope.engine.network.scores_only import ScoresOnly
from convscope.engine.network.unwrapping import unwrapped
from convscope.errors import InputError

if TYPE_CHECKING:
    from convscope.engine.network.model import Model


@dataclass(frozen=True)
class AcceptedNetwork:
    """A network as a torch module, and what is known of it where the caller does not say it.

    Attributes:
        input: what the network says about its input; None if it says nothing.
        check: compares the finished model with the original that it was converted from.
    """

    module: nn.Module
    name: str
    source: str
    input: InputSpec | None = None
    caveats: tuple[str, ...] = ()
    check: "Callable[[Model], None] | None" = None


def accept(network: Any) -> AcceptedNetwork:
    """The network as a torch module without the wrappers of training.

    Raises:
        InputError: it is neither a network nor a function.
    """
    if is_program(network):
        example, layers = example_input(network), layers_of_program(network)
        accept_other_batches(layers, network)
        module = unwrapped(layers)
        input = None if example is None else TensorInput(tuple(example.shape[1:]))
        return AcceptedNetwork(module, _own_name(module), "python:torch.export.ExportedProgram", input)
    converted = convert_foreign(network)
    if converted is not None:
        module = unwrapped(converted.module)
        source = _python_source(module)
        return AcceptedNetwork(module, converted.name, source, converted.input, converted.caveats, converted.check)
    module = unwrapped(network if isinstance(network, nn.Module) else _as_scores_only(network))
    return AcceptedNetwork(module, _own_name(module), _python_source(module))


def is_accepted(network: Any) -> bool:
    """Whether this is a network or a function, which `accept` makes a module."""
    return (
        isinstance(network, nn.Module) or is_program(network) or (callable(network) and not isinstance(network, type))
    )


def _as_scores_only(function: Any) -> ScoresOnly:
    """A function of arrays as a network whose scores alone are known."""
    if isinstance(function, type):
        raise InputError(f"a model is built from a network, got the class {function.__name__}: make an instance of it")
    if not callable(function):
        raise InputError(
            f"a model is built from a torch.nn.Module or a function, got {type(function).__name__}: "
            f"{_other_way(function)}"
        )
    return ScoresOnly(function)


def _other_way(network: Any) -> str:
    """How to open what is neither a module nor a function."""
    if isinstance(network, (str, Path)):
        return "cs.load(…) opens a file or an address"
    predict = next((name for name in ("predict_proba", "decision_function") if hasattr(network, name)), "")
    if predict:
        return f"give a function of arrays that calls its {predict}"
    return "save it to a file and open that with cs.load(…), or give a function of arrays that calls it"


def _own_name(module: nn.Module) -> str:
    """The name of a function, or of a module's class; of a network from a file, the class that was saved."""
    if isinstance(module, (ScoresOnly, OperationModule)):
        return module.extra_repr()
    return type(module).__name__


def _python_source(module: nn.Module) -> str:
    """Where the function or the class of a network is defined."""
    defined = module.function if isinstance(module, ScoresOnly) else type(module)
    if not hasattr(defined, "__qualname__"):  # a callable object
        defined = type(defined)
    return f"python:{defined.__module__}.{defined.__qualname__}"
