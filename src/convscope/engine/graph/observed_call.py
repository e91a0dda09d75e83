"""One operation as it ran: its arguments, its results, and the dependences of the tensors it read."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from convscope.engine.graph.dependence import Dependence

DependenceLookup = Callable[[Any], tuple[Dependence, ...] | None]
"""The dependence of a tensor on each input axis; None for constants and for anything that is no tensor."""


@dataclass(frozen=True)
class ObservedCall:
    """One operation that ran.

    Attributes:
        dependence_of: the dependence of an argument, as it was before the operation ran.
    """

    func: Any
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    result: Any
    dependence_of: DependenceLookup

    @property
    def outputs(self) -> list[Tensor]:
        """The tensors among its results."""
        results = self.result if isinstance(self.result, (tuple, list)) else [self.result]
        return [result for result in results if isinstance(result, Tensor)]

    def argument(self, index: int, default: Any = None, name: str = "") -> Any:
        """An argument by its index, or by its name."""
        return self.args[index] if index < len(self.args) else self.kwargs.get(name, default)

    def input_dependences(self) -> list[tuple[Dependence, ...]]:
        """The dependences of the tensors among its arguments, without those of constants."""
        return [
            axes for tensor in tensors_in((self.args, self.kwargs)) if (axes := self.dependence_of(tensor)) is not None
        ]


DependenceRule = Callable[[ObservedCall], Sequence[tuple[Dependence, ...]] | None]
"""The dependence of each output; None where the rule does not apply to this call."""


def tensors_in(arguments: Any) -> list[Tensor]:
    """All tensors among arguments, also within lists and dicts."""
    if isinstance(arguments, Tensor):
        return [arguments]
    is_sequence = isinstance(arguments, (tuple, list))
    items = arguments.values() if isinstance(arguments, Mapping) else arguments if is_sequence else ()
    return [tensor for item in items for tensor in tensors_in(item)]
