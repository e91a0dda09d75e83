"""Drawing feature maps: a tile a channel, over the image or not, or all channels in three colours."""

import numpy as np
from PIL import Image

from convscope.render import annotations, captions, mosaic
from convscope.render.canvas import GAP, MARGIN, SMALL, Sheet
from convscope.render.palette import Pixels
from convscope.render.panels import input_panel, voxel_of
from convscope.render.picture import Picture
from convscope.render.raster import overlay_pixels, photo_pixels
from convscope.render.ruler import HEIGHT, Ruler
from convscope.render.scale import PERCENTILE, Numbers, Scale, number
from convscope.values import FeatureMaps

_PHOTO, _COLOURS, _STRIP = 180, 420, 26


def draw_feature_maps(value: FeatureMaps, *, theme: str = "light", bare: bool = False) -> Picture:
    """The picture of feature maps; ``theme`` is ``light`` or ``dark``."""
    sheet = Sheet(theme, mosaic.WIDTH, bare=bare)
    annotations.above(sheet, value)
    photo = photo_pixels(value)
    if value.view != "overlay":
        _input(sheet, value)
    for address in value.maps:
        _layer(sheet, value, address, photo)
    annotations.below(sheet, value)
    return sheet.picture(alt(value))


def alt(value: FeatureMaps) -> str:
    """The maps for those who cannot see them: layers, how many channels, which are the strongest."""
    subject = captions.short(value.record.input) or "one input"
    return f"{captions.title(value)} of {subject}: {'; '.join(value.lines())}."


def _input(sheet: Sheet, value: FeatureMaps) -> None:
    panel = input_panel(value, _PHOTO)
    if panel is not None:
        panel.draw(sheet, MARGIN, sheet.y)
        sheet.y += panel.height + panel.foot + 4
        sheet.paragraph(panel.caption, size=SMALL, colour=sheet.theme.faint)
        sheet.y += 8


def _layer(sheet: Sheet, value: FeatureMaps, address: str, photo: Pixels | None) -> None:
    maps, each = np.asarray(value.maps[address], np.float32), value.scale == "each"
    mosaic.heading(sheet, address, _about(value, address, maps))
    if value.view == "colours" and address in value.colours:
        _colours(sheet, value, address)
        return
    scale = mosaic.scale_for(maps, ("negative", "positive") if bool((maps < 0).any()) else ("none", "strong"))
    if maps.ndim <= 2:
        _strip(sheet, maps, value.channels[address], scale, each=each)
    else:
        _tiles(sheet, value, address, maps, scale, photo if value.view == "overlay" and maps.ndim == 3 else None)
    mosaic.scale_bar(sheet, scale, each=each)


def _about(value: FeatureMaps, address: str, maps: Numbers) -> str:
    size = "×".join(str(n) for n in maps.shape[1:]) or "no places"
    where = f", read {value.read[address]}" if address in value.read else ""
    total = len(value.strengths[address])
    shown = f"all {total}" if value.view == "colours" and address in value.colours else f"{len(maps)} of {total}"
    slices = "; behind the channel the number of the slice through its strongest place" if maps.ndim == 4 else ""
    return f"{shown} channels, the largest mean magnitude first, {size}{where}{slices}"


def _tiles(sheet: Sheet, value: FeatureMaps, address: str, maps: Numbers, scale: Scale, photo: Pixels | None) -> None:
    each, drawn = value.scale == "each", min(len(maps), mosaic.MOST_TILES)
    found = []
    for channel, one in zip(value.channels[address][:drawn], maps, strict=False):
        plane, slice_ = _plane(one)
        tall, wide = _cell(value, maps.shape[1:])
        if photo is None:
            pixels = mosaic.coloured(plane, scale, each=each)
        else:
            own = Scale(float(np.abs(plane).max()), scale.signed, 0.0) if each else scale
            pixels = overlay_pixels(_resized(plane, photo.shape[:2]), photo, own)
        found.append(mosaic.Tile(pixels, f"{channel}{slice_}", cell=(1.0, 1.0) if photo is not None else (tall, wide)))
    mosaic.tiles(sheet, found, mosaic.side_for(drawn))
    if drawn < len(maps):
        said = f"{drawn} of {len(maps)} maps are drawn, the strongest; all are in the .npz file."
        sheet.paragraph(said, size=SMALL, colour=sheet.theme.faint)


def _cell(value: FeatureMaps, extent: tuple[int, ...]) -> tuple[float, float]:
    """How tall and wide a place of a map is, which lies over the whole input."""
    whole = None if value.photo is None else np.asarray(value.photo).shape[1:]
    known = whole if value.record.spacing and whole is not None and len(whole) == len(extent) else None
    sides = voxel_of(value.record, extent, known)
    return sides[-2], sides[-1]


def _plane(values: Numbers) -> tuple[Numbers, str]:
    """A map of two axes, or the plane through the strongest place of a volume."""
    if values.ndim == 2:
        return values, ""
    depth = int(np.unravel_index(int(np.abs(values).argmax()), values.shape)[0])
    return values[depth], f" · {depth}"


