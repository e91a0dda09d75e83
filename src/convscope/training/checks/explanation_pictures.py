"""The evidence of findings about an explanation as pictures: the map beside its image, maps of classes side by side."""

from collections.abc import Sequence

import numpy as np

from convscope import render
from convscope.render.picture_table import PictureCell, draw_picture_table
from convscope.render.raster import map_pixels
from convscope.render.rendered_picture import Picture
from convscope.render.scale import scale_of
from convscope.training.checks.explanation_evidence import ExplanationEvidence
from convscope.training.checks.network_pictures import grey
from convscope.values import Attribution

SIDE = 220
"""The longer side of a map in pixels."""


def draw_map(explanation: ExplanationEvidence, place: str) -> Picture:
    """The map beside the image that it explains."""
    return render.picture(explanation.attribution)


def draw_nonfinite(explanation: ExplanationEvidence, place: str) -> Picture:
    """Where the numbers of a map are not finite; the map itself, if it has other axes than height and width."""
    values = explanation.attribution.values
    if values.ndim != 2:
        return draw_map(explanation, place)
    marks = PictureCell([grey((~values.isfinite()).float())], ["white: not finite"])
    title = "numbers of the map that are not finite"
    return draw_picture_table([*_input_cells(explanation), marks], title=title, legend="", side=SIDE)


def draw_of_classes(explanation: ExplanationEvidence, maps: Sequence[Attribution]) -> Picture:
    """The maps of several classes side by side, each on its own scale."""
    if explanation.attribution.values.ndim != 2:
        return draw_map(explanation, "")
    cells = [
        PictureCell([map_pixels(value.values.float().cpu().numpy(), scale_of([value]))], [value.target])
        for value in maps
    ]
    legend = "each map on its own scale"
    return draw_picture_table([*_input_cells(explanation), *cells], title="the map by class", legend=legend, side=SIDE)


def _input_cells(explanation: ExplanationEvidence) -> list[PictureCell]:
    """The image as the network receives it, where both were given."""
    if explanation.model is None or explanation.tensor is None:
        return []
    photo = explanation.model.input.picture(explanation.tensor[0])
    return [] if photo is None or photo.ndim != 3 else [PictureCell([np.asarray(photo)], ["the image"])]
