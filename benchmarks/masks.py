"""Cost of mask-based lenses: RISE, LIME and KernelSHAP in plain forward passes, and bfloat16 compared with float32."""

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
from benchmarks.measure import Row, in_forwards, interleaved, report, rows_of

MASKS = 200
"""The number of masks that are timed; the cost of a thousand is extrapolated, so that rounds stay short."""


def rise(rounds: int) -> list[Row]:
    """RISE on resnet50."""
    module, x = network("resnet50"), picture()
    contenders = {
        contender: partial(cs.rise, model, x, target=0, samples=MASKS) for contender, model in ours(module).items()
    }
    return rows_of(
        "RISE, 1,000 masks, resnet50", in_forwards(plain(module, x), contenders, rounds=rounds, scale=1000 / MASKS), 830
    )


def lime(rounds: int) -> list[Row]:
    """LIME on squeezenet, and the share of its time spent outside the network."""
    module, x = network("squeezenet1_1"), picture()
    contenders = {
        contender: partial(cs.lime, model, x, target=0, samples=1000) for contender, model in ours(module).items()
    }
    rows = rows_of("LIME, 1,000 samples, squeezenet1_1", in_forwards(plain(module, x), contenders, rounds=rounds), 320)
    share = outside_the_network(next(iter(contenders.values())), rounds)
    return rows + report([("LIME, share of the time outside the network", "ConvScope", f"{share:.1%}", "< 10%")])


def kernel_shap(rounds: int) -> list[Row]:
    """KernelSHAP on squeezenet, compared with Captum's on the same segments."""
    from captum.attr import KernelShap

    module, x = network("squeezenet1_1"), picture()
    contenders: dict[str, Work] = {
        contender: partial(cs.kernel_shap, model, x, target=0, samples=500) for contender, model in ours(module).items()
    }
    labels = torch.arange(224)[:, None] // 32 * 7 + torch.arange(224) // 32
    captum = KernelShap(module)
    contenders["Captum"] = lambda: captum.attribute(x, target=0, feature_mask=labels[None, None], n_samples=500)
    return rows_of(
        "KernelSHAP, 500 samples, squeezenet1_1", in_forwards(plain(module, x), contenders, rounds=rounds), 165
    )


def bfloat16(rounds: int) -> list[Row]:
    """RISE on resnet50 in bfloat16, relative to float32, and the rank correlation of the maps."""
    module, x = network("resnet50"), picture()
    rows: list[Row] = []
    for contender, model in ours(module).items():
        in_float32 = partial(cs.rise, model, x, target=0, samples=MASKS)
        in_bfloat16 = partial(cs.rise, model, x, target=0, samples=MASKS, precision="bfloat16")
        ratios = interleaved(in_bfloat16, {contender: in_float32}, rounds=rounds)
        correlation = spearmanr(in_float32().values.flatten(), in_bfloat16().values.flatten())[0]
        rows += rows_of("RISE in bfloat16, resnet50, times as fast as float32", ratios, 1.7, at_least=True)
        rows += report(
            [("RISE in bfloat16, resnet50, rank correlation with float32", contender, f"{correlation:.4f}", "≥ 0.99")]
        )
    return rows


def picture() -> Tensor:
    """Smooth random colors, whose superpixels are similar to those of photographs."""
    coarse = torch.randn(1, 3, 14, 14, generator=torch.Generator().manual_seed(0))
    return F.interpolate(coarse, size=(224, 224), mode="bicubic")


def outside_the_network(work: Work, rounds: int) -> float:
    """The share of time spent outside the network; `run` is patched, since hooks prevent batch norm folding."""
    run, shares = cs.Model.run, []
    for _ in range(rounds):
        inside = [0.0]

        def timed(model: cs.Model, tensor: Tensor, inside: list[float] = inside) -> Tensor:
            start = time.perf_counter()
            output = run(model, tensor)
            inside[0] += time.perf_counter() - start
            return output

        with mock.patch.object(cs.Model, "run", timed):
            run_start = time.perf_counter()
            work()
            shares.append(1 - inside[0] / (time.perf_counter() - run_start))
    return statistics.median(shares)


if __name__ == "__main__":
    for part in (rise, lime, kernel_shap, bfloat16):
        for row in part(3):
            print("  ".join(row), flush=True)
