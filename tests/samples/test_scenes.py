"""Scenes with several objects: reproducible, with exact boxes and masks; the maps of boxes and classes lie on them."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open

import convscope as cs
from convscope import catalogue
from convscope.engine.targets.tasks.detection import overlaps
from convscope.samples import drawing, scenes
from convscope.samples.bundled import WEIGHTS
from convscope.samples.scenes import Scene, SceneObject

EVALUATED = range(16)
"""The scenes on which the maps of gradients are checked; those of masks, which cost more, on the first of them."""
MASKED = range(5)


def test_a_scene_follows_from_its_seed_alone() -> None:
    first, repeated = scenes.scene(5), scenes.scene(5)
    assert np.array_equal(first.image, repeated.image)
    assert first.image.shape == (64, 64, 3)
    assert first.image.dtype == np.uint8
    assert not np.array_equal(first.image, scenes.scene(11).image)


def test_objects_lie_apart_and_boxes_hold_their_masks() -> None:
    drawn = [scenes.scene(seed) for seed in range(30)]
    assert {len(scene.objects) for scene in drawn} == {2, 3, 4}
    for seed, scene in enumerate(drawn):
        assert scene.objects[0].label == seed % len(scenes.CLASSES)
        assert sum(each.mask.astype(int) for each in scene.objects).max() == 1
        for each in scene.objects:
            left, top, right, bottom = (int(edge) for edge in each.box)
            assert each.mask[top:bottom, left:right].sum() == each.mask.sum() > 60
            assert each.mask[top].any()
            assert each.mask[:, right - 1].any()
            assert (scene.classes[each.mask] == 1 + each.label).all()


def test_the_masks_are_where_the_objects_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Black objects in a white scene, without camera effects: what is dark is in a mask."""
    monkeypatch.setattr(drawing, "add_camera_effects", lambda _rng, canvas: np.round(canvas * 255).astype(np.uint8))
    monkeypatch.setattr(drawing, "object_colors", lambda _rng, _around: np.zeros((2, 3)))
    monkeypatch.setattr(drawing, "palette", lambda _rng, count: np.ones((count, 3)))
    for seed in range(10):
        scene = scenes.scene(seed)
        brightness = scene.image.mean(axis=2)
        assert (brightness[scene.classes > 0] < 200).all()  # edges are blurred when the drawing is reduced
        assert (brightness[scene.classes == 0] > 55).all()
        assert np.mean((brightness < 128) == (scene.classes > 0)) > 0.99


def test_a_sample_names_its_objects() -> None:
    sample = cs.sample("scenes/2")
    assert sample.label is None
    assert sample.mask is not None
    assert np.array_equal(sample.mask, scenes.scene(2).classes > 0)
    assert [each.box for each in sample.objects] == [each.box for each in scenes.scene(2).objects]


def test_both_networks_are_small_and_say_how_they_were_trained() -> None:
    files = [WEIGHTS / "detector.safetensors", WEIGHTS / "segmenter.safetensors"]
    assert sum(file.stat().st_size for file in files) < 2_000_000
    for file in files:
        with safe_open(file, "pt") as stored:
            metadata = stored.metadata()
        assert {"accuracy", "held_out", "seed", "epochs", "script", "torch"} <= metadata.keys()
        assert f"{100 * float(metadata['accuracy']):.1f} %" in (WEIGHTS / "README.md").read_text("utf-8")


def test_the_detector_gives_each_object_its_box() -> None:
    model = cs.load("bundled:detector")
    pairs = [pair for seed in EVALUATED for pair in _boxes_of_objects(model, seed)]
    objects = sum(len(scenes.scene(seed).objects) for seed in EVALUATED)
    boxes = sum(cs.predict(model, f"sample:scenes/{seed}").total for seed in EVALUATED)  # type: ignore[attr-defined]
    assert len(pairs) >= 0.9 * max(objects, boxes)
    assert model.task is not None
    assert model.task.name == "detection"


