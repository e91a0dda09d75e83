"""On which page a view is seen, so that whoever has a link sees there what a program was given."""

from convscope.catalogue import find
from convscope.spec import LensSpec
from convscope.web.url_state import View

INSIDE = {
    "structure": "",
    "feature-maps": "maps",
    "kernels": "kernels",
    "activations": "distribution",
    "step-through": "",
    "top-inputs": "",
}
"""The lenses that the page Inside shows, and the tab where each is seen: none where it has its place beside them."""


def page_of(spec: LensSpec) -> str:
    """The path of the page that shows a lens."""
    if spec.family == "learned":
        return "/learned"
    return "/inside" if spec.command in INSIDE else "/look"


def link_to(view: View) -> str:
    """The link of the page that shows what a view asks for.

    Raises:
        UnknownName: there is no such lens.
    """
    spec = find(view.lens)
    if spec.command == "predict":  # which the page shows whatever else it does
        view = view.but(lens="", parameters={})
    elif spec.command in INSIDE:
        view = view.but(lens=spec.command, tab=INSIDE[spec.command])
    else:
        view = view.but(lens=spec.command)
    return f"{page_of(spec)}?{view.query()}"
