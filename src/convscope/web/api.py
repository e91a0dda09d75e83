"""The HTTP API: what Python and the command line can do, with the same numbers and the same refusals.

A request that is refused is answered with 4xx and ``{"error": sentence}``, the very sentence that Python raises.
"""

# mypy: disallow-untyped-decorators=False

import functools
import os
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any, Literal

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, FastAPI, HTTPException, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt, StrictStr
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException as StarletteHTTPException

from convscope.catalogue import lenses
from convscope.errors import ConvScopeError, ModelFailed, UnknownName
from convscope.values import Value
from convscope.web.files import NoRoom, file_of
from convscope.web.jobs import Job, State
from convscope.web.schema import described
from convscope.web.view import View
from convscope.web.waiting import over

if TYPE_CHECKING:
    from convscope.web.app import Bench

AT = "/api/v1"
KINDS = {"png": "image/png", "npz": "application/octet-stream", "json": "application/json"}
STATUS = {UnknownName: 404, ModelFailed: 500, NoRoom: 507}
"""What is answered where it is not simply that the request is refused."""
BINARY = {"schema": {"type": "string", "format": "binary"}}
Text = Annotated[str, Field(max_length=500)]


class Refusal(BaseModel):
    """Why a request is refused, in one sentence."""

    error: str


class Asked(BaseModel):
    """What to look at and how; whatever is left out takes its default."""

    model_config = ConfigDict(extra="forbid")

    lens: Text
    model: Text = ""
    image: Text = ""
    images: Text = ""
    style: Text = ""
    guide: Text = ""
    target: Text = ""
    layer: list[Text] = []
    unit: list[Text] = []
    parameters: dict[str, StrictBool | StrictInt | StrictFloat | StrictStr | None] = {}

    def view(self) -> View:
        """The same as pages have it."""
        told = self.model_dump()
        return View(**{**told, "layer": tuple(self.layer), "unit": tuple(self.unit)})


class Told(BaseModel):
    """Where a job stands."""

    id: str
    state: State
    done: int
    total: int
    error: str
    link: str = Field(description="the same view as a page")
    results: dict[str, str] = Field(description="where its result is, by kind of file, once it is done")


class ModelTold(BaseModel):
    """A model that can be looked into."""

    model: str


class LayerTold(BaseModel):
    """A layer of a model and what it is."""

    layer: str
    kind: str


class ImageTold(BaseModel):
    """An image that can be looked at."""

    image: str
    name: str


class Images(BaseModel):
    """All images, and the collections they form."""

    images: list[ImageTold]
    collections: list[str]


def mount_api(made: FastAPI, bench: "Bench") -> None:
    """Put the API on the application."""
    refusals: dict[int | str, dict[str, Any]] = {
        status: {"model": Refusal, "description": why}
        for status, why in (
            (400, "the body cannot be read"),
            (401, "the token is missing or wrong"),
            (403, "the request comes from another site"),
            (404, "there is nothing of that name"),
            (413, "the request is too large"),
            (422, "the request is refused"),
            (500, "the network raised, or something unforeseen did"),
            (507, "the server has no room left to make the file"),
        )
    }
    made.include_router(_listing(bench, APIRouter(prefix=AT, responses=refusals)))
    made.include_router(_running(bench, APIRouter(prefix=AT, responses=refusals)))
    made.add_exception_handler(ConvScopeError, _refused)
    made.add_exception_handler(RequestValidationError, _misshapen)
    made.add_exception_handler(StarletteHTTPException, _stopped)
    made.add_exception_handler(Exception, _unexpected)


