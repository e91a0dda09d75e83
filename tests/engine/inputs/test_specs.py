"""Input specifications: invalid ones are refused, and images of every size are fitted."""

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from torch import nn

import convscope as cs
from convscope.errors import InputError, ModelFailed
from tests.engine.networks import SIDE, small_network, tensor


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": (8, 8, 8)}, r"size must be \(height, width\) in pixels, got \(8, 8, 8\)"),
        ({"size": 0}, r"size.*got 0"),
        ({"size": (8, -1)}, r"size.*got \(8, -1\)"),
        ({"size": "224"}, r"size.*got '224'"),
        ({"size": None}, r"size.*got None"),
        ({"size": (8.5, 8)}, r"size.*got \(8\.5, 8\)"),
        ({"mean": (0.5, 0.5), "channels": 3}, r"mean has 2 numbers for 3 channels"),
        ({"mean": (0, 0, 0), "std": (1, 1)}, r"std has 2 numbers for 3 channels"),
        ({"std": (1, 0, 1)}, r"std must be above zero"),
        ({"std": (1, 1, -1)}, r"std must be above zero"),
        ({"mean": (0.5, float("nan"), 0.5)}, r"mean"),
        ({"fit": "squash"}, r"fit must be crop.*'squash'"),
        ({"interpolation": "cubic"}, r"interpolation.* bilinear.*'cubic'"),
        ({"resize": -3}, r"size.*got -3"),
        ({"channels": -1}, r"channels"),
    ],
    ids=lambda value: "-".join(map(str, value)) if isinstance(value, dict) else "",
)
def test_an_invalid_image_input_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        cs.ImageInput(**options)


@pytest.mark.parametrize("shape", [64, "64", (0, 3), (2.5, 8)])
def test_an_invalid_shape_is_refused(shape: Any) -> None:
    with pytest.raises(InputError, match="shape"):
        cs.TensorInput(shape=shape)


def test_the_error_of_the_network_is_reported_with_the_shape_of_the_input() -> None:
    """The number of channels of a plain module is unknown: its own error is reported, with the shape of its input."""
    for lens in (cs.saliency, cs.grad_cam, cs.predict, cs.integrated_gradients, cs.eigen_cam):
        with pytest.raises(ModelFailed, match=r"Sequential raised RuntimeError on input \(\d, 4, 16, 16\): .*channels"):
            lens(cs.Model(small_network()), tensor(1, 4, SIDE, SIDE))


@pytest.mark.parametrize("height", [12, 40])
@pytest.mark.parametrize("width", [12, 40])
@pytest.mark.parametrize("fit", ["crop", "stretch", "pad"])
@pytest.mark.parametrize("size", [(24, 24), (16, 32), (32, 16)])
def test_images_of_every_size_are_fitted_to_every_size(
    height: int, width: int, fit: Any, size: tuple[int, int]
) -> None:
    model = cs.Model(nn.Identity(), input=cs.ImageInput(size=size, fit=fit))
    image = np.full((height, width, 3), 200, np.uint8)
    batch = model.prepare(image).tensor
    assert batch.shape == (1, 3, *size)
    inside = batch if fit != "pad" else batch[..., size[0] // 2, size[1] // 2]
    torch.testing.assert_close(inside, torch.full_like(inside, 200 / 255), atol=1e-6, rtol=0)


def test_center_crops_are_rounded_to_even_or_down() -> None:
    columns = np.tile(np.arange(0, 7, dtype=np.uint8)[None, :, None], (4, 1, 3))  # 4×7: a margin of 1.5 columns
    picture = Pillow.fromarray(columns)
    first_columns = [
        round(float(cs.ImageInput(size=4, crop_margin=margin).prepare(picture)[0, 0, 0]) * 255)
        for margin in (None, "floor")
    ]
    assert first_columns == [2, 1]
    with pytest.raises(InputError, match="crop_margin must be floor or None, got 'up'"):
        cs.ImageInput(crop_margin="up")  # type: ignore[arg-type]
