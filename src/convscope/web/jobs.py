"""One queue of long work: progress, live pictures, cancelling; results kept by content within a bound of memory.

A job runs in a worker thread, so the event loop is never blocked. Whoever asks for the same thing while it runs watches
the same job; who asks when it is done gets what was kept. When the last watcher leaves, the job stops.
"""

import itertools
import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import torch

from convscope.engine.cost import reporting, watching
from convscope.errors import Cancelled, ConvScopeError, ModelFailed
from convscope.values import Value

WORKERS = 2
BOUND = 512 * 2**20
"""Bytes of results that are kept."""
AT_ONCE = 8
"""So many waiting jobs of one group are done in one go."""
FORGOTTEN = 200
"""Finished jobs beyond this number are forgotten."""


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
    state: State = State.WAITING
    progress: tuple[int, int] = (0, 0)
    preview: torch.Tensor | None = field(default=None, repr=False)
    scores: list[list[float]] = field(default_factory=list, repr=False)
    value: Value | None = field(default=None, repr=False)
    error: str = ""
    refused: bool = False
    began: float = field(default_factory=time.monotonic)
    watchers: int = 0
    finished: threading.Event = field(default_factory=threading.Event, repr=False)
    _stop: threading.Event = field(default_factory=threading.Event, repr=False)
    _telling: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _calls: list[Callable[[], object]] = field(default_factory=list, repr=False)

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
        except Exception as error:  # a user's network may raise anything; the page says it and lives on
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


class Jobs:
    """The queue, its workers, and the results that are kept."""

    def __init__(self, *, workers: int = WORKERS, bound: int = BOUND) -> None:
        self.results = Results(bound)
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._queue: queue.Queue[Job | None] = queue.Queue()
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._threads = [threading.Thread(target=self._work, name=f"job-{n}", daemon=True) for n in range(workers)]
        for thread in self._threads:
            thread.start()

    def submit(self, key: str, work: Callable[[], Value], together: Together | None = None) -> Job:
        """A job for this key: one that runs already, one whose result was kept, or a new one."""
        with self._lock:
            running = [one for one in self._jobs.values() if one.key == key and not one.over and not one.stopping]
            if running:
                return running[0]
            job = Job(f"{next(self._numbers)}", key, work, together)
            self._jobs[job.id] = job
            while len(self._jobs) > FORGOTTEN and next(iter(self._jobs.values())).over:
                self._jobs.popitem(last=False)
        kept = self.results.get(key)
        if kept is not None:
            job.value, job.state = kept, State.DONE
            job.finish()
        else:
            self._queue.put(job)
        return job

    def get(self, id: str) -> Job | None:
        """The job of that number, while it is remembered."""
        with self._lock:
            return self._jobs.get(id)

    def watch(self, job: Job) -> None:
        """Somebody looks at it now."""
        with self._lock:
            job.watchers += 1

    def leave(self, job: Job) -> None:
        """Somebody looks away; the last one to do so stops the work."""
        with self._lock:
            job.watchers -= 1
            if job.watchers <= 0 and not job.over:
                job.cancel()

    def close(self) -> None:
        """Stop everything and wait for the workers."""
        with self._lock:
            for job in self._jobs.values():
                job.cancel()
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join(timeout=10)

    def _work(self) -> None:
        while (job := self._queue.get()) is not None:
            batch = [one for one in (job, *self._alike(job)) if not _stopped(one)]
            if len(batch) > 1:
                run_together(batch)
            for one in batch:
                if not one.over and not _stopped(one):
                    one.run()
                if one.state is State.DONE and one.value is not None and not one.stopping:
                    self.results.put(one.key, one.value)

    def _alike(self, job: Job) -> list[Job]:
        """What waits and can be done in one go with this job, taken from the queue."""
        if job.together is None:
            return []
        with self._queue.mutex:
            waiting = self._queue.queue
            alike = [one for one in waiting if one and one.together and one.together.group == job.together.group]
            for one in alike[: AT_ONCE - 1]:
                waiting.remove(one)
        return alike[: AT_ONCE - 1]


def run_together(batch: list[Job]) -> None:
    """Do the work of several jobs of one group in one go; where that fails, they are left to run each for itself."""

    def told(done: int, total: int) -> None:
        for job in batch:
            job.progress = (done, total)
        if all(job.stopping for job in batch):
            raise Cancelled("stopped")

    for job in batch:
        job.state = State.RUNNING
    asked = [job.together for job in batch if job.together is not None]
    try:
        with reporting(told):
            values = asked[0].many([one.thing for one in asked])
    except Exception:  # one of them may be at fault: each says what is wrong with it when it is run alone
        for job in batch:
            job.state = State.WAITING
        return
    for job, value in zip(batch, values, strict=True):
        job.value, job.state = value, State.DONE
        job.finish()


def _stopped(job: Job) -> bool:
    """Whether it was stopped before it began."""
    if job.stopping and not job.over:
        job.state = State.CANCELLED
        job.finish()
    return job.over


class Results:
    """Values by what made them, the most recently used, within a bound of bytes."""

    def __init__(self, bound: int) -> None:
        self.bound, self.size = bound, 0
        self._kept: OrderedDict[str, tuple[Value, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: str) -> Value | None:
        """What was kept for this key."""
        with self._lock:
            if key not in self._kept:
                return None
            self._kept.move_to_end(key)
            return self._kept[key][0]

    def put(self, key: str, value: Value) -> None:
        """Keep a value, and let go of those that were used least recently."""
        weight = weight_of(value)
        with self._lock:
            if key in self._kept:
                self.size -= self._kept.pop(key)[1]
            if weight > self.bound:
                return
            self._kept[key] = (value, weight)
            self.size += weight
            while self.size > self.bound:
                _, (_, freed) = self._kept.popitem(last=False)
                self.size -= freed


def weight_of(value: Value) -> int:
    """About how many bytes a value holds."""
    return 4096 + sum(_bytes(getattr(value, name)) for name in value.arrays)


def _bytes(thing: Any) -> int:
    if isinstance(thing, dict):
        return sum(map(_bytes, thing.values()))
    inner = getattr(thing, "tensor", None)  # a photo made from its tensor when somebody looks
    if inner is not None:
        return _bytes(inner)
    return int(getattr(thing, "nbytes", 0))