def _strip(sheet: Sheet, values: Numbers, channels: tuple[int, ...], scale: Scale, *, each: bool) -> None:
    """Channels without places as a row of numbers; along one axis as a row each."""
    wide = sheet.width - 2 * MARGIN
    if values.ndim == 1:
        cell = max(1, min(68, wide // len(values)))
        shown = values[: wide // cell]
        pixels = mosaic.coloured(shown[None], scale)
        sheet.image(MARGIN, sheet.y, pixels.repeat(_STRIP, 0).repeat(cell, 1))
        sheet.y += _STRIP + 4
        if cell >= 30:
            for place, (channel, one) in enumerate(zip(channels, shown.tolist(), strict=False)):
                middle = MARGIN + (place + 0.5) * cell
                sheet.text(middle, sheet.y, str(channel), size=SMALL, colour=sheet.theme.faint, anchor="center")
                if cell >= 64:
                    sheet.text(middle, sheet.y + 18, number(one), size=12, anchor="center")
            sheet.y += 44 if cell >= 64 else 24
        left_out = f"; {len(values) - len(shown)} weaker ones are not drawn" if len(shown) < len(values) else ""
        said = f"channels {_some(channels[: len(shown)])}, the largest magnitude first{left_out}"
        sheet.paragraph(said, size=SMALL, colour=sheet.theme.faint)
        sheet.y += 8
        return
    beside = 56
    shown = values[: mosaic.MOST_TILES]
    tall = 18 if len(shown) <= 64 else 6
    rows = (
        mosaic.coloured(shown, scale) if not each else np.stack([mosaic.coloured(r, scale, each=True) for r in shown])
    )
    places = np.arange(wide - beside) * values.shape[1] // (wide - beside)
    sheet.image(MARGIN + beside, sheet.y, rows[:, places].repeat(tall, 0))
    for place, channel in enumerate(channels[: len(shown)] if tall == 18 else ()):
        at = sheet.y + place * tall
        sheet.text(MARGIN + beside - 8, at - 1, str(channel), size=SMALL, colour=sheet.theme.faint, anchor="right")
    sheet.y += tall * len(shown) + 6
    Ruler(values.shape[1], counts="a row a channel; across, the positions of the layer").draw(
        sheet, MARGIN + beside, sheet.y - 6, wide - beside
    )
    sheet.y += HEIGHT
    cuts = []
    if values.shape[1] > len(places):
        cuts.append(f"{len(places)} of {values.shape[1]} positions are drawn, evenly chosen")
    if len(shown) < len(values):
        cuts.append(
            f"{len(shown)} of {len(values)} channels are drawn, the largest mean magnitude first; the .npz file has all"
        )
    if cuts:
        sheet.paragraph("; ".join(cuts), size=SMALL, colour=sheet.theme.faint)
    sheet.y += 8


def _colours(sheet: Sheet, value: FeatureMaps, address: str) -> None:
    """The first three principal components as red, green and blue, all by one scale."""
    components = np.asarray(value.colours[address], np.float32)
    if components.ndim == 4:
        components = components[:, components.shape[1] // 2]
    if components.ndim == 2:
        components = components[:, None].repeat(max(1, components.shape[1] // 8), 1)
    limit = float(np.percentile(np.abs(components), PERCENTILE)) or 1.0
    levels = np.zeros((3, *components.shape[1:]), np.float32)
    levels[: len(components)] = components / limit
    pixels = np.asarray((255 * (0.5 + 0.5 * levels).clip(0, 1)).round(), np.uint8).transpose(1, 2, 0)
    large = mosaic.fitted(pixels, _COLOURS)
    sheet.image(MARGIN, sheet.y, large)
    beside, names = MARGIN + large.shape[1] + 2 * GAP, ("red", "green", "blue")
    sheet.text(beside, sheet.y, "All channels in three colours", bold=True)
    for place, (name, share) in enumerate(zip(names, value.shares[address], strict=False)):
        words_ = f"{name}: principal component {place + 1}, {share:.0%} of the variance"
        sheet.text(beside, sheet.y + 32 + 26 * place, words_, size=SMALL)
    said = f"mid-grey is the mean; a colour is full at {number(limit)}. Places of like colour have like activations."
    room = sheet.width - MARGIN - beside
    sheet.text(beside, sheet.y + 32 + 26 * 3 + 8, said, size=SMALL, colour=sheet.theme.faint, width=room)
    sheet.y += max(large.shape[0], 190) + GAP


def _resized(values: Numbers, size: tuple[int, ...]) -> Numbers:
    image = Image.fromarray(np.ascontiguousarray(values, np.float32))
    return np.asarray(image.resize((size[1], size[0]), Image.Resampling.BILINEAR), np.float32)


def _some(channels: tuple[int, ...], most: int = 12) -> str:
    more = ", …" if len(channels) > most else ""
    return ", ".join(str(c) for c in channels[:most]) + more
