"""The recorder of a callback ends with its training, whichever way that ends."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.optim import optimizer

from convscope.training.callbacks.held_recorder import HeldRecorder
from convscope.training.run import open_log


def test_an_error_takes_the_hooks_off_and_keeps_the_log(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Linear(2, 2))
    hooks = dict(optimizer._global_optimizer_pre_hooks)

    def train() -> None:
        with HeldRecorder() as held:
            for name in ("first", "second"):  # another training of the same callback ends the one before
                held.begin(network, tmp_path / name, every=1)
                assert held._recorder is not None
                network(torch.ones(3, 2)).sum().backward()
                held._recorder.step(loss=1.0)
            assert len(network[0]._forward_hooks) == 1
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train()
    assert not network[0]._forward_hooks
    assert dict(optimizer._global_optimizer_pre_hooks) == hooks
    assert [len(run.series("train/loss")) for run in open_log(tmp_path)] == [1, 1]
