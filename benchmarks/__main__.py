"""Measure everything, print it, and write benchmarks/results.md.

python -m benchmarks                    all of it, most of an hour on two cores
python -m benchmarks --quick            fewer rounds
python -m benchmarks rise occlusion     these parts only; the tables of the others stay as they are
python -m benchmarks --cpu              CPU time on one thread, for a machine that other work shares: results-cpu.md
"""

import argparse
import platform
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

import convscope as cs
from benchmarks import measure
from benchmarks.ascent import ascent
from benchmarks.attention import attention
from benchmarks.contenders import (
    LAST_LAYER,
    Work,
    captum_gradients,
    grad_cam_peers,
    input_gradient,
    network,
    ours,
    plain,
)
from benchmarks.converted import converted
from benchmarks.excitation import excitation
from benchmarks.feature_maps import feature_maps
from benchmarks.floor import floor
from benchmarks.inside import activation_statistics, top_inputs
from benchmarks.masks import bfloat16, kernel_shap, lime, rise
from benchmarks.measure import Row, in_forwards, interleaved, report, rows_of
from benchmarks.memory import peak_growth
from benchmarks.occlusion import occlusion
from benchmarks.pages import pages
from benchmarks.perturbed_cams import ablation_cam, score_cam
from benchmarks.rules import modified_gradients, relevance
from benchmarks.start import start
from benchmarks.structure import structure
from benchmarks.tasks import tasks
from benchmarks.web import web

RESULTS = Path(__file__).with_name("results.md")
GRAD_CAM_AIMS = {
    ("resnet50", 1): 1.05, ("resnet50", 16): 0.85,
    ("vgg16", 1): 0.9, ("vgg16", 16): 0.8,
    ("squeezenet1_1", 1): 0.8, ("squeezenet1_1", 16): 0.55,
}  # fmt: skip
"""The largest ratio to a plain forward pass, by network and batch size."""


