"""What the code of a run needs to know of its surroundings: one value, in one context variable.

`current` reads it; `changed` replaces fields of it for the code inside a ``with``. Threads and tasks have their own.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from torch import Tensor

if TYPE_CHECKING:
    from convscope.engine.context.metering import Meter

ProgressReport = Callable[[int, int], None]
"""Called with (done, total) as long work goes on; it may raise `Cancelled` to stop it."""

PictureWatcher = Callable[[int, int, Tensor, Callable[[], Tensor]], None]
"""Called now and then with (done, total, scores, picture), where ``picture()`` gives the current pictures, prepared for
the network; it may raise `Cancelled`."""


@dataclass
class Observations:
    """What turned out while a lens ran.

    Attributes:
        gradients_used: whether the result depends on gradients of the network.
        determinism_checked: whether the same input was scored twice, so that random networks were noticed.
    """

    gradients_used: bool = False
    determinism_checked: bool = False


class SharedResults:
    """Results that several lenses on the same images and target compute once.

    Attributes:
        target: what all of them explain.
    """

    def __init__(self, target: Any) -> None:
        self.target = target
        self._results: dict[tuple[Any, ...], Any] = {}

    def get(self, key: tuple[Any, ...], compute: Callable[[], Any]) -> Any:
        """The result for a key, computed at the first request. Objects in the key are compared by identity."""
        identity = tuple(part if isinstance(part, (str, tuple)) else _SameObject(part) for part in key)
        if identity not in self._results:
            self._results[identity] = compute()
        return self._results[identity]


@dataclass(frozen=True, eq=False)
class _SameObject:
    """An object as a key. It is kept alive, so that no other object can take its identity."""

    held: Any

    def __hash__(self) -> int:
        return id(self.held)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _SameObject) and self.held is other.held


@dataclass
class KeptForward:
    """The last forward pass with a graph, for gradients of other targets on the same inputs.

    Attributes:
        model: the network.
        layers: where the graph starts.
        inputs: the prepared inputs of the pass.
        output: what the network gave for them.
        activations: what the layers gave.
    """

    model: Any = None
    layers: tuple[str, ...] = ()
    inputs: Tensor | None = None
    output: Tensor | None = None
    activations: list[Tensor] = field(default_factory=list)


@dataclass(frozen=True)
class RunContext:
    """The surroundings of a run.

    Attributes:
        report: called with the progress; None where nobody listens.
        report_is_decided: whether a caller chose who listens, if anybody; otherwise a progress bar may be shown.
        watcher: called with the pictures of an optimization.
        meter: counts passes through the network.
        one_at_a_time: whether every chunk holds a single input.
        keep_graph: whether results keep their graph, so that they can be part of a loss.
        differentiates_to_input: whether the lens that inputs are prepared for differentiates down to them.
        shared: results that lenses on the same images share.
        kept_forward: the forward pass that gradients of several targets share, with its graph.
        observations: where code inside the run writes down what turned out; by default nobody reads it.
    """

    report: ProgressReport | None = None
    report_is_decided: bool = False
    watcher: PictureWatcher | None = None
    meter: "Meter | None" = None
    one_at_a_time: bool = False
    keep_graph: bool = False
    differentiates_to_input: bool = False
    shared: SharedResults | None = None
    kept_forward: "KeptForward | None" = None
    observations: Observations = field(default_factory=Observations)


_CURRENT: ContextVar[RunContext | None] = ContextVar("run context", default=None)
_DEFAULT = RunContext()


def current() -> RunContext:
    """The surroundings of the code that is running."""
    return _CURRENT.get() or _DEFAULT


@contextmanager
def changed(**fields: Any) -> Iterator[RunContext]:
    """Replace fields of the run context for the code inside.

    Example:
        >>> with changed(one_at_a_time=True):
        ...     current().one_at_a_time
        True
        >>> current().one_at_a_time
        False
    """
    token = _CURRENT.set(replace(current(), **fields))
    try:
        yield current()
    finally:
        _CURRENT.reset(token)


@contextmanager
def observed() -> Iterator[Observations]:
    """Learn what turns out while the code inside runs."""
    with changed(observations=Observations()) as context:
        yield context.observations
