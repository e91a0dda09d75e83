"""One self-contained HTML file from values: a report that opens without network and without other files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from convscope.engine.context.progress_bar import shown
from convscope.reporting.collect import collect
from convscope.reporting.page import place_for, write_report
from convscope.reporting.sections import Section

__all__ = ["Section", "collect", "place_for", "report", "write_report"]


def report(
    model: Any,
    image: Any,
    *,
    lenses: Sequence[str] | None = None,
    out: str | Path = "report.html",
    target: Any = None,
    layer: Any = None,
    statements: Sequence[str] = (),
    **options: Any,
) -> Path:
    """Apply many lenses to one or several images and write the results into one HTML file.

    Args:
        model: the network.
        image: one image or several.
        lenses: names of lenses; by default all except those that need hundreds of passes. A lens that does not work on
            this network (CAM without a pooling head) is listed with the reason, and the others run.
        out: the file to write.
        target: what is explained; by default the top class of each image.
        layer: the layer of lenses that explain layers; by default the last layer with spatial extent.
        statements: sentences about the network, for the head of the file: what `cs.diagnose` says of it, for example.
        options: parameters of lenses, such as ``steps``; each is passed to the lenses that have it.

    Returns:
        The path of the file.

    Raises:
        CannotWrite: the file cannot be written; raised before any computation.
        UnknownName: no such lens, layer, class or label.
        ParameterError: a parameter that none of the lenses has, or that is out of range.
        InputError: an image cannot be read.

    Example:
        >>> import tempfile, convscope as cs
        >>> out = f"{tempfile.mkdtemp()}/report.html"
        >>> path = cs.report(cs.load("bundled:digits"), "sample:digits/3", lenses=["grad-cam"], out=out)
        >>> path.name
        'report.html'
    """
    path = place_for(out)
    explained = {name: value for name, value in {"target": target, "layer": layer}.items() if value is not None}
    with shown("explaining"):
        sections = collect(model, image, lenses, {**explained, **options})
    return write_report(sections, path, statements=statements)
