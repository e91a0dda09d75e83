"""Attributes that were renamed work under their former names, and warn with the new one."""

import pytest
import torch

import convscope as cs
from convscope.values import Record, Value

FIELD = cs.ReceptiveField(
    values=torch.ones(4, 4),
    unit="conv[0]",
    position=(1, 1),
    extent=(4, 4),
    box=((0, 2), (1, 2)),
    field=(3, 3),
    images=1,
)
PREDICTION = cs.Prediction(labels=("cat", "dog"), indices=(1, 0), confidences=(0.75, 0.25), scores=(1.0, 0.0))
PICTURES = cs.Pictures(
    values=torch.zeros(1, 3, 2, 2), words=("conv[0]",), scores=(2.0,), curves=torch.tensor([[1.0, 2.0]])
)
RECORD = Record(lens="saliency", title="", asks="", reads="", kind="signal")


@pytest.mark.parametrize(
    ("owner", "former_name", "name", "arguments"),
    [
        (FIELD, "seen", "theoretical_area", None),
        (PREDICTION, "said", "formatted_scores", ()),
        (PICTURES, "climbs", "score_curves", None),
        (RECORD, "worded", "adapt_wording", ("a part of the image",)),
    ],
)
def test_a_former_name_gives_the_same_and_names_the_new_one(
    owner: object, former_name: str, name: str, arguments: tuple[str, ...] | None
) -> None:
    with pytest.warns(DeprecationWarning, match=rf"\.{former_name} is deprecated: use \w+\.{name}$") as warnings:
        former = getattr(owner, former_name)
    assert len(warnings) == 1
    assert warnings[0].filename == __file__, "the warning names the line that uses the former name"
    present = getattr(owner, name)
    assert former == present if arguments is None else former(*arguments) == present(*arguments)


def test_a_former_name_is_no_field() -> None:
    for value in (FIELD, PREDICTION, PICTURES):
        assert isinstance(value, Value)
        assert not {"seen", "said", "climbs"} & value.manifest().keys()
