"""What drawing gives: pixels, words for those who cannot see them, and the way out to a file or a notebook."""

import importlib
import io
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from convscope.errors import CannotWrite
from convscope.render.palette import Pixels
from convscope.values import writable


@dataclass(frozen=True, eq=False)
class Picture:
    """A finished picture: pixels (height, width, 3), or 4 with transparency, and what they show, in words."""

    pixels: Pixels
    alt: str

    def png(self, manifest: str = "") -> bytes:
        """The picture as a PNG file that carries its description and, where given, the manifest of its value."""
        about = PngInfo()
        about.add_itxt("Description", self.alt)
        if manifest:
            about.add_itxt("convscope", manifest, zip=True)
        file = io.BytesIO()
        Image.fromarray(self.pixels).save(file, "PNG", pnginfo=about)
        return file.getvalue()

    def save(self, path: str | Path, manifest: str = "") -> Path:
        """Write the picture to a PNG file.

        Raises:
            CannotWrite: the place cannot be written or the ending is not ``.png``.
        """
        path = writable(path)
        if path.suffix.lower() != ".png":
            raise CannotWrite(f"a picture is written as .png, not as {path.name!r}")
        path.write_bytes(self.png(manifest))
        return path

    def show(self) -> None:
        """Show the picture in the notebook, or in the system's viewer where there is none."""
        display = _notebook()
        if display is None:
            Image.fromarray(self.pixels).show()
        else:
            display(self)

    def _repr_png_(self) -> bytes:
        return self.png()


def _notebook() -> Any:
    """The function that displays things in the notebook at hand; None in a plain interpreter or a terminal."""
    ipython = sys.modules.get("IPython")
    if ipython is None or not hasattr(ipython.get_ipython(), "kernel"):
        return None
    return importlib.import_module("IPython.display").display
