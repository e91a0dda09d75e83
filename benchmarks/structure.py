"""What writing a network's structure down takes, in forwards and in seconds, beside torchinfo's summary."""

import time
from functools import partial

import torch
import torchinfo

import convscope as cs
from benchmarks.contenders import network, ours, plain
from benchmarks.measure import Row, interleaved, rows_of, said

NETWORKS = ("resnet50", "densenet121", "vit_b_16")
MOST_SECONDS = 2


def structure(rounds: int) -> list[Row]:
    """One forward written down, operation by operation; for resnet50 the seconds it may take as well."""
    rows: list[Row] = []
    for name in NETWORKS:
        module, x = network(name), torch.randn(1, 3, 224, 224)
        model = ours(module)["ConvScope, loaded"]
        works = {
            "ConvScope, loaded": partial(cs.structure, model, x),
            "torchinfo": partial(torchinfo.summary, module, input_data=x, verbose=0),
        }
        rows += rows_of(f"Structure, {name}, in forwards", interleaved(plain(module, x), works, rounds=rounds), None)
        if name == "resnet50":
            rows += _seconds(model, x, rounds)
    return rows


def _seconds(model: cs.Model, x: torch.Tensor, rounds: int) -> list[Row]:
    """The aim is absolute; the median and the worst of some runs are held to it."""
    took = []
    for _ in range(rounds):
        started = time.perf_counter()
        cs.structure(model, x)
        took.append(time.perf_counter() - started)
    middle = sorted(took)[len(took) // 2]
    what = "Structure, resnet50, seconds: median (worst)"
    return said([(what, "ConvScope, loaded", f"{middle:.2f} ({max(took):.2f})", f"≤ {MOST_SECONDS}")])
