"""Drawing detections: the input with numbered boxes, masks and keypoints, and a row for each with label and score."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from convscope.render.answers import box_colours
from convscope.render.canvas import SMALL, Canvas
from convscope.render.palette import Pixels
from convscope.render.panel import Panel
from convscope.render.prediction import draw_answer
from convscope.render.raster import enlarge, photo_pixels
from convscope.render.rendered_picture import Picture
from convscope.values import Detections

PANEL_SIDE = 480
LINE = 2.5
TAG_HEIGHT = 20
MASK_OPACITY = 0.45
_DOT = 5
"""The side of a keypoint."""


@dataclass(frozen=True, eq=False)
class PhotoWithBoxes(Panel):
    """The input with boxes drawn over it.

    Attributes:
        boxes: left, top, right and bottom of each box in pixels of the panel.
        labels: what is written at each box; ``colours`` are those of its lines.
        keypoints: for each box its keypoints in pixels of the panel.
    """

    boxes: tuple[tuple[float, ...], ...] = ()
    labels: tuple[str, ...] = ()
    colours: tuple[str, ...] = ()
    keypoints: tuple[tuple[tuple[float, float], ...], ...] = ()

    def draw(self, canvas: Canvas, x: float, y: float) -> None:
        """Draw the input, then the boxes from the lowest score to the highest."""
        super().draw(canvas, x, y)
        for box, label, colour in reversed([*zip(self.boxes, self.labels, self.colours, strict=True)]):
            left, top, right, bottom = box[0] + x, box[1] + y, box[2] + x, box[3] + y
            canvas.line([left, right, right, left, left], [top, top, bottom, bottom, top], colour=colour, width=LINE)
            width = canvas.text_width(label, SMALL, bold=True) + 8
            label_top = top if top - TAG_HEIGHT < y else top - TAG_HEIGHT
            canvas.box(left, label_top, width, TAG_HEIGHT, fill=colour)
            canvas.text(left + 4, label_top, label, size=SMALL, colour="#ffffff", bold=True)
        for points, colour in zip(self.keypoints, self.colours, strict=False):
            for across, down in points:
                canvas.box(x + across - _DOT / 2, y + down - _DOT / 2, _DOT, _DOT, fill=colour, edge="#ffffff")


def draw_detections(detections: Detections, *, theme: str = "light", bare: bool = False) -> Picture:
    """The picture of detections; ``theme`` is ``light`` or ``dark``, ``bare`` draws the boxes alone."""
    return draw_answer(detections, _panels(detections), theme, bare=bare)


def _panels(detections: Detections) -> list[Panel]:
    photo = photo_pixels(detections)
    if photo is None:
        return []
    pixels = enlarge(_with_masks(photo, detections), PANEL_SIDE)
    factors = (pixels.shape[1] / photo.shape[1], pixels.shape[0] / photo.shape[0]) * 2
    limits = (pixels.shape[1], pixels.shape[0]) * 2
    boxes = tuple(
        tuple(min(max(0.0, edge * factor), limit) for edge, factor, limit in zip(box, factors, limits, strict=True))
        for box in detections.boxes
    )
    keypoints = tuple(
        tuple((x * factors[0], y * factors[1]) for x, y in points.tolist())
        for points in (() if detections.keypoints is None else np.asarray(detections.keypoints))
    )
    labels = tuple(f"{number} {label}" for number, label in enumerate(detections.labels))
    colours = box_colours(detections)
    panel = PhotoWithBoxes("input", pixels, boxes=boxes, labels=labels, colours=colours, keypoints=keypoints)
    return [panel]


def _with_masks(photo: Pixels, detections: Detections) -> Pixels:
    """The input with the masks over it in the colours of their boxes, the best last."""
    if detections.masks is None:
        return photo
    pixels = photo.astype(np.float32)
    size = (photo.shape[1], photo.shape[0])
    for mask, colour in reversed([*zip(np.asarray(detections.masks), box_colours(detections), strict=True)]):
        covered = np.asarray(Image.fromarray(mask.astype(np.uint8)).resize(size, Image.Resampling.NEAREST)) > 0
        ink = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)], np.float32)
        pixels[covered] = (1 - MASK_OPACITY) * pixels[covered] + MASK_OPACITY * ink
    mixed: Pixels = pixels.round().astype(np.uint8)
    return mixed
