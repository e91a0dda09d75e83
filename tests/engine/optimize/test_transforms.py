"""Random transforms between steps: each keeps the size, follows its seed and does what its name says."""

import math

import pytest
import torch

from convscope.engine.optimize import transforms
from convscope.errors import ParameterError
from tests.engine.optimize.models import generator


@pytest.mark.parametrize("name", transforms.BY_NAME)
@pytest.mark.parametrize("extent", [(12, 15), (20,), (6, 7, 8)])
def test_a_transform_keeps_the_extent_and_follows_its_seed(name: str, extent: tuple[int, ...]) -> None:
    batch = torch.randn(2, 3, *extent, generator=generator())
    transform = transforms.BY_NAME[name](extent)
    first, repeated, other = (
        transform(batch, generator(1)),
        transform(batch, generator(1)),
        transform(batch, generator(5)),
    )
    assert first.shape == batch.shape
    assert torch.equal(first, repeated)
    assert torch.equal(first, other) == (name == "none")
    alone = transform(batch[1:], generator(1))
    torch.testing.assert_close(first[1:], alone)


def test_each_transform_does_what_it_says() -> None:
    batch = torch.arange(64.0).reshape(1, 1, 8, 8)
    shifted = transforms.jitter(2)(batch, generator())
    assert sorted(shifted.flatten().tolist()) == list(range(64))
    padded = transforms.pad(3)(torch.ones(1, 1, 8, 8), generator(2))
    assert float(padded.sum()) < 64
    ramp = torch.linspace(-1, 1, 33).expand(1, 1, 33, 33)
    bigger = transforms.scale(2.0, 2.0)(ramp, generator())
    torch.testing.assert_close(bigger[0, 0, 16, 8:24], ramp[0, 0, 16, 12:20].repeat_interleave(2), atol=0.05, rtol=0)
    rotated = transforms.rotate(90)(ramp, generator(4))
    angle = math.radians(-90 + 180 * float(torch.rand(2, generator=generator(4))[1]))
    inner = rotated[0, 0, 12:21, 12:21]
    slope = float((inner[:, 1:] - inner[:, :-1]).mean() * 16)
    assert slope == pytest.approx(math.cos(angle), abs=0.02)
    cropped = transforms.crop(0.5, 0.5)(ramp, generator())
    assert float(cropped.max() - cropped.min()) == pytest.approx(1, abs=0.1)
    noise = transforms.noise(0.5)(torch.zeros(2, 1, 64, 64), generator())
    assert float(noise.std()) == pytest.approx(0.5, rel=0.05)


def test_rotation_by_90_degrees_is_exact(monkeypatch) -> None:
    batch = torch.randn(2, 3, 9, 9, generator=generator())
    monkeypatch.setattr(transforms, "_uniform", lambda low, high, generator: high)
    torch.testing.assert_close(transforms.rotate(90)(batch, generator()), batch.rot90(1, (2, 3)), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["standard", "strong", "jitter"])
def test_a_row_of_a_table_is_not_shifted(name: str) -> None:
    with pytest.raises(ParameterError, match=r"without positions.*parametrisation='pixels' and transform='none'"):
        transforms.BY_NAME[name](())
