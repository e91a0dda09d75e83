"""Several images at once give the values of each image alone, however they are passed and chunked."""

from typing import Any

import numpy as np
import pytest

import convscope as cs
from convscope.spec import LensSpec
from tests.conformance.selections import EACH_IMAGE, MAPS, TARGETED_MAPS, for_each, for_every_lens
from tests.conftest import picture_model
from tests.lens_calls import REPETITIONS, assert_same, call_lens, call_lens_as_list
from tests.nets import ResidualNet, build_for, seeded

for_every_image_lens = for_each(EACH_IMAGE)


@for_every_image_lens
def test_a_batch_gives_the_values_of_its_images_alone(
    spec: LensSpec, model: cs.Model, pictures: list[np.ndarray]
) -> None:
    batch_values = call_lens(spec, model, pictures)
    assert len(batch_values) == len(pictures)
    for value, picture in zip(batch_values, pictures, strict=True):
        assert_same(value, call_lens(spec, model, picture), tolerance=1e-4)


@for_every_image_lens
def test_a_prepared_batch_is_the_list_of_its_images(
    spec: LensSpec, model: cs.Model, pictures: list[np.ndarray]
) -> None:
    tensor = model.prepare(pictures).tensor
    assert tensor.shape == (3, 3, 16, 16)
    from_tensor, from_list = call_lens(spec, model, tensor), call_lens(spec, model, pictures)
    for value, expected in zip(from_tensor, from_list, strict=True):
        assert_same(value, expected)


@for_every_image_lens
def test_a_single_image_gives_a_single_value(spec: LensSpec, model: cs.Model, picture: np.ndarray) -> None:
    """As a picture, as a tensor with or without its batch axis; a list of one image gives a list."""
    tensor = model.prepare(picture).tensor
    single = call_lens(spec, model, picture)
    assert_same(call_lens(spec, model, tensor), single)
    assert_same(call_lens(spec, model, tensor[0]), single)
    (only,) = call_lens(spec, model, [picture])
    assert_same(only, single)


@for_each(TARGETED_MAPS)
def test_every_image_of_a_batch_may_have_its_own_class(
    spec: LensSpec, model: cs.Model, pictures: list[np.ndarray]
) -> None:
    classes = [2, 0, 3]
    batch_values = call_lens(spec, model, pictures, target=classes)
    for value, picture, target in zip(batch_values, pictures, classes, strict=True):
        assert value.target_index == target
        assert_same(value, call_lens(spec, model, picture, target=target), tolerance=1e-4)


@for_every_lens
def test_the_size_of_chunks_does_not_change_the_values(
    spec: LensSpec, model: cs.Model, pictures: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole_values = call_lens_as_list(spec, model, pictures)
    monkeypatch.setattr("convscope.engine.context.chunking.MAX_CHUNK", 2)
    for value, expected in zip(call_lens_as_list(spec, model, pictures), whole_values, strict=True):
        assert_same(value, expected, tolerance=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("attends", [False, True])
def test_lenses_that_share_their_passes_give_the_values_of_each_alone(
    attends: bool, pictures: list[np.ndarray]
) -> None:
    fitting = [spec for spec in MAPS if ("attention" in spec.needs) == attends]
    known = {name for spec in fitting for name in spec.parameters}
    repetitions: dict[str, Any] = {name: count for name, count in REPETITIONS.items() if name in known}
    model = picture_model(seeded(build_for(fitting[0], ResidualNet)))
    comparison = cs.compare(model, pictures, [spec.command for spec in fitting], **repetitions)
    for spec, column in zip(fitting, zip(*comparison.rows, strict=True), strict=True):
        for value, alone in zip(column, call_lens(spec, model, pictures), strict=True):
            assert value.method == spec.command
            assert_same(value, alone, tolerance=1e-5)
