"""Functions of arrays as networks without layers and gradients."""

import copy
import pickle

import numpy as np
import pytest
import torch

import convscope as cs
from convscope.engine.network.scores_only import ScoresOnly, scores_only_part
from convscope.errors import InputError, ModelFailed, OutputError


def channel_means(batch: np.ndarray) -> np.ndarray:
    means = batch.mean((2, 3))
    batch[:] = 0  # a function may write to its argument
    return means


def test_function_receives_float32_arrays_and_its_scores_are_those_of_the_network() -> None:
    batch = torch.rand(4, 3, 5, 6, dtype=torch.float64)
    before = batch.clone()
    scores = cs.Model(channel_means).run(batch)
    torch.testing.assert_close(scores, batch.float().mean((2, 3)))
    assert torch.equal(batch, before)


def test_a_function_of_several_arrays_is_a_network_of_several_inputs() -> None:
    def scores(photo: np.ndarray, table: np.ndarray) -> np.ndarray:
        return photo.mean((2, 3)) * table

    model = cs.Model(scores, inputs={"photo": cs.ImageInput(size=4), "table": cs.TableInput(features=3)})
    photo = torch.ones(1, 3, 4, 4)
    photo[:, 1, :2] = 3
    value = cs.occlusion(model, {"photo": photo, "table": [1, 5, 0]}, target=1, explain="photo", patch=2, stride=2)
    assert value.score == 10
    torch.testing.assert_close(value.values, torch.tensor([[3.75] * 4] * 2 + [[1.25] * 4] * 2))


def test_model_has_the_name_and_the_source_of_the_function() -> None:
    model = cs.Model(channel_means, input=cs.ImageInput(size=8))
    assert (model.name, model.source) == ("channel_means", f"python:{__name__}.channel_means")
    assert scores_only_part(model.module) is model.module
    assert model.layers() == []


def test_meaning_of_the_scores_is_unknown_unless_it_is_given() -> None:
    batch = torch.rand(1, 3, 4, 4)
    assert cs.Model(channel_means).meaning_for(batch).kind == "unknown"
    assert cs.Model(channel_means, meaning="probabilities").meaning_for(batch).kind == "probabilities"


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_give_the_same_scores(duplicate) -> None:
    batch = torch.rand(2, 3, 4, 4)
    model = cs.Model(channel_means)
    assert torch.equal(duplicate(model).run(batch), model.run(batch))


@pytest.mark.parametrize(
    ("function", "kind", "sentence"),
    [
        (lambda batch: [[1.0], [1.0, 2.0]], OutputError, "rows of different lengths"),
        (lambda batch: np.array([["cat"], ["dog"]]), OutputError, "instead of numbers"),
        (lambda batch: np.ones((7, 2)), OutputError, r"shape \(7, 2\) for 2 images"),
        (lambda batch: 1 / 0, ModelFailed, "raised ZeroDivisionError"),
    ],
)
def test_wrong_results_of_a_function_are_refused(function, kind, sentence) -> None:
    with pytest.raises(kind, match=sentence):
        cs.Model(function).run(torch.rand(2, 3, 4, 4))


@pytest.mark.parametrize("module", [torch.nn.Linear, "resnet18", 3, None])
def test_what_is_neither_a_network_nor_a_function_is_refused(module) -> None:
    with pytest.raises(InputError, match="a model is built from"):
        cs.Model(module)


def test_module_that_contains_a_function_keeps_its_own_layers() -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 3), ScoresOnly(lambda batch: batch.mean((2, 3))))
    image = torch.rand(1, 3, 8, 8)
    assert cs.eigen_cam(cs.Model(network), image, layer="0").values.shape == (8, 8)
    with pytest.raises(cs.ConvScopeError):
        cs.saliency(cs.Model(network), image)
