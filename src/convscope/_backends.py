"""Connects lower layers to the code above them.

Values are connected to the renderer and to the measures that compare attributions, `Model` to the converters of other
libraries' models.

Only the package root imports this module, and only this module names both sides, so that the layers of the package stay
in order. All of them are imported when they are first needed.
"""

from typing import Any

from convscope.engine.network.foreign_models import ConvertedNetwork, register_converter
from convscope.values import Renderer, SimilarityMeasures, register_backends


def register() -> None:
    """Register the backends of `convscope.values` and the converters of `convscope.engine`."""
    register_backends(renderer=_renderer, similarity=_similarity_measures)
    for package in ("keras", "tf_keras", "tensorflow"):
        register_converter(package, _converted_keras)


def _renderer() -> Renderer:
    from convscope import render

    return render


def _similarity_measures() -> SimilarityMeasures:
    from convscope.engine.statistics import map_similarity

    return map_similarity


def _converted_keras(model: Any) -> ConvertedNetwork | None:
    from convscope.loaders.keras import live

    return live.convert(model)
