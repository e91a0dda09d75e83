"""Binding of twins to lenses.

The twin of a lens is its formula written a second time: slow, obvious, in float64 and without the engine. It stands in
``tests/twins/FAMILY/test_LENS.py`` under ``@twin_of(cs.LENS)``; `tests/test_architecture.py` requires one per lens.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from convscope.spec import LensSpec

Twin = TypeVar("Twin", bound=Callable[..., Any])

_LENS_OF: dict[Callable[..., Any], str] = {}


def twin_of(lens: Any) -> Callable[[Twin], Twin]:
    """Bind a function to the lens of which it is the twin; the function itself stays as it is."""
    declaration = getattr(lens, "declaration", None)
    if not isinstance(declaration, LensSpec):
        raise TypeError(f"a twin is bound to a lens, as in @twin_of(cs.grad_cam), got {lens!r}")

    def bind(twin: Twin) -> Twin:
        _LENS_OF[twin] = declaration.name
        return twin

    return bind


def lens_of(twin: Callable[..., Any]) -> str:
    """The name of the lens to which a twin is bound."""
    return _LENS_OF[twin]
