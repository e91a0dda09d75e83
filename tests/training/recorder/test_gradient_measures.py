"""What is measured by name: cosine and noise by their formulas, curvature of a quadratic loss; nothing is changed."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import convscope as cs
from convscope.training.recorder.recorder import MEASURES, Recorder
from convscope.training.run import Run, open_log
from convscope.training.views.curvature import curvature
from convscope.training.views.gradient_cosine import gradient_cosine
from tests.nets import seeded
from tests.training.recorder.test_recorder import SmallNet, train


def run_of(folder: Path) -> Run:
    (run,) = open_log(folder)
    return run


def batch_loss(network: nn.Module) -> Tensor:
    images = torch.rand(6, 3, 12, 12, generator=torch.Generator().manual_seed(3))
    return F.cross_entropy(network(images), torch.arange(6) % 4)


def test_all_measures_leave_the_training_as_it_is(tmp_path: Path) -> None:
    """Of a network with batch norm and dropout, with predictions and pictures of mistakes beside them."""
    plain, recorded = seeded(SmallNet).train(), seeded(SmallNet).train()
    losses = train(plain, 7)
    expected = torch.rand(3)

    class Validating(Recorder):
        def step(self, **metrics: float | Tensor) -> None:
            super().step(**metrics)
            images = torch.rand(8, 3, 12, 12, generator=torch.Generator().manual_seed(4))
            self.predictions(images.mean((2, 3)) @ torch.ones(3, 4), torch.arange(8) % 4, images)
            self.validation(loss=1.0)

    recorder = Validating(
        recorded, tmp_path, every=2, probes=None, probe_every=None, first_step=0, measures=MEASURES, loss=batch_loss,
        curvature_every=2,
    )  # fmt: skip
    with recorder:
        assert train(recorded, 7, recorder) == losses
    assert torch.equal(torch.rand(3), expected)
    for (name, before), after in zip(plain.state_dict().items(), recorded.state_dict().values(), strict=True):
        assert torch.equal(before, after), name
    run = run_of(tmp_path)
    assert run.series("gradient_cosine/conv").steps.tolist() == [2, 4, 6]
    assert run.series("gradient_noise/all").steps.tolist() == [2, 4, 6]
    assert run.series("curvature/largest_eigenvalue").steps.tolist() == [0, 2, 4, 6]
    log = open_log(tmp_path)
    assert len(gradient_cosine.draw(log)) == 1
    assert len(curvature.draw(log)) == 4


def test_cosine_and_noise_are_those_of_their_formulas(tmp_path: Path) -> None:
    net = nn.Linear(5, 1, bias=False)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.0)
    gradients = []
    with cs.record(net, tmp_path, every=9, measures=["gradient_cosine", "gradient_noise"]) as recorder:
        for x in torch.randn(10, 5, generator=torch.Generator().manual_seed(0)) + 1:
            optimizer.zero_grad()
            net(x).sum().backward()
            gradients.append(x.numpy().astype(np.float64))
            optimizer.step()
            recorder.step()
    first, second = gradients[8:]
    cosine = first @ second / np.linalg.norm(first) / np.linalg.norm(second)
    window = np.stack(gradients[2:])
    noise = window.var(0, ddof=1).sum() / np.square(window.mean(0)).sum()
    run = run_of(tmp_path)
    assert run.series("gradient_cosine/all").values == pytest.approx([cosine], rel=1e-5)
    assert run.series("gradient_noise/all").values == pytest.approx([noise], rel=1e-5)


@pytest.mark.parametrize(("diagonal", "largest"), [((4.0, 1.0, -0.5), 4.0), ((-4.0, 1.0, -0.5), 1.0)])
def test_curvature_of_a_quadratic_loss(tmp_path: Path, diagonal: tuple[float, ...], largest: float) -> None:
    net = nn.Linear(3, 1, bias=False)
    hessian, start = torch.tensor(diagonal), torch.tensor([[1.0, 2.0, 0.5]])
    with torch.no_grad():
        net.weight.copy_(start)

    def loss(network: nn.Module) -> Tensor:
        return (hessian * network.weight.square()).sum() / 2  # type: ignore[operator, union-attr]

    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with cs.record(net, tmp_path, measures=["step_length", "largest_eigenvalue"], loss=loss) as recorder:
        loss(net).backward()
        optimizer.step()
        recorder.step()
    run = run_of(tmp_path)
    assert run.series("curvature/largest_eigenvalue").values == pytest.approx([largest], rel=0.03)
    gradient = hessian * start[0]
    along = float((hessian * gradient.square()).sum() / gradient.square().sum())
    assert run.series("curvature/along_step").values == pytest.approx([along], rel=1e-4)
    assert run.series("curvature/step_length").values == pytest.approx([0.1 * along], rel=1e-4)


def test_what_cannot_be_measured_is_one_sentence(tmp_path: Path) -> None:
    net = seeded(SmallNet)
    with pytest.raises(cs.ConvScopeError, match="no measure 'gradient_cosin'; did you mean 'gradient_cosine'"):
        cs.record(net, tmp_path, measures=["gradient_cosin"])
    with pytest.raises(cs.ConvScopeError, match="step_length needs loss=, a function of the network"):
        cs.record(net, tmp_path, measures=["step_length"])
    with pytest.raises(cs.ConvScopeError, match=r"measures are a list of names, got 'step_length'"):
        cs.record(net, tmp_path, measures="step_length")
