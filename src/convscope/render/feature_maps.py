"""Drawing feature maps: a tile per channel, alone or over the image, or all channels in three colours."""

import numpy as np
from PIL import Image

from convscope.render import captions, header_footer, tile_grid
from convscope.render.canvas import GAP, MARGIN, SMALL, Canvas
from convscope.render.input_geometry import voxel_size
from convscope.render.palette import Pixels
from convscope.render.panels import input_panel
from convscope.render.raster import overlay_pixels, photo_pixels
from convscope.render.rendered_picture import Picture
from convscope.render.scale import PERCENTILE, Numbers, Scale, format_number
from convscope.render.signal_axis import AXIS_HEIGHT, SignalAxis
from convscope.render.token_panel import tokens_of
from convscope.values import FeatureMaps

_TOKEN_TEXT, _MIN_TOKEN_WIDTH = 11, 24
"""The size of the tokens below the positions of a layer, and the width of a position from which they are written."""
_PHOTO_SIDE, _COLOURS_SIDE, _STRIP_HEIGHT = 180, 420, 26


def draw_feature_maps(value: FeatureMaps, *, theme: str = "light", bare: bool = False) -> Picture:
    """The picture of feature maps; ``theme`` is ``light`` or ``dark``."""
    canvas = Canvas(theme, tile_grid.WIDTH, bare=bare)
    header_footer.draw_header(canvas, value)
    photo = photo_pixels(value)
    if value.view != "overlay":
        _draw_input(canvas, value)
    for address in value.maps:
        _draw_layer(canvas, value, address, photo)
    header_footer.draw_footer(canvas, value)
    return canvas.to_picture(alt(value))


def alt(value: FeatureMaps) -> str:
    """The alternative text: the layers, their numbers of channels, and the strongest channels."""
    subject = captions.short_name(value.record.input) or "one input"
    return f"{captions.title(value)} of {subject}: {'; '.join(value.lines())}."


def _draw_input(canvas: Canvas, value: FeatureMaps) -> None:
    panel = input_panel(value, _PHOTO_SIDE)
    if panel is not None:
        panel.draw(canvas, MARGIN, canvas.y)
        canvas.y += panel.height + panel.axis_height + 4
        canvas.paragraph(panel.caption, size=SMALL, colour=canvas.theme.faint)
        canvas.y += 8


def _draw_layer(canvas: Canvas, value: FeatureMaps, address: str, photo: Pixels | None) -> None:
    maps, each = np.asarray(value.maps[address], np.float32), value.scale == "each"
    tile_grid.draw_heading(canvas, address, _describe_layer(value, address, maps))
    if value.view == "colours" and address in value.colours:
        _draw_colours(canvas, value, address)
        return
    scale = tile_grid.scale_for(maps, ("negative", "positive") if bool((maps < 0).any()) else ("none", "strong"))
    if maps.ndim <= 2:
        _draw_strip(canvas, maps, value, address, scale, each=each)
    else:
        _draw_tiles(canvas, value, address, maps, scale, photo if value.view == "overlay" and maps.ndim == 3 else None)
    tile_grid.draw_scale_bar(canvas, scale, each=each)


def _describe_layer(value: FeatureMaps, address: str, maps: Numbers) -> str:
    size = "×".join(str(n) for n in maps.shape[1:]) or "no positions"
    position = f", {value.read[address]}" if address in value.read else ""
    total = len(value.strengths[address])
    shown = f"all {total}" if value.view == "colours" and address in value.colours else f"{len(maps)} of {total}"
    slices = "; after each channel the index of the slice through its peak" if maps.ndim == 4 else ""
    return f"{shown} channels, the largest mean magnitude first, {size}{position}{slices}"


