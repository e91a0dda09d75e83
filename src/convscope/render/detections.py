"""Drawing detections: the input with numbered boxes, and a row for each with its label and score."""

from dataclasses import dataclass

from convscope.render.answers import box_colours
from convscope.render.canvas import SMALL, Canvas
from convscope.render.panel import Panel
from convscope.render.prediction import draw_answer
from convscope.render.raster import enlarge, photo_pixels
from convscope.render.rendered_picture import Picture
from convscope.values import Detections

PANEL_SIDE = 480
LINE = 2.5
TAG_HEIGHT = 20


@dataclass(frozen=True, eq=False)
class PhotoWithBoxes(Panel):
    """The input with boxes drawn over it.

    Attributes:
        boxes: left, top, right and bottom of each box in pixels of the panel.
        labels: what is written at each box; ``colours`` are those of its lines.
    """

    boxes: tuple[tuple[float, ...], ...] = ()
    labels: tuple[str, ...] = ()
    colours: tuple[str, ...] = ()

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


def draw_detections(detections: Detections, *, theme: str = "light", bare: bool = False) -> Picture:
    """The picture of detections; ``theme`` is ``light`` or ``dark``, ``bare`` draws the boxes alone."""
    return draw_answer(detections, _panels(detections), theme, bare=bare)


def _panels(detections: Detections) -> list[Panel]:
    photo = photo_pixels(detections)
    if photo is None:
        return []
    pixels = enlarge(photo, PANEL_SIDE)
    factors = (pixels.shape[1] / photo.shape[1], pixels.shape[0] / photo.shape[0]) * 2
    limits = (pixels.shape[1], pixels.shape[0]) * 2
    boxes = tuple(
        tuple(min(max(0.0, edge * factor), limit) for edge, factor, limit in zip(box, factors, limits, strict=True))
        for box in detections.boxes
    )
    labels = tuple(f"{number} {label}" for number, label in enumerate(detections.labels))
    return [PhotoWithBoxes("input", pixels, boxes=boxes, labels=labels, colours=box_colours(detections))]
