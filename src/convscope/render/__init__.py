"""Value in, picture out: one renderer for each kind of value, one theme and one pair of scales for all.

`picture` draws any value whole. The pieces (`overlay_png`, `map_png`, `photo_png`, `legend`, `notes`) are for surfaces
that lay pictures out themselves, such as the report and a web page.
"""

from collections.abc import Callable
from typing import Any

from convscope.errors import ParameterError
from convscope.render.arithmetic import draw_arithmetic
from convscope.render.attribution import draw_attribution
from convscope.render.captions import Answer, Note, answers, short, subject, target
from convscope.render.comparison import draw_comparison
from convscope.render.distribution import draw_distribution
from convscope.render.exemplars import draw_exemplars
from convscope.render.feature_maps import draw_feature_maps
from convscope.render.kernels import draw_kernels
from convscope.render.layer_attribution import draw_layer_attribution
from convscope.render.moving import moving
from convscope.render.palette import FADED, GROUNDS, OPACITY, SCALES, THEMES
from convscope.render.picture import Picture
from convscope.render.pictures import draw_pictures
from convscope.render.pieces import alt, legend, map_png, notes, overlay_png, photo_png
from convscope.render.prediction import draw_prediction
from convscope.render.raster import photo_pixels
from convscope.render.receptive_field import draw_receptive_field
from convscope.render.recommendation import draw_recommendation
from convscope.render.scale import Legend, number
from convscope.render.structure import draw_structure
from convscope.values import (
    Arithmetic,
    Attribution,
    Comparison,
    Distribution,
    Exemplars,
    FeatureMaps,
    Kernels,
    LayerAttribution,
    Pictures,
    Prediction,
    ReceptiveField,
    Recommendation,
    Structure,
    Value,
)

__all__ = [
    "FADED",
    "GROUNDS",
    "Answer",
    "OPACITY",
    "SCALES",
    "THEMES",
    "Legend",
    "Note",
    "Picture",
    "alt",
    "answers",
    "legend",
    "map_png",
    "moving",
    "notes",
    "number",
    "overlay_png",
    "photo_pixels",
    "photo_png",
    "picture",
    "short",
    "subject",
    "target",
]

RENDERERS: dict[type[Value], Callable[..., Picture]] = {
    Arithmetic: draw_arithmetic,
    Attribution: draw_attribution,
    Comparison: draw_comparison,
    Distribution: draw_distribution,
    Exemplars: draw_exemplars,
    Pictures: draw_pictures,
    FeatureMaps: draw_feature_maps,
    Kernels: draw_kernels,
    LayerAttribution: draw_layer_attribution,
    Prediction: draw_prediction,
    Recommendation: draw_recommendation,
    ReceptiveField: draw_receptive_field,
    Structure: draw_structure,
}
"""Who draws which kind of value: a new kind is one renderer and one line here."""


def picture(value: Value, *, theme: str = "light", **options: Any) -> Picture:
    """Draw a value: an image with its scale, its title and one line on how to read it.

    Args:
        value: an attribution, a prediction or a comparison.
        theme: ``light`` or ``dark``: the page around the maps; their scales are the same on both.
        options: of an attribution ``limit``, the magnitude at the end of its scale, and ``bare``, without words.

    Raises:
        ParameterError: no such theme or option.
    """
    draw = next((RENDERERS[kind] for kind in type(value).__mro__ if kind in RENDERERS), None)
    if draw is None:
        raise ParameterError(f"there is no picture of a {type(value).__name__}")
    known = (draw.__kwdefaults__ or {}).keys()
    for name in options:
        if name not in known:
            raise ParameterError(
                f"a picture of a {type(value).__name__} has no option {name!r} (it has {', '.join(known)})"
            )
    return draw(value, theme=theme, **options)
