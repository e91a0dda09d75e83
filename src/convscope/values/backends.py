"""The code that values call but do not import: the renderer and the measures that compare attributions.

Both live in layers above ``values``. ``convscope/_backends.py`` registers a function that imports each of them with
`register_backends`; a type checker compares them with the protocols below.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor


class Renderer(Protocol):
    """Draws values; implemented by the module ``convscope.render``."""

    def picture(self, value: Any, *, theme: str = "light", **options: Any) -> Any:
        """A `Picture` of a value."""

    def animated_gif(self, value: Any, /) -> bytes:
        """The frames of a `Pictures` value, or the map over those of a clip, as a GIF file."""

    def notebook_html(self, value: Any, /) -> str | None:
        """The viewer of a value in a notebook; None for values that have none."""

    def film(self, value: Any, /) -> bytes:
        """The map over the frames of a clip as an MP4 file."""


class SimilarityMeasures(Protocol):
    """Compares attributions; implemented by the module ``convscope.engine.statistics.map_similarity``."""

    def rank_similarity(self, rows: Sequence[Sequence[Any]], /) -> Tensor:
        """Spearman's rank correlation between the columns (K, K)."""

    def structural_similarity(self, rows: Sequence[Sequence[Any]], /) -> Tensor:
        """The structural similarity index between the columns (K, K)."""

    def agreement(self, row: Sequence[Any], /) -> Tensor:
        """The share of maps that have a position among their strongest fifth, for each position."""


@dataclass(frozen=True)
class _Backends:
    renderer: Callable[[], Renderer]
    similarity: Callable[[], SimilarityMeasures]


_registered: _Backends | None = None


def register_backends(*, renderer: Callable[[], Renderer], similarity: Callable[[], SimilarityMeasures]) -> None:
    """Register the functions that import and return the renderer and the similarity measures."""
    global _registered
    _registered = _Backends(renderer, similarity)


def get_renderer() -> Renderer:
    """The registered renderer."""
    return _get_registered().renderer()


def get_similarity_measures() -> SimilarityMeasures:
    """The registered similarity measures."""
    return _get_registered().similarity()


def _get_registered() -> _Backends:
    assert _registered is not None, "convscope/_backends.py registers the backends"
    return _registered