def _draw_tiles(
    canvas: Canvas, value: FeatureMaps, address: str, maps: Numbers, scale: Scale, photo: Pixels | None
) -> None:
    each, count = value.scale == "each", min(len(maps), tile_grid.MAX_TILES)
    tiles = []
    for channel, values in zip(value.channels[address][:count], maps, strict=False):
        plane, slice_text = _plane(values)
        cell_height, cell_width = _cell_size(value, maps.shape[1:])
        if photo is None:
            pixels = tile_grid.colour_pixels(plane, scale, each=each)
        else:
            own_scale = Scale(float(np.abs(plane).max()), scale.signed, 0.0) if each else scale
            pixels = overlay_pixels(_resize(plane, photo.shape[:2]), photo, own_scale)
        cell = (1.0, 1.0) if photo is not None else (cell_height, cell_width)
        tiles.append(tile_grid.Tile(pixels, f"{channel}{slice_text}", cell=cell))
    tile_grid.draw_tiles(canvas, tiles, tile_grid.tile_side(count))
    if count < len(maps):
        text = f"{count} of {len(maps)} maps are drawn, the strongest; the .npz file contains all."
        canvas.paragraph(text, size=SMALL, colour=canvas.theme.faint)


def _cell_size(value: FeatureMaps, extent: tuple[int, ...]) -> tuple[float, float]:
    """The height and the width of one position of a map that covers the whole input."""
    input_extent = None if value.photo is None else np.asarray(value.photo).shape[1:]
    full_extent = (
        input_extent if value.record.spacing and input_extent is not None and len(input_extent) == len(extent) else None
    )
    sides = voxel_size(value.record, extent, full_extent)
    return sides[-2], sides[-1]


def _plane(values: Numbers) -> tuple[Numbers, str]:
    """A 2-D map, or the slice through the peak of a volume with its index as text."""
    if values.ndim == 2:
        return values, ""
    depth = int(np.unravel_index(int(np.abs(values).argmax()), values.shape)[0])
    return values[depth], f" · {depth}"


def _draw_strip(canvas: Canvas, values: Numbers, value: FeatureMaps, address: str, scale: Scale, *, each: bool) -> None:
    """Draw channels without positions as a row of cells, and channels along one axis as a row each."""
    channels = value.channels[address]
    if values.ndim == 1:
        _draw_cells(canvas, values, channels, scale)
    else:
        _draw_rows(canvas, values, channels, scale, tokens_of(value, values.shape[1]), each=each)


