"""Which page shows a view, so that a link from the API opens the same result in the workbench."""

from convscope.catalogue import find
from convscope.spec import LensSpec
from convscope.web.requests.url_state import View

INSIDE = {
    "structure": "",
    "feature-maps": "maps",
    "kernels": "kernels",
    "activations": "distribution",
    "step-through": "",
    "top-inputs": "",
}
"""The lenses on the page Inside, and the tab of each; an empty text where it is shown outside the tabs."""


def page_path(spec: LensSpec) -> str:
    """The path of the page that shows a lens."""
    if spec.family == "learned":
        return "/learned"
    return "/inside" if spec.command in INSIDE else "/look"


def page_link(view: View) -> str:
    """The link to the page that shows a view.

    Raises:
        UnknownName: there is no such lens.
    """
    spec = find(view.lens)
    if spec.command == "predict":  # every Look page shows the prediction
        view = view.replace(lens="", parameters={})
    elif spec.command in INSIDE:
        view = view.replace(lens=spec.command, tab=INSIDE[spec.command])
    else:
        view = view.replace(lens=spec.command)
    return f"{page_path(spec)}?{view.query()}"
