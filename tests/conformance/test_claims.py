"""Every claim of a lens is tested, and every declared failure is a strict expected failure of the same test."""

import functools
from collections.abc import Collection
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cosine_similarity

import convscope as cs
from convscope.spec import LensSpec
from tests.conformance.selections import MAPS, TARGETED_MAPS, for_each, for_every_lens
from tests.conftest import picture_model
from tests.lens_calls import call_lens
from tests.nets import LABELS, SmoothNet, seeded

CLAIMS = {"class-sensitive", "deterministic", "non-negative", "complete", "differentiable", "contrasting", "local"}
FAILURES = {
    "class-sensitive": "class-sensitive",
    "completeness": "complete",
    "class contrast": "contrasting",
    "place": "local",
}
"""The claim that each declared failure denies."""


def _claiming_and_failing(claim: str, costly: Collection[str] = ()) -> list[Any]:
    """The lenses that claim it, and as strict expected failures those that declare that it fails; some by hand."""
    failure = next((failure for failure, denied_claim in FAILURES.items() if denied_claim == claim), "")
    by_hand = {spec.command: [pytest.mark.by_hand] if spec.command in costly else [] for spec in MAPS}
    claiming = [
        pytest.param(spec, id=spec.command, marks=by_hand[spec.command]) for spec in MAPS if claim in spec.claims
    ]
    return claiming + [
        pytest.param(
            spec,
            id=f"{spec.command} does not",
            marks=[
                pytest.mark.xfail(reason=spec.fails[failure], raises=AssertionError, strict=True),
                *by_hand[spec.command],
            ],
        )
        for spec in MAPS
        if failure in spec.fails
    ]


@for_every_lens
def test_every_claim_and_every_declared_failure_has_a_test(spec: LensSpec) -> None:
    assert spec.claims <= CLAIMS
    assert set(spec.fails) <= set(FAILURES)
    assert all(spec.fails.values()), "a failure is declared with its reason"
    assert not {FAILURES[failure] for failure in spec.fails} & spec.claims, "a claim is not declared to fail"


@pytest.mark.parametrize("spec", _claiming_and_failing("class-sensitive"))
def test_class_sensitive_two_classes_have_different_maps(
    spec: LensSpec, model: cs.Model, pictures: list[np.ndarray]
) -> None:
    """Different in shape, not only in scale or sign."""
    class_maps = (call_lens(spec, model, pictures, target=target) for target in (0, 1))
    for first, second in zip(*class_maps, strict=True):
        similarity = cosine_similarity(first.values.flatten(), second.values.flatten(), dim=0)
        assert abs(float(similarity)) < 0.999


CONTRAST_REPETITIONS = {"samples": 48, "steps": 40, "stride": 6, "segments": 24}
GRADIENT_REPETITIONS = {"samples": 6, "steps": 10}
"""For the lenses with gradients, which need fewer repetitions, each of which costs more."""
COSTLY_REPETITIONS: dict[str, dict[str, Any]] = {
    "sobol": {"samples": 4, "cells": 5},
    "occlusion": {"stride": 12},
    "vit_cx": {"distance": 0.4},
    "xrai": {"steps": 5},
    "deep_shap": {"samples": 3},
    "permutation": {"samples": 4, "segments": 24},
    "extremal_perturbation": {"steps": 24},
    "meaningful_perturbation": {"steps": 24},
    "integrated_score_cam": {"steps": 4, "channels": 24},
    "smoothed_score_cam": {"samples": 2, "channels": 24},
    "score_cam": {"channels": 24},
}
"""For the lenses of which one repetition is many passes, or which need another number of them."""


COSTLY = ("sobol", "occlusion", "vit-cx", "extremal-perturbation", "meaningful-perturbation", "permutation", "xrai")


