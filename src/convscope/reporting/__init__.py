"""One self-contained HTML file from values: a report that opens anywhere, offline, in ten years too."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from convscope.engine.context.progress_bar import shown
from convscope.reporting.collect import look
from convscope.reporting.page import place_for, write_report
from convscope.reporting.sections import Section

__all__ = ["Section", "look", "place_for", "report", "write_report"]


def report(
    model: Any,
    image: Any,
    *,
    lenses: Sequence[str] | None = None,
    out: str | Path = "report.html",
    target: Any = None,
    layer: Any = None,
    **options: Any,
) -> Path:
    """Look at one image, or several, through many lenses and write what they show into one HTML file.

    Args:
        model: the network.
        image: one image or several.
        lenses: names of lenses; by default every one that explains an answer but those of the perturbation family,
            which take hundreds of passes each. A lens that cannot serve this network (CAM without a pooling head) is
            listed with its reason, it does not stop the others.
        out: the file to write; it needs no network and no other file.
        target: what is explained; by default each image's top class.
        layer: where the lenses look that look at layers; by default the last layer with spatial extent.
        options: parameters of lenses, such as ``steps``; each goes to the lenses that have it.

    Returns:
        The path of the file.

    Raises:
        CannotWrite: the file cannot be written; found out before any work.
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
    asked = {name: value for name, value in {"target": target, "layer": layer}.items() if value is not None}
    with shown("looking"):
        sections = look(model, image, lenses, {**asked, **options})
    return write_report(sections, path)