def _draw_cells(canvas: Canvas, values: Numbers, channels: tuple[int, ...], scale: Scale) -> None:
    width = canvas.width - 2 * MARGIN
    cell = max(1, min(68, width // len(values)))
    drawn = values[: width // cell]
    pixels = tile_grid.colour_pixels(drawn[None], scale)
    canvas.image(MARGIN, canvas.y, pixels.repeat(_STRIP_HEIGHT, 0).repeat(cell, 1))
    canvas.y += _STRIP_HEIGHT + 4
    if cell >= 30:
        for index, (channel, number) in enumerate(zip(channels, drawn.tolist(), strict=False)):
            centre = MARGIN + (index + 0.5) * cell
            canvas.text(centre, canvas.y, str(channel), size=SMALL, colour=canvas.theme.faint, anchor="center")
            if cell >= 64:
                canvas.text(centre, canvas.y + 18, format_number(number), size=12, anchor="center")
        canvas.y += 44 if cell >= 64 else 24
    omitted = f"; {len(values) - len(drawn)} weaker channels are not drawn" if len(drawn) < len(values) else ""
    text = f"channels {_list_channels(channels[: len(drawn)])}, the largest magnitude first{omitted}"
    canvas.paragraph(text, size=SMALL, colour=canvas.theme.faint)
    canvas.y += 8


def _draw_rows(
    canvas: Canvas, values: Numbers, channels: tuple[int, ...], scale: Scale, tokens: list[str], *, each: bool
) -> None:
    width = canvas.width - 2 * MARGIN
    labels_width = 56
    drawn = values[: tile_grid.MAX_TILES]
    row_height = 18 if len(drawn) <= 64 else 6
    rows = (
        tile_grid.colour_pixels(drawn, scale)
        if not each
        else np.stack([tile_grid.colour_pixels(r, scale, each=True) for r in drawn])
    )
    columns = np.arange(width - labels_width) * values.shape[1] // (width - labels_width)
    canvas.image(MARGIN + labels_width, canvas.y, rows[:, columns].repeat(row_height, 0))
    for index, channel in enumerate(channels[: len(drawn)] if row_height == 18 else ()):
        top = canvas.y + index * row_height
        canvas.text(
            MARGIN + labels_width - 8, top - 1, str(channel), size=SMALL, colour=canvas.theme.faint, anchor="right"
        )
    canvas.y += row_height * len(drawn) + 6
    cell = (width - labels_width) / values.shape[1]
    for index, token in enumerate(tokens if cell >= _MIN_TOKEN_WIDTH else ()):
        text = canvas.shorten(token, cell - 2, size=_TOKEN_TEXT)
        centre = MARGIN + labels_width + (index + 0.5) * cell
        canvas.text(centre, canvas.y - 4, text, size=_TOKEN_TEXT, anchor="center")
    canvas.y += 16 if tokens and cell >= _MIN_TOKEN_WIDTH else 0
    SignalAxis(values.shape[1], label="one row per channel; horizontally the positions of the layer").draw(
        canvas, MARGIN + labels_width, canvas.y - 6, width - labels_width
    )
    canvas.y += AXIS_HEIGHT
    omissions = []
    if values.shape[1] > len(columns):
        omissions.append(f"{len(columns)} of {values.shape[1]} positions are drawn, evenly chosen")
    if len(drawn) < len(values):
        omissions.append(
            f"{len(drawn)} of {len(values)} channels are drawn, the largest mean magnitude first; the .npz file has all"
        )
    if omissions:
        canvas.paragraph("; ".join(omissions), size=SMALL, colour=canvas.theme.faint)
    canvas.y += 8


def _draw_colours(canvas: Canvas, value: FeatureMaps, address: str) -> None:
    """Draw the first three principal components as red, green and blue on one common scale."""
    components = np.asarray(value.colours[address], np.float32)
    if components.ndim == 4:
        components = components[:, components.shape[1] // 2]
    if components.ndim == 2:
        components = components[:, None].repeat(max(1, components.shape[1] // 8), 1)
    limit = float(np.percentile(np.abs(components), PERCENTILE)) or 1.0
    levels = np.zeros((3, *components.shape[1:]), np.float32)
    levels[: len(components)] = components / limit
    pixels = np.asarray((255 * (0.5 + 0.5 * levels).clip(0, 1)).round(), np.uint8).transpose(1, 2, 0)
    image = tile_grid.fit(pixels, _COLOURS_SIDE)
    canvas.image(MARGIN, canvas.y, image)
    left, names = MARGIN + image.shape[1] + 2 * GAP, ("red", "green", "blue")
    canvas.text(left, canvas.y, "All channels in three colours", bold=True)
    for index, (name, share) in enumerate(zip(names, value.shares[address], strict=False)):
        text = f"{name}: principal component {index + 1}, {share:.0%} of the variance"
        canvas.text(left, canvas.y + 32 + 26 * index, text, size=SMALL)
    caption = (
        f"mid-grey is the mean; a colour is full at {format_number(limit)}. "
        "Places of similar colour have similar activations."
    )
    text_width = canvas.width - MARGIN - left
    canvas.text(left, canvas.y + 32 + 26 * 3 + 8, caption, size=SMALL, colour=canvas.theme.faint, width=text_width)
    canvas.y += max(image.shape[0], 190) + GAP


def _resize(values: Numbers, size: tuple[int, ...]) -> Numbers:
    image = Image.fromarray(np.ascontiguousarray(values, np.float32))
    return np.asarray(image.resize((size[1], size[0]), Image.Resampling.BILINEAR), np.float32)


def _list_channels(channels: tuple[int, ...], max_count: int = 12) -> str:
    ellipsis = ", …" if len(channels) > max_count else ""
    return ", ".join(str(channel) for channel in channels[:max_count]) + ellipsis
