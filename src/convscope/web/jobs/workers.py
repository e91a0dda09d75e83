"""The worker threads and all jobs: waiting, running and finished.

A job runs in a worker thread, so the event loop is never blocked. Clients that ask for the same result while it is
computed share one job; later they get the cached result. When the last watcher leaves, the job stops.
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
from convscope.web.jobs.job import BatchSpec, Job, State
from convscope.web.jobs.results import MAX_BYTES, ResultCache
from convscope.web.jobs.work_queue import MAX_WORKERS_PER_OWNER, WorkQueue

QUICK_WORKERS, LONG_WORKERS = MAX_WORKERS_PER_OWNER + 1, 1
"""Worker threads for quick and for long jobs: a quick job never waits for a drawing."""
LONG_WORKER_NICENESS = 10
"""The niceness of threads for long jobs, which yields the cores to quick jobs where cores are few."""
MAX_JOBS = 200
"""Finished jobs beyond this number are forgotten."""


def _always_connected() -> bool:
    return True


class JobManager:
    """The queues, their workers, and the cached results.

    Args:
        workers: the number of threads for quick jobs.
        max_bytes: the memory limit of cached results.
    """

    def __init__(self, *, workers: int = QUICK_WORKERS, max_bytes: int = MAX_BYTES) -> None:
        self.results = ResultCache(max_bytes)
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._queues = WorkQueue(), WorkQueue()
        self._lock = threading.Lock()
        self._ids = itertools.count(1)
        self._threads = [
            threading.Thread(target=self._work, args=(n >= workers,), name=f"job-{n}", daemon=True)
            for n in range(workers + LONG_WORKERS)
        ]
        for thread in self._threads:
            thread.start()

    def submit(
        self,
        key: str,
        work: Callable[[], Value],
        batch: BatchSpec | None = None,
        *,
        long: bool = False,
        owner: str = "",
    ) -> Job:
        """The job for this key: one that is running, one with the cached result, or a new one."""
        with self._lock:
            running = [job for job in self._jobs.values() if job.key == key and _is_active(job)]
            if running:
                return running[0]
            job = Job(f"{next(self._ids)}", key, work, batch, owner)
            self._jobs[job.id] = job
            while len(self._jobs) > MAX_JOBS and next(iter(self._jobs.values())).is_finished:
                self._jobs.popitem(last=False)
        cached = self.results.get(key)
        if cached is not None:
            job.value, job.state = cached, State.DONE
            job.mark_finished()
        else:
            self._queues[long].put(job)
        return job

    def get(self, id: str) -> Job | None:
        """The job with this id, while it is remembered."""
        with self._lock:
            return self._jobs.get(id)

    def watch(self, job: Job, is_connected: Callable[[], bool] = _always_connected) -> None:
        """Add a watcher; ``is_connected`` returns False once its tab is closed."""
        with self._lock:
            job.watchers.append(is_connected)

    def unwatch(self, job: Job, is_connected: Callable[[], bool] = _always_connected) -> None:
        """Remove a watcher; the job stops when the last one is removed."""
        with self._lock:
            job.watchers.remove(is_connected)
            if not job.watchers and not job.is_finished:
                job.cancel()

    def stop(self, job: Job) -> bool:
        """Stop a job for one of its watchers; returns False if it goes on because others watch it too.

        In that case the caller only has to leave.
        """
        with self._lock:
            if sum(is_connected() for is_connected in job.watchers) > 1:
                return False
        job.cancel()
        return True

    def close(self) -> None:
        """Stop all jobs and wait for the workers."""
        with self._lock:
            for job in self._jobs.values():
                job.cancel()
        for queue in self._queues:
            queue.close()
        for thread in self._threads:
            thread.join(timeout=10)
        for job in list(self._jobs.values()):
            _finish_if_stopped(job)

    def _work(self, long: bool) -> None:
        queue = self._queues[long]
        if long and sys.platform == "linux":  # there each thread has its own niceness, which its children inherit
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LONG_WORKER_NICENESS)
        while batch := queue.take():
            try:
                self._run([job for job in batch if not _finish_if_stopped(job)])
            finally:
                queue.done(batch)

    def _run(self, batch: list[Job]) -> None:
        if len(batch) > 1:
            run_as_batch(batch)
        for job in batch:
            if not job.is_finished and not _finish_if_stopped(job):
                job.run()
            if job.state is State.DONE and job.value is not None and not job.stop_requested:
                self.results.put(job.key, job.value)


def run_as_batch(jobs: list[Job]) -> None:
    """Run several jobs of one group as one batch; if that fails, they are left to run one by one."""

    def on_progress(done: int, total: int) -> None:
        for job in jobs:
            job.set_progress(done, total)
        if all(job.stop_requested for job in jobs):
            raise Cancelled("stopped")

    for job in jobs:
        job.state = State.RUNNING
    specs = [job.batch for job in jobs if job.batch is not None]
    try:
        with reporting(on_progress):
            values = specs[0].run_batch([spec.item for spec in specs])
    except BaseException:  # one of them may be at fault: run alone, each job reports its own error
        for job in jobs:
            job.state = State.WAITING
        return
    for job, value in zip(jobs, values, strict=True):
        job.value, job.state = value, State.DONE
        job.mark_finished()


def _is_active(job: Job) -> bool:
    return not job.is_finished and not job.stop_requested


def _finish_if_stopped(job: Job) -> bool:
    """Finish a job that was stopped before it began; returns whether it is finished."""
    if job.stop_requested and not job.is_finished:
        job.state = State.CANCELLED
        job.mark_finished()
    return job.is_finished
