"""Thousands of mutated model files: ``python -m tests.fuzz.files [cases] [--from N] [--kind NAME] [--seed N]``.

The exit status is 1 if a file does anything but open or give one sentence; the command to repeat it is printed.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.fuzz.files.opening import Outcome
from tests.fuzz.files.originals import KINDS, write_originals
from tests.fuzz.files.running import Case, run_cases, warm_up

SHARES = {
    "onnx": 5, "keras": 2, "hdf5": 1, "tfjs": 3, "exported": 3, "scripted": 3, "traced": 2, "pickled": 1, "state": 3,
    "safetensors": 3, "transformers": 3, "labels": 2, "source": 0,
}  # fmt: skip
"""How often each format is drawn; a source file is one case, since it is refused unread."""
PROGRESS_INTERVAL = 30


def main() -> int:
    """Run the requested cases and return the exit status."""
    arguments = _parse_arguments()
    counts, wrong, start = Counter[tuple[str, str]](), list[Outcome](), time.monotonic()
    slowest, largest, last = (0.0, ""), (0, ""), start
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "work").mkdir()
        originals = write_originals(Path(name) / "originals")
        warm_up(originals, Path(name) / "unchanged")
        for number, outcome in enumerate(run_cases(_cases(arguments), originals, Path(name) / "work"), 1):
            counts[outcome.kind, outcome.result] += 1
            slowest = max(slowest, (outcome.seconds, f"{outcome.kind} {outcome.seed}"))
            largest = max(largest, (outcome.growth, f"{outcome.kind} {outcome.seed}"))
            if outcome.is_wrong:
                wrong.append(outcome)
                print(f"{outcome.kind} {outcome.seed}: {outcome.result}: {outcome.text[:500]}", flush=True)
            if arguments.show:
                print(f"{outcome.kind} {outcome.seed}: {outcome.result}: {outcome.text}", flush=True)
            if time.monotonic() - last > PROGRESS_INTERVAL:
                last = time.monotonic()
                print(f"{number} cases, {len(wrong)} wrong", flush=True)
    _report(counts)
    print(
        f"slowest: {slowest[0]:.1f} s of processor time ({slowest[1]}); largest: {largest[0] / 2**20:.0f} MiB",
        largest[1],
    )
    print(f"{sum(counts.values()):,} cases, {time.monotonic() - start:.0f} s")
    for outcome in wrong:
        print(f"wrong: python -m tests.fuzz.files --kind {outcome.kind} --seed {outcome.seed}")
    return bool(wrong)


def _cases(arguments: argparse.Namespace) -> list[Case]:
    if arguments.seed is not None:
        return [(kind, arguments.seed) for kind in arguments.kind or KINDS]
    shares = {kind: SHARES[kind] for kind in arguments.kind or KINDS}
    order = [kind for kind, share in shares.items() for _ in range(share)] or [*shares]
    seeds = range(arguments.first, arguments.first + arguments.cases)
    return [*(("source", 0) for _ in range(not arguments.kind)), *((order[seed % len(order)], seed) for seed in seeds)]


def _report(counts: Counter[tuple[str, str]]) -> None:
    results = sorted({result for _, result in counts}, key=lambda result: (result not in ("model", "sentence"), result))
    print("".join(f"{title:>14}" for title in ("", *results)))
    for kind in KINDS:
        print("".join(f"{cell:>14}" for cell in (kind, *(counts[kind, result] for result in results))))


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.files", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("cases", type=int, nargs="?", default=500, help="number of files (500)")
    parser.add_argument("--from", dest="first", type=int, default=0, help="the first seed (0)")
    parser.add_argument("--seed", type=int, help="only this seed")
    parser.add_argument("--kind", action="append", choices=list(KINDS), help="only this format; may be repeated")
    parser.add_argument("--show", action="store_true", help="print every sentence")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
