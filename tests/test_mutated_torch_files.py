"""Seeded mutations of files of PyTorch: each is a model or one sentence, and nothing in the file runs.

``CONVSCOPE_MUTATIONS=2000`` tries more of them.
"""

import io
import os
import random
import re
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import convscope as cs
from convscope.errors import ConvScopeError
from convscope.loaders.weights import load_state, read_state
from tests.loaders.torch_files.networks import exported, save, scripted, traced

CASES = int(os.environ.get("CONVSCOPE_MUTATIONS", "160"))
"""The number of mutated files over all kinds."""
KINDS = ("pt2", "scripted", "traced", "weights", "safetensors")

Mutation = Callable[[bytes, random.Random], bytes]


def small() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = [nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        return nn.Sequential(*layers, nn.Linear(2, 2)).eval()


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder, net, example = tmp_path_factory.mktemp("originals"), small(), torch.zeros(2, 3, 8, 8)
    save(exported(net, example), folder / "pt2")
    save(scripted(net), folder / "scripted")
    save(traced(net, example), folder / "traced")
    torch.save(net.state_dict(), folder / "weights")
    save_file(net.state_dict(), folder / "safetensors")
    return {kind: (folder / kind).read_bytes() for kind in KINDS}


def flip_bytes(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 3, 20))):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def cut(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content))]


def repeat_a_part(content: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(content))
    part = content[start : start + rng.randrange(1, 400)]
    return content[:start] + part * rng.randrange(1, 4) + content[start:]


def enlarge_numbers(content: bytes, rng: random.Random) -> bytes:
    """Replace decimal numbers in texts, and one-byte numbers in pickles, by large, negative or odd ones."""
    texts = [match.span() for match in re.finditer(rb"(?<![\w.])\d+(?![\w.])", content)]
    if texts and rng.random() < 0.7:
        start, end = rng.choice(texts)
        return content[:start] + rng.choice((b"-1", b"0", b"7", b"2147483647", b"99999999999999")) + content[end:]
    numbers = [match.start() for match in re.finditer(rb"K[\x00-\xff]", content)]
    if not numbers:
        return flip_bytes(content, rng)
    start = rng.choice(numbers)
    return (
        content[:start]
        + rng.choice((b"J\xff\xff\xff\x7f", b"J\xff\xff\xff\xff", b"K\xff", b"N"))
        + content[start + 2 :]
    )


def swap_words(content: bytes, rng: random.Random) -> bytes:
    words = [match.span() for match in re.finditer(rb"[A-Za-z_][A-Za-z_0-9.]{2,}", content)]
    if len(words) < 2:
        return flip_bytes(content, rng)
    (start, end), (other_start, other_end) = rng.sample(words, 2)
    return content[:start] + content[other_start:other_end] + content[end:]


MUTATIONS: tuple[Mutation, ...] = (flip_bytes, cut, repeat_a_part, enlarge_numbers, swap_words)


def mutated(content: bytes, rng: random.Random) -> bytes:
    """The whole file, or one record of an archive with correct sums, changed at random places."""
    mutation = rng.choice(MUTATIONS)
    if not content.startswith(b"PK") or rng.random() < 0.25:
        return mutation(content, rng)
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(buffer, "w") as target:
        names = source.namelist()
        worth_it = [name for name in names if name.endswith((".json", ".pkl", ".py", ".pt"))] or names
        chosen = rng.choice(worth_it if rng.random() < 0.9 else names)
        for name in names:
            record = source.read(name)
            target.writestr(name, mutation(record, rng) if name == chosen and record else record)
    return buffer.getvalue()


def opened(path: Path, kind: str) -> None:
    """Open a file as a person would, and run the network if it opens."""
    if kind in ("weights", "safetensors"):
        load_state(small(), read_state(path, trust=False), path)
        return
    model = cs.load(path)
    assert isinstance(model, cs.Model)
    cs.predict(model, torch.zeros(1, 3, 8, 8))


@pytest.fixture
def no_new_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty current folder, in which nothing may appear."""
    folder = tmp_path / "empty"
    folder.mkdir()
    monkeypatch.chdir(folder)
    yield folder
    assert not [*folder.iterdir()]


@pytest.mark.parametrize("kind", KINDS)
def test_a_mutated_file_is_a_model_or_a_sentence(
    originals: dict[str, bytes], kind: str, tmp_path: Path, no_new_files: Path
) -> None:
    refused, modules, sentences = 0, {*sys.modules}, list[str]()
    for seed in range(CASES // len(KINDS)):
        rng = random.Random(f"{kind} {seed}")
        path = tmp_path / f"net.{'safetensors' if kind == 'safetensors' else 'pt2' if kind == 'pt2' else 'pt'}"
        path.write_bytes(mutated(originals[kind], rng))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                opened(path, kind)
        except ConvScopeError as error:
            refused += 1
            sentences.append(str(error))
        except Exception as error:
            raise AssertionError(f"{kind} {seed}: {type(error).__name__}: {error}") from error
    assert refused > 0
    assert not [sentence for sentence in sentences if "\n" in sentence]
    foreign = {name.partition(".")[0] for name in {*sys.modules} - modules}
    assert not foreign & {"antigravity", "this", "idlelib", "turtle"}
