"""Pictures of any format that Pillow reads, with the numbers of their pixels."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from convscope.engine.inputs.image_io import image_extensions, open_image
from convscope.engine.inputs.raw_input import RawInput
from convscope.spec import input_format


@input_format(
    name="picture",
    title="a picture",
    extensions=(".png", ".jpg", ".jpeg", ".bmp", ".webp"),
    recognizes=lambda path, head: path.is_file() and path.suffix.lower() in image_extensions(),
    kinds=("image",),
)
def read_picture(path: Path, options: Mapping[str, str]) -> RawInput:
    """Read the pixels as they are stored: 0 to 255, or 0 to 65,535 for 16 bits."""
    return picture_numbers(open_image(path), repr(path.name))


def picture_numbers(picture: Pillow.Image, title: str) -> RawInput:
    """The pixels of a picture as they are stored; colors that are no channels of light become RGB."""
    if picture.mode in ("P", "PA", "CMYK", "YCbCr", "HSV", "LAB"):
        picture = picture.convert("RGB")
    pixels = np.asarray(picture, np.float32)
    values = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    return RawInput(np.ascontiguousarray(values), ("height", "width"), title=title)
