"""The structure of networks without spatial axes, with four axes and with complex values."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import convscope as cs
from tests.engine.graph.networks import Call

VECTORS: dict[str, Callable[[Tensor], Tensor]] = {
    "slice": lambda x: x[:, 1:5:2],
    "split": lambda x: torch.cat(x.split([2, 3, 4], 1)[::-1], 1),
    "chunk": lambda x: x.chunk(3, 1)[1],
    "unbind": lambda x: torch.stack(x.unbind(1)[:4], 1),
    "select": lambda x: x[:, :1] * x.select(1, 2)[:, None],
    "index": lambda x: x[:, [0, 2, 1]],
    "gather": lambda x: x.gather(1, torch.tensor([[0, 1, 2]])),
    "where": lambda x: torch.where(x > 0, x, 0 * x),
    "stack": lambda x: torch.stack([x, x], 1).flatten(1),
    "flip": lambda x: x.flip(1).roll(1),
    "pad": lambda x: F.pad(x[:, None], (1, 2), mode="reflect")[:, 0],
    "unfold": lambda x: x.unfold(1, 3, 2).mean(-1),
    "repeat": lambda x: x.repeat_interleave(2, 1),
    "topk": lambda x: x.topk(3, 1)[0],
    "pool": lambda x: F.max_pool1d(x[:, None], 2).flatten(1),
    "enlarged": lambda x: F.interpolate(x[:, None], size=12, mode="linear").flatten(1),
    "complex": lambda x: torch.view_as_real(torch.fft.fft(x)).flatten(1),
}


@pytest.mark.parametrize("name", VECTORS)
def test_a_network_of_vectors_has_a_structure(name: str) -> None:
    change = VECTORS[name]
    width = change(torch.rand(1, 9)).shape[1]
    s = cs.structure(cs.Model(nn.Sequential(Call(change), nn.Linear(width, 2))), torch.rand(1, 9))
    assert (s.parameters, s.flops) == (2 * width + 2, 4 * width)
    assert s.module("1").field == ()
    assert s.lines()


def test_four_axes_and_complex_maps_have_a_structure() -> None:
    four = nn.Sequential(nn.ReLU(), Call(lambda x: x.flip(2)), nn.Flatten(), nn.Linear(16, 2))
    s = cs.structure(cs.Model(four), torch.rand(1, 1, 2, 2, 2, 2))
    assert s.flops == 64
    assert s.module("1").box((0, 0, 1, 1), (2, 2, 2, 2)) == ((1, 1), (0, 0), (1, 1), (1, 1))
    spectral = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), Call(torch.fft.rfft2), Call(torch.fft.irfft2))
    s = cs.structure(cs.Model(spectral), torch.rand(1, 1, 8, 8))
    assert s.module("1").field == s.module("2").field == (None, None)
    assert s.module("2").box((3, 3), (8, 8)) == ((0, 7), (0, 7))
    assert {operation.dtype for operation in s.operations} == {"float32", "complex64"}
