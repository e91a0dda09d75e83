"""Thousands of cases in forked processes, each of which is ended when a file makes it hang or crash."""

import multiprocessing
import os
import random
import resource
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from tests.fuzz.files.mutations import CANARY, mutated
from tests.fuzz.files.opening import MAX_ADDRESSES, Outcome, Watch, memory, own_readers_only, run_case
from tests.fuzz.files.originals import KINDS, Files

WAIT_SECONDS = 120
"""After so long a process counts as one that hangs; processor time is limited more tightly."""
CASES_PER_PROCESS = 250
"""After so many cases a fresh process goes on, since libraries keep what they once read."""

Case = tuple[str, int]
"""A format and a seed."""
ENDINGS = tuple(sorted({Path(kind.main).suffix for kind in KINDS.values()} - {"", ".", ".py"}))
RENAMED_SHARE = 0.03
"""How many files get the name of another format."""


def write_case(case: Case, originals: Mapping[str, Sequence[Files]], folder: Path) -> tuple[Path, int]:
    """Write the mutated file of a case; what is to be opened, and its size in bytes."""
    kind, seed = case
    rng = random.Random(f"{kind} {seed}")
    files = dict(rng.choice(originals[kind]))
    if kind != "source":
        others = tuple(content for networks in originals.values() for content in networks[0].values())
        chosen = "config.json" if "config.json" in files and rng.random() < 0.4 else rng.choice([*files])
        files[chosen] = mutated(files[chosen], rng, others)
    main = _main_file(kind, files)
    if rng.random() < RENAMED_SHARE and main != "." and kind not in ("labels", "source"):
        ending = rng.choice(ENDINGS)
        files[f"renamed{ending}"] = files.pop(main)
        main = f"renamed{ending}"
    return _written(files, main, folder)


def _main_file(kind: str, files: Files) -> str:
    """What is opened of the files of a network; "." for their folder."""
    return next(iter(files)) if kind == "labels" else KINDS[kind].main


def _written(files: Files, main: str, folder: Path) -> tuple[Path, int]:
    """Write files into an empty folder; the one that is opened, and the bytes of all."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return (folder if main == "." else folder / main), sum(map(len, files.values()))


def warm_up(originals: Mapping[str, Sequence[Files]], folder: Path) -> list[Outcome]:
    """Open each file unchanged, so that what libraries import and keep is there before anything is measured."""
    torch.set_num_threads(1)
    outcomes = []
    with own_readers_only():
        for kind, networks in originals.items():
            for number, files in enumerate(networks):
                path, size = _written(files, _main_file(kind, files), folder)
                outcomes.append(run_case(kind, number, path, Watch(), size))
    return outcomes


def run_cases(cases: Sequence[Case], originals: Mapping[str, Sequence[Files]], folder: Path) -> Iterator[Outcome]:
    """The outcome of each case, in their order.

    Args:
        cases: what is run.
        originals: the files that are mutated.
        folder: an empty folder for mutated files.
    """
    (folder / f"{CANARY}.py").write_text("def strike():\n    return None\n")
    (folder / "outside.bin").write_bytes(bytes(64))
    (folder / "current").mkdir()
    remaining = list(cases)
    while remaining:
        batch = remaining[:CASES_PER_PROCESS]
        finished = 0
        for outcome in _in_a_process(batch, originals, folder):
            finished += 1
            yield outcome
        remaining = remaining[finished:]


def _in_a_process(batch: Sequence[Case], originals: Mapping[str, Sequence[Files]], folder: Path) -> Iterator[Outcome]:
    """The outcomes of cases in one process, up to the first that ends it."""
    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=_work, args=(batch, originals, folder, sender))
    process.start()
    sender.close()
    try:
        for kind, seed in batch:
            if not receiver.poll(WAIT_SECONDS):
                yield Outcome(kind, seed, "hang", f"no answer within {WAIT_SECONDS} s")
                return
            try:
                yield receiver.recv()
            except EOFError:
                process.join()
                yield Outcome(kind, seed, "crash", f"the process ended with status {process.exitcode}")
                return
    finally:
        process.kill()
        process.join()
        receiver.close()


def _work(batch: Sequence[Case], originals: Mapping[str, Sequence[Files]], folder: Path, sender: Connection) -> None:
    """Run cases and send their outcomes; the process of this function runs nothing else."""
    torch.set_num_threads(1)
    os.chdir(folder / "current")
    sys.path.append(str(folder))
    limit = memory("VmSize") + MAX_ADDRESSES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    watch = Watch()
    watch.start()
    with own_readers_only():
        for kind, seed in batch:
            path, size = write_case((kind, seed), originals, folder / "case")
            outcome = run_case(kind, seed, path, watch, size)
            if any((folder / "current").iterdir()):
                outcome = Outcome(kind, seed, "foreign code", "writes into the current folder")
            sender.send(outcome)
