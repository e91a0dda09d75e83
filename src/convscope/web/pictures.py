"""Pictures of what can be picked: thumbnails and portraits, small enough to travel inside the page."""

import base64
import io
import threading
from collections import OrderedDict

from nicegui import ui
from PIL import Image as Pillow

from convscope.engine.inputs.image_io import in_mode, open_picture, upright
from convscope.render import short
from convscope.web.assets import Library

KEPT = 512
"""Pictures that are remembered."""
ROW = 7
"""So many thumbnails may stand in one row."""

_made: OrderedDict[tuple[str, int], str] = OrderedDict()
_lock = threading.Lock()


def portrait(library: Library, key: str, side: int = 480) -> str:
    """The image behind a key as the address of a picture, ``side`` pixels at most; small ones stay pixels.

    Raises:
        UnknownName: no such key was handed out.
        InputError: the file can no longer be read.
    """
    known = (library.fingerprint(key), side)
    with _lock:
        if known in _made:
            _made.move_to_end(known)
            return _made[known]
    made = _drawn(library.image(key), side)
    with _lock:
        _made[known] = made
        while len(_made) > KEPT:
            _made.popitem(last=False)
    return made


def thumbnail(library: Library, key: str) -> str:
    """The image behind a key, small."""
    return portrait(library, key, 64)


def thumbs(library: Library) -> ui.element:
    """Where thumbnails will stand; it is as tall at once as when they are there, so that nothing jumps."""
    return ui.element("div").classes("thumbs two-rows" if len(library.images()) > ROW else "thumbs")


def called(library: Library, key: str) -> str:
    """What people call the image behind a key: its file's name, not too long."""
    return short(next((one.name for one in library.images() if one.key == key), key))


def _drawn(found: str | Pillow.Image, side: int) -> str:
    picture = in_mode(upright(open_picture(found) if isinstance(found, str) else found), 3)
    zoom = side / max(picture.size)
    if zoom >= 2:
        picture = picture.resize([one * int(zoom) for one in picture.size], Pillow.Resampling.NEAREST)
    picture.thumbnail((side, side))
    file = io.BytesIO()
    small = max(picture.size) <= 128 or zoom >= 2
    picture.save(file, "PNG" if small else "JPEG", **({} if small else {"quality": 88}))
    kind = "png" if small else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"
