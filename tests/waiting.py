"""Waiting for threads and jobs by their events, without assertions on the elapsed time and without polling."""

import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from convscope.web.jobs.job import Job

TIMEOUT = 240
"""Seconds after which a wait fails: more than any takes on a busy machine, few enough to learn soon of a wrong page."""


def wait_for_progress(job: "Job", holds: Callable[["Job"], object]) -> None:
    """Wait until ``holds(job)`` is true, which is tested after each of the job's steps."""
    reached = threading.Event()

    def test() -> None:
        if holds(job):
            reached.set()

    remove = job.add_progress_callback(test)
    test()
    assert reached.wait(TIMEOUT), "timed out"
    remove()


def run_in_threads(work: Callable[..., Any], arguments: Iterable[tuple[Any, ...]]) -> None:
    """Run ``work`` in one thread per tuple of arguments, and wait until all are finished."""
    threads = [threading.Thread(target=work, args=args) for args in arguments]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
    assert not any(thread.is_alive() for thread in threads)
