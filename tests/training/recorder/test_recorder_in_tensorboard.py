"""TensorBoard itself, started on a log of ours, serves its scalars, histograms, pictures, texts and graph."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import convscope as cs
from tests.waiting import TIMEOUT


class Residual(nn.Module):
    """Two convolutions with a sum of functions between them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.block = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(inplace=True))
        self.fc = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        return self.fc(F.relu(x + self.block(x)).mean((2, 3)))  # type: ignore[no-any-return]


@contextmanager
def tensorboard(folder: Path) -> Iterator[str]:
    """The address of TensorBoard's program, which has read the folder before it listens."""
    words = ["--logdir", str(folder), "--port", "0", "--load_fast", "false"]
    words += ["--reload_task", "blocking", "--reload_interval", "0"]
    command = [sys.executable, "-W", "ignore", "-m", "tensorboard.main", *words]
    program = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert program.stderr is not None
    try:
        lines = iter(program.stderr.readline, "")  # ends with the program
        line = next((line for line in lines if "http://" in line), "TensorBoard ended without an address")
        assert "http://" in line, line
        yield "http://127.0.0.1:" + line.split("http://")[1].split(":")[1].split("/")[0]
    finally:
        program.kill()
        program.communicate()


@pytest.mark.peers
def test_tensorboard_shows_what_was_recorded(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    torch.manual_seed(0)
    net, x = Residual(), torch.rand(4, 1, 8, 8)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with cs.record(net, tmp_path / "läufe" / "run", every=2, probes=x[:1], probe_every=2) as recorder:
        for _ in range(3):
            optimizer.zero_grad()
            loss = F.cross_entropy(net(x), torch.tensor([0, 1, 0, 1]))
            loss.backward()
            optimizer.step()
            recorder.step(loss=loss)
    (run,) = cs.open_log(tmp_path)
    with tensorboard(tmp_path) as address:

        def get(plugin: str, page: str, **query: Any) -> str:
            link = f"{address}/data/plugin/{plugin}/{page}?{urlencode({'run': 'läufe/run', **query})}"
            return urlopen(link, timeout=TIMEOUT).read().decode()  # type: ignore[no-any-return]

        points = json.loads(get("scalars", "scalars", tag="train/loss"))
        assert [step for _, step, _ in points] == [0, 1, 2]
        assert [value for *_, value in points] == pytest.approx(run.series("train/loss").values, rel=1e-6)
        (_, first, _), (_, last, bins) = json.loads(get("histograms", "histograms", tag="weights/stem"))
        assert (first, last) == (0, 2)
        assert sum(count for *_, count in bins) == pytest.approx(net.stem.weight.numel())
        pictures = json.loads(get("images", "images", tag="kernels/stem"))
        assert [picture["step"] for picture in pictures] == [0, 2]  # the end is the last step, which has its own
        graph = get("graphs", "graph", conceptual="false")
    assert 'name: "block/0"' in graph
    assert 'op: "Conv2d"' in graph
    fc = graph[graph.index('name: "fc"') :]
    assert 'input: "stem"' in fc  # past the sum, which is no layer
    assert 'input: "block/1"' in fc
