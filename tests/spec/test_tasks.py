"""What tasks declare for forms."""

import pytest
import torch

import convscope as cs
from convscope.spec.tasks import TASKS
from tests.dense_networks import scene
from tests.tasks import Case, cases

CASES = [case for case in cases() if TASKS.find(case.task).hint]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.task)
def test_the_example_in_a_form_is_a_target(case: Case) -> None:
    labels = case.model.labels or ()
    hint = TASKS.find(case.task).hint.replace("120,88", "12,8")  # the example is for larger inputs
    example = hint.format(label=labels[-1] if labels else 1, sample="sample:shapes/7")
    assert torch.isfinite(cs.saliency(case.model, scene(), target=example).values).all()
    if "{label}" in hint:
        assert example.endswith(str(labels[-1]))
