"""Cost of the structure lens, in forward passes and in seconds, compared with torchinfo's summary."""

import time
from functools import partial

import torch
import torchinfo

import convscope as cs
from benchmarks.contenders import Work, network, ours, plain
from benchmarks.measure import Row, interleaved, report, rows_of

NETWORKS = ("resnet50", "densenet121", "vit_b_16")
MOST_SECONDS = 2


def structure(rounds: int) -> list[Row]:
    """The structure of each network relative to a forward pass; for resnet50 also the absolute time."""
    rows: list[Row] = []
    for name in NETWORKS:
        module, x = network(name), torch.randn(1, 3, 224, 224)
        model = ours(module)["ConvScope, loaded"]
        contenders: dict[str, Work] = {
            "ConvScope, loaded": partial(cs.structure, model, x),
            "torchinfo": partial(torchinfo.summary, module, input_data=x, verbose=0),
        }
        rows += rows_of(
            f"Structure, {name}, in forwards", interleaved(plain(module, x), contenders, rounds=rounds), None
        )
        if name == "resnet50":
            rows += _seconds(model, x, rounds)
    return rows


def _seconds(model: cs.Model, x: torch.Tensor, rounds: int) -> list[Row]:
    """The median and the worst time of several runs, against an absolute limit."""
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        cs.structure(model, x)
        seconds.append(time.perf_counter() - start)
    median = sorted(seconds)[len(seconds) // 2]
    title = "Structure, resnet50, seconds: median (worst)"
    return report([(title, "ConvScope, loaded", f"{median:.2f} ({max(seconds):.2f})", f"≤ {MOST_SECONDS}")])
