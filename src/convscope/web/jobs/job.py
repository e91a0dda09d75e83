"""One piece of work: its progress, its live picture, what it found or why it failed; read from any thread."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import torch

from convscope.engine.context.metering import reporting, watching
from convscope.errors import Cancelled, ConvScopeError, ModelFailed
from convscope.values import Value


class State(StrEnum):
    """Where a job stands."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class Together:
    """How work that waits is done in one go with other work of its group.

    Attributes:
        many: finds the values of several things of the group, in their order.
    """

    group: str
    thing: Any
    many: Callable[[list[Any]], list[Value]] = field(repr=False)


@dataclass(eq=False)
class Job:
    """One piece of work and what is known of it; read from any thread.

    Attributes:
        owner: whose it is, by the model's address: no owner takes all workers.
        key: what it computes, by content: two jobs of one key give one result.
        progress: steps done, of how many; (0, 0) where nothing was told yet.
        preview: gives the pictures drawn so far, prepared for the network, while a drawing runs.
        scores: of the pictures at the steps seen so far.
        error: why it failed, in one sentence; ``refused`` says that the request was at fault.
    """

    id: str
    key: str
    work: Callable[[], Value] = field(repr=False)
    together: Together | None = field(default=None, repr=False)
    owner: str = ""
    state: State = State.WAITING
    progress: tuple[int, int] = (0, 0)
    preview: torch.Tensor | None = field(default=None, repr=False)
    scores: list[list[float]] = field(default_factory=list, repr=False)
    value: Value | None = field(default=None, repr=False)
    error: str = ""
    refused: bool = False
    began: float = field(default_factory=time.monotonic)
    watching: list[Callable[[], bool]] = field(default_factory=list, repr=False)
    finished: threading.Event = field(default_factory=threading.Event, repr=False)
    _stop: threading.Event = field(default_factory=threading.Event, repr=False)
    _telling: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _calls: list[Callable[[], object]] = field(default_factory=list, repr=False)

    @property
    def group(self) -> str:
        """What it is done in one go with; empty where it is done alone."""
        return self.together.group if self.together else ""

    @property
    def watchers(self) -> int:
        """How many look at it."""
        return len(self.watching)

    @property
    def over(self) -> bool:
        """Whether there is nothing more to wait for."""
        return self.state in (State.DONE, State.FAILED, State.CANCELLED)

    @property
    def stopping(self) -> bool:
        """Whether it was told to stop."""
        return self._stop.is_set()

    def when_finished(self, call: Callable[[], object]) -> None:
        """Have ``call()`` called once there is nothing more to wait for, from whichever thread; at once if so now."""
        with self._telling:
            if not self.finished.is_set():
                self._calls.append(call)
                return
        call()

    def finish(self) -> None:
        """Say to everybody who waits that it is over."""
        with self._telling:
            self.finished.set()
            calls, self._calls = self._calls, []
        for call in calls:
            call()

    def cancel(self) -> None:
        """Have the work stop at its next step; a drawing gives the best so far."""
        self._stop.set()

    def run(self) -> None:
        """Do the work in the present thread."""
        self.state = State.RUNNING
        try:
            with reporting(self._told), watching(self._seen):
                self._told(0, 0)
                self.value = self.work()
            self.state = State.DONE
        except Cancelled:
            self.state = State.CANCELLED
        except ConvScopeError as error:
            self.error, self.refused = str(error), not isinstance(error, ModelFailed)
            self.state = State.FAILED
        except BaseException as error:  # a user's network may raise anything, SystemExit too; the worker lives on
            self.error, self.state = f"unexpected {type(error).__name__}: {error}", State.FAILED
        finally:
            self.preview = None
            self.finish()

    def _told(self, done: int, total: int) -> None:
        self.progress = (done, total)
        if self._stop.is_set():
            raise Cancelled("stopped")

    def _seen(self, done: int, total: int, scores: torch.Tensor, picture: Callable[[], torch.Tensor]) -> None:
        self.scores.append(scores.detach().float().cpu().tolist())
        if self.watchers:
            self.preview = picture().detach().float().cpu()