def test_the_segmenter_gives_pixels_their_class() -> None:
    model = cs.load("bundled:segmenter")
    right = [cs.predict(model, f"sample:scenes/{s}").classes == scenes.scene(s).classes for s in EVALUATED]  # type: ignore[attr-defined]
    assert np.mean(right) > 0.96
    assert model.task is not None
    assert model.task.name == "segmentation"


@pytest.mark.parametrize(
    ("lens", "seeds"),
    [(partial(cs.hires_cam, layer="backbone.merge"), EVALUATED), (partial(cs.rise, samples=200), MASKED)],
    ids=["hires-cam at the pyramid", "rise"],
)
def test_the_map_of_a_box_lies_in_its_object(lens: Callable[..., Any], seeds: range) -> None:
    model = cs.load("bundled:detector")
    hits = [
        _lies_in_box(lens(model, f"sample:scenes/{seed}", target=f"box:{number}"), each)
        for seed in seeds
        for number, each in _boxes_of_objects(model, seed)
    ]
    assert len(hits) > 2 * len(seeds)
    assert np.mean(hits) >= 0.9


@pytest.mark.parametrize("question", ["any", "regions"])
def test_the_map_of_the_lens_that_is_recommended_lies_in_the_object_of_a_box(question: str) -> None:
    model = cs.load("bundled:detector")
    recommendation = cs.recommend(model, "sample:scenes/0", question)
    lens = partial(catalogue.call, recommendation.best[0])
    hits = [
        _lies_in_box(lens(model, f"sample:scenes/{seed}", target=f"box:{number}"), each)
        for seed in EVALUATED[:8]
        for number, each in _boxes_of_objects(model, seed)
    ]
    assert np.mean(hits) >= 0.9
    reasons = {advice.lens: advice.why for advice in recommendation.lenses}
    assert "may miss the object: a channel has one weight" in reasons["grad-cam"]
    assert recommendation.best.index("grad-cam") > recommendation.best.index("layer-cam")


@pytest.mark.parametrize(
    ("lens", "seeds"),
    [(cs.grad_cam, EVALUATED), (cs.hires_cam, EVALUATED), (partial(cs.rise, samples=200), MASKED)],
    ids=["grad-cam", "hires-cam", "rise"],
)
def test_the_map_of_a_class_lies_on_its_objects(lens: Callable[..., Any], seeds: range) -> None:
    model = cs.load("bundled:segmenter")
    hits = []
    for seed in seeds:
        classes = scenes.scene(seed).classes
        predicted: Any = cs.predict(model, f"sample:scenes/{seed}", top=20)
        for index in {*predicted.indices} & {*classes.flatten().tolist()} - {0}:
            value = lens(model, f"sample:scenes/{seed}", target=index)
            hits.append(classes.flat[int(value.values.argmax())] == index)
    assert len(hits) > 2 * len(seeds)
    assert np.mean(hits) >= 0.9


def _boxes_of_objects(model: cs.Model, seed: int) -> list[tuple[int, SceneObject]]:
    """The numbers of the boxes that lie on an object of their class, with that object."""
    scene: Scene = scenes.scene(seed)
    detections: Any = cs.predict(model, f"sample:scenes/{seed}", top=20)
    pairs = []
    for number, (box, label) in enumerate(zip(detections.boxes, detections.indices, strict=True)):
        candidates = torch.tensor([each.box for each in scene.objects])[None]
        overlap, index = overlaps(candidates, torch.tensor([box]))[0].max(0)
        if overlap >= 0.5 and scene.objects[int(index)].label == label:
            pairs.append((number, scene.objects[int(index)]))
    return pairs


def _lies_in_box(value: cs.Attribution, each: SceneObject) -> bool:
    """Whether a map peaks in the box of an object."""
    row, column = divmod(int(value.values.argmax()), scenes.SIZE)
    left, top, right, bottom = each.box
    return left <= column < right and top <= row < bottom
