"""Graphs that were exported for one batch size run with others, in one piece where that gives the same."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import convscope as cs
from convscope.loaders.onnx.operators.shapes import shape_for_batch
from tests.loaders.onnx.onnx_files import export, helper, save_graph


@pytest.mark.parametrize(
    ("shape", "before", "after", "expected"),
    [
        ((5, 768, 7, 7), (1, 768, 7, 7), (1, 768, 49), [5, 768, 49]),
        ((5, 64), (1, 64), (64,), [320]),
        ((50, 5, 768), (50, 1, 768), (50, 12, 64), [50, 60, 64]),
        ((60, 50, 64), (12, 50, 64), (1, 12, 50, 64), [5, 12, 50, 64]),
        ((50, 5, 12, 64), (50, 1, 12, 64), (50, 768), [250, 768]),
        ((250, 768), (50, 768), (50, 1, 768), [50, 5, 768]),
        ((320, 49, 96), (64, 49, 96), (1, 8, 8, 7, 7, 96), [5, 8, 8, 7, 7, 96]),
        ((20, 6), (10, 6), (10, 2, 3), [20, 2, 3]),
    ],
)
def test_the_axis_that_holds_the_batch_is_scaled(
    shape: tuple[int, ...], before: tuple[int, ...], after: tuple[int, ...], expected: list[int]
) -> None:
    assert shape_for_batch(shape, before, after) == expected


def test_a_shape_that_differs_in_more_than_the_batch_is_refused() -> None:
    with pytest.raises(ValueError, match="differs in more than the batch"):
        shape_for_batch((2, 3, 9, 8), (1, 3, 8, 8), (1, 192))


class Attention(nn.Module):
    """A convolution and one attention layer with the sequence as the first axis, as old transformers have it."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.attend = nn.Conv2d(3, 8, 4, stride=4), nn.MultiheadAttention(8, 2)
        self.start = nn.Parameter(torch.randn(1, 8, 1))
        self.head = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.embed(x).flatten(2)
        tokens = torch.cat([self.start.expand(tokens.shape[0], -1, -1), tokens], 2).permute(2, 0, 1)
        return self.head(self.attend(tokens, tokens, tokens, need_weights=False)[0][0])


def test_an_export_for_a_batch_of_one_runs_batches_in_one_piece(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = Attention()
    model = cs.load(export(net, torch.rand(1, 3, 16, 16), tmp_path / "net.onnx"))
    assert model.module.batch_size is None
    assert not any("batch" in caveat for caveat in model.caveats)
    images = torch.rand(5, 3, 16, 16)
    assert torch.allclose(model.module(images), net(images), atol=1e-5)


def test_a_network_that_mixes_its_batch_runs_images_one_by_one(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Reshape", ["x", "flat"], ["row"]),
        helper.make_node("Slice", ["row", "first", "last", "axis"], ["y"]),
    ]
    integers = {"flat": [1, -1], "first": [0], "last": [4], "axis": [1]}
    weights = {name: np.array(values) for name, values in integers.items()}
    model = cs.load(save_graph(tmp_path / "net.onnx", nodes, [1, 3, 8, 8], weights=weights))
    images = torch.rand(3, 3, 8, 8)
    assert torch.equal(model.module(images), images.flatten(1)[:, :4])


def test_a_fixed_batch_of_several_is_filled_up(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Split", ["x"], ["a", "b"], axis=0),
        helper.make_node("Concat", ["a", "b"], ["both"], axis=0),
        helper.make_node("ReduceMean", ["both"], ["y"], axes=[2, 3], keepdims=0),
    ]
    model = cs.load(save_graph(tmp_path / "net.onnx", nodes, [2, 3, 8, 8]))
    images = torch.rand(5, 3, 8, 8)
    assert torch.allclose(model.module(images), images.mean((2, 3)))
    nodes[0] = helper.make_node("Split", ["x", "parts"], ["a", "b"], axis=0)
    weights = {"parts": np.array([3, 1])}
    model = cs.load(save_graph(tmp_path / "net.onnx", nodes, [4, 3, 8, 8], weights=weights))
    assert model.module.batch_size == 4
    assert "exported for a batch of 4" in model.caveats[0]
    assert torch.allclose(model.module(images), images.mean((2, 3)))
    assert cs.saliency(model, images, target=0)[4].values.shape == (8, 8)


def test_shapes_that_change_are_computed_when_the_network_runs(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(2), nn.Softmax(2))
    axes = {"x": {0: "N", 2: "height", 3: "width"}}
    path = export(net, torch.rand(1, 3, 12, 12), tmp_path / "net.onnx", input_names=["x"], dynamic_axes=axes)
    model = cs.load(path)
    for shape in ((1, 3, 12, 12), (3, 3, 20, 9)):
        images = torch.rand(shape)
        assert torch.allclose(model.module(images), net(images), atol=1e-6)
