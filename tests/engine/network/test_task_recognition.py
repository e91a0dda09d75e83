"""The task of a network: as specified, else by its output; and outputs that no task takes."""

import pytest
import torch
from torch import Tensor, nn

import convscope as cs
from convscope.errors import InputError, OutputError
from convscope.spec.tasks import task_names
from tests.dense_networks import INPUT, Segmenter, scene, segmenter


class Parts(nn.Module):
    """A network with several outputs."""

    def forward(self, images: Tensor) -> dict[str, object]:
        return {"mean": images.mean((2, 3)), "maps": (images, [1, 2])}


def test_the_task_is_unknown_until_the_network_runs() -> None:
    model = segmenter()
    assert model.task is None
    assert model.task_for(scene()).name == "segmentation"
    assert "task" not in cs.predict(cs.load("bundled:digits"), "sample:digits/3").record.model


def test_a_task_may_be_named() -> None:
    model = cs.Model(Segmenter().eval(), input=INPUT, task="segmentation")
    assert model.task is not None
    assert cs.saliency(model, scene(), target="at:8,8").target == "class 1 at:8,8"
    with pytest.raises(
        InputError, match=r"task must be one of classification, .* got 'segmentatoin'; did you mean 'seg"
    ):
        cs.Model(nn.Flatten(), task="segmentatoin")
    assert task_names() == (
        "classification", "detection", "embedding", "multilabel", "ordinal", "regression", "segmentation",
    )  # fmt: skip


def test_a_task_that_does_not_fit_is_refused() -> None:
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(OutputError, match=r"a region needs a dense output .* got shape \(1, 3\)"):
        cs.saliency(cs.Model(head, input=INPUT, task="segmentation"), scene())
    with pytest.raises(OutputError, match=r"gives a tensor of shape \(1, 3\), which is no output for task='detection'"):
        cs.predict(cs.Model(head, input=INPUT, task="detection"), scene())


def test_an_unknown_output_is_refused_with_its_parts_and_their_shapes() -> None:
    with pytest.raises(OutputError) as failure:
        cs.predict(cs.Model(Parts(), input=INPUT), scene())
    message = str(failure.value)
    assert "Parts gives dict, not a tensor; it has the keys 'mean', 'maps'; say which part is meant" in message
    assert "task=… says what it is (classification, detection," in message
    assert message.endswith("it holds mean: Tensor(1, 3), maps: tuple (Tensor(1, 3, 32, 32), list)")
    assert cs.predict(cs.Model(Parts(), input=INPUT, output="mean"), scene()).labels


def test_an_address_may_name_task_and_units() -> None:
    model = cs.load("bundled:digits?task=regression&units=mm")
    assert model.task is not None
    assert model.task.name == "regression"
    value = cs.predict(model, "sample:digits/3")
    assert value.units[0] == "mm"
    assert value.record.model["source"] == "bundled:digits?task=regression&units=mm"
    assert cs.predict(cs.load(value.record.model["source"]), "sample:digits/3").scores == value.scores
    assert torch.equal(
        *(cs.load("bundled:digits", task=name).run(scene()[:, :1]) for name in ("regression", "embedding"))
    )