@pytest.mark.slow
@pytest.mark.parametrize("spec", _claiming_and_failing("contrasting", COSTLY))
def test_contrasting_a_trained_network_has_another_map_for_its_second_class(spec: LensSpec) -> None:
    """On three scenes: the cosine between the maps of the best and the second best class, on average.

    Where this fails, a map shows what the network responds to, and hardly why it preferred this class to the next.
    """
    name = "pairs" if "attention" in spec.needs else "shapes"
    model = cs.load(f"bundled:{name}")
    scenes = model.prepare([f"sample:{name}/{number}" for number in (7, 12, 33)]).tensor
    best, second_best = model.module(scenes).topk(2, 1).indices.T.tolist()
    usual = GRADIENT_REPETITIONS if "gradients" in spec.needs else CONTRAST_REPETITIONS
    repetitions = COSTLY_REPETITIONS.get(spec.name, usual)
    class_maps = (
        call_lens(spec, model, scenes, repetitions=repetitions, target=classes) for classes in (best, second_best)
    )
    similarities = [
        cosine_similarity(first.values.flatten(), second.values.flatten(), 0)
        for first, second in zip(*class_maps, strict=True)
    ]
    assert float(torch.stack(similarities).mean()) < 0.7


@functools.cache
def _scenes_with_boxes() -> list[tuple[str, list[Any]]]:
    model, scenes = cs.load("bundled:detector"), [f"sample:scenes/{seed}" for seed in range(6)]
    predictions: Any = cs.predict(model, scenes)
    return [(scene, list(prediction.boxes)) for scene, prediction in zip(scenes, predictions, strict=True)]


@pytest.mark.slow
@pytest.mark.parametrize("spec", _claiming_and_failing("local"))
def test_local_the_map_of_a_box_peaks_in_it(spec: LensSpec) -> None:
    """Each box of a detector in scenes with several objects, where other objects have the same features."""
    model, hits = cs.load("bundled:detector"), []
    for scene, boxes in _scenes_with_boxes():
        for number, (left, top, right, bottom) in enumerate(boxes):
            (value,) = call_lens(spec, model, [scene], repetitions={"steps": 10}, target=f"box:{number}")
            row, column = divmod(int(value.values.argmax()), value.values.shape[1])
            hits.append(left <= column < right and top <= row < bottom)
    assert len(hits) > 12
    assert np.mean(hits) >= 0.9


@for_each(TARGETED_MAPS)
def test_every_lens_declares_whether_its_map_contrasts_classes(spec: LensSpec) -> None:
    assert ("contrasting" in spec.claims) != bool({"class contrast", "class-sensitive"} & set(spec.fails))


@pytest.mark.parametrize("spec", _claiming_and_failing("non-negative"))
def test_non_negative_no_number_is_below_zero(spec: LensSpec, model: cs.Model, pictures: list[np.ndarray]) -> None:
    for target in range(len(LABELS)):
        for value in call_lens(spec, model, pictures, target=target):
            assert value.values.min() >= 0
            assert value.values.max() > 0
            assert not value.signed


@pytest.mark.parametrize("spec", _claiming_and_failing("complete"))
def test_complete_the_map_adds_up_to_the_rise_of_the_score(spec: LensSpec, pictures: list[np.ndarray]) -> None:
    """With the defaults, on a network without kinks; from the lens's own baseline or, where it has none, from black.

    A mean over n random samples may miss 1/√n of what it averages.
    """
    net = seeded(SmoothNet)
    with torch.no_grad():
        for weight in net.features.parameters():
            weight.mul_(2)
        net.fc.weight.mul_(40)
    model = picture_model(net)
    black_score = net(model.input.level(0.0).to(model.device).expand(1, 3, 16, 16))[0, 1].item()
    allowed = spec.parameters["samples"].default ** -0.5 if "samples" in spec.parameters else 0.02
    scores = net(model.prepare(pictures).tensor)[:, 1].tolist()
    for value, score in zip(call_lens(spec, model, pictures, repetitions={}, target=1), scores, strict=True):
        rise = score - value.notes.get("baseline score", black_score)
        attribution = next(iter(value.layer_values.values()), value.values)
        total = float(attribution.sum())
        assert abs(total - rise) < allowed * max(abs(rise), float(attribution.abs().sum()))
        assert value.notes["completeness gap"] == pytest.approx(total - rise, abs=1e-3)
