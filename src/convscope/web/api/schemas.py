"""The bodies of requests and responses of the HTTP API, which its OpenAPI schema describes."""

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt, StrictStr, create_model

from convscope.spec import INPUT_KINDS
from convscope.web.jobs.job import State
from convscope.web.requests.url_state import View

API_PREFIX = "/api/v1"
MEDIA_TYPES = {"png": "image/png", "npz": "application/octet-stream", "json": "application/json"}
"""The formats of results, and their media types."""
BINARY = {"schema": {"type": "string", "format": "binary"}}
Text = Annotated[str, Field(max_length=500)]


class ErrorResponse(BaseModel):
    """Why a request was refused, in one sentence."""

    error: str


class RunBody(BaseModel):
    """A lens with its inputs and parameters; omitted fields take their defaults."""

    model_config = ConfigDict(extra="forbid")

    lens: Text

    def view(self) -> View:
        """The request as a view."""
        return View(**self.model_dump())


_INPUT_FIELDS: dict[str, Any] = {
    kind.name: (list[Text], []) if kind.several else (Text, "") for kind in INPUT_KINDS.values()
}
_PARAMETERS = dict[str, StrictBool | StrictInt | StrictFloat | StrictStr | None]
if TYPE_CHECKING:
    RunRequest = RunBody
else:
    RunRequest = create_model(
        "RunRequest", __base__=RunBody, __doc__=RunBody.__doc__, **_INPUT_FIELDS, parameters=(_PARAMETERS, {})
    )
    """The body of a run: a lens, a field for each kind of input, and parameters."""


class JobStatus(BaseModel):
    """The status of a job."""

    id: str
    state: State
    done: int
    total: int
    error: str
    link: str = Field(description="the page that shows the same view")
    results: dict[str, str] = Field(description="links to its result by file format, once it is finished")


class ModelInfo(BaseModel):
    """An available model."""

    model: str


class LayerInfo(BaseModel):
    """A layer of a model and the class of its module."""

    layer: str
    kind: str


class ImageInfo(BaseModel):
    """An available image."""

    image: str
    name: str


class ImageList(BaseModel):
    """All available images, and the collections of images."""

    images: list[ImageInfo]
    collections: list[str]
