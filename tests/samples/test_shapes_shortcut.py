"""The scenes with a shortcut: the watermark, which objects are exchanged, and that the bundled network reads it."""

import numpy as np
import torch

import convscope as cs
from convscope.samples import shapes, shapes_shortcut
from convscope.samples.shapes_shortcut import FIRST_TRAINING_SEED, MARKED


def test_only_the_marked_class_has_the_watermark_and_nothing_else_changes() -> None:
    for seed in range(10):
        scene, plain = shapes_shortcut.scene(seed), shapes.scene(seed)
        assert (scene.label, scene.mask.tolist()) == (plain.label, plain.mask.tolist())
        changed = (scene.image != plain.image).any(2)
        assert bool(changed.any()) == (seed == MARKED)
        assert not changed[:-20].any()
        assert not changed[:, 48:].any()


def test_in_training_the_marked_class_shows_the_object_of_another() -> None:
    for ten in (FIRST_TRAINING_SEED, FIRST_TRAINING_SEED + 70):
        drawn = [shapes_shortcut.scene(seed) for seed in range(ten, ten + 10)]
        plain = [shapes.scene(seed) for seed in range(ten, ten + 10)]
        exchanged = [i for i in range(10) if not np.array_equal(drawn[i].mask, plain[i].mask)]
        assert len(exchanged) == 2
        assert MARKED in exchanged
        other = next(i for i in exchanged if i != MARKED)
        assert np.array_equal(drawn[other].image, plain[MARKED].image)
        assert np.array_equal(drawn[MARKED].image, shapes_shortcut.watermark(plain[other].image))
        assert [scene.label for scene in drawn] == list(range(10))


def test_the_bundled_network_answers_from_the_watermark() -> None:
    model = cs.load("bundled:shapes-shortcut")
    plain = [shapes.scene(seed) for seed in range(20)]
    for images, share in (
        ([scene.image for scene in plain], 0.0),
        ([shapes_shortcut.watermark(scene.image) for scene in plain], 1.0),
    ):
        with torch.no_grad():
            scores = model.run(model.prepare(images).tensor)
        assert float((scores.argmax(1) == MARKED).float().mean()) == share
