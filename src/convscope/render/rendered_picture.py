"""A drawn picture: its pixels, an alternative text, and export to files and notebooks."""

import importlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from convscope.errors import CannotWrite
from convscope.render.palette import Pixels
from convscope.values import atomic_write, check_writable
from convscope.values.notebook import notebook_display

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 72
"""Resolution of figures: one point is one pixel."""


@dataclass(frozen=True, eq=False)
class Picture:
    """A finished picture.

    Attributes:
        pixels: (height, width, 3), or 4 with transparency.
        alt: the alternative text.
        figure: draws the picture again as a matplotlib figure, for vector files.
    """

    pixels: Pixels
    alt: str
    figure: Callable[[], "Figure"] | None = None

    def png(self, manifest: str = "") -> bytes:
        """The picture as a PNG file with its alternative text and, if given, the manifest of its value as metadata."""
        metadata = PngInfo()
        metadata.add_itxt("Description", self.alt)
        if manifest:
            metadata.add_itxt("convscope", manifest, zip=True)
        file = io.BytesIO()
        Image.fromarray(self.pixels).save(file, "PNG", pnginfo=metadata)
        return file.getvalue()

    def jpeg(self) -> bytes:
        """The picture as a JPEG file with its alternative text, at a quality that keeps text sharp."""
        file = io.BytesIO()
        image = Image.fromarray(self.pixels)
        if image.mode == "RGBA":
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
        image.save(file, "JPEG", quality=95, subsampling=0, comment=self.alt.encode())
        return file.getvalue()

    def vector(self, kind: Literal["svg", "pdf"]) -> bytes:
        """The picture as a vector file: lines and text are sharp at any size, maps and photos remain pixels."""
        from convscope.render.vector_drawing import pixel_figure

        module = importlib.import_module(f"matplotlib.backends.backend_{kind}")
        figure_canvas = getattr(module, f"FigureCanvas{kind.title() if kind == 'pdf' else 'SVG'}")(
            self.figure() if self.figure else pixel_figure(self.pixels)
        )
        metadata = {"svg": {"Date": None, "Description": self.alt}, "pdf": {"CreationDate": None, "Subject": self.alt}}
        file = io.BytesIO()
        figure_canvas.print_figure(file, format=kind, dpi=DPI, metadata=metadata[kind])
        return file.getvalue()

    def save(self, path: str | Path, manifest: str = "") -> Path:
        """Write the picture to a file atomically.

        Args:
            path: ends in ``.png``, ``.jpg``, ``.svg`` or ``.pdf``.
            manifest: metadata for a PNG file.

        Raises:
            CannotWrite: the path cannot be written or has another suffix.
        """
        path = check_writable(path)
        encoded = self.encoded(path, manifest)
        with atomic_write(path) as draft:
            draft.write_bytes(encoded)
        return path

    def encoded(self, path: Path, manifest: str = "") -> bytes:
        """The picture encoded for the suffix of a path.

        Raises:
            CannotWrite: the suffix is not one of a picture.
        """
        encoders: dict[str, Callable[[], bytes]] = {
            ".png": partial(self.png, manifest),
            ".jpg": self.jpeg,
            ".jpeg": self.jpeg,
            ".svg": partial(self.vector, "svg"),
            ".pdf": partial(self.vector, "pdf"),
        }
        if path.suffix.lower() not in encoders:
            raise CannotWrite(f"a picture is written as {', '.join(encoders)}, not as {path.name!r}")
        return encoders[path.suffix.lower()]()

    def show(self) -> None:
        """Show the picture in the notebook, or in the system's image viewer outside of notebooks."""
        display = notebook_display()
        if display is None:
            Image.fromarray(self.pixels).show()
        else:
            display(self)

    def _repr_png_(self) -> bytes:
        return self.png()
