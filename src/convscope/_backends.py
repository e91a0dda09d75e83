"""Connects values to the code above them: the renderer that draws them and the measures that compare attributions.

Only the package root imports this module, and only this module names both sides, so that the layers of the package stay
in order. Both backends are imported when they are first needed.
"""

from convscope.values import Renderer, SimilarityMeasures, register_backends


def register() -> None:
    """Register the backends of `convscope.values`."""
    register_backends(renderer=_renderer, similarity=_similarity_measures)


def _renderer() -> Renderer:
    from convscope import render

    return render


def _similarity_measures() -> SimilarityMeasures:
    from convscope.engine.statistics import map_similarity

    return map_similarity
