"""What training does to kernels, feature maps and one Grad-CAM: an animated GIF with a frame for each step."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from convscope.errors import CannotWrite, InputError
from convscope.render.animation import FRAME_MS, LAST_FRAME_MS, gif
from convscope.render.palette import Pixels
from convscope.render.picture_table import PictureCell, draw_picture_table
from convscope.training.picture_titles import picture_title
from convscope.training.run import Run, TrainingLog
from convscope.training.store import tags
from convscope.training.store.event_file import Item
from convscope.values import atomic_write, check_writable

MOST_FRAMES, SIDE = 60, 384
"""The largest number of frames, of more steps evenly spaced ones, and the longer side of a picture in pixels."""

STEP_MS = 4 * FRAME_MS
"""How long a frame is shown, in milliseconds."""


def training_film(log: TrainingLog, out: str | Path, *, run: str | None = None, show: Sequence[str] = ()) -> Path:
    """Write the pictures of a run over its steps into an animated GIF.

    Args:
        log: what `open_log` gave.
        out: the file, ending in ``.gif``.
        run: the name of the run; by default the one with the most pictures.
        show: the tags of the pictures; by default Grad-CAM of the first probe image, its feature maps at the first and
            the last layer, and the kernels of the first layer.

    Raises:
        CannotWrite: the file cannot be written, or its name does not end in ``.gif``.
        InputError: there are no such pictures of at least two steps.
        UnknownName: there is no such run.
    """
    path = check_writable(out)
    if path.suffix.lower() != ".gif":
        raise CannotWrite(f"a film is an animated GIF: end {path.name!r} in .gif")
    chosen = log[run] if run is not None else max(log, key=lambda r: sum(map(len, r.items("image").values())))
    frames = film_frames(chosen, show)
    content = gif(frames, [STEP_MS] * (len(frames) - 1) + [LAST_FRAME_MS])
    with atomic_write(path) as draft:
        draft.write_bytes(content)
    return path


def film_frames(run: Run, show: Sequence[str] = ()) -> list[Image.Image]:
    """The frames of the film of a run."""
    items = run.items("image")
    unknown = [tag for tag in show if tag not in items]
    if unknown:
        raise InputError(
            f"run {run.name!r} has no pictures {unknown[0]!r}; it has {', '.join(list(items)[:8]) or 'none'}"
        )
    shown = {tag: items[tag] for tag in (show or _main_tags(items))}
    steps = sorted({item.step for of_tag in shown.values() for item in of_tag})
    if len(steps) < 2:
        raise InputError(
            f"run {run.name!r} has pictures of {len(steps)} steps, and a film needs two: record it "
            "with probe images, as convscope train does"
        )
    chosen = np.unique(np.linspace(0, len(steps) - 1, min(len(steps), MOST_FRAMES)).round().astype(int))
    return [_frame(run.name, shown, steps[index]) for index in chosen]


def _main_tags(items: Mapping[str, list[Item]]) -> list[str]:
    """Of our own runs one picture of each kind, of others the first tags."""
    probes = [tag for tag in items if tag.startswith(f"{tags.PROBES}/")]
    kernels = [tag for tag in items if tag.startswith(f"{tags.KERNELS}/")]
    if not probes:
        return list(items)[:4]
    image = probes[0].split("/")[1]
    maps = [tag for tag in probes if tag.startswith(f"{tags.PROBES}/{image}/feature_maps/")]
    cams = [tag for tag in probes if tag == f"{tags.PROBES}/{image}/grad_cam"]
    return list(dict.fromkeys([*cams, *kernels[:1], *maps[:1], *maps[-1:]]))


def _frame(name: str, shown: Mapping[str, list[Item]], step: int) -> Image.Image:
    """The last picture of each tag up to a step."""
    cells = []
    for tag, items in shown.items():
        before = [item for item in items if item.step <= step] or items[:1]
        cells.append(PictureCell([_pixels(before[-1])], [picture_title(tag)]))
    picture = draw_picture_table(cells, title=f"{name} · step {step:,}", legend="", side=SIDE, columns=2)
    return Image.fromarray(picture.pixels).convert("RGB")


def _pixels(item: Item) -> Pixels:
    """The first picture of an item; a grey tile where it cannot be read."""
    try:
        with Image.open(io.BytesIO(item.pictures()[0])) as picture:
            return np.asarray(picture.convert("RGB"))
    except (IndexError, OSError):
        return np.full((8, 8, 3), 200, np.uint8)
