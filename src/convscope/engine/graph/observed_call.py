"""One operation as it was done: its arguments, its results, and what its tensors see."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from convscope.engine.graph.dependence import Dependence

Look = Callable[[Any], tuple[Dependence, ...] | None]
"""What a tensor sees, axis by axis of the input; None for constants and what is no tensor."""


@dataclass(frozen=True)
class Done:
    """One operation that was done."""

    func: Any
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    out: Any
    look: Look

    @property
    def outs(self) -> list[Tensor]:
        """The tensors it made."""
        listed = self.out if isinstance(self.out, (tuple, list)) else [self.out]
        return [one for one in listed if isinstance(one, Tensor)]

    def arg(self, index: int, default: Any = None, name: str = "") -> Any:
        """An argument by its place, or by its name."""
        return self.args[index] if index < len(self.args) else self.kwargs.get(name, default)

    def reading(self) -> list[tuple[Dependence, ...]]:
        """What the tensors among its arguments see, those that see something."""
        return [seen for one in tensors_in((self.args, self.kwargs)) if (seen := self.look(one)) is not None]


Rule = Callable[[Done], Sequence[tuple[Dependence, ...]] | None]
"""What each output sees; None where the rule does not fit this time."""


def tensors_in(thing: Any) -> list[Tensor]:
    """All tensors among arguments, also within lists and dicts."""
    if isinstance(thing, Tensor):
        return [thing]
    inner = thing.values() if isinstance(thing, Mapping) else thing if isinstance(thing, (tuple, list)) else ()
    return [tensor for one in inner for tensor in tensors_in(one)]
