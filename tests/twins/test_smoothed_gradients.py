"""What the lenses that average gradients over noisy copies have in common, and Captum on the same noise."""

from types import ModuleType

import pytest
import torch

from tests.twins.gradient.captum_gradients import largest_error
from tests.twins.slow import TOLERANCE, inputs_seen
from tests.twins.subjects import Subject


@pytest.mark.parametrize("subject", ["plain", "residual", "volume", "shapes"], indirect=True)
def test_absolute_takes_the_largest_magnitude_over_channels(subject: Subject) -> None:
    for lens, parameters in (("saliency", {}), ("smooth_grad", {"samples": 3})):
        for attribution in subject.explained(lens, sign="absolute", **parameters):
            assert torch.equal(attribution.values, attribution.channels.abs().amax(0))
            assert not attribution.signed


@pytest.mark.parametrize("subject", ["plain", "signal", "volume", "digits"], indirect=True)
@pytest.mark.parametrize("lens", ["smooth_grad", "smooth_grad_squared", "var_grad", "smooth_grad_cam_plus_plus"])
def test_the_noise_is_normal_with_the_requested_standard_deviation(lens: str, subject: Subject) -> None:
    """ε ~ N(0, (sigma · range(x))²), drawn independently for every copy and pixel."""
    image, samples, sigma = subject.images[0], 40, 0.2
    with inputs_seen(subject.model.module, with_gradient=False) as inputs:
        subject.explained(lens, samples=samples, sigma=sigma)
    noise = (torch.stack(inputs[-2 * samples : -samples]) - image) / (sigma * (image.max() - image.min()))
    assert abs(float(noise.mean())) < 4 / noise.numel() ** 0.5
    assert float(noise.var()) == pytest.approx(1, abs=4 * (2 / noise.numel()) ** 0.5)
    assert float((noise**4).mean()) == pytest.approx(
        3, abs=4 * (96 / noise.numel()) ** 0.5
    )  # the fourth moment of a normal distribution
    assert len({copy.flatten()[0].item() for copy in noise}) == samples


@pytest.mark.parametrize("subject", ["plain", "residual", "signal", "volume"], indirect=True)
@pytest.mark.parametrize(
    ("lens", "kind"), [("smooth_grad", "smoothgrad"), ("smooth_grad_squared", "smoothgrad_sq"), ("var_grad", "vargrad")]
)
def test_smoothed_gradients_equal_captum_on_the_same_noise(
    lens: str, kind: str, subject: Subject, peers: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Captum draws its noise by ``torch.normal``, which is replaced by the noise of the lens."""
    with inputs_seen(subject.model.module) as inputs:
        attributions = subject.explained(lens, samples=8)
    noise = torch.stack(inputs) - subject.images.repeat_interleave(8, 0)
    monkeypatch.setattr(torch, "normal", lambda _mean, _stdevs: noise)
    tunnel = peers.captum.attr.NoiseTunnel(peers.captum.attr.Saliency(subject.model.module))
    options = {"nt_type": kind, "nt_samples": 8, "abs": False, "target": list(subject.targets)}
    assert largest_error(attributions, tunnel.attribute(subject.images, **options)) < TOLERANCE
