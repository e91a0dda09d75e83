"""One unit of background work: its progress, intermediate pictures, result or error; can be read from any thread."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import torch

from convscope.engine.context.metering import reporting, watching
from convscope.errors import Cancelled, ConvScopeError, InputError, ModelFailed
from convscope.values import Value


class State(StrEnum):
    """The state of a job."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class BatchSpec:
    """How a waiting job is run in one batch with other jobs of its group.

    Attributes:
        group: jobs with the same group can be batched.
        item: what this job adds to the batch.
        run_batch: computes the values of several items of the group, in their order.
    """

    group: str
    item: Any
    run_batch: Callable[[list[Any]], list[Value]] = field(repr=False)


@dataclass(eq=False)
class Job:
    """One unit of work and its state; can be read from any thread.

    Attributes:
        owner: the address of the model it uses; one owner cannot occupy all workers.
        key: identifies the result by content: two jobs with the same key have the same result.
        progress: steps done and steps in total; (0, 0) until the first report.
        preview: the pictures optimised so far, prepared for the network, while a drawing runs.
        scores: the scores of the pictures at each step so far.
        error: why it failed, in one sentence; ``refused`` if the request was at fault.
        watchers: one function for each client that waits for it; it returns whether the client is still connected.
    """

    id: str
    key: str
    work: Callable[[], Value] = field(repr=False)
    batch: BatchSpec | None = field(default=None, repr=False)
    owner: str = ""
    state: State = State.WAITING
    progress: tuple[int, int] = (0, 0)
    preview: torch.Tensor | None = field(default=None, repr=False)
    scores: list[list[float]] = field(default_factory=list, repr=False)
    value: Value | None = field(default=None, repr=False)
    error: str = ""
    refused: bool = False
    watchers: list[Callable[[], bool]] = field(default_factory=list, repr=False)
    finished: threading.Event = field(default_factory=threading.Event, repr=False)
    _stop: threading.Event = field(default_factory=threading.Event, repr=False)
    _callback_lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _done_callbacks: list[Callable[[], object]] = field(default_factory=list, repr=False)
    _progress_callbacks: list[Callable[[], object]] = field(default_factory=list, repr=False)

    @property
    def group(self) -> str:
        """The group it can be batched with; empty if it runs alone."""
        return self.batch.group if self.batch else ""

    @property
    def is_finished(self) -> bool:
        """Whether it is done, has failed or was cancelled."""
        return self.state in (State.DONE, State.FAILED, State.CANCELLED)

    @property
    def stop_requested(self) -> bool:
        """Whether it was asked to stop."""
        return self._stop.is_set()

    def add_done_callback(self, callback: Callable[[], object]) -> None:
        """Call ``callback()`` once the job is finished, from any thread; immediately if it is finished already."""
        with self._callback_lock:
            if not self.finished.is_set():
                self._done_callbacks.append(callback)
                return
        callback()

    def add_progress_callback(self, callback: Callable[[], object]) -> Callable[[], None]:
        """Call ``callback()`` after each step, from any thread; returns a function that removes the callback."""
        with self._callback_lock:
            self._progress_callbacks.append(callback)

        def remove() -> None:
            with self._callback_lock:
                self._progress_callbacks.remove(callback)

        return remove

    def set_progress(self, done: int, total: int) -> None:
        """Record the number of steps done and call the progress callbacks."""
        self.progress = (done, total)
        self._notify_progress()

    def mark_finished(self) -> None:
        """Wake all threads and callbacks that wait for the job."""
        with self._callback_lock:
            self.finished.set()
            callbacks, self._done_callbacks = self._done_callbacks, []
        for callback in callbacks:
            callback()

    def cancel(self) -> None:
        """Ask the work to stop at its next step; a drawing then returns its best picture so far."""
        self._stop.set()

    def run(self) -> None:
        """Do the work in the current thread."""
        self.state = State.RUNNING
        try:
            with reporting(self._on_progress), watching(self._on_step):
                self._on_progress(0, 0)
                self.value = self.work()
            self.state = State.DONE
        except Cancelled:
            self.state = State.CANCELLED
        except ConvScopeError as error:
            self.error = str(error)
            self.refused = isinstance(error, InputError) or not isinstance(error, ModelFailed)
            self.state = State.FAILED
        except BaseException as error:  # a user's network may raise anything, even SystemExit; the worker survives
            self.error, self.state = f"unexpected {type(error).__name__}: {error}", State.FAILED
        finally:
            self.preview = None
            self.mark_finished()

    def _on_progress(self, done: int, total: int) -> None:
        self.set_progress(done, total)
        if self._stop.is_set():
            raise Cancelled("stopped")

    def _on_step(self, done: int, total: int, scores: torch.Tensor, picture: Callable[[], torch.Tensor]) -> None:
        self.scores.append(scores.detach().float().cpu().tolist())
        if self.watchers:
            self.preview = picture().detach().float().cpu()
        self._notify_progress()

    def _notify_progress(self) -> None:
        with self._callback_lock:
            callbacks = list(self._progress_callbacks)
        for callback in callbacks:
            callback()
