"""XRAI computed a second time, step by step, and compared with the lens."""

import pytest
import torch
from scipy.ndimage import binary_dilation
from skimage.segmentation import felzenszwalb
from torch import Tensor

import convscope as cs
from convscope.engine.masking.segments import grid
from tests.twins.binding import twin_of
from tests.twins.gradient.test_integrated_gradients import integrated_gradients
from tests.twins.perturbation.learned_masks import baseline_named
from tests.twins.results import sum_of
from tests.twins.slow import KINKED, Slow, relative_error
from tests.twins.subjects import Subject


@twin_of(cs.xrai)
def xrai(slow: Slow, black: Tensor, white: Tensor, cuts: list[Tensor], steps: int) -> Tensor:
    a = sum_of(integrated_gradients(slow, baseline, steps).sum(0) for baseline in (black, white)) / 2
    radius = max(1, round(5 / 224 * max(a.shape)))
    regions = []
    for labels in cuts:
        for label in labels.unique():
            dilated = torch.from_numpy(binary_dilation((labels == label).numpy(), iterations=radius))
            regions.append(dilated)
    values, is_free = torch.zeros_like(a), torch.ones_like(a, dtype=torch.bool)
    while is_free.any():
        gains = [a[region & is_free].mean() if (region & is_free).any() else -torch.inf for region in regions]
        best = max(range(len(regions)), key=lambda i: float(gains[i]))
        values[regions[best] & is_free] = gains[best]
        is_free &= ~regions[best]
    return values


@pytest.mark.parametrize("subject", ["plain", "residual", "flatten", "smooth", "signal", "volume"], indirect=True)
def test_xrai_covers_the_image_region_by_region(subject: Subject) -> None:
    baselines = [baseline_named(subject, name) for name in ("black", "white")]
    for row, (attribution, slow) in enumerate(zip(subject.explained("xrai", steps=8), subject.slow, strict=True)):
        if slow.x.ndim == 3:
            picture = scaled_to_one(slow.x).movedim(0, -1).float().numpy()
            if len(slow.x) == 3:
                shown = subject.model.prepare(subject.images).spec.picture(slow.x.float())
                assert shown is not None
                picture = shown / 255
            min_size = max(2, round(150 / 224**2 * slow.x[0].numel()))
            cuts = [
                torch.from_numpy(felzenszwalb(picture.astype("float32"), scale=s, sigma=0.8, min_size=min_size))
                for s in (50, 100, 150, 250, 500, 1200)
            ]
        else:
            cuts = [grid(slow.x.shape[1:], parts) for parts in (128, 64, 32, 16, 8, 4)]
        true = xrai(slow, baselines[0][row], baselines[1][row], cuts, 8)
        assert relative_error(attribution.values, true) < KINKED
        assert float(attribution.values.sum()) - attribution.score + attribution.notes[
            "baseline score"
        ] == pytest.approx(attribution.notes["completeness gap"], abs=1e-4)


def scaled_to_one(x: Tensor) -> Tensor:
    return (x.float() - x.float().min()) / (x.float().max() - x.float().min())
