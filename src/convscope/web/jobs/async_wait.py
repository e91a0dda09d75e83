"""Waiting without blocking: the event loop is woken when a job makes progress or ends; nothing is polled."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import ParamSpec, TypeVar

from convscope.web.jobs.job import Job

P = ParamSpec("P")
R = TypeVar("R")


async def run_in_thread(call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """The result of a call that runs in a thread; the caller can be cancelled meanwhile, as when the server stops."""
    return await asyncio.to_thread(call, *args, **kwargs)


async def wait_until_finished(job: Job, timeout: float | None = None, *, gone: Awaitable[object] | None = None) -> bool:
    """Wait until a job is finished; returns whether it is.

    Args:
        timeout: seconds to wait at most.
        gone: completes when the client that waits has left; then there is nothing to wait for.
    """
    finished = asyncio.Event()
    job.add_done_callback(_setter(finished))
    events = {asyncio.ensure_future(finished.wait())} | ({asyncio.ensure_future(gone)} if gone is not None else set())
    try:
        await asyncio.wait(events, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for event in events:
            event.cancel()
    return job.is_finished


async def progress_updates(job: Job, waiting: "asyncio.Task[Job]", interval: float) -> AsyncIterator[None]:
    """Yield at once and then whenever the job has made progress, until the task that waits for it is done.

    Args:
        interval: seconds between two updates at least, so that a fast job does not flood the browser.
    """
    changed = asyncio.Event()
    remove = job.add_progress_callback(_setter(changed))
    try:
        while not waiting.done():
            changed.clear()
            yield
            await asyncio.wait([waiting], timeout=interval)
            update = asyncio.ensure_future(changed.wait())
            try:
                await asyncio.wait([waiting, update], return_when=asyncio.FIRST_COMPLETED)
            finally:
                update.cancel()
    finally:
        remove()


def _setter(event: asyncio.Event) -> Callable[[], None]:
    """A function that sets an event of the running loop from any thread."""
    loop = asyncio.get_running_loop()

    def set_event() -> None:
        if not event.is_set() and not loop.is_closed():
            loop.call_soon_threadsafe(event.set)

    return set_event
