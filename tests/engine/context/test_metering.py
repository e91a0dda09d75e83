"""The cost on a value: the forward and backward passes that were run, per image and with shared passes."""

from typing import Any

import pytest
import torch

import convscope as cs
from convscope.engine.context import chunking
from convscope.engine.network import batchnorm_folding
from tests.engine.networks import SIDE, InsistsOnView, pictured, seeded, tensor, watched


def counted(model: cs.Model, run: Any) -> tuple[Any, int, int]:
    """The value, and the images and backwards that went through the network as seen from outside."""
    with watched(model.module) as calls:
        value = run()
    return value, calls.get("", 0), calls.get("backward calls", 0)


COSTS: list[tuple[str, dict[str, Any], int, int]] = [
    ("predict", {}, 1, 0),
    ("saliency", {}, 1, 1),
    ("gradient_x_input", {}, 1, 1),
    ("grad_cam", {"layer": "2"}, 1, 1),
    ("grad_cam", {"layer": ["0", "2"]}, 1, 1),
    ("hires_cam", {"layer": "2"}, 1, 1),
    ("eigen_grad_cam", {"layer": "2"}, 1, 1),
    ("integrated_gradients", {"steps": 50}, 52, 50),
    ("integrated_gradients", {"steps": 7, "quadrature": "trapezoid"}, 9, 7),
    ("blur_integrated_gradients", {"steps": 9}, 11, 9),
    ("guided_integrated_gradients", {"steps": 9}, 12, 10),
    ("smooth_grad", {"samples": 10}, 11, 10),
    ("smooth_grad", {"samples": 10, "target": 1}, 10, 10),
    ("smooth_grad_cam_plus_plus", {"samples": 6, "layer": "2"}, 7, 7),
]


@pytest.mark.parametrize(("name", "options", "forwards", "backwards"), COSTS, ids=[f"{n}-{o}" for n, o, *_ in COSTS])
def test_the_cost_is_what_was_really_run(
    name: str, options: Any, forwards: int, backwards: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunking, "MAX_CHUNK", 1)  # so that one call is one image
    model = pictured()
    getattr(cs, name)(model, tensor(), **options)  # what a network is like may be learned at the first call
    value, ran, backward_calls = counted(model, lambda: getattr(cs, name)(model, tensor(), **options))
    assert (value.record.cost.forwards, value.record.cost.backwards) == (ran, backward_calls)
    assert backward_calls == backwards
    # before a long run, one pass examines how the network is wired
    wiring_passes = 1 if backwards >= batchnorm_folding.MIN_PASSES else 0
    assert forwards <= ran <= forwards + wiring_passes


@pytest.mark.parametrize(("name", "options"), [(n, o) for n, o, *_ in COSTS], ids=[f"{n}-{o}" for n, o, *_ in COSTS])
def test_what_is_learned_at_the_first_call_is_told_too(
    name: str, options: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunking, "MAX_CHUNK", 1)
    model = pictured()
    value, ran, backward_calls = counted(model, lambda: getattr(cs, name)(model, tensor(), **options))
    assert (value.record.cost.forwards, value.record.cost.backwards) == (ran, backward_calls)


@pytest.mark.parametrize("batch", [1, 6])
def test_a_network_that_insists_on_view_is_not_tried_in_vain_at_every_pass(batch: int) -> None:
    model, x = pictured(seeded(InsistsOnView)), list(tensor(batch, 3, SIDE, SIDE))
    for repetition in range(2):
        with watched(model.module) as calls:
            attributions = cs.saliency(model, x)
        assert sum(a.cost.forwards for a in attributions) >= batch
        assert calls["first"] == pytest.approx(sum(a.cost.forwards for a in attributions))
        assert repetition == 0 or calls["first"] == batch


def test_the_cost_is_told_per_image() -> None:
    model = pictured()
    cs.integrated_gradients(model, tensor())
    attributions = cs.integrated_gradients(model, list(tensor(3, 3, SIDE, SIDE)), steps=10)
    assert {a.cost.backwards for a in attributions} == {10}
    assert all(12 <= a.cost.forwards < 13 for a in attributions)
    assert all(a.cost.seconds > 0 for a in attributions)


def test_eigen_cam_costs_part_of_a_forward_and_no_backward() -> None:
    model = pictured()
    cs.eigen_cam(model, tensor(), layer="0")
    value, ran, backward_calls = counted(model, lambda: cs.eigen_cam(model, tensor(), layer="0"))
    assert (ran, backward_calls, value.cost.backwards) == (0, 0, 0)


CAMS = [
    "grad-cam",
    "grad-cam-plus-plus",
    "layer-cam",
    "hires-cam",
    "x-grad-cam",
    "element-wise-grad-cam",
    "eigen-grad-cam",
    "eigen-cam",
    "fem",
    "cam",
]


def test_all_cams_of_one_layer_share_one_forward_and_one_backward() -> None:
    model = pictured()
    cs.grad_cam(model, tensor())
    value, ran, backward_calls = counted(model, lambda: cs.compare(model, tensor(), CAMS, layer="3"))
    assert (ran, backward_calls) == (1, 1)
    assert sum(cell.cost.forwards for cell in value) == 1
    assert sum(cell.cost.backwards for cell in value) == 1


def test_a_comparison_shows_what_the_lenses_show_alone() -> None:
    model, x = pictured(), list(tensor(2, 3, SIDE, SIDE))
    names = [*CAMS, "saliency", "gradient-x-input", "integrated-gradients", "smooth-grad"]
    options: dict[str, Any] = {"target": 1, "layer": "3", "steps": 3, "samples": 3}
    comparison = cs.compare(model, x, names, **options)
    for column, name in enumerate(names):
        lens = getattr(cs, name.replace("-", "_"))
        known = {*lens.declaration.inputs, *lens.declaration.parameters}
        alone = lens(model, x, **{k: v for k, v in options.items() if k in known})
        for row in range(2):
            torch.testing.assert_close(comparison.rows[row][column].values, alone[row].values)
