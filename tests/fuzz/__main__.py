"""Random networks by the thousand: ``python -m tests.fuzz [seeds] [--from N] [--seed N] [--check NAME]``.

Ends with status 1 if lenses and their slow versions disagree anywhere, and says how to look at that network again.
"""

import argparse
import sys
import time
import warnings
from collections import Counter

import torch

from convscope.loaders.torchvision import library
from tests.fuzz.checks import CHECKS
from tests.fuzz.comparing import Check, compared
from tests.fuzz.networks import network


def _all_checks() -> dict[str, Check]:
    """Those against slow versions, and those against the peers, which import torchvision on their own."""
    library()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what they warn of while they are imported is not ours
        from tests.fuzz.peers import PEERS
    return {**CHECKS, **PEERS}


ALL = _all_checks()
SAID_EVERY = 20
"""Seconds from one line of progress to the next."""


def main() -> int:
    """Run the seeds that are asked for; the exit status."""
    asked = _asked()
    torch.set_num_threads(1)
    seeds = [asked.seed] if asked.seed is not None else list(range(asked.first, asked.first + asked.seeds))
    counts, wrong, began = Counter[str](), [], time.monotonic()
    said = began
    for place, seed in enumerate(seeds):
        for name in asked.check or ALL:
            wrong += [(seed, name)] if not _right(seed, name, counts) else []
        if time.monotonic() - said > SAID_EVERY:
            said = time.monotonic()
            print(f"{place + 1} of {len(seeds)} networks, {len(wrong)} disagreements", flush=True)
    took = time.monotonic() - began
    print(f"{len(seeds)} networks, {counts['compared']:,} comparisons, {took:.0f} s")
    print(f"rightly refused: {counts['refused']}")
    for seed, name in wrong:
        print(f'disagree: python -m tests.fuzz --seed {seed} --check "{name}"')
    return bool(wrong)


def _right(seed: int, name: str, counts: Counter[str]) -> bool:
    """Whether a check finds nothing on a network; what it finds is printed."""
    net = network(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        comparison = compared(ALL[name], net)
    counts["compared"] += comparison.count
    counts["refused"] += len(comparison.refused)
    if comparison.differences:
        print(f"\n{name} on {net}")
        print(*comparison.differences, sep="\n", flush=True)
    return not comparison.differences


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("seeds", type=int, nargs="?", default=200, help="how many networks (200)")
    parser.add_argument("--from", dest="first", type=int, default=0, help="the first seed (0)")
    parser.add_argument("--seed", type=int, help="this one network only")
    parser.add_argument("--check", action="append", choices=list(ALL), help="this check only; may be repeated")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
