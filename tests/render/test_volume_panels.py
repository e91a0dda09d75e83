"""Volumes and clips as pictures."""

import numpy as np
import torch

from convscope.render.anatomical_view import view_of
from convscope.render.band_panel import BandPanel
from convscope.render.panels import further_panels, panels_of
from convscope.render.scale import scale_of
from convscope.values import Attribution, Record


def record(**fields: object) -> Record:
    return Record(lens="", title="", asks="", reads="", **fields)  # type: ignore[arg-type]


AFFINES = {
    "RAS": np.eye(4),
    "SAR": np.eye(4)[[2, 1, 0, 3]],
    "LPI": np.diag([-1.0, -1.0, -1.0, 1.0]),
    "PSL": np.array([[0, 0, -1, 0], [-1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1.0]]),
}
"""Matrices whose columns are the directions in which each axis grows."""


def test_slices_are_drawn_head_up_with_the_right_side_on_the_left() -> None:
    """One voxel at the far right, front and top of the patient is drawn at the same corner for every orientation."""
    for letters, affine in AFFINES.items():
        directions = affine[:3, :3]
        corner = [0 if directions[:, axis].sum() < 0 else 4 for axis in range(3)]
        volume = np.zeros((5, 5, 5, 3), np.uint8)
        volume[tuple(corner)] = 255
        for axis in range(3):
            view = view_of(record(affine=tuple(map(tuple, affine))), axis)
            drawn = view.apply(np.take(volume, corner[axis], axis))
            assert drawn[0, 0].tolist() == [255, 255, 255], f"{letters}, {view.plane}"


def test_planes_are_named_by_the_axis_they_are_perpendicular_to() -> None:
    view = record(affine=tuple(map(tuple, AFFINES["SAR"])))
    assert [view_of(view, axis).plane for axis in range(3)] == ["axial", "coronal", "sagittal"]
    assert view_of(record(), 1).describe(1, 7) == "slice 7 of axis 1"


def test_a_volume_has_slices_projections_and_a_strip() -> None:
    values = torch.zeros(12, 10, 8)
    values[3, 4, 5], values[9, 2, 2] = 2.0, -1.0
    value = Attribution(values=values, record=record(kind="volume"))
    scale = scale_of([value])
    captions = [panel.caption for panel in panels_of(value, scale, 120)]
    assert captions == [f"slice {n} of axis {axis}, through the peak" for axis, n in enumerate((3, 4, 5))]
    projections, strip = further_panels(value, scale, 120)
    blank = panels_of(Attribution(values=torch.zeros(12, 10, 8), record=record(kind="volume")), scale, 120)[0]
    differing = (projections[0].pixels != blank.pixels).any(-1)
    blocks = 120 // 12
    assert differing.sum() == 2 * blocks**2, "both spots are visible, which no single slice shows"
    assert strip[0].caption.startswith("slices 0, 2, 3, ")


def test_bands_have_bars_for_their_sums() -> None:
    channels = torch.zeros(6, 4, 4)
    channels[2], channels[5] = 0.5, -0.25
    kind = record(kind="image", channel_names=("blue", "green", "red"))
    value = Attribution(values=channels.sum(0), channels=channels, record=kind)
    ((bars,),) = further_panels(value, scale_of([value]), 100)
    assert isinstance(bars, BandPanel)
    assert bars.bands[2] == ("red (67%)", 8.0)
    assert bars.bands[5] == ("band 5 (33%)", -4.0)
    assert further_panels(Attribution(values=torch.zeros(4, 4), channels=channels[:3]), scale_of([value]), 100) == []


def test_a_clip_is_a_strip_with_its_strongest_frame_and_a_curve() -> None:
    values = torch.zeros(40, 6, 6)
    values[17] = 1.0
    value = Attribution(values=values, record=record(kind="video", spacing=(0.04, 1, 1)))
    scale = scale_of([value])
    assert ", 17, " in panels_of(value, scale, 100)[0].caption
    ((curve,),) = further_panels(value, scale, 100)
    assert curve.lines is not None
    assert curve.lines[0].argmax() == 17
    assert curve.axis is not None
    assert curve.axis.label == "seconds"
