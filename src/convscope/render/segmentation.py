"""Drawing a segmentation: the input, the predicted classes over it in colour, and a legend with their shares."""

import numpy as np
from PIL import Image

from convscope.render.answers import legend_colours
from convscope.render.palette import Pixels
from convscope.render.panel import Panel
from convscope.render.panels import input_panel
from convscope.render.prediction import PANEL_SIDE, draw_answer
from convscope.render.raster import enlarge, photo_pixels
from convscope.render.rendered_picture import Picture
from convscope.values import Segmentation

OPACITY = 0.6
"""The opacity of the colours over the input, which is grey below them."""


def draw_segmentation(segmentation: Segmentation, *, theme: str = "light", bare: bool = False) -> Picture:
    """The picture of a segmentation; ``theme`` is ``light`` or ``dark``, ``bare`` draws the classes alone."""
    return draw_answer(segmentation, _panels(segmentation), theme, bare=bare)


def _panels(segmentation: Segmentation) -> list[Panel]:
    photo = input_panel(segmentation, PANEL_SIDE)
    panels = [] if photo is None else [photo]
    if np.asarray(segmentation.classes).ndim == 2:
        panels.append(Panel("classes over the input", enlarge(mask_over_photo(segmentation), PANEL_SIDE)))
    return panels


def mask_over_photo(segmentation: Segmentation) -> Pixels:
    """The colours of the classes over the grey input, in the size of the input; without one on a white ground."""
    classes, photo = np.asarray(segmentation.classes), photo_pixels(segmentation)
    if photo is None:
        grey = np.full((*classes.shape, 3), 235.0)
    else:
        size = (photo.shape[1], photo.shape[0])
        classes = np.asarray(Image.fromarray(classes.astype(np.int32)).resize(size, Image.Resampling.NEAREST))
        grey = (photo.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32))[..., None].repeat(3, 2)
    for index, colour in legend_colours(segmentation).items():
        if colour:
            ink = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)], np.float32)
            covered = classes == index
            grey[covered] = (1 - OPACITY) * grey[covered] + OPACITY * ink
    pixels: Pixels = grey.round().astype(np.uint8)
    return pixels
