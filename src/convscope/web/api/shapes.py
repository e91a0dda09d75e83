"""What goes in and out of the HTTP API, as its schema describes it."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt, StrictStr

from convscope.web.jobs.job import State
from convscope.web.url_state import View

AT = "/api/v1"
KINDS = {"png": "image/png", "npz": "application/octet-stream", "json": "application/json"}
"""What a result can be fetched as."""
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
