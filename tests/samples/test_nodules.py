"""Generated volumes: reproducible, balanced, with exact masks, and explained where the nodule is."""

from typing import Any

import numpy as np
import pytest
import torch

import convscope as cs
from convscope.samples import nodules

EVALUATED = 48


def test_a_volume_follows_from_its_seed_alone() -> None:
    first, repeated = nodules.scan(5), nodules.scan(5)
    assert np.array_equal(first.volume, repeated.volume)
    assert first.volume.shape == nodules.SHAPE
    assert first.volume.dtype == np.uint8
    assert not np.array_equal(first.volume, nodules.scan(8).volume)


def test_nodules_are_where_the_mask_is_and_brightness_tells_nothing() -> None:
    drawn = [nodules.scan(seed) for seed in range(30)]
    assert np.bincount([scan.label for scan in drawn]).tolist() == [10] * 3
    for scan in drawn:
        assert scan.mask.any() == (scan.label != 0)
        if scan.label == 1:
            assert scan.volume[scan.mask].mean() > 120
        if scan.label == 2:
            center = np.argwhere(scan.mask).mean(0).round().astype(int)
            assert scan.volume[tuple(center)] < 110, "hollow nodules are dark inside"
    brightest = {has: [int(s.volume.max()) for s in drawn if bool(s.label) == has] for has in (False, True)}
    assert max(brightest[False]) > np.median(brightest[True]), "vessels and specks are as bright as nodules"


def test_the_network_is_right_and_its_map_lies_on_the_nodule() -> None:
    model = cs.load("bundled:nodules")
    drawn = [nodules.scan(seed) for seed in range(EVALUATED)]
    batch = torch.stack([model.input.prepare_array(scan.volume).tensor for scan in drawn])  # type: ignore[union-attr]
    predictions: Any = cs.predict(model, batch)
    right = [p.indices[0] == scan.label for p, scan in zip(predictions, drawn, strict=True)]
    assert np.mean(right) > 0.93
    with_nodule = [index for index, scan in enumerate(drawn) if scan.label and right[index]]
    sums: Any = cs.integrated_gradients(model, batch, steps=8)
    maps: Any = cs.grad_cam(model, batch)
    assert np.mean([_distance(sums[index], drawn[index]) == 0 for index in with_nodule]) >= 0.9
    one_cell = 4 * min(nodules.SPACING)
    assert np.mean([_distance(maps[index], drawn[index]) <= one_cell for index in with_nodule]) >= 0.9


def _distance(attribution: cs.Attribution, scan: nodules.Scan) -> float:
    """The distance from the peak of a map to the nodule, in millimeters."""
    peak = np.unravel_index(int(attribution.values.argmax()), nodules.SHAPE)
    return float(np.linalg.norm((np.argwhere(scan.mask) - peak) * nodules.SPACING, axis=1).min())


@pytest.mark.parametrize("ending", [".nii.gz", ".png"])
def test_a_sample_is_a_volume_in_millimeters(ending: str, tmp_path: Any) -> None:
    if ending == ".nii.gz":
        pytest.importorskip("nibabel")
    value: Any = cs.grad_cam(cs.load("bundled:nodules"), "sample:nodules/1")
    assert (value.record.spacing, value.record.unit, value.record.kind) == (nodules.SPACING, "mm", "volume")
    assert value.save(tmp_path / f"map{ending}").stat().st_size > 1000
