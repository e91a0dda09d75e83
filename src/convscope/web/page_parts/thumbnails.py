"""Thumbnails and larger previews of images, as data URIs small enough to be part of the page."""

import base64
import io
import threading

from cachetools import LRUCache, cached
from nicegui import ui
from PIL import Image as Pillow

from convscope.engine.inputs.image_io import apply_orientation, convert_mode
from convscope.engine.inputs.raw_input import RawInput
from convscope.render import short_name
from convscope.render.input_preview import preview_pixels
from convscope.web.requests.models_and_images import Library
from convscope.web.requests.written_inputs import text_of

CACHED_PREVIEWS = 512
"""Previews that are kept in memory."""
SMALL_SIDE = 128
"""Previews no larger than this show a single slice of a volume."""
THUMBNAILS_PER_ROW = 7
"""Thumbnails that fit into one row."""


def _preview_key(library: Library, key: str, side: int = 480) -> tuple[str, int]:
    return library.fingerprint(key), side


@cached(LRUCache(CACHED_PREVIEWS), key=_preview_key, lock=threading.Lock())
def preview_uri(library: Library, key: str, side: int = 480) -> str:
    """The image for a key as a data URI, ``side`` pixels at most; small images are enlarged pixel by pixel.

    Raises:
        UnknownName: the server offers no such image.
        InputError: the file can no longer be read.
    """
    return _encode(library.opened(key), side)


def thumbnail_uri(library: Library, key: str) -> str:
    """The image for a key as a small data URI."""
    return preview_uri(library, key, 64)


def thumbnail_box(library: Library, kind: str = "") -> ui.element:
    """An empty container for thumbnails, already as tall as when it is filled, so that the page does not jump."""
    is_long = len(library.images(kind)) > THUMBNAILS_PER_ROW
    return ui.element("div").classes("thumbs two-rows" if is_long else "thumbs")


def image_title(library: Library, key: str) -> str:
    """The name of the image for a key, shortened; a typed text as it is."""
    return text_of(key) or short_name(next((image.name for image in library.images() if image.key == key), key))


def _encode(image: RawInput | Pillow.Image, side: int) -> str:
    if isinstance(image, RawInput):
        picture = Pillow.fromarray(preview_pixels(image, side, slices=side > SMALL_SIDE))
    else:
        picture = convert_mode(apply_orientation(image), 3)
    zoom = side / max(picture.size)
    if zoom >= 2:
        picture = picture.resize([length * int(zoom) for length in picture.size], Pillow.Resampling.NEAREST)
    picture.thumbnail((side, side))
    file = io.BytesIO()
    small = max(picture.size) <= 128 or zoom >= 2
    picture.save(file, "PNG" if small else "JPEG", **({} if small else {"quality": 88}))
    kind = "png" if small else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"
