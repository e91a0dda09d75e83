"""Routes that list models, layers, lenses and images, and the upload of images."""

# mypy: disallow-untyped-decorators=False

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from convscope.catalogue import lenses
from convscope.web.api.lens_schema import lens_description
from convscope.web.api.schemas import BINARY, ImageInfo, ImageList, LayerInfo, ModelInfo, Text

if TYPE_CHECKING:
    from convscope.web.requests.models_and_images import Library
    from convscope.web.requests.services import Services


def add_listing_routes(services: "Services", router: APIRouter) -> APIRouter:
    """Add the routes to a router."""
    _add_model_routes(services.library, router)
    _add_image_routes(services.library, router)
    return router


def _add_model_routes(library: "Library", router: APIRouter) -> None:
    @router.get("/models", operation_id="models")
    def models() -> list[ModelInfo]:
        """The models that were named when the server was started."""
        return [ModelInfo(model=address) for address in library.addresses]

    @router.get("/layers", operation_id="layers")
    def layers(model: Text = "") -> list[LayerInfo]:
        """The layers of a model; without ``model``, of the first."""
        modules = library.model(model).module.named_modules()
        return [LayerInfo(layer=address, kind=type(module).__name__) for address, module in modules if address]

    @router.get("/lenses", operation_id="lenses")
    def all_lenses() -> list[dict[str, Any]]:
        """Every lens with its question and its parameters as JSON schema."""
        return [lens_description(spec) for spec in lenses()]


def _add_image_routes(library: "Library", router: APIRouter) -> None:
    @router.get("/images", operation_id="images")
    def images() -> ImageList:
        """The available images: uploads, folders, samples."""
        shown = [ImageInfo(image=image.key, name=image.name) for image in library.images()]
        return ImageList(images=shown, collections=list(library.collections()))

    @router.post(
        "/images",
        operation_id="upload",
        status_code=201,
        openapi_extra={"requestBody": {"required": True, "content": {"application/octet-stream": BINARY}}},
    )
    async def upload(request: Request, name: Text = "upload") -> ImageInfo:
        """Upload an image: the file itself is the body of the request."""
        content = await request.body()
        key = await run_in_threadpool(library.upload, name, content)
        return ImageInfo(image=key, name=name)

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
