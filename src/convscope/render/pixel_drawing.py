"""Draws the shapes of a canvas as pixels, with Pillow: matplotlib takes longer to import than most pictures to draw."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from convscope.render.font_metrics import load_font
from convscope.render.palette import Pixels
from convscope.render.shapes import Box, Line, PlacedPixels, Polygon, Shape, TextRun

_SUBPIXELS = 4
"""Slanted edges are drawn this many times as large and reduced, since Pillow draws no anti-aliased shapes."""

_ANCHORS = {"left": "ls", "center": "ms", "right": "rs"}
"""How Pillow writes an anchor on the baseline."""

Point = tuple[float, float]


def draw_pixels(shapes: Sequence[Shape], width: int, height: int, page: str) -> Pixels:
    """The picture of these shapes on a page of this colour, as RGB pixels."""
    image = Image.new("RGB", (width, height), page)
    draw = ImageDraw.Draw(image)
    for shape in shapes:
        match shape:
            case TextRun():
                font = load_font(shape.font, shape.size)
                position = shape.x, round(shape.baseline)
                draw.text(position, shape.words, fill=shape.colour, font=font, anchor=_ANCHORS[shape.anchor])
            case PlacedPixels():
                _place(image, shape)
            case Box():
                _draw_box(draw, shape)
            case Line():
                _draw_line(image, draw, shape)
            case Polygon():
                _draw_smooth(image, list(zip(shape.xs, shape.ys, strict=True)), shape.fill)
    return np.asarray(image)


def _place(image: Image.Image, shape: PlacedPixels) -> None:
    pixels = Image.fromarray(shape.pixels)
    image.paste(pixels, (shape.x, shape.y), pixels if pixels.mode == "RGBA" else None)


def _draw_box(draw: ImageDraw.ImageDraw, box: Box) -> None:
    left, top, right, bottom = (round(n) for n in (box.x, box.y, box.x + box.width, box.y + box.height))
    if box.fill != "none" and right > left and bottom > top:
        draw.rectangle((left, top, right - 1, bottom - 1), fill=box.fill)
    if box.edge != "none":
        draw.rectangle((left, top, max(left, right), max(top, bottom)), outline=box.edge)


def _draw_line(image: Image.Image, draw: ImageDraw.ImageDraw, line: Line) -> None:
    """Draw a line through the finite points; a point that is not interrupts it."""
    for points in _finite_runs(line):
        pairs = list(itertools.pairwise(points))
        if all(x == next_x or y == next_y for (x, y), (next_x, next_y) in pairs):
            for begin, end in pairs:
                draw.rectangle(_straight(begin, end, max(1, round(line.width))), fill=line.colour)
        else:
            _draw_smooth(image, points, line.colour, line.width)


def _finite_runs(line: Line) -> list[list[Point]]:
    runs: list[list[Point]] = [[]]
    for x, y in zip(line.xs, line.ys, strict=True):
        if math.isfinite(x) and math.isfinite(y):
            runs[-1].append((x, y))
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if len(run) > 1]


def _straight(begin: Point, end: Point, width: int) -> tuple[int, int, int, int]:
    """The pixels of a horizontal or vertical line, sharp: the first column and row, the last column and row."""
    left, right = sorted(math.floor(x) for x, _ in (begin, end))
    top, bottom = sorted(math.floor(y) for _, y in (begin, end))
    before = (width - 1) // 2
    after = width - 1 - before
    return left - before, top - before, right + after, bottom + after


def _draw_smooth(image: Image.Image, points: Sequence[Point], colour: str, line_width: float | None = None) -> None:
    """Draw a line, or without a width a filled polygon, with anti-aliased edges."""
    margin = 2 + math.ceil(line_width or 0)
    left, top = (math.floor(min(values)) - margin for values in zip(*points, strict=True))
    right, bottom = (math.ceil(max(values)) + margin for values in zip(*points, strict=True))
    mask = Image.new("L", ((right - left) * _SUBPIXELS, (bottom - top) * _SUBPIXELS))
    draw = ImageDraw.Draw(mask)
    enlarged = [((x - left) * _SUBPIXELS - 0.5, (y - top) * _SUBPIXELS - 0.5) for x, y in points]
    if line_width is None:
        draw.polygon(enlarged, fill=255)
    else:
        width = round(line_width * _SUBPIXELS) + 1  # Pillow draws slanted lines one pixel thinner
        draw.line(enlarged, fill=255, width=width, joint="curve")
    image.paste(colour, (left, top, right, bottom), mask.reduce(_SUBPIXELS))
