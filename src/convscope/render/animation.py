"""Frames as an animated GIF or an MP4 film: of an optimization, a clip with its map over it, or maps of layers."""

import io
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from convscope.errors import MissingExtra
from convscope.render.font_fallback import default_font
from convscope.render.font_metrics import load_font
from convscope.render.palette import opaque_colours
from convscope.render.raster import enlarge, map_pixels, overlay_pixels, photo_at_map_size, side_by_side
from convscope.render.scale import Scale, legend_of, map_values, scale_of
from convscope.render.video_panels import frame_over_input
from convscope.values import AttentionMaps, Attribution, Pictures

SIDE, GAP = 256, 4
_LINE, _BAR = 22, 96
"""The height of a line of text and the length of the colour bar below a frame, in pixels."""
_BIT_RATE = 4_000_000
"""Bits of a film per second: much for pictures of this size, so that colors stay what they mean."""
FRAME_MS, LAST_FRAME_MS, MIN_FRAME_MS, LAYER_MS = 120, 1500, 20, 700
"""The duration of a frame, of the last, of the shortest that browsers show, and of a layer, in milliseconds."""


def animated_gif(value: Pictures | Attribution | AttentionMaps) -> bytes:
    """A GIF file that loops: optimized pictures side by side, the map over a clip, or over each of several layers."""
    if isinstance(value, AttentionMaps):
        return _layers_gif(_mean_over_heads(value))
    if not isinstance(value, Attribution):
        return _optimization_gif(value)
    return _clip_gif(value) if value.record.kind == "video" else _layers_gif(value)


def layer_maps(attribution: Attribution) -> list[Attribution]:
    """The map of each layer by itself over the part of the input that it covers, in their order."""
    import torch

    height, width = attribution.values.shape
    maps = []
    for address, values in attribution.layer_values.items():
        if values.ndim != 2:
            continue
        (top, bottom), (left, right) = attribution.layer_regions.get(address, ((0, height), (0, width)))
        drawn = Image.fromarray(np.asarray(values.detach(), np.float32))
        numbers = np.zeros((height, width), np.float32)
        covered = drawn.resize((right - left, bottom - top), Image.Resampling.BILINEAR)
        numbers[top:bottom, left:right] = np.asarray(covered)
        matches = {layer: place for layer, place in attribution.matches.items() if layer == address}
        maps.append(
            replace(
                attribution,
                values=torch.from_numpy(numbers),
                layer_values={address: values},
                layers=(address,),
                matches=matches,
            )
        )
    return maps


def _mean_over_heads(value: AttentionMaps) -> Attribution:
    """The maps of all layers with an image's axes, the heads of each averaged."""
    import torch

    means = {}
    for layer, maps in value.maps.items():
        if maps.ndim == 3:
            means[f"{layer}, mean over {len(maps)} heads" if len(maps) > 1 else layer] = maps.float().mean(0)
    photo = None if value.photo is None or np.ndim(value.photo) != 3 else np.asarray(value.photo)
    extent = max(means.values(), key=torch.Tensor.numel).shape if photo is None else photo.shape[:2]
    return Attribution(
        values=torch.zeros(*extent, dtype=torch.float32, device="cpu"),
        layer_values=means,
        photo=photo,
        signed=False,
        record=value.record,
    )


def _layers_gif(attribution: Attribution) -> bytes:
    """The map of each layer over the input with the layer's name, on one scale for all of them."""
    maps = layer_maps(attribution)
    scale, photo = scale_of(maps), photo_at_map_size(attribution)
    frames = []
    for layer in maps:
        values = map_values(layer)
        over = map_pixels(values, scale) if photo is None else overlay_pixels(values, photo, scale)
        pixels = side_by_side([enlarge(over, SIDE), enlarge(map_pixels(values, scale), SIDE)], GAP)
        frames.append(_indexed(_with_scale(Image.fromarray(pixels), scale, layer.layers[0])))
    return gif(frames, [LAYER_MS] * (len(frames) - 1) + [LAST_FRAME_MS])


def _with_scale(frame: Image.Image, scale: Scale, name: str = "") -> Image.Image:
    """A frame with the scale of its map below it, under a line with its name."""
    font, ticks = load_font(default_font(bold=False), 13), legend_of(scale).ticks
    low, high = ticks[0][1], ticks[-1][1]
    start = 12 + round(font.getlength(low))
    needed = start + _BAR + 8 + round(font.getlength(high)) + 4
    top = frame.height + (_LINE if name else 0)
    whole = Image.new("RGB", (max(frame.width, needed), top + _LINE), "white")
    whole.paste(frame)
    draw = ImageDraw.Draw(whole)
    draw.text((4, frame.height + 3), name, fill="black", font=font)
    draw.text((4, top + 3), low, fill="black", font=font)
    draw.text((start + _BAR + 8, top + 3), high, fill="black", font=font)
    colours = opaque_colours(scale.signed)
    row = colours[np.linspace(0, len(colours) - 1, _BAR).round().astype(int)]
    whole.paste(Image.fromarray(row[None].repeat(12, 0)), (start, top + 5))
    return whole


def _indexed(frame: Image.Image) -> Image.Image:
    """A frame in 256 colours, which keep those of the whole scale, however few pixels have them."""
    return frame.quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)


def film(attribution: Attribution) -> bytes:
    """The map over the frames of a clip as an MP4 file.

    Raises:
        MissingExtra: the encoder is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise MissingExtra("av", "video") from error
    as_frame: Any = av.VideoFrame.from_image
    frames, duration = _clip_frames(attribution), _frame_duration(attribution)
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        # The frames are compressed as pictures are, so that any player shows them and no license is asked for.
        stream: Any = container.add_stream("mpeg4", rate=Fraction(1000, duration))
        stream.width, stream.height = (side + side % 2 for side in frames[0].size)
        stream.pix_fmt, stream.bit_rate = "yuv420p", _BIT_RATE
        for picture in frames:
            even = Image.new("RGB", (stream.width, stream.height))
            even.paste(picture)
            container.mux(stream.encode(as_frame(even)))
        container.mux(stream.encode())
    return file.getvalue()


def _clip_gif(attribution: Attribution) -> bytes:
    frames = [_indexed(frame) for frame in _clip_frames(attribution)]
    return gif(frames, [_frame_duration(attribution)] * len(frames))


def _clip_frames(attribution: Attribution) -> list[Image.Image]:
    """The map over each frame, on one scale for all of them."""
    scale = scale_of([attribution])
    return [
        _with_scale(Image.fromarray(enlarge(frame_over_input(attribution, scale, index), SIDE)), scale)
        for index in range(len(attribution.values))
    ]


def _frame_duration(attribution: Attribution) -> int:
    """How long a frame is shown, in milliseconds: the time of the clip where it is known."""
    spacing = attribution.record.spacing
    return max(MIN_FRAME_MS, round(1000 * spacing[0])) if spacing else FRAME_MS


def _optimization_gif(pictures: Pictures) -> bytes:
    assert pictures.frames is not None, "the caller checks that there are frames"
    frames = [
        Image.fromarray(side_by_side([enlarge(np.asarray(picture), SIDE) for picture in pictures_of_frame], GAP))
        for pictures_of_frame in pictures.frames
    ]
    return gif(frames, [FRAME_MS] * (len(frames) - 1) + [LAST_FRAME_MS])


def gif(frames: Sequence[Image.Image], durations: Sequence[int]) -> bytes:
    """Frames as a GIF file that loops, each with its duration in milliseconds."""
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], duration=list(durations), loop=0)
    return file.getvalue()