def _listing(bench: "Bench", router: APIRouter) -> APIRouter:
    """What there is: models, layers, lenses, images."""
    library = bench.library

    @router.get("/models", operation_id="models")
    def models() -> list[ModelTold]:
        """The models that were named when the server was started."""
        return [ModelTold(model=address) for address in library.addresses]

    @router.get("/layers", operation_id="layers")
    def layers(model: Text = "") -> list[LayerTold]:
        """The layers of a model; without ``model``, of the first."""
        modules = library.model(model).module.named_modules()
        return [LayerTold(layer=address, kind=type(module).__name__) for address, module in modules if address]

    @router.get("/lenses", operation_id="lenses")
    def all_lenses() -> list[dict[str, Any]]:
        """Every lens with its question and its parameters as JSON schema."""
        return [described(spec) for spec in lenses()]

    @router.get("/images", operation_id="images")
    def images() -> Images:
        """The images that can be looked at: uploads, folders, samples."""
        shown = [ImageTold(image=one.key, name=one.name) for one in library.images()]
        return Images(images=shown, collections=list(library.collections()))

    @router.post(
        "/images",
        operation_id="upload",
        status_code=201,
        openapi_extra={"requestBody": {"required": True, "content": {"application/octet-stream": BINARY}}},
    )
    async def upload(request: Request, name: Text = "upload") -> ImageTold:
        """Upload an image: the file itself is the body of the request."""
        content = await request.body()
        key = await run_in_threadpool(library.upload, name, content)
        return ImageTold(image=key, name=name)

    @router.get(
        "/images/{key:path}",
        operation_id="thumbnail",
        response_class=Response,
        responses={200: {"content": {"image/png": BINARY}}},
    )
    def thumbnail(key: str, side: Annotated[int, Query(ge=16, le=1024)] = 256) -> Response:
        """An image as a small PNG."""
        png = library.thumbnail(key, side)
        return Response(png, media_type="image/png", headers={"cache-control": "private, max-age=60"})

    return router


def _running(bench: "Bench", router: APIRouter) -> APIRouter:
    """Work: start it, ask how far it is, stop it, take what it found."""
    jobs = bench.jobs
    wanted: Counter[str] = Counter()
    """How often each job was asked for by those who have not stopped it since: each of them watches it."""

    def want(job: Job) -> None:
        if not job.over:
            wanted[job.id] += 1
            jobs.watch(job)
            job.when_finished(lambda: wanted.pop(job.id, None))

    def known(id: str) -> Job:
        job = jobs.get(id)
        if job is None:
            raise UnknownName(f"no job {id!r}: it was never started, or finished long ago")
        return job

    @asynccontextmanager
    async def watched(job: Job) -> AsyncIterator[None]:
        jobs.watch(job)
        try:
            yield
        finally:
            jobs.leave(job)

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
        async with watched(job):
            if wait and not job.over:
                await over(job, wait, gone=request.is_disconnected)
            if not job.over and not (wait and await request.is_disconnected()):
                want(job)
        if job.state is State.FAILED:
            raise _failure(job)
        if give != "job" and job.value is not None:
            return await to_thread.run_sync(_file, job.value, give, limiter=_writers())
        response.status_code = 200 if job.over else 202
        return _told(job, asked.view())

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
        if wanted[id] > 0:
            wanted[id] -= 1
            jobs.leave(found)
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

    return router


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
    link = f"/?{view.query()}" if view else ""
    return Told(id=job.id, state=job.state, done=done, total=total, error=job.error, link=link, results=where)


def _failure(job: Job) -> HTTPException:
    return HTTPException(422 if job.refused else 500, job.error)


async def _refused(_request: Request, error: Exception) -> Response:
    status = next((code for kind, code in STATUS.items() if isinstance(error, kind)), 422)
    return JSONResponse({"error": str(error)}, status)


async def _misshapen(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"] if part != "body")
    return JSONResponse({"error": f"{where}: {first['msg']}" if where else str(first["msg"])}, 422)


async def _stopped(request: Request, error: Exception) -> Response:
    assert isinstance(error, StarletteHTTPException)
    return JSONResponse({"error": str(error.detail)}, error.status_code, error.headers)


async def _unexpected(_request: Request, error: Exception) -> Response:
    return JSONResponse({"error": f"unexpected {type(error).__name__}: {error}"}, 500)
