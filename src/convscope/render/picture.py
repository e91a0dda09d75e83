"""What drawing gives: pixels, words for those who cannot see them, and the way out to a file or a notebook."""

import importlib
import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from matplotlib.figure import Figure
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from convscope.errors import CannotWrite
from convscope.render.palette import Pixels
from convscope.values import writable, written_whole

DPI = 72
"""Of figures: a point is a pixel."""


@dataclass(frozen=True, eq=False)
class Picture:
    """A finished picture.

    Attributes:
        pixels: (height, width, 3), or 4 with transparency.
        alt: what it shows, in words.
        figure: makes the same picture of lines, letters and pixels anew, for files that keep these apart.
    """

    pixels: Pixels
    alt: str
    figure: Callable[[], Figure] | None = None

    def png(self, manifest: str = "") -> bytes:
        """The picture as a PNG file that carries its description and, where given, the manifest of its value."""
        about = PngInfo()
        about.add_itxt("Description", self.alt)
        if manifest:
            about.add_itxt("convscope", manifest, zip=True)
        file = io.BytesIO()
        Image.fromarray(self.pixels).save(file, "PNG", pnginfo=about)
        return file.getvalue()

    def jpeg(self) -> bytes:
        """The picture as a JPEG file with its description, at a quality that keeps letters clean."""
        file = io.BytesIO()
        image = Image.fromarray(self.pixels)
        if image.mode == "RGBA":
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
        image.save(file, "JPEG", quality=95, subsampling=0, comment=self.alt.encode())
        return file.getvalue()

    def vector(self, kind: Literal["svg", "pdf"]) -> bytes:
        """The picture with lines and letters that stay sharp at any size; maps and photographs stay pixels."""
        module = importlib.import_module(f"matplotlib.backends.backend_{kind}")
        canvas = getattr(module, f"FigureCanvas{kind.title() if kind == 'pdf' else 'SVG'}")(
            self.figure() if self.figure else _plate(self.pixels)
        )
        about = {"svg": {"Date": None, "Description": self.alt}, "pdf": {"CreationDate": None, "Subject": self.alt}}
        file = io.BytesIO()
        canvas.print_figure(file, format=kind, dpi=DPI, metadata=about[kind])
        return file.getvalue()

    def save(self, path: str | Path, manifest: str = "") -> Path:
        """Write the picture to a file, whole or not at all.

        Args:
            path: ends in ``.png``, ``.jpg``, ``.svg`` or ``.pdf``.
            manifest: what a PNG file carries beside it.

        Raises:
            CannotWrite: the place cannot be written or has another ending.
        """
        path = writable(path)
        encoded = self.encoded(path, manifest)
        with written_whole(path) as draft:
            draft.write_bytes(encoded)
        return path

    def encoded(self, path: Path, manifest: str = "") -> bytes:
        """The picture as a file of that name.

        Raises:
            CannotWrite: a picture is not written as that.
        """
        made: dict[str, Callable[[], bytes]] = {
            ".png": partial(self.png, manifest),
            ".jpg": self.jpeg,
            ".jpeg": self.jpeg,
            ".svg": partial(self.vector, "svg"),
            ".pdf": partial(self.vector, "pdf"),
        }
        if path.suffix.lower() not in made:
            raise CannotWrite(f"a picture is written as {', '.join(made)}, not as {path.name!r}")
        return made[path.suffix.lower()]()

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


def _plate(pixels: Pixels) -> Figure:
    """A figure that is nothing but pixels."""
    height, width = pixels.shape[:2]
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
    figure.figimage(pixels, 0, 0, origin="upper")
    return figure
