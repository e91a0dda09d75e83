"""The loss landscape: of a network whose slice is known, filter-normalised, and the network is as before."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import convscope as cs
from convscope.training.landscape import filter_normalised, landscape_of_run, loss_landscape
from convscope.training.run import open_log
from convscope.training.views.loss_landscape import loss_landscape as view
from tests.nets import seeded
from tests.training.recorder.test_recorder import SmallNet


def test_a_slice_is_the_loss_at_the_moved_weights() -> None:
    net = seeded(SmallNet).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    images, labels = torch.rand(10, 3, 12, 12, generator=torch.Generator().manual_seed(0)), torch.arange(10) % 4
    landscape = loss_landscape(net, images, labels, points=3, extent=0.5, seed=7)
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert net.training
    net.eval()
    generator = torch.Generator().manual_seed(7)
    weights = {p: p.detach().clone() for p in net.parameters()}
    first, second = filter_normalised(weights, generator), filter_normalised(weights, generator)
    for parameter, direction in first.items():
        if parameter.ndim > 1:
            filters, moved = parameter.detach().flatten(1).norm(dim=1), direction.flatten(1).norm(dim=1)
            assert torch.allclose(filters, moved, rtol=1e-5)
        else:
            assert not direction.any()
    with torch.no_grad():
        for parameter, values in weights.items():
            parameter.copy_(values + 0.5 * first[parameter] - 0.5 * second[parameter])
        expected = float(F.cross_entropy(net(images), labels))
    assert landscape.losses.shape == (3, 3)
    assert landscape.losses[0, 2] == pytest.approx(expected, rel=1e-5)
    line = loss_landscape(cs.Model(net), images, labels, points=3, line=True)
    assert line.losses.shape == (1, 3)


def test_the_landscape_of_a_training_is_a_view_of_its_log(tmp_path: Path) -> None:
    cs.train("digits", tmp_path, epochs=1, images=64)
    landscape = landscape_of_run(tmp_path, "digits", points=3)
    assert np.isfinite(landscape.losses).all()
    assert landscape.images == 400
    assert len(view.draw(open_log(tmp_path))) == 2
    with pytest.raises(cs.ConvScopeError, match=r"the images of 'shapes' are \(3, 48, 48\), and the network takes"):
        landscape_of_run(tmp_path, "shapes")


def test_what_has_no_landscape_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(cs.ConvScopeError, match=r"there is no network.py in"):
        landscape_of_run(tmp_path, "digits")
    net, x, y = nn.Linear(2, 2), torch.zeros(2, 2), torch.zeros(2, dtype=torch.long)
    with pytest.raises(cs.ConvScopeError, match="points must be an odd number from 3 on, got 4"):
        loss_landscape(net, x, y, points=4)
    with pytest.raises(cs.ConvScopeError, match="there are 2 images and 1 labels"):
        loss_landscape(net, x, y[:1])
