"""Rendering of values as pictures: one renderer per kind of value, with common themes and colour scales.

`picture` draws any value. The parts (`overlay_png`, `map_png`, `photo_png`, `legend`, `notes`) are for reports and web
pages, which do the layout themselves.
"""

from collections.abc import Callable
from typing import Any

from convscope import _extensions
from convscope.errors import ParameterError
from convscope.render.animation import animated_gif, film
from convscope.render.answers import ANSWERS, Answer, TopClass, answers, explained_by_default, top_classes
from convscope.render.arithmetic import draw_arithmetic
from convscope.render.attention_heads import draw_attention_heads
from convscope.render.attention_maps import draw_attention_maps
from convscope.render.attribution import draw_attribution
from convscope.render.captions import Note, short_name, subject, target
from convscope.render.comparison import draw_comparison
from convscope.render.detections import draw_detections
from convscope.render.distribution import draw_distribution
from convscope.render.exemplars import draw_exemplars
from convscope.render.feature_maps import draw_feature_maps
from convscope.render.gate_maps import draw_gate_maps
from convscope.render.joint_attribution import draw_joint_attribution
from convscope.render.kernels import draw_kernels
from convscope.render.layer_attribution import draw_layer_attribution
from convscope.render.notebook import notebook_html
from convscope.render.page_parts import alt, legend, map_png, notes, overlay_png, photo_png
from convscope.render.palette import BACKGROUNDS, OPACITY, PHOTO_WEIGHT, SCALES, THEMES
from convscope.render.pictures import draw_pictures
from convscope.render.prediction import draw_prediction
from convscope.render.raster import photo_pixels
from convscope.render.receptive_field import draw_receptive_field
from convscope.render.recommendation import draw_recommendation
from convscope.render.rendered_picture import Picture
from convscope.render.scale import Legend, format_number
from convscope.render.segmentation import draw_segmentation
from convscope.render.structure import draw_structure
from convscope.values import (
    Arithmetic,
    AttentionHeads,
    AttentionMaps,
    Attribution,
    Comparison,
    Detections,
    Distribution,
    Exemplars,
    FeatureMaps,
    GateMaps,
    JointAttribution,
    Kernels,
    LayerAttribution,
    Pictures,
    Prediction,
    ReceptiveField,
    Recommendation,
    Segmentation,
    Structure,
    Value,
)

__all__ = [
    "ANSWERS",
    "BACKGROUNDS",
    "OPACITY",
    "PHOTO_WEIGHT",
    "SCALES",
    "THEMES",
    "Answer",
    "Legend",
    "Note",
    "Picture",
    "TopClass",
    "alt",
    "animated_gif",
    "answers",
    "explained_by_default",
    "film",
    "format_number",
    "has_bare_picture",
    "legend",
    "map_png",
    "notebook_html",
    "notes",
    "overlay_png",
    "photo_pixels",
    "photo_png",
    "picture",
    "short_name",
    "subject",
    "target",
    "top_classes",
]

RENDERERS: dict[type[Value], Callable[..., Picture]] = {
    Arithmetic: draw_arithmetic,
    Attribution: draw_attribution,
    Comparison: draw_comparison,
    Detections: draw_detections,
    Distribution: draw_distribution,
    Exemplars: draw_exemplars,
    Pictures: draw_pictures,
    AttentionHeads: draw_attention_heads,
    AttentionMaps: draw_attention_maps,
    FeatureMaps: draw_feature_maps,
    GateMaps: draw_gate_maps,
    JointAttribution: draw_joint_attribution,
    Kernels: draw_kernels,
    LayerAttribution: draw_layer_attribution,
    Prediction: draw_prediction,
    Recommendation: draw_recommendation,
    ReceptiveField: draw_receptive_field,
    Segmentation: draw_segmentation,
    Structure: draw_structure,
}
"""The renderer of each kind of value of this package."""


def renderer(kind: type[Value]) -> Callable[..., Picture] | None:
    """The renderer of a kind of value, or of the nearest kind that it is derived from; None if there is none."""
    added = _extensions.entries(_extensions.PICTURES)
    for ancestor in kind.__mro__:
        if ancestor in RENDERERS:
            return RENDERERS[ancestor]
        if ancestor.__name__ in added:
            RENDERERS[ancestor] = _extensions.load(_extensions.PICTURES, ancestor.__name__)
            return RENDERERS[ancestor]
    return None


def has_bare_picture(value: Value) -> bool:
    """Whether this kind of value can be drawn without the text around it."""
    draw = renderer(type(value))
    return "bare" in ((draw.__kwdefaults__ or {}) if draw else {})


def picture(value: Value, *, theme: str = "light", **options: Any) -> Picture:
    """Draw a value: a picture with its colour scale, its title and a line on how to read it.

    Args:
        value: any value that has a renderer.
        theme: ``light`` or ``dark``, for the page around the maps; the colour scales are the same.
        options: keyword arguments of the renderer, such as ``limit`` of an attribution, the magnitude at the end of
            its scale, or ``bare``, which omits title, notes and reading line.

    Raises:
        ParameterError: no such theme or option.
    """
    draw = renderer(type(value))
    if draw is None:
        raise ParameterError(f"there is no picture of a {type(value).__name__}")
    known = (draw.__kwdefaults__ or {}).keys()
    for name in options:
        if name not in known:
            raise ParameterError(
                f"a picture of a {type(value).__name__} has no option {name!r} (it has {', '.join(known)})"
            )
    return draw(value, theme=theme, **options)
