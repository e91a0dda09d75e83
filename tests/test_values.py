"""Values keep what they were given, say where it comes from, and come back from a file as they went in."""

import json
import math
import os
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import convscope as cs
from convscope.errors import CannotWrite, ConvScopeError, InputError
from convscope.values import Cost, Record, Value, writable


@pytest.fixture
def attribution(model: cs.Model, picture: np.ndarray) -> cs.Attribution:
    return cs.integrated_gradients(model, picture, target="cat", steps=4)


def plain(value: Value) -> dict[str, Any]:
    """All of a value: the manifest, and the arrays as lists."""
    held = {name: getattr(value, name) for name in value.arrays}
    arrays = {
        k: {a: v.tolist() for a, v in h.items()} if isinstance(h, dict) else np.asarray(h).tolist()
        for k, h in held.items()
    }
    return {**value.manifest(), **arrays}


def test_the_numbers_of_an_attribution_come_back_as_they_went_in(attribution: cs.Attribution, tmp_path: Path) -> None:
    assert attribution.save(tmp_path / "a.npz") == tmp_path / "a.npz"
    for kind in (Value, cs.Value, cs.Attribution):
        found = kind.load(tmp_path / "a.npz")
        assert plain(found) == plain(attribution)
        assert type(found) is cs.Attribution
        assert found.values.dtype == torch.float32
        assert found.cost == attribution.cost
        assert found.method == "integrated-gradients"


def test_maps_at_several_layers_come_back(model: cs.Model, picture: np.ndarray, tmp_path: Path) -> None:
    saved = cs.grad_cam(model, picture, layer=["features.0", "features.3"])
    found = cs.Attribution.load(saved.save(tmp_path / "a.npz"))
    assert plain(found) == plain(saved)
    assert found.layers == ("features.0", "features.3")
    assert found.channels is None


def test_a_prediction_comes_back(model: cs.Model, picture: np.ndarray, tmp_path: Path) -> None:
    saved = cs.predict(model, picture)
    found = cs.Prediction.load(saved.save(tmp_path / "p.npz"))
    assert plain(found) == plain(saved)
    assert isinstance(found.labels, tuple)


def test_a_value_without_a_picture_comes_back(tmp_path: Path) -> None:
    value = cs.Attribution(values=torch.tensor([[1.0, -2.0], [math.pi, 0.0]]))
    found = cs.Attribution.load(value.save(tmp_path / "a.npz"))
    assert torch.equal(found.values, value.values)
    assert (found.photo, found.channels, found.layer_values, found.record) == (None, None, {}, value.record)


def test_the_manifest_says_enough_to_make_it_again(attribution: cs.Attribution, tmp_path: Path) -> None:
    told = json.loads(attribution.save(tmp_path / "a.json").read_text("utf-8"))
    record = told["record"]
    assert told["kind"] == "Attribution"
    assert told["target"] == "cat"
    assert told["target_index"] == 2
    assert told["score"] == attribution.score
    assert set(told["notes"]) >= {"completeness gap", "relative completeness gap"}
    assert record["lens"] == "integrated-gradients"
    assert record["parameters"] == {
        "steps": 4,
        "baseline": "black",
        "quadrature": "gauss-legendre",
        "multiply_by_inputs": True,
        "seed": 0,
        "target": 2,
    }
    assert record["model"]["source"].startswith("python:tests.nets.PlainNet")
    assert record["model"]["input"]["size"] == [16, 16]
    assert set(record["versions"]) >= {"python", "torch", "convscope"}
    assert set(record["cost"]) == {"forwards", "backwards", "seconds", "peak_bytes"}
    assert record["cost"]["backwards"] == 4 + 1  # the steps, and the check of the backward pass at the first call


def test_the_manifest_names_the_layers(model: cs.Model, picture: np.ndarray, tmp_path: Path) -> None:
    told = json.loads(cs.grad_cam(model, picture).save(tmp_path / "a.json").read_text("utf-8"))
    assert told["layers"] == ["features"]
    assert told["record"]["parameters"]["layer"] == ["features"]


def test_a_manifest_is_json_for_everybody(tmp_path: Path) -> None:
    """Infinity and NaN are no JSON, and readers outside Python refuse the whole file."""
    value = cs.Attribution(values=torch.zeros(2, 2), notes={"relative completeness gap": math.inf, "other": math.nan})

    def refuse(word: str) -> None:
        pytest.fail(f"{word} is not JSON")

    json.loads(value.save(tmp_path / "a.json").read_text("utf-8"), parse_constant=refuse)


def test_a_tensor_among_the_parameters_is_told_by_its_shape(
    model: cs.Model, picture: np.ndarray, tmp_path: Path
) -> None:
    found = cs.integrated_gradients(model, picture, steps=2, baseline=torch.zeros(3, 16, 16))
    told = json.loads(found.save(tmp_path / "a.json").read_text("utf-8"))
    assert told["record"]["parameters"]["baseline"] == "Tensor(3, 16, 16)"
    assert plain(cs.Attribution.load(found.save(tmp_path / "a.npz")))["values"] == found.values.tolist()


