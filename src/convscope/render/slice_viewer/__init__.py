"""An interactive view of a map over a volume: slices along all axes and a rendering, drawn by NiiVue in the browser.

A page holds the script once, and for each map a button with the scan and the map as NIfTI at the resolution that is
shown. Where the browser lacks WebGL2, the button says so, and the picture of slices above it remains.
"""

import base64
import gzip
import json
import struct
from collections.abc import Callable, Sequence
from functools import cache
from html import escape
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from convscope.render.input_geometry import raw_input, voxel_size
from convscope.render.palette import OPACITY, ink_colours
from convscope.render.scale import map_values, scale_of
from convscope.render.volume_panels import peak_position
from convscope.values import Attribution

MAX_SIDE = 128
"""Voxels along an axis, at most; larger volumes are averaged over blocks."""
_STEPS = 9
"""Colours of one half of a scale."""
_FLOOR = 0.02
"""Values below this share of the end of the scale are not drawn over the scan."""
SENTENCES = (
    "Look through the slices",
    "This browser has no WebGL2, which the slice viewer needs: the picture above shows the slices.",
)
"""The texts of the button: what it does, and why it cannot."""


def has_slices(attribution: Attribution) -> bool:
    """Whether a map is one of a volume."""
    return attribution.values.ndim == 3 and attribution.record.kind != "video"


def viewer_html(
    attribution: Attribution, *, limit: float | None = None, translate: Callable[[str], str] = lambda text: text
) -> str:
    """The button that opens the viewer of a map, with the scan and the map."""
    values, scale = np.nan_to_num(map_values(attribution)), scale_of([attribution], limit)
    step = -(-max(values.shape) // MAX_SIDE)
    affine = _placement(attribution, step)
    volumes = {"map": _packed(_averaged(values, step).astype(np.float32), affine)}
    scan = raw_input(attribution)
    if scan is not None:
        volumes["scan"] = _packed(_levels(_averaged(scan[0], step)), affine)
    settings = {
        "limit": scale.limit or 1.0,
        "floor": _FLOOR * (scale.limit or 1.0),
        "positive": _colours(scale.signed, upper=True),
        "negative": _colours(scale.signed, upper=False) if scale.signed else None,
        "opacity": OPACITY if scan is not None else 1.0,
        "place": (affine[:3, :3] @ [index // step for index in peak_position([attribution])] + affine[:3, 3]).tolist(),
        "radiological": bool(attribution.record.affine),
    }
    data = "".join(f' data-{name}="{content}"' for name, content in volumes.items())
    opens, refuses = map(translate, SENTENCES)
    return (
        f'<div class="slice-viewer"{data} data-settings="{escape(json.dumps(settings))}">'
        f'<button type="button" class="button" data-open-slices>{escape(opens)}</button>'
        f'<p class="small" hidden>{escape(refuses)}</p></div>'
    )


@cache
def viewer_script() -> str:
    """The script that opens viewers on a page."""
    return (files(__package__) / "slice_viewer.js").read_text("utf-8")


@cache
def packed_library() -> bytes:
    """NiiVue as a gzip file."""
    return (files(__package__) / "niivue.umd.js.gz").read_bytes()


def embedded_library() -> str:
    """NiiVue as an element of a page that has no server."""
    packed = base64.b64encode(packed_library()).decode("ascii")
    return f'<script type="application/octet-stream" id="niivue">{packed}</script>'


def volume_file(values: NDArray[np.uint8] | NDArray[np.float32], affine: NDArray[np.float64]) -> bytes:
    """A volume as an uncompressed NIfTI-1 file, for viewers; `Attribution.save` writes complete ones.

    Args:
        affine: the 4 × 4 matrix from the index of a voxel to its position in millimeters.
    """
    header = bytearray(352)
    kind, bits = (2, 8) if values.dtype == np.uint8 else (16, 32)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 3, *values.shape, 1, 1, 1, 1)
    struct.pack_into("<hh", header, 70, kind, bits)
    struct.pack_into("<8f", header, 76, 1.0, *spacing, 0, 0, 0, 0)
    struct.pack_into("<fff", header, 108, 352.0, 1.0, 0.0)
    header[123] = 2  # millimeters
    struct.pack_into("<hh", header, 252, 0, 1)
    struct.pack_into("<12f", header, 280, *affine[:3].ravel())
    header[344:348] = b"n+1\0"
    return bytes(header) + np.asarray(values).tobytes(order="F")


def _packed(values: NDArray[np.uint8] | NDArray[np.float32], affine: NDArray[np.float64]) -> str:
    return base64.b64encode(gzip.compress(volume_file(values, affine), mtime=0)).decode("ascii")


def _placement(attribution: Attribution, step: int) -> NDArray[np.float64]:
    """The position of the voxels in space; without a known one slices go up, and rows go back to front."""
    extent = attribution.values.shape
    if attribution.record.affine:
        affine = np.array(attribution.record.affine, float)
        affine[:3, 3] += affine[:3, :3] @ np.full(3, (step - 1) / 2)
        affine[:3, :3] *= step
        return affine
    depth, height, width = (step * size for size in voxel_size(attribution.record, tuple(extent)))
    return np.array([[0, 0, width, 0], [0, -height, 0, 0], [depth, 0, 0, 0], [0, 0, 0, 1]], float)


def _averaged(values: NDArray[np.float32], step: int) -> NDArray[np.float32]:
    """The means of blocks of ``step`` voxels along each axis; the last blocks may be smaller."""
    for axis in range(values.ndim):
        starts = np.arange(0, values.shape[axis], step)
        sizes = np.diff([*starts, values.shape[axis]]).astype(np.float32)
        shape = [-1 if other == axis else 1 for other in range(values.ndim)]
        values = np.asarray(np.add.reduceat(values, starts, axis) / sizes.reshape(shape), np.float32)
    return values


def _levels(scan: NDArray[np.float32]) -> NDArray[np.uint8]:
    low, high = float(scan.min()), float(scan.max())
    return np.asarray((255 * (scan - low) / max(high - low, 1e-12)).round(), np.uint8)


def _colours(signed: bool, *, upper: bool) -> dict[str, Sequence[int]]:
    """One half of a scale as a colour map of NiiVue, from zero to the end."""
    inks = ink_colours(signed)
    zero = len(inks) // 2 if signed else 0
    indices = np.linspace(zero, len(inks) - 1 if upper else 0, _STEPS).round().astype(int)
    columns = {name: inks[indices, channel].tolist() for channel, name in enumerate("RGBA")}
    return {**columns, "I": np.linspace(0, 255, _STEPS).round().astype(int).tolist()}
