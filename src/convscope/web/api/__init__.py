"""The HTTP API: what Python and the command line can do, with the same numbers and the same error messages.

A refused request is answered with 4xx and ``{"error": message}``, the same message that Python raises.

    schemas.py    the bodies of requests and responses
    listing.py    models, layers, lenses and images
    runs.py       running lenses, and their jobs
"""

from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from convscope.errors import ConvScopeError, InputNotAccepted, ModelFailed, UnknownName
from convscope.web.api.listing import add_listing_routes
from convscope.web.api.runs import add_run_routes
from convscope.web.api.schemas import API_PREFIX, ErrorResponse
from convscope.web.requests.temporary_files import NoRoom

if TYPE_CHECKING:
    from convscope.web.requests.services import Services

__all__ = ["API_PREFIX", "mount_api"]

STATUS_CODES = {UnknownName: 404, InputNotAccepted: 422, ModelFailed: 500, NoRoom: 507}
"""Status codes of errors, the first kind that fits; 422 of all others."""


def mount_api(application: FastAPI, services: "Services") -> None:
    """Add the API to the application."""
    refusals: dict[int | str, dict[str, Any]] = {
        status: {"model": ErrorResponse, "description": why}
        for status, why in (
            (400, "the body cannot be read"),
            (401, "the token is missing or wrong"),
            (403, "the request comes from another site"),
            (404, "the name is unknown"),
            (413, "the request is too large"),
            (422, "the request is refused"),
            (500, "the network raised an error, or an unexpected error occurred"),
            (507, "the server has no space left to write the file"),
        )
    }
    application.include_router(add_listing_routes(services, APIRouter(prefix=API_PREFIX, responses=refusals)))
    application.include_router(add_run_routes(services, APIRouter(prefix=API_PREFIX, responses=refusals)))
    application.add_exception_handler(ConvScopeError, _convscope_error)
    application.add_exception_handler(RequestValidationError, _invalid_body)
    application.add_exception_handler(HTTPException, _http_error)
    application.add_exception_handler(Exception, _unexpected_error)


async def _convscope_error(_request: Request, error: Exception) -> Response:
    status = next((code for kind, code in STATUS_CODES.items() if isinstance(error, kind)), 422)
    return JSONResponse({"error": str(error)}, status)


async def _invalid_body(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"] if part != "body")
    return JSONResponse({"error": f"{field}: {first['msg']}" if field else str(first["msg"])}, 422)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": str(error.detail)}, error.status_code, error.headers)


async def _unexpected_error(_request: Request, error: Exception) -> Response:
    return JSONResponse({"error": f"unexpected {type(error).__name__}: {error}"}, 500)