def test_a_comparison_has_a_manifest_of_all_cells(model: cs.Model, pictures: list[np.ndarray], tmp_path: Path) -> None:
    found = cs.compare(model, pictures[:2], ["saliency", "grad-cam"])
    told = json.loads(found.save(tmp_path / "c.json").read_text("utf-8"))
    assert [[cell["record"]["lens"] for cell in row] for row in told["rows"]] == [["saliency", "grad-cam"]] * 2
    assert [cell.method for cell in found] == ["saliency", "grad-cam"] * 2
    with pytest.raises(CannotWrite, match="a comparison has no numbers of its own: save its attributions"):
        found.save(tmp_path / "c.npz")
    assert not (tmp_path / "c.npz").exists()


# What is not a value


def _npz(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def _npy(path: Path) -> Path:
    np.save(path, np.zeros(3))
    return path


def _cut(path: Path) -> Path:
    cs.Attribution(values=torch.zeros(9, 9)).save(path)
    return _written(path, path.read_bytes()[:-40])


NO_VALUES = {
    "a missing file": lambda p: p / "none.npz",
    "a folder": lambda p: p,
    "a text": lambda p: _written(p / "a.npz", b"dear diary"),
    "zero bytes": lambda p: _written(p / "a.npz", b""),
    "a picture": lambda p: _written(p / "a.npz", b"\x89PNG\r\n\x1a\n" + bytes(99)),
    "a truncated value": lambda p: _cut(p / "a.npz"),
    "other arrays": lambda p: _npz(p / "a.npz", values=np.zeros(3)),
    "one array": lambda p: _npy(p / "a.npy"),
    "a manifest that is no JSON": lambda p: _npz(p / "a.npz", manifest=np.array("dear diary")),
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
@pytest.mark.parametrize("make", NO_VALUES.values(), ids=NO_VALUES)
def test_a_file_that_holds_no_value_is_refused(make: Any, tmp_path: Path) -> None:
    path = make(tmp_path)
    with pytest.raises(InputError, match=r"is not a value saved as \.npz") as caught:
        Value.load(path)
    assert repr(str(path)) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_value_of_another_kind_is_refused(attribution: cs.Attribution, tmp_path: Path) -> None:
    attribution.save(tmp_path / "a.npz")
    with pytest.raises(InputError, match=r"a\.npz' holds Attribution, not Prediction"):
        cs.Prediction.load(tmp_path / "a.npz")


# Where values go


@pytest.mark.parametrize(
    ("place", "sentence"),
    [
        ("nowhere/a.npz", r"^cannot write '.*nowhere/a\.npz': there is no folder '.*nowhere'$"),
        (".", r"^cannot write '.*': it is a folder$"),
        ("a.xyz", r"^cannot tell what to write from 'a\.xyz': end it in \.png, \.jpg, .*, \.npz, \.json$"),
        ("a", r"^cannot tell what to write from 'a': end it in"),
        ("a.npz.", r"^cannot tell what to write from"),
        ("file/a.npz", r"^cannot write '.*': there is no folder '.*file'$"),
        ("x" * 300 + ".json", r"^cannot write '"),
    ],
)
def test_a_place_that_cannot_be_written_is_refused(
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


def test_a_place_is_checked_before_long_work_begins(tmp_path: Path) -> None:
    assert writable(tmp_path / "a.png") == tmp_path / "a.png"
    assert not (tmp_path / "a.png").exists()
    assert writable(str(tmp_path / "a.png")) == tmp_path / "a.png"
    with pytest.raises(CannotWrite):
        writable(tmp_path / "none" / "a.png")
    with pytest.raises(OSError, match="cannot write"):  # also one of Python's own kind
        writable(tmp_path)


def test_a_full_disk_is_told_in_one_sentence_and_leaves_no_half_file(
    attribution: cs.Attribution, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(CannotWrite, match=r"cannot write '.*a\.npz': .*No space left on device"):
        attribution.save(tmp_path / "a.npz")
    assert not (tmp_path / "a.npz").exists()


# What values are


def test_a_value_cannot_be_changed(attribution: cs.Attribution) -> None:
    with pytest.raises(FrozenInstanceError):
        attribution.target = "dog"


def test_values_say_what_they_are_in_a_line(model: cs.Model, picture: np.ndarray) -> None:
    assert repr(cs.saliency(model, picture, target="cat")).startswith("Attribution(saliency: 'cat', 16×16, ")
    assert repr(cs.predict(model, picture, top=1)).startswith("Prediction(")
    assert str(Cost(2, 1, 0.5, 3 * 2**20)) == "2 forward, 1 backward, 0.50 s, 3 MB"
    assert str(Cost(2, 1, 0.5)) == "2 forward, 1 backward, 0.50 s"


def test_a_map_of_zeros_is_blank_and_says_why(picture: np.ndarray) -> None:
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(4, 2)
    )
    torch.nn.init.zeros_(net[3].weight)
    found = cs.saliency(cs.Model(net, input=cs.ImageInput(size=16)), picture)
    assert found.blank
    assert "the gradient is zero everywhere" in found.notes["blank"]


def test_a_value_knows_its_record() -> None:
    record = Record(lens="x", title="X", asks="?", reads="!", caveats=("a",))
    value = cs.Attribution(values=torch.zeros(2, 2)).with_record(record)
    assert (value.record, value.method, value.cost) == (record, "x", Cost())


def test_every_refusal_is_of_one_tree() -> None:
    for error in (CannotWrite, InputError):
        assert issubclass(error, ConvScopeError)
