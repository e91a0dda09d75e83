"""Routes that run lenses: start a job, ask for its status, cancel it, fetch its result."""

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
from convscope.web.api.schemas import API_PREFIX, BINARY, MEDIA_TYPES, ErrorResponse, JobStatus, RunRequest
from convscope.web.frame.lens_page import page_link
from convscope.web.jobs.async_wait import wait_until_finished
from convscope.web.jobs.job import Job, State
from convscope.web.requests.export import file_bytes
from convscope.web.requests.url_state import View

if TYPE_CHECKING:
    from convscope.web.jobs.workers import JobManager
    from convscope.web.requests.services import Services


def add_run_routes(services: "Services", router: APIRouter) -> APIRouter:
    """Add the routes to a router."""
    clients = ApiClients(services.jobs)
    _add_start_route(services, clients, router)
    _add_job_routes(services.jobs, clients, router)
    return router


class ApiClients:
    """Watches jobs for clients of the API: each request for a job watches it until the job is cancelled or finished."""

    def __init__(self, jobs: "JobManager") -> None:
        self._jobs = jobs
        self._requests: Counter[str] = Counter()

    def keep(self, job: Job) -> None:
        """Watch a job for a client that will ask for it later."""
        if not job.is_finished:
            self._requests[job.id] += 1
            self._jobs.watch(job)
            job.add_done_callback(lambda: self._requests.pop(job.id, None))

    def give_up(self, job: Job) -> None:
        """Stop watching a job for one of the clients that asked for it."""
        if self._requests[job.id] > 0:
            self._requests[job.id] -= 1
            self._jobs.unwatch(job)

    @asynccontextmanager
    async def watching(self, job: Job) -> AsyncIterator[None]:
        """Watch a job while a request waits for it."""
        self._jobs.watch(job)
        try:
            yield
        finally:
            self._jobs.unwatch(job)


def _add_start_route(services: "Services", clients: ApiClients, router: APIRouter) -> None:
    files = {MEDIA_TYPES[kind]: BINARY for kind in ("png", "npz")}

    @router.post(
        "/run",
        operation_id="run",
        status_code=202,
        response_model=JobStatus,
        responses={200: {"model": JobStatus, "description": "the job is finished", "content": files}},
    )
    async def run(
        body: RunRequest,
        request: Request,
        response: Response,
        wait: Annotated[float, Query(ge=0, le=60, description="seconds to wait for the job to finish")] = 0,
        give: Annotated[
            Literal["job", "png", "npz"], Query(description="the response once it is finished: the job, or its result")
        ] = "job",
    ) -> Any:
        """Run a lens. If it does not finish in time, the response is a job whose status can be requested later."""
        job = await run_in_threadpool(services.submit, body.view())
        async with clients.watching(job):
            if wait and not job.is_finished:
                await wait_until_finished(job, wait, gone=_disconnected(request))
            if not job.is_finished and not (wait and await request.is_disconnected()):
                clients.keep(job)
        if job.state is State.FAILED:
            raise _job_error(job)
        if give != "job" and job.value is not None:
            return await to_thread.run_sync(_file_response, job.value, give, limiter=_writers())
        response.status_code = 200 if job.is_finished else 202
        return _status(job, body.view())


def _add_job_routes(jobs: "JobManager", clients: ApiClients, router: APIRouter) -> None:
    def find_job(id: str) -> Job:
        job = jobs.get(id)
        if job is None:
            raise UnknownName(f"no job {id!r}: it was never started, or finished long ago")
        return job

    @router.get("/jobs/{id}", operation_id="job")
    def job(id: str) -> JobStatus:
        """The status and progress of a job."""
        return _status(find_job(id))

    @router.delete("/jobs/{id}", operation_id="cancel")
    async def cancel(id: str) -> JobStatus:
        """Cancel a job, once for each request that started it.

        It stops when no other client has requested it or watches it on a page; a drawing returns its best picture.
        """
        job = find_job(id)
        clients.give_up(job)
        return _status(job)

    @router.get(
        "/jobs/{id}/result.{kind}",
        operation_id="result",
        response_class=Response,
        responses={
            200: {"content": {kind: BINARY if "json" not in kind else {"schema": {}} for kind in MEDIA_TYPES.values()}},
            409: {"model": ErrorResponse, "description": "the job is not finished"},
        },
    )
    def result(id: str, kind: Literal["png", "npz", "json"], theme: Literal["light", "dark"] = "light") -> Response:
        """The result of a job: its picture, its numbers (NPZ) or its full description (JSON)."""
        job = find_job(id)
        if job.state is State.FAILED:
            raise _job_error(job)
        if job.value is None:
            raise HTTPException(409, f"job {id} is {job.state.value}, {job.progress[0]} of {job.progress[1]} steps")
        return _file_response(job.value, kind, **({"theme": theme} if kind == "png" else {}))


async def _disconnected(request: Request) -> None:
    """Return once the client has disconnected; the body of the request has been read before."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


@functools.cache
def _writers() -> CapacityLimiter:
    """Limits the files that are written at once to half the cores; the others go on computing."""
    return CapacityLimiter(max(1, (os.cpu_count() or 2) // 2))


def _file_response(value: Value, kind: str, **options: Any) -> Response:
    headers = {"content-disposition": f'inline; filename="{value.record.lens or "result"}.{kind}"'}
    return Response(file_bytes(value, f".{kind}", **options), media_type=MEDIA_TYPES[kind], headers=headers)


def _status(job: Job, view: View | None = None) -> JobStatus:
    done, total = job.progress
    urls = {kind: f"{API_PREFIX}/jobs/{job.id}/result.{kind}" for kind in MEDIA_TYPES} if job.value is not None else {}
    link = page_link(view) if view else ""
    return JobStatus(id=job.id, state=job.state, done=done, total=total, error=job.error, link=link, results=urls)


def _job_error(job: Job) -> HTTPException:
    return HTTPException(422 if job.refused else 500, job.error)
