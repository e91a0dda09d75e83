"""What lenses by masks cost: RISE, LIME and KernelSHAP in plain forwards, and bfloat16 beside float32."""

import statistics
import time
from functools import partial
from unittest import mock

import torch
from scipy.stats import spearmanr
from torch import Tensor
from torch.nn import functional as F

import convscope as cs
from benchmarks.contenders import Work, network, ours, plain
from benchmarks.measure import Row, in_forwards, interleaved, rows_of, said

FEW = 200
"""Masks that are timed: the cost of a thousand is five times theirs, and rounds stay short."""


def rise(rounds: int) -> list[Row]:
    """RISE on resnet50."""
    module, x = network("resnet50"), picture()
    works = {who: partial(cs.rise, model, x, target=0, samples=FEW) for who, model in ours(module).items()}
    return rows_of(
        "RISE, 1,000 masks, resnet50", in_forwards(plain(module, x), works, rounds=rounds, times=1000 / FEW), 830
    )


def lime(rounds: int) -> list[Row]:
    """LIME on squeezenet, and the share of its time that is not spent in the network."""
    module, x = network("squeezenet1_1"), picture()
    works = {who: partial(cs.lime, model, x, target=0, samples=1000) for who, model in ours(module).items()}
    rows = rows_of("LIME, 1,000 samples, squeezenet1_1", in_forwards(plain(module, x), works, rounds=rounds), 320)
    outside = outside_the_network(next(iter(works.values())), rounds)
    return rows + said([("LIME, share of the time outside the network", "ConvScope", f"{outside:.1%}", "< 10%")])


def kernel_shap(rounds: int) -> list[Row]:
    """KernelSHAP on squeezenet beside Captum's, which takes the same parts."""
    from captum.attr import KernelShap

    module, x = network("squeezenet1_1"), picture()
    works: dict[str, Work] = {
        who: partial(cs.kernel_shap, model, x, target=0, samples=500) for who, model in ours(module).items()
    }
    labels = torch.arange(224)[:, None] // 32 * 7 + torch.arange(224) // 32
    theirs = KernelShap(module)
    works["Captum"] = lambda: theirs.attribute(x, target=0, feature_mask=labels[None, None], n_samples=500)
    return rows_of("KernelSHAP, 500 samples, squeezenet1_1", in_forwards(plain(module, x), works, rounds=rounds), 165)


def bfloat16(rounds: int) -> list[Row]:
    """RISE on resnet50 in bfloat16 in the time of float32, and how alike the maps are."""
    module, x = network("resnet50"), picture()
    rows: list[Row] = []
    for who, model in ours(module).items():
        in_float32 = partial(cs.rise, model, x, target=0, samples=FEW)
        in_bfloat16 = partial(cs.rise, model, x, target=0, samples=FEW, precision="bfloat16")
        found = interleaved(in_bfloat16, {who: in_float32}, rounds=rounds)
        alike = spearmanr(in_float32().values.flatten(), in_bfloat16().values.flatten())[0]
        rows += rows_of("RISE in bfloat16, resnet50, times as fast as float32", found, 1.7, at_least=True)
        rows += said([("RISE in bfloat16, resnet50, rank correlation with float32", who, f"{alike:.4f}", "≥ 0.99")])
    return rows


def picture() -> Tensor:
    """Smooth random colours: superpixels in them are like those in photographs."""
    coarse = torch.randn(1, 3, 14, 14, generator=torch.Generator().manual_seed(0))
    return F.interpolate(coarse, size=(224, 224), mode="bicubic")


def outside_the_network(work: Work, rounds: int) -> float:
    """The share of a run's time that is not spent in the network's own forward; hooks would keep norms unfolded."""
    run, shares = cs.Model.run, []
    for _ in range(rounds):
        inside = [0.0]

        def timed(model: cs.Model, tensor: Tensor, inside: list[float] = inside) -> Tensor:
            begun = time.perf_counter()
            output = run(model, tensor)
            inside[0] += time.perf_counter() - begun
            return output

        with mock.patch.object(cs.Model, "run", timed):
            started = time.perf_counter()
            work()
            shares.append(1 - inside[0] / (time.perf_counter() - started))
    return statistics.median(shares)


if __name__ == "__main__":
    for part in (rise, lime, kernel_shap, bfloat16):
        for row in part(3):
            print("  ".join(row), flush=True)
