"""The HTTP API: what Python and the command line can do, with the same numbers and the same refusals.

A request that is refused is answered with 4xx and ``{"error": sentence}``, the very sentence that Python raises.

    shapes.py     what goes in and out
    listing.py    what there is
    running.py    work
"""

from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from convscope.errors import ConvScopeError, ModelFailed, UnknownName
from convscope.web.api.listing import listing
from convscope.web.api.running import running
from convscope.web.api.shapes import AT, Refusal
from convscope.web.export import NoRoom

if TYPE_CHECKING:
    from convscope.web.services import Bench

__all__ = ["AT", "mount_api"]

STATUS = {UnknownName: 404, ModelFailed: 500, NoRoom: 507}
"""What is answered where it is not simply that the request is refused."""


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
    made.include_router(listing(bench, APIRouter(prefix=AT, responses=refusals)))
    made.include_router(running(bench, APIRouter(prefix=AT, responses=refusals)))
    made.add_exception_handler(ConvScopeError, _refused)
    made.add_exception_handler(RequestValidationError, _misshapen)
    made.add_exception_handler(HTTPException, _stopped)
    made.add_exception_handler(Exception, _unexpected)


async def _refused(_request: Request, error: Exception) -> Response:
    status = next((code for kind, code in STATUS.items() if isinstance(error, kind)), 422)
    return JSONResponse({"error": str(error)}, status)


async def _misshapen(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"] if part != "body")
    return JSONResponse({"error": f"{where}: {first['msg']}" if where else str(first["msg"])}, 422)


async def _stopped(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": str(error.detail)}, error.status_code, error.headers)


async def _unexpected(_request: Request, error: Exception) -> Response:
    return JSONResponse({"error": f"unexpected {type(error).__name__}: {error}"}, 500)
