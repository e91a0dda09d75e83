"""Values: records, manifests, and that they cannot be changed."""

import json
import math
from dataclasses import FrozenInstanceError
from pathlib import Path

import numpy as np
import pytest
import torch

import convscope as cs
from convscope.errors import CannotWrite
from convscope.values import Cost, Record
from tests.values.plain_data import to_plain_data


def test_the_manifest_contains_what_is_needed_to_reproduce_the_value(
    attribution: cs.Attribution, tmp_path: Path
) -> None:
    manifest = json.loads(attribution.save(tmp_path / "a.json").read_text("utf-8"))
    record = manifest["record"]
    assert manifest["kind"] == "Attribution"
    assert manifest["target"] == "cat"
    assert manifest["target_index"] == 2
    assert manifest["score"] == attribution.score
    assert set(manifest["notes"]) >= {"completeness gap", "relative completeness gap"}
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
    manifest = json.loads(cs.grad_cam(model, picture).save(tmp_path / "a.json").read_text("utf-8"))
    assert manifest["layers"] == ["features"]
    assert manifest["record"]["parameters"]["layer"] == ["features"]


def test_a_manifest_is_strict_json(tmp_path: Path) -> None:
    """JSON has no infinity and NaN, and many parsers refuse files that contain them."""
    value = cs.Attribution(values=torch.zeros(2, 2), notes={"relative completeness gap": math.inf, "other": math.nan})

    def refuse(word: str) -> None:
        pytest.fail(f"{word} is not JSON")

    json.loads(value.save(tmp_path / "a.json").read_text("utf-8"), parse_constant=refuse)


def test_a_tensor_parameter_is_recorded_by_its_shape(model: cs.Model, picture: np.ndarray, tmp_path: Path) -> None:
    attribution = cs.integrated_gradients(model, picture, steps=2, baseline=torch.zeros(3, 16, 16))
    manifest = json.loads(attribution.save(tmp_path / "a.json").read_text("utf-8"))
    assert manifest["record"]["parameters"]["baseline"] == "Tensor(3, 16, 16)"
    assert (
        to_plain_data(cs.Attribution.load(attribution.save(tmp_path / "a.npz")))["values"]
        == attribution.values.tolist()
    )


def test_a_comparison_has_a_manifest_of_all_cells(model: cs.Model, pictures: list[np.ndarray], tmp_path: Path) -> None:
    comparison = cs.compare(model, pictures[:2], ["saliency", "grad-cam"])
    manifest = json.loads(comparison.save(tmp_path / "c.json").read_text("utf-8"))
    assert [[cell["record"]["lens"] for cell in row] for row in manifest["rows"]] == [["saliency", "grad-cam"]] * 2
    assert [cell.method for cell in comparison] == ["saliency", "grad-cam"] * 2
    with pytest.raises(CannotWrite, match="a comparison has no numbers of its own: save its attributions"):
        comparison.save(tmp_path / "c.npz")
    assert not (tmp_path / "c.npz").exists()


# Properties of values


def test_a_value_cannot_be_changed(attribution: cs.Attribution) -> None:
    with pytest.raises(FrozenInstanceError):
        attribution.target = "dog"  # type: ignore[misc]  # what must fail


def test_the_representation_of_a_value_is_one_line(model: cs.Model, picture: np.ndarray) -> None:
    assert repr(cs.saliency(model, picture, target="cat")).startswith("Attribution(saliency: 'cat', 16×16, ")
    assert repr(cs.predict(model, picture, top=1)).startswith("Prediction(")
    assert str(Cost(2, 1, 0.5, 3 * 2**20)) == "2 forward, 1 backward, 0.50 s, 3 MB"
    assert str(Cost(2, 1, 0.5)) == "2 forward, 1 backward, 0.50 s"


def test_a_map_of_zeros_is_blank_and_gives_the_reason(picture: np.ndarray) -> None:
    head = torch.nn.Linear(4, 2)
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), head)
    torch.nn.init.zeros_(head.weight)
    attribution = cs.saliency(cs.Model(net, input=cs.ImageInput(size=16)), picture)
    assert attribution.blank
    assert "the gradient is zero everywhere" in attribution.notes["blank"]


def test_a_value_has_a_record() -> None:
    record = Record(lens="x", title="X", asks="?", reads="!", caveats=("a",))
    value = cs.Attribution(values=torch.zeros(2, 2)).with_record(record)
    assert (value.record, value.method, value.cost) == (record, "x", Cost())
