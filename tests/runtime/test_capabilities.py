"""Lenses on networks of which only the scores are known: each works or says what it lacks."""

import numpy as np
import pytest
import torch

import convscope as cs
from convscope.catalogue import call, declared_lens, declared_lenses
from convscope.errors import CapabilityError

IMAGE = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
FEW_SAMPLES = {"samples": 16}


def brightness(batch: np.ndarray) -> np.ndarray:
    return batch.mean((2, 3))


def model() -> cs.Model:
    return cs.Model(brightness, input=cs.ImageInput(size=16), labels=["red", "green", "blue"])


def arguments(spec) -> dict:
    fillers = {"images": [IMAGE], "unit": "conv[0]", "style": IMAGE, "guide": IMAGE}
    given = {name: fillers[name] for name in spec.inputs if name in fillers}
    return given | {name: value for name, value in FEW_SAMPLES.items() if name in spec.parameters}


@pytest.mark.parametrize("spec", [s for s in declared_lenses() if "model" in s.inputs], ids=lambda s: s.command)
def test_each_lens_works_or_names_those_that_do(spec) -> None:
    images = {"image": IMAGE} if "image" in spec.inputs else {}
    if spec.needs_only_scores:
        value = call(spec.name, model(), **images, **arguments(spec))
        assert value.record.lens == spec.command
    else:
        with pytest.raises(
            CapabilityError, match=rf"^{spec.command} needs the (gradients|layers) of brightness.* rise"
        ):
            call(spec.name, model(), **images, **arguments(spec))


def test_lenses_that_need_only_scores_give_the_same_map_as_for_a_module() -> None:
    module = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    network = cs.Model(module, input=cs.ImageInput(size=16), labels=["red", "green", "blue"])
    for name in ("occlusion", "rise", "lime", "kernel_shap"):
        few = {"samples": 32} if "samples" in declared_lens(name).parameters else {}
        expected = call(name, network, IMAGE, **few).values.numpy()
        actual = call(name, model(), IMAGE, **few).values.numpy()
        np.testing.assert_allclose(actual, expected, atol=1e-6)  # differences of scores in single precision


def test_function_is_accepted_in_place_of_a_model() -> None:
    assert cs.occlusion(brightness, torch.rand(1, 3, 8, 8), target=1).values.shape == (8, 8)


def test_recommendation_lists_lenses_that_need_only_scores() -> None:
    best = cs.recommend(model(), IMAGE).best
    assert "occlusion" in best
    assert "grad-cam" not in best
