"""The workers, and all pieces of work that they do, did or will do.

A job runs in a worker thread, so the event loop is never blocked. Whoever asks for the same thing while it runs watches
the same job; who asks when it is done gets what was kept. When the last watcher leaves, the job stops.
"""

import itertools
import os
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable

from convscope.engine.context.metering import reporting
from convscope.errors import Cancelled
from convscope.values import Value
from convscope.web.jobs.job import Job, State, Together
from convscope.web.jobs.line import OF_ONE, Line
from convscope.web.jobs.results import BOUND, Results

WORKERS, LONG = OF_ONE + 1, 1
"""Workers for what is soon done, and for what takes long, so that nobody's click waits for a drawing."""
MODEST = 10
"""How far those of long work stand back where cores are short, in the system's steps of niceness."""
FORGOTTEN = 200
"""Finished jobs beyond this number are forgotten."""


def _always() -> bool:
    return True


class Jobs:
    """The queue, its workers, and the results that are kept."""

    def __init__(self, *, workers: int = WORKERS, bound: int = BOUND) -> None:
        self.results = Results(bound)
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._lines = Line(), Line()
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._threads = [
            threading.Thread(target=self._work, args=(n >= workers,), name=f"job-{n}", daemon=True)
            for n in range(workers + LONG)
        ]
        for thread in self._threads:
            thread.start()

    def submit(
        self,
        key: str,
        work: Callable[[], Value],
        together: Together | None = None,
        *,
        long: bool = False,
        owner: str = "",
    ) -> Job:
        """A job for this key: one that runs already, one whose result was kept, or a new one."""
        with self._lock:
            running = [one for one in self._jobs.values() if one.key == key and not one.over and not one.stopping]
            if running:
                return running[0]
            job = Job(f"{next(self._numbers)}", key, work, together, owner)
            self._jobs[job.id] = job
            while len(self._jobs) > FORGOTTEN and next(iter(self._jobs.values())).over:
                self._jobs.popitem(last=False)
        kept = self.results.get(key)
        if kept is not None:
            job.value, job.state = kept, State.DONE
            job.finish()
        else:
            self._lines[long].put(job)
        return job

    def get(self, id: str) -> Job | None:
        """The job of that number, while it is remembered."""
        with self._lock:
            return self._jobs.get(id)

    def watch(self, job: Job, present: Callable[[], bool] = _always) -> None:
        """Somebody looks at it now; ``present`` says whether he does so still, as a tab that was closed does not."""
        with self._lock:
            job.watching.append(present)

    def leave(self, job: Job, present: Callable[[], bool] = _always) -> None:
        """Somebody looks away; the last one to do so stops the work."""
        with self._lock:
            job.watching.remove(present)
            if not job.watching and not job.over:
                job.cancel()

    def stop(self, job: Job) -> bool:
        """Have the work stop for one who watches it; whether it does: where others watch it too, it goes on for them.

        Whoever is told False has but to leave.
        """
        with self._lock:
            if sum(present() for present in job.watching) > 1:
                return False
        job.cancel()
        return True

    def close(self) -> None:
        """Stop everything and wait for the workers."""
        with self._lock:
            for job in self._jobs.values():
                job.cancel()
        for line in self._lines:
            line.close()
        for thread in self._threads:
            thread.join(timeout=10)
        for job in list(self._jobs.values()):
            _stopped(job)

    def _work(self, long: bool) -> None:
        line = self._lines[long]
        if long and sys.platform == "linux":  # where each thread has a niceness of its own, and hands it on
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), MODEST)
        while taken := line.take():
            try:
                self._do([job for job in taken if not _stopped(job)])
            finally:
                line.done(taken)

    def _do(self, batch: list[Job]) -> None:
        if len(batch) > 1:
            run_together(batch)
        for job in batch:
            if not job.over and not _stopped(job):
                job.run()
            if job.state is State.DONE and job.value is not None and not job.stopping:
                self.results.put(job.key, job.value)


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
    except BaseException:  # one of them may be at fault: each says what is wrong with it when it is run alone
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
