"""Attributions of several inputs: parts by name, totals, files."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import convscope as cs
from convscope.errors import CannotWrite
from tests.networks_of_several_inputs import image_and_table, photo_and_row


def test_what_is_saved_is_read_back_with_its_parts(tmp_path: Path) -> None:
    value: Any = cs.layer_cam(image_and_table(), photo_and_row(), layer=["features.1", "features.3"])
    joint: Any = cs.saliency(image_and_table(), photo_and_row())
    for original in (value, joint):
        restored: Any = cs.JointAttribution.load(original.save(tmp_path / "joint.npz"))
        assert list(restored) == list(original)
        for name, part in original.items():
            assert torch.equal(restored[name].values, part.values)
            assert list(restored[name].layer_values) == list(part.layer_values)
            assert restored[name].record.kind == part.record.kind
            assert restored[name].record.channel_names == part.record.channel_names
        assert dict(restored.notes) == dict(original.notes)
        assert restored.totals == original.totals
    manifest = json.loads(joint.save(tmp_path / "joint.json").read_text("utf-8"))
    assert manifest["parts"]["table"]["kind"] == "Attribution"
    assert manifest["record"]["parameters"]["target"] == joint.target_index
    assert joint.lines()[0].startswith(f"explains {joint.target}, score")
    assert len(joint) == 2
    with pytest.raises(CannotWrite, match=r"'map.gif' holds the map of one input, and these are several: save one of"):
        joint.save(tmp_path / "map.gif")


def test_names_may_hold_the_marks_that_divide_the_entries_of_a_file(tmp_path: Path) -> None:
    value: Any = cs.layer_cam(image_and_table(), photo_and_row(), layer=["features.1", "features.3"])
    parts = {
        name: replace(value["photo"], values=value["photo"].values + number)
        for number, name in enumerate(("a", "a:b", "a/b", "scan:ct/left"))
    }
    restored = cs.JointAttribution.load(replace(value, parts=parts).save(tmp_path / "joint.npz"))
    for name, part in parts.items():
        assert torch.equal(restored[name].values, part.values)
        assert list(restored[name].layer_values) == list(part.layer_values)
