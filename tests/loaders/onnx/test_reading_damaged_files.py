"""Damaged ONNX files give a model or one sentence: no crash, no hang, no other exception, no memory without bound."""

import random
import resource
import signal
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest
import torch
from torch import nn

import convscope as cs
from convscope.errors import ConvScopeError
from tests.loaders.onnx.onnx_files import export, onnx
from tests.loaders.onnx.test_opening import residual_net
from tests.loaders.onnx.test_operators_quantized import qdq_file

CASES = 150
SECONDS = 60
"""After so long a file counts as one that hangs; most take hundredths of a second."""
MEMORY = 6 * 2**30


class Columns(nn.Module):
    """A recurrent layer, so that its weights and attributes are damaged too."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.LSTM(12, 5), nn.Linear(5, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.layer(x.flatten(1, 2).permute(2, 0, 1))[0][-1])


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Files to damage: convolutions, recurrent layers, quantised numbers, and one without its weights."""
    folder = tmp_path_factory.mktemp("originals")
    torch.manual_seed(0)
    paths = [
        export(residual_net(), torch.rand(1, 3, 32, 32), folder / "residual.onnx"),
        export(Columns(), torch.rand(1, 3, 4, 7), folder / "recurrent.onnx"),
        qdq_file(folder),
    ]
    skeleton = onnx.load(paths[0])
    for tensor in skeleton.graph.initializer:
        tensor.ClearField("raw_data")
    return [*(path.read_bytes() for path in paths), skeleton.SerializeToString()]


def damaged(content: bytes, generator: random.Random) -> bytes:
    """A file with bytes changed, removed, repeated or cut off."""
    data = bytearray(content)
    for _ in range(generator.choice([1, 1, 2, 4, 16])):
        place, width = generator.randrange(len(data)), generator.randrange(1, 9)
        match generator.randrange(6):
            case 0:
                data[place] ^= 1 << generator.randrange(8)
            case 1:
                data[place] = generator.randrange(256)
            case 2:
                del data[place : place + width]
            case 3:
                data[place:place] = data[place : place + width]
            case 4:
                data[place : place + width] = b"\xff" * width
            case _:
                if generator.random() < 0.2:
                    del data[max(place, 8) :]
    return bytes(data) or b"\0"


@pytest.fixture
def limits() -> Iterator[None]:
    """An alarm for files that hang."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise AssertionError(f"the file was not opened within {SECONDS} seconds")

    previous = signal.signal(signal.SIGALRM, stop)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, previous)


@pytest.mark.parametrize("part", range(3))
def test_damaged_files_give_a_model_or_a_sentence(
    part: int, originals: list[bytes], tmp_path: Path, limits: None
) -> None:
    generator, opened = random.Random(part), 0
    for case in range(CASES // 3):
        path = tmp_path / "net.onnx"
        path.write_bytes(damaged(generator.choice(originals), generator))
        signal.alarm(SECONDS)
        sentence = ""
        try:
            opened += isinstance(cs.load(path), cs.Model)
        except ConvScopeError as error:
            sentence = str(error)
        assert "\n" not in sentence, case
    assert opened > 0
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 < MEMORY
