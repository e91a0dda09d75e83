"""The line in which jobs wait for a worker: first come, first served, and what is alike goes together.

Work of one group is at one worker at a time. What of that group comes meanwhile waits and is then done in one go: the
more is asked, the larger the batches, and no two workers fight over the cores with halves of one batch.
"""

import threading
from collections import Counter, deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from convscope.web.jobs.job import Job

AT_ONCE = 24
"""So many jobs of one group are done in one go."""
OF_ONE = 2
"""So many workers are at work for one owner at once; another is left for the others, whatever its network does."""


class Line:
    """Jobs that wait, for any number of workers."""

    def __init__(self) -> None:
        self._waiting: deque[Job] = deque()
        self._busy: set[str] = set()
        self._owners: Counter[str] = Counter()
        self._closed = False
        self._changed = threading.Condition()

    def put(self, job: "Job") -> None:
        """Have a job wait."""
        with self._changed:
            self._waiting.append(job)
            self._changed.notify()

    def take(self) -> "list[Job]":
        """The next job, with those that are done in one go with it; waits for one. Nothing once the line is closed."""
        with self._changed:
            while not self._closed:
                job = next(filter(self._may_begin, self._waiting), None)
                if job is not None:
                    return self._with_alike(job)
                self._changed.wait()
        return []

    def done(self, batch: "list[Job]") -> None:
        """Say that what was taken is over: its group may be taken again."""
        with self._changed:
            self._busy.discard(batch[0].group)
            self._owners[batch[0].owner] -= 1
            self._changed.notify_all()

    def close(self) -> None:
        """Send the workers home."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _may_begin(self, job: "Job") -> bool:
        return job.group not in self._busy and (not job.owner or self._owners[job.owner] < OF_ONE)

    def _with_alike(self, job: "Job") -> "list[Job]":
        batch = [job]
        self._owners[job.owner] += 1
        if job.group:
            self._busy.add(job.group)
            batch = [one for one in self._waiting if one.group == job.group][:AT_ONCE]
        for one in batch:
            self._waiting.remove(one)
        return batch
