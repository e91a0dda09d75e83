"""Values in files: saved and loaded, and paths and files that are refused."""

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import convscope as cs
from convscope.errors import CannotWrite, InputError
from convscope.values import Value, check_writable
from tests.values.plain_data import to_plain_data


def test_an_attribution_is_saved_and_loaded(attribution: cs.Attribution, tmp_path: Path) -> None:
    assert attribution.save(tmp_path / "a.npz") == tmp_path / "a.npz"
    for kind in (Value, cs.Value, cs.Attribution):
        loaded = kind.load(tmp_path / "a.npz")
        assert to_plain_data(loaded) == to_plain_data(attribution)
        assert type(loaded) is cs.Attribution
        assert loaded.values.dtype == torch.float32
        assert loaded.cost == attribution.cost
        assert loaded.method == "integrated-gradients"


def test_maps_at_several_layers_are_saved_and_loaded(model: cs.Model, picture: np.ndarray, tmp_path: Path) -> None:
    saved = cs.grad_cam(model, picture, layer=["features.0", "features.3"])
    loaded = cs.Attribution.load(saved.save(tmp_path / "a.npz"))
    assert to_plain_data(loaded) == to_plain_data(saved)
    assert loaded.layers == ("features.0", "features.3")
    assert loaded.channels is None


def test_a_prediction_is_saved_and_loaded(model: cs.Model, picture: np.ndarray, tmp_path: Path) -> None:
    saved = cs.predict(model, picture)
    loaded = cs.Prediction.load(saved.save(tmp_path / "p.npz"))
    assert to_plain_data(loaded) == to_plain_data(saved)
    assert isinstance(loaded.labels, tuple)


def test_a_value_without_a_photo_is_saved_and_loaded(tmp_path: Path) -> None:
    value = cs.Attribution(values=torch.tensor([[1.0, -2.0], [math.pi, 0.0]]))
    loaded = cs.Attribution.load(value.save(tmp_path / "a.npz"))
    assert torch.equal(loaded.values, value.values)
    assert (loaded.photo, loaded.channels, loaded.layer_values, loaded.record) == (None, None, {}, value.record)


# Files that are not values


def _npz(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


def _write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def _npy(path: Path) -> Path:
    np.save(path, np.zeros(3))
    return path


def _truncated(path: Path) -> Path:
    cs.Attribution(values=torch.zeros(9, 9)).save(path)
    return _write(path, path.read_bytes()[:-40])


INVALID_FILES = {
    "a missing file": lambda p: p / "none.npz",
    "a folder": lambda p: p,
    "a text": lambda p: _write(p / "a.npz", b"plain text"),
    "zero bytes": lambda p: _write(p / "a.npz", b""),
    "a picture": lambda p: _write(p / "a.npz", b"\x89PNG\r\n\x1a\n" + bytes(99)),
    "a truncated value": lambda p: _truncated(p / "a.npz"),
    "other arrays": lambda p: _npz(p / "a.npz", values=np.zeros(3)),
    "one array": lambda p: _npy(p / "a.npy"),
    "a manifest that is no JSON": lambda p: _npz(p / "a.npz", manifest=np.array("plain text")),
    "a manifest that is a list": lambda p: _npz(p / "a.npz", manifest=np.array("[1, 2]")),
    "a manifest without a kind": lambda p: _npz(p / "a.npz", manifest=np.array("{}")),
    "a manifest of an unknown kind": lambda p: _npz(
        p / "a.npz", manifest=np.array('{"kind": "Hologram", "record": {}}')
    ),
    "a manifest without a record": lambda p: _npz(p / "a.npz", manifest=np.array('{"kind": "Attribution"}')),
    "a manifest without numbers": lambda p: _npz(
        p / "a.npz",
        manifest=np.array(json.dumps(cs.Attribution(values=torch.zeros(2)).manifest())),
    ),
    "a manifest of a later version": lambda p: _npz(
        p / "a.npz",
        manifest=np.array('{"kind": "Attribution", "record": {"lens": "x", "mood": 1}, "layers": []}'),
        values=np.zeros(2),
    ),
    "objects that need code": lambda p: _npz(p / "a.npz", manifest=np.array([print], dtype=object)),
}


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("make", INVALID_FILES.values(), ids=INVALID_FILES)
def test_a_file_without_a_value_is_refused(make: Any, tmp_path: Path) -> None:
    path = make(tmp_path)
    with pytest.raises(InputError, match=r"is not a value saved as \.npz") as caught:
        Value.load(path)
    assert repr(str(path)) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_value_of_another_kind_is_refused(attribution: cs.Attribution, tmp_path: Path) -> None:
    attribution.save(tmp_path / "a.npz")
    with pytest.raises(InputError, match=r"a\.npz' holds Attribution, not Prediction"):
        cs.Prediction.load(tmp_path / "a.npz")


# Output paths


@pytest.mark.parametrize(
    ("place", "sentence"),
    [
        ("nowhere/a.npz", r"^cannot write '.*nowhere/a\.npz': there is no folder '.*nowhere'$"),
        (".", r"^cannot write '.*': it is a folder$"),
        (
            "a.xyz",
            r"^cannot tell the file type from 'a\.xyz': the extension must be one of \.png, .*, \.json, .*, \.nii$",
        ),
        ("a", r"^cannot tell the file type from 'a': the extension must be one of"),
        ("a.npz.", r"^cannot tell the file type from"),
        ("file/a.npz", r"^cannot write '.*': there is no folder '.*file'$"),
        ("x" * 300 + ".json", r"^cannot write '"),
    ],
)
def test_a_path_that_cannot_be_written_is_refused(
    place: str, sentence: str, attribution: cs.Attribution, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CannotWrite, match=sentence):
        attribution.save(tmp_path / place)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(os.geteuid() == 0, reason="everything is writable for root")
def test_a_folder_without_permission_is_refused(attribution: cs.Attribution, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(CannotWrite, match="no permission to write to"):
        attribution.save(tmp_path / "a.npz")


def test_a_path_is_checked_before_a_long_computation(tmp_path: Path) -> None:
    assert check_writable(tmp_path / "a.png") == tmp_path / "a.png"
    assert not (tmp_path / "a.png").exists()
    assert check_writable(str(tmp_path / "a.png")) == tmp_path / "a.png"
    with pytest.raises(CannotWrite):
        check_writable(tmp_path / "none" / "a.png")
    with pytest.raises(OSError, match="cannot write"):  # CannotWrite is also an OSError
        check_writable(tmp_path)


def test_a_full_disk_is_reported_in_one_sentence_and_leaves_no_partial_file(
    attribution: cs.Attribution, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(CannotWrite, match=r"cannot write '.*a\.npz': .*No space left on device"):
        attribution.save(tmp_path / "a.npz")
    assert not (tmp_path / "a.npz").exists()
