"""What the lenses that explain by parts of the image have in common."""

import pytest
import torch

import convscope as cs
from convscope.engine.masking.segments import grid
from tests.marks import all_but
from tests.twins.perturbation.shown_masks import mean_colour
from tests.twins.perturbation.shown_parts import by_part
from tests.twins.perturbation.test_feature_ablation import feature_ablation
from tests.twins.slow import TOLERANCE, Slow, inputs_seen, relative_error
from tests.twins.subjects import Subject, subject_called


@pytest.mark.parametrize("subject", all_but(("shapes",), ("flatten", "digits", "shapes")), indirect=True)
@pytest.mark.parametrize("lens", ["lime", "kernel_shap"])
def test_bands_hold_what_many_more_samples_say(lens: str, subject: Subject) -> None:
    """19 of 20 times; runs of several seeds, all parts counted."""
    inside = []
    true = subject.explained_first(lens, samples=3000, segments=12, segmenter="grid", seed=99)
    for seed in range(6):
        attribution = subject.explained_first(lens, samples=150, segments=12, segmenter="grid", seed=seed)
        inside.append(((attribution.values - true.values).abs() <= attribution.uncertainty["band"]).float().mean())
    assert 0.8 < float(torch.stack(inside).mean()) <= 1


def test_on_a_model_that_is_linear_in_its_parts_all_agree() -> None:
    from tests.conftest import picture_model
    from tests.nets import LinearNet, seeded

    model = picture_model(seeded(LinearNet))
    image = subject_called("plain").images[:1]
    labels = grid((16, 16), 9)
    slow = Slow(model.module, image[0], 1)
    true = feature_ablation(slow, mean_colour(slow.x), labels)
    for lens, options in (("lime", {"ridge": 0.0}), ("kernel_shap", {}), ("feature_ablation", {})):
        attribution = getattr(cs, lens)(model, image, target=1, segments=labels, **options)
        assert relative_error(by_part(attribution.values, labels), true) < TOLERANCE
        for band in attribution.uncertainty.values():
            assert band.max() < 1e-3 * attribution.values.abs().max()


def test_coalitions_scored_before_an_early_stop_tell_all_parts_apart() -> None:
    from tests.conftest import picture_model
    from tests.nets import LinearNet, seeded

    model, labels = picture_model(seeded(LinearNet)), grid((16, 16), 9)
    image = subject_called("plain").images[:1]
    slow = Slow(model.module, image[0], 1)
    with inputs_seen(model.module, with_gradient=False) as network_inputs:
        attribution = cs.kernel_shap(model, image, target=1, segments=labels, samples=600, stop_when=0.9)
    assert sum(len(batch) for batch in network_inputs) < 2**9 - 2
    assert (
        relative_error(by_part(attribution.values, labels), feature_ablation(slow, mean_colour(slow.x), labels)) < 1e-4
    )
