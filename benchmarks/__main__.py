"""Measure everything, print it, and write benchmarks/results.md.

python -m benchmarks            all of it, some ten minutes on two cores
python -m benchmarks --quick    fewer rounds
"""

import argparse
import platform
import sys
import warnings
from functools import partial
from pathlib import Path

import torch

import convscope as cs
from benchmarks.contenders import LAST_LAYER, captum_gradients, grad_cam_peers, input_gradient, network, ours, plain
from benchmarks.measure import Ratio, interleaved
from benchmarks.memory import peak_growth

Row = tuple[str, str, str, str]
"""What, who, measured, the aim it is held to (empty for peers)."""

GRAD_CAM_AIMS = {
    ("resnet50", 1): 1.05, ("resnet50", 16): 0.85,
    ("vgg16", 1): 0.9, ("vgg16", 16): 0.8,
    ("squeezenet1_1", 1): 0.8, ("squeezenet1_1", 16): 0.55,
}  # fmt: skip


def main() -> None:
    """Run all measurements."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    rounds = 5 if parser.parse_args().quick else 15
    warnings.simplefilter("ignore")  # the peers' deprecations
    torch.manual_seed(0)
    rows: list[Row] = []
    for part in (grad_cam, family, gradients, memory):
        rows += part(rounds)
    text = page(rows)
    Path(__file__).with_name("results.md").write_text(text, "utf-8")
    print(text)


def grad_cam(rounds: int) -> list[Row]:
    """Grad-CAM at the last layer, against a plain forward of the same batch."""
    rows: list[Row] = []
    for (name, batch), aim in GRAD_CAM_AIMS.items():
        module, x = network(name), torch.randn(batch, 3, 224, 224)
        layer = LAST_LAYER[name]
        works = {who: partial(cs.grad_cam, m, x, layer=layer) for who, m in ours(module).items()}
        works |= grad_cam_peers(module, layer, x)
        found = interleaved(plain(module, x), works, rounds=rounds if batch == 1 else max(3, rounds // 3))
        rows += _rows(f"Grad-CAM, {name}, batch {batch}", found, aim)
    return rows


def family(rounds: int) -> list[Row]:
    """All class activation maps but the smoothed ones at one layer, together."""
    module, x = network("resnet50"), torch.randn(1, 3, 224, 224)
    names = [s.command for s in cs.lenses() if s.family == "cam" and not s.name.startswith("smooth")]
    works = {who: partial(cs.compare, m, x, names, layer="layer4") for who, m in ours(module).items()}
    found = interleaved(plain(module, x), works, rounds=rounds)
    return _rows(f"CAM family ({len(names)} maps), resnet50, batch 1", found, 1.4)


def gradients(rounds: int) -> list[Row]:
    """Saliency against forward + input gradient, path and noise methods against forwards."""
    module, x = network("resnet50"), torch.randn(1, 3, 224, 224)
    peers, models = captum_gradients(module, x), ours(module)
    works = {who: partial(cs.saliency, m, x) for who, m in models.items()} | {"Captum": peers["saliency"]}
    rows = _rows(
        "Saliency, resnet50, in forward + input gradient",
        interleaved(input_gradient(module, x), works, rounds=rounds),
        1.1,
    )
    works = {who: partial(cs.integrated_gradients, m, x, steps=50) for who, m in models.items()}
    works |= {"Captum, tuned": peers["integrated gradients"]}
    few = max(3, rounds // 3)
    rows += _rows("Integrated gradients, 50 steps, resnet50", _in_forwards(module, x, works, few), 75)
    works = {who: partial(cs.smooth_grad, m, x, samples=25) for who, m in models.items()}
    works |= {"Captum, tuned": peers["smooth-grad"]}
    return rows + _rows("SmoothGrad, 25 samples, resnet50", _in_forwards(module, x, works, few), 38)


def memory(rounds: int) -> list[Row]:
    """Peaks in units of a plain forward's, flatness in steps, growth of a long loop."""
    rows: list[Row] = []
    for batch in (1, 16):
        base = peak_growth("plain", "resnet50", batch)
        share = peak_growth("grad-cam", "resnet50", batch) / base
        rows.append(
            (
                f"Peak memory of Grad-CAM, resnet50, batch {batch}, in a plain forward's",
                "ConvScope",
                f"{share:.2f}",
                "≤ 1.2",
            )
        )
    few, many = (peak_growth(f"ig-{steps}", "resnet50", 1, processes=1) for steps in (50, 300))
    rows.append(
        ("Peak memory of integrated gradients, 300 steps, in that of 50", "ConvScope", f"{many / few:.2f}", "flat")
    )
    grown = peak_growth("loop", "squeezenet1_1", 1, processes=1) / 2**20
    rows.append(("Growth over 200 explanations after the first ten, MB", "ConvScope", f"{grown:.1f}", "< 20"))
    return rows


def _in_forwards(module: torch.nn.Module, x: torch.Tensor, works: dict[str, object], rounds: int) -> dict[str, Ratio]:
    """In plain forwards, of which ten are timed a round so that one hiccup does not decide."""
    forward = plain(module, x)

    def ten() -> None:
        for _ in range(10):
            forward()

    return interleaved(ten, works, rounds=rounds, unit=10)  # type: ignore[arg-type]


def _rows(what: str, found: dict[str, Ratio], aim: float) -> list[Row]:
    rows = [
        (what, who, f"{r} ({r.low:.2f}–{r.high:.2f})", f"≤ {aim:g}" if who.startswith("ConvScope") else "")
        for who, r in found.items()
    ]
    for row in rows:
        print("  ".join(row), file=sys.stderr, flush=True)
    return rows


def page(rows: list[Row]) -> str:
    """The results as a page."""
    machine = f"torch {torch.__version__}, {torch.get_num_threads()} threads, {platform.machine()}"
    head = f"""# What an explanation costs

Written by `make bench`. Ratios to one plain forward (`eval`, `inference_mode`, default memory format, same batch)
unless said otherwise: medians with quartiles, all contenders interleaved in one run. {machine}, float32, 224×224,
random weights.
*own module* is a network passed to `cs.Model`, *loaded* one that `cs.load` opened (its weights lie channels-last).

| what | who | measured | aim |
|---|---|---|---|
"""
    return head + "".join(f"| {' | '.join(row)} |\n" for row in rows)


if __name__ == "__main__":
    main()
