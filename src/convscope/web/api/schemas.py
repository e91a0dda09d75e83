"""The bodies of requests and responses of the HTTP API, which its OpenAPI schema describes."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt, StrictStr

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


class RunRequest(BaseModel):
    """A lens with its inputs and parameters; omitted fields take their defaults."""

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
        """The request as a view."""
        fields = self.model_dump()
        return View(**{**fields, "layer": tuple(self.layer), "unit": tuple(self.unit)})


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
