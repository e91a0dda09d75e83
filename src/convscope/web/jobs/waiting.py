"""Waiting without blocking: the event loop is woken when a job is over, and asks nobody in the meantime."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar

from convscope.web.jobs.job import Job

P = ParamSpec("P")
R = TypeVar("R")


async def aside(call: Callable[P, R], *given: P.args, **named: P.kwargs) -> R:
    """What a call gives, made in a thread; whoever is cancelled meanwhile, or as the server stops, goes no further."""
    return await asyncio.to_thread(call, *given, **named)


async def over(job: Job, seconds: float, *, gone: Callable[[], Awaitable[bool]] | None = None) -> bool:
    """Wait until a job is over, for so many seconds at most; whether it is.

    Args:
        gone: says whether whoever waits has left; then there is nothing to wait for.
    """
    loop, told = asyncio.get_running_loop(), asyncio.Event()

    def tell() -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(told.set)

    job.when_finished(tell)
    ends = loop.time() + seconds
    while not job.over and (left := ends - loop.time()) > 0:
        try:
            await asyncio.wait_for(told.wait(), min(left, 0.5))
        except TimeoutError:
            if gone is not None and await gone():
                return False
    return job.over
