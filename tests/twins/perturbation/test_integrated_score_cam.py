"""IS-CAM computed a second time, step by step, and compared with the lens."""

import pytest
from torch import Tensor

import convscope as cs
from tests.twins.binding import twin_of
from tests.twins.channel_masks import NETS, assert_recomputed_maps_equal
from tests.twins.perturbation.test_score_cam import score_cam
from tests.twins.slow import Slow
from tests.twins.subjects import Subject


@twin_of(cs.integrated_score_cam)
def integrated_score_cam(slow: Slow, layer: str, steps: int = 10) -> Tensor:
    return score_cam(slow, layer, tuple(i / steps for i in range(1, steps + 1)))


@pytest.mark.parametrize("subject", NETS, indirect=True)
@pytest.mark.parametrize("parameters", [{"steps": 3}])
def test_integrated_score_cam_equals_its_twin(parameters: dict, subject: Subject) -> None:
    assert_recomputed_maps_equal(integrated_score_cam, subject, **parameters)
