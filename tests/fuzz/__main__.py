"""Tests on thousands of random networks: ``python -m tests.fuzz [seeds] [--from N] [--seed N] [--check NAME]``.

The exit status is 1 if lenses and their references disagree; the command to repeat each disagreement is printed.
"""

import argparse
import sys
import time
import warnings
from collections import Counter

import torch

from convscope.loaders.torchvision import library
from tests.fuzz.checks import CHECKS
from tests.fuzz.comparing import Check, run_check
from tests.fuzz.networks import random_network


def _all_checks() -> dict[str, Check]:
    """The checks against slow references, and those against other libraries, which import torchvision."""
    library()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ignore the warnings of their imports
        from tests.fuzz.peers import PEERS
    return {**CHECKS, **PEERS}


ALL = _all_checks()
PROGRESS_INTERVAL = 20
"""Seconds between lines of progress."""


def main() -> int:
    """Run the requested seeds and return the exit status."""
    arguments = _parse_arguments()
    torch.set_num_threads(1)
    seeds = (
        [arguments.seed] if arguments.seed is not None else [*range(arguments.first, arguments.first + arguments.seeds)]
    )
    counts, failed, start = Counter[str](), [], time.monotonic()
    last_report = start
    for index, seed in enumerate(seeds):
        for name in arguments.check or ALL:
            failed += [(seed, name)] if not _passes(seed, name, counts) else []
        if time.monotonic() - last_report > PROGRESS_INTERVAL:
            last_report = time.monotonic()
            print(f"{index + 1} of {len(seeds)} networks, {len(failed)} disagreements", flush=True)
    duration = time.monotonic() - start
    print(f"{len(seeds)} networks, {counts['compared']:,} comparisons, {duration:.0f} s")
    print(f"expected errors: {counts['refused']}")
    for seed, name in failed:
        print(f'disagree: python -m tests.fuzz --seed {seed} --check "{name}"')
    return bool(failed)


def _passes(seed: int, name: str, counts: Counter[str]) -> bool:
    """Whether a check finds no differences on a network; differences are printed."""
    net = random_network(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        case = run_check(ALL[name], net)
    counts["compared"] += case.count
    counts["refused"] += len(case.refused)
    if case.differences:
        print(f"\n{name} on {net}")
        print(*case.differences, sep="\n", flush=True)
    return not case.differences


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("seeds", type=int, nargs="?", default=200, help="number of networks (200)")
    parser.add_argument("--from", dest="first", type=int, default=0, help="the first seed (0)")
    parser.add_argument("--seed", type=int, help="only this network")
    parser.add_argument("--check", action="append", choices=list(ALL), help="only this check; may be repeated")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
