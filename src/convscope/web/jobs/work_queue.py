"""The queue in which jobs wait for a worker: first come, first served; jobs of one group are run as one batch.

Jobs of one group run on one worker at a time. Further jobs of the group wait and are then run as one batch: the batches
grow with the load, and no two workers compete for the cores with halves of one batch.
"""

import threading
from collections import Counter, deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from convscope.web.jobs.job import Job

MAX_BATCH_SIZE = 24
"""Jobs of one group that are run as one batch, at most."""
MAX_WORKERS_PER_OWNER = 2
"""Workers that one owner can occupy at once; another one stays free for others if a network hangs."""


class WorkQueue:
    """Waiting jobs, for any number of workers."""

    def __init__(self) -> None:
        self._waiting: deque[Job] = deque()
        self._busy_groups: set[str] = set()
        self._workers_by_owner: Counter[str] = Counter()
        self._closed = False
        self._changed = threading.Condition()

    def put(self, job: "Job") -> None:
        """Add a job."""
        with self._changed:
            self._waiting.append(job)
            self._changed.notify()

    def take(self) -> "list[Job]":
        """Wait for the next job and return it with those batched with it; an empty list once the queue is closed."""
        with self._changed:
            while not self._closed:
                job = next(filter(self._can_start, self._waiting), None)
                if job is not None:
                    return self._take_batch(job)
                self._changed.wait()
        return []

    def done(self, batch: "list[Job]") -> None:
        """Report that a batch from `take` is finished, so that its group can be taken again."""
        with self._changed:
            self._busy_groups.discard(batch[0].group)
            self._workers_by_owner[batch[0].owner] -= 1
            self._changed.notify_all()

    def close(self) -> None:
        """Make all workers return."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _can_start(self, job: "Job") -> bool:
        owner_has_room = not job.owner or self._workers_by_owner[job.owner] < MAX_WORKERS_PER_OWNER
        return job.group not in self._busy_groups and owner_has_room

    def _take_batch(self, job: "Job") -> "list[Job]":
        batch = [job]
        self._workers_by_owner[job.owner] += 1
        if job.group:
            self._busy_groups.add(job.group)
            batch = [waiting for waiting in self._waiting if waiting.group == job.group][:MAX_BATCH_SIZE]
        for member in batch:
            self._waiting.remove(member)
        return batch
