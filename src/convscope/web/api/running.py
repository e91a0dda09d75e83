"""Work: start it, ask how far it is, give it up, take what it found."""

# mypy: disallow-untyped-decorators=False

import functools
import os
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any, Literal

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from convscope.errors import UnknownName
from convscope.values import Value
from convscope.web.api.shapes import AT, BINARY, KINDS, Asked, Refusal, Told
from convscope.web.export import file_of
from convscope.web.jobs.job import Job, State
from convscope.web.jobs.waiting import over
from convscope.web.lens_page import link_to
from convscope.web.url_state import View

if TYPE_CHECKING:
    from convscope.web.jobs.workers import Jobs
    from convscope.web.services import Bench


def running(bench: "Bench", router: APIRouter) -> APIRouter:
    """Put the routes on a router."""
    wanted = Wanted(bench.jobs)
    _start(bench, wanted, router)
    _follow(bench.jobs, wanted, router)
    return router


class Wanted:
    """Jobs that programs will come back for: each asking watches its job until it is given up or over."""

    def __init__(self, jobs: "Jobs") -> None:
        self._jobs = jobs
        self._asked: Counter[str] = Counter()

    def want(self, job: Job) -> None:
        """Somebody will ask for it."""
        if not job.over:
            self._asked[job.id] += 1
            self._jobs.watch(job)
            job.when_finished(lambda: self._asked.pop(job.id, None))

    def give_up(self, job: Job) -> None:
        """One of those who asked for it needs it no more."""
        if self._asked[job.id] > 0:
            self._asked[job.id] -= 1
            self._jobs.leave(job)

    @asynccontextmanager
    async def watched(self, job: Job) -> AsyncIterator[None]:
        """Somebody waits for it here and now."""
        self._jobs.watch(job)
        try:
            yield
        finally:
            self._jobs.leave(job)


def _start(bench: "Bench", wanted: Wanted, router: APIRouter) -> None:
    files = {KINDS[kind]: BINARY for kind in ("png", "npz")}

    @router.post(
        "/run",
        operation_id="run",
        status_code=202,
        response_model=Told,
        responses={200: {"model": Told, "description": "it is done", "content": files}},
    )
    async def run(
        asked: Asked,
        request: Request,
        response: Response,
        wait: Annotated[float, Query(ge=0, le=60, description="seconds to wait for it to be done")] = 0,
        give: Annotated[
            Literal["job", "png", "npz"], Query(description="what to answer once it is done: the job, or its result")
        ] = "job",
    ) -> Any:
        """Have a lens look. What is not done in time is a job, which is asked for later."""
        job = await run_in_threadpool(bench.look, asked.view())
        async with wanted.watched(job):
            if wait and not job.over:
                await over(job, wait, gone=request.is_disconnected)
            if not job.over and not (wait and await request.is_disconnected()):
                wanted.want(job)
        if job.state is State.FAILED:
            raise _failure(job)
        if give != "job" and job.value is not None:
            return await to_thread.run_sync(_file, job.value, give, limiter=_writers())
        response.status_code = 200 if job.over else 202
        return _told(job, asked.view())


def _follow(jobs: "Jobs", wanted: Wanted, router: APIRouter) -> None:
    def known(id: str) -> Job:
        job = jobs.get(id)
        if job is None:
            raise UnknownName(f"no job {id!r}: it was never started, or finished long ago")
        return job

    @router.get("/jobs/{id}", operation_id="job")
    def job(id: str) -> Told:
        """How far a job is."""
        return _told(known(id))

    @router.delete("/jobs/{id}", operation_id="cancel")
    async def cancel(id: str) -> Told:
        """Give a job up, once for each time it was asked for.

        It stops when nobody else asked for it or watches it on a page; a drawing gives its best so far.
        """
        found = known(id)
        wanted.give_up(found)
        return _told(found)

    @router.get(
        "/jobs/{id}/result.{kind}",
        operation_id="result",
        response_class=Response,
        responses={
            200: {"content": {kind: BINARY if "json" not in kind else {"schema": {}} for kind in KINDS.values()}},
            409: {"model": Refusal, "description": "it is not done"},
        },
    )
    def result(id: str, kind: Literal["png", "npz", "json"], theme: Literal["light", "dark"] = "light") -> Response:
        """What a job found: its picture, its numbers (NPZ) or all that is known of it (JSON)."""
        found = known(id)
        if found.state is State.FAILED:
            raise _failure(found)
        if found.value is None:
            raise HTTPException(
                409, f"job {id} is {found.state.value}, {found.progress[0]} of {found.progress[1]} steps"
            )
        return _file(found.value, kind, **({"theme": theme} if kind == "png" else {}))


@functools.cache
def _writers() -> CapacityLimiter:
    """So many files are written at once: half the cores, for the other half computes what is written next."""
    return CapacityLimiter(max(1, (os.cpu_count() or 2) // 2))


def _file(value: Value, kind: str, **options: Any) -> Response:
    headers = {"content-disposition": f'inline; filename="{value.record.lens or "result"}.{kind}"'}
    return Response(file_of(value, f".{kind}", **options), media_type=KINDS[kind], headers=headers)


def _told(job: Job, view: View | None = None) -> Told:
    done, total = job.progress
    where = {kind: f"{AT}/jobs/{job.id}/result.{kind}" for kind in KINDS} if job.value is not None else {}
    link = link_to(view) if view else ""
    return Told(id=job.id, state=job.state, done=done, total=total, error=job.error, link=link, results=where)


def _failure(job: Job) -> HTTPException:
    return HTTPException(422 if job.refused else 500, job.error)
