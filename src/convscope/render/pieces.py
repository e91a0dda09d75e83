"""The pieces a surface lays out itself: the heat alone, the map, the input, the scale, the notes."""

from convscope.errors import ParameterError
from convscope.render import captions, raster
from convscope.render.layer_attribution import alt_of_layer_attribution
from convscope.render.scale import Legend, legend_of, numbers, scale_of
from convscope.values import Attribution, LayerAttribution, Prediction, Value


def overlay_png(attribution: Attribution, *, limit: float | None = None, most: int | None = None) -> bytes:
    """The heat without the input: an indexed PNG, transparent where the map is zero.

    Laid on the scale's ground (white for signed maps, black for unsigned ones) it is the map itself.

    Args:
        limit: the magnitude at the end of the scale; by default the map's own.
        most: the longest side in pixels; larger maps are shrunk.

    Raises:
        ParameterError: the map is not two-dimensional.
    """
    if attribution.values.ndim != 2:
        raise ParameterError(f"only a map of an image can be laid over it, this one has {attribution.values.ndim} axes")
    return raster.heat_png(attribution, scale_of([attribution], limit), most)


def map_png(attribution: Attribution, *, limit: float | None = None) -> bytes:
    """The map in the scale's opaque colours, one pixel a number."""
    return raster.png(raster.map_pixels(numbers(attribution), scale_of([attribution], limit)))


def photo_png(value: Attribution | Prediction) -> bytes | None:
    """The input as people see it; nothing where it cannot be seen (a signal, a volume)."""
    photo = raster.photo_pixels(value)
    return None if photo is None else raster.png(photo)


def legend(attribution: Attribution, *, limit: float | None = None) -> Legend:
    """What the colour bar of a map shows."""
    return legend_of(scale_of([attribution], limit))


def notes(value: Value) -> list[captions.Note]:
    """What must be known to read the picture of a value rightly, warnings first."""
    return captions.notes(value, scale_of([value]) if isinstance(value, Attribution) else None)


def alt(value: Value) -> str:
    """What the picture of a value shows, for those who cannot see it."""
    if isinstance(value, Attribution):
        return captions.alt(value, scale_of([value]))
    if isinstance(value, LayerAttribution):
        return alt_of_layer_attribution(value)
    return captions.alt_of_prediction(value) if isinstance(value, Prediction) else captions.title(value)