def main() -> None:
    """Run all measurements."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--cpu", action="store_true", help="CPU time on one thread instead of wall-clock time")
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="the parts to measure; all by default")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")  # the peers' deprecations
    torch.manual_seed(0)
    results = RESULTS
    if arguments.cpu:
        torch.set_num_threads(1)
        measure.clock, results = measure.cpu_time, RESULTS.with_name("results-cpu.md")
    for part in arguments.parts or PARTS:
        rows = PARTS[part](5 if arguments.quick else 15)
        results.write_text(with_part(results.read_text("utf-8") if results.exists() else "", part, rows), "utf-8")
    print(results.read_text("utf-8"))


def grad_cam(rounds: int) -> list[Row]:
    """Grad-CAM at the last layer, relative to a plain forward pass of the same batch."""
    rows: list[Row] = []
    for (name, batch), target in GRAD_CAM_AIMS.items():
        module, x = network(name), torch.randn(batch, 3, 224, 224)
        layer = LAST_LAYER[name]
        contenders: dict[str, Work] = {
            contender: partial(cs.grad_cam, m, x, layer=layer) for contender, m in ours(module).items()
        }
        contenders |= grad_cam_peers(module, layer, x)
        ratios = interleaved(plain(module, x), contenders, rounds=rounds if batch == 1 else max(3, rounds // 3))
        rows += rows_of(f"Grad-CAM, {name}, batch {batch}", ratios, target)
    return rows


def family(rounds: int) -> list[Row]:
    """All class activation maps at one layer that can share one forward and backward pass."""
    module, x = network("resnet50"), torch.randn(1, 3, 224, 224)
    excluded = ("smooth_grad_cam_plus_plus", "shapley_cam", "finer_cam", "refine_cam")
    names = [s.command for s in cs.lenses() if s.family == "cam" and s.gives_map and s.name not in excluded]
    contenders = {contender: partial(cs.compare, m, x, names, layer="layer4") for contender, m in ours(module).items()}
    ratios = interleaved(plain(module, x), contenders, rounds=rounds)
    return rows_of(f"CAM family ({len(names)} maps), resnet50, batch 1", ratios, 1.4)


def gradients(rounds: int) -> list[Row]:
    """Saliency relative to forward + input gradient, path and noise methods relative to forward passes."""
    module, x = network("resnet50"), torch.randn(1, 3, 224, 224)
    peers, models = captum_gradients(module, x), ours(module)
    contenders = {contender: partial(cs.saliency, m, x) for contender, m in models.items()} | {
        "Captum": peers["saliency"]
    }
    rows = rows_of(
        "Saliency, resnet50, in forward + input gradient",
        interleaved(input_gradient(module, x), contenders, rounds=rounds),
        1.1,
    )
    contenders = {contender: partial(cs.integrated_gradients, m, x, steps=50) for contender, m in models.items()}
    contenders |= {"Captum, tuned": peers["integrated gradients"]}
    fewer_rounds = max(3, rounds // 3)
    rows += rows_of(
        "Integrated gradients, 50 steps, resnet50", in_forwards(plain(module, x), contenders, rounds=fewer_rounds), 73
    )
    contenders = {contender: partial(cs.smooth_grad, m, x, samples=25) for contender, m in models.items()}
    contenders |= {"Captum, tuned": peers["smooth-grad"]}
    return rows + rows_of(
        "SmoothGrad, 25 samples, resnet50", in_forwards(plain(module, x), contenders, rounds=fewer_rounds), 37
    )


def memory(rounds: int) -> list[Row]:
    """Peak memory relative to a plain forward pass, its growth with the number of steps, growth over a long loop."""
    rows: list[Row] = []
    row = lambda title, measured, aim: report([(title, "ConvScope", measured, aim)])  # noqa: E731
    for batch in (1, 16):
        base = peak_growth("plain", "resnet50", batch)
        ratio = peak_growth("grad-cam", "resnet50", batch) / base
        rows += row(f"Peak memory of Grad-CAM, resnet50, batch {batch}, in a plain forward's", f"{ratio:.2f}", "≤ 1.2")
    forward_backward = peak_growth("forward-backward", "resnet50", 8)
    for task, small_count, large_count in (("ig", 50, 300), ("rise", 1000, 4000), ("score-cam", 256, 2048)):
        small, large = (peak_growth(f"{task}-{n}", "resnet50", 1, processes=1) for n in (small_count, large_count))
        title = f"Peak memory of {task}, resnet50"
        rows += row(
            f"{title}, {large_count}, in that of a batch-8 forward + backward",
            f"{large / forward_backward:.2f}",
            "≤ 1.5",
        )
        rows += row(f"{title}, {large_count} in that of {small_count}", f"{large / small:.2f}", "flat")
    grown = peak_growth("loop", "squeezenet1_1", 1, processes=1) / 2**20
    return rows + row("Growth over 500 explanations after the first ten, MB", f"{grown:.1f}", "< 20")


PARTS: dict[str, Callable[[int], list[Row]]] = {
    part.__name__: part
    for part in (
        grad_cam, family, gradients, modified_gradients, relevance, occlusion, score_cam, ablation_cam, rise, lime,
        kernel_shap, floor, bfloat16, structure, activation_statistics, top_inputs, feature_maps, ascent, excitation,
        converted, tasks, attention, web, pages, memory, start,
    )
}  # fmt: skip


def with_part(page: str, name: str, rows: list[Row]) -> str:
    """The page with the table of one part replaced."""
    table = "".join(f"| {' | '.join(row)} |\n" for row in rows)
    new = f"<!-- {name} -->\n| what | who | measured | aim |\n|---|---|---|---|\n{table}<!-- /{name} -->\n"
    begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->\n"
    if begin in page:
        before, rest = page.split(begin, 1)
        return before + new + rest.split(end, 1)[1]
    return (page if page.startswith("# ") else head()) + "\n" + new


def head() -> str:
    """The introduction of the results page."""
    machine = f"torch {torch.__version__}, {torch.get_num_threads()} threads, {platform.machine()}"
    return f"""# What an explanation costs

Written by `make bench`. Ratios to one plain forward (`eval`, `inference_mode`, default memory format, same batch)
unless said otherwise: medians with quartiles, all contenders of a table interleaved in one run. {machine}, float32,
224×224, random weights.
*own module* is a network passed to `cs.Model`, *loaded* one that `cs.load` opened (its weights lie channels-last).
"""


if __name__ == "__main__":
    main()
