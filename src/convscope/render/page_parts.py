"""Parts of pictures for pages that do the layout themselves: overlay, map, input, colour bar and notes."""

from convscope.errors import ParameterError
from convscope.render import captions, raster
from convscope.render.answers import ANSWERS, alt_of_answer
from convscope.render.layer_attribution import alt_of_layer_attribution
from convscope.render.scale import Legend, legend_of, map_values, scale_of
from convscope.values import Attribution, LayerAttribution, Value


def overlay_png(attribution: Attribution, *, limit: float | None = None, max_side: int | None = None) -> bytes:
    """The map as an overlay without the input: an indexed PNG, transparent where the map is zero.

    Over the background of the scale (white for signed maps, black for unsigned ones) it equals the opaque map.

    Args:
        limit: the magnitude at the end of the scale; by default the map's own.
        max_side: the longest side in pixels; larger maps are reduced.

    Raises:
        ParameterError: the map is not two-dimensional.
    """
    if attribution.values.ndim != 2:
        raise ParameterError(f"only a map of an image can be laid over it, this one has {attribution.values.ndim} axes")
    return raster.heat_png(attribution, scale_of([attribution], limit), max_side)


def map_png(attribution: Attribution, *, limit: float | None = None) -> bytes:
    """The map in the opaque colours of its scale, one pixel per number."""
    return raster.png(raster.map_pixels(map_values(attribution), scale_of([attribution], limit)))


def photo_png(value: Value) -> bytes | None:
    """The input as an image; None for other inputs (signals, volumes)."""
    photo = raster.photo_pixels(value)
    return None if photo is None else raster.png(photo)


def legend(attribution: Attribution, *, limit: float | None = None) -> Legend:
    """The content of the colour bar of a map."""
    return legend_of(scale_of([attribution], limit))


def notes(value: Value) -> list[captions.Note]:
    """The notes that are needed to interpret the picture of a value, warnings first."""
    return captions.notes(value, scale_of([value]) if isinstance(value, Attribution) else None)


def alt(value: Value) -> str:
    """The alternative text of the picture of a value."""
    if isinstance(value, Attribution):
        return captions.alt(value, scale_of([value]))
    if isinstance(value, LayerAttribution):
        return alt_of_layer_attribution(value)
    return alt_of_answer(value) if isinstance(value, ANSWERS) else captions.title(value)
