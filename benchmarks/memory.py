"""Peak memory and its growth, each measured in a separate process, since a peak hides smaller ones after it.

python -m benchmarks.memory plain resnet50 16      prints the growth of the peak in bytes
"""

import statistics
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from convscope import Model

INPUT_SIZES = {"r3d_18": (96, 96, 96)}
"""The extent of the input of networks that take no pictures of 224 × 224."""
TASKS = (
    "plain", "forward-backward", "grad-cam", "grad-cam-repeated", "score-cam-256",
    "score-cam-2048", "ig-10", "ig-50", "ig-300", "rise-1000",
    "rise-4000", "statistics-128", "statistics-384", "loop",
)  # fmt: skip


def peak_growth(task: str, name: str, batch: int, *, processes: int = 5) -> int:
    """The growth of peak resident memory in bytes during ``task`` in a new process: the median of several processes."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.memory", task, name, str(batch)]
    runs = [subprocess.run(command, capture_output=True, text=True, check=True) for _ in range(processes)]
    return int(statistics.median(int(run.stdout.split()[-1]) for run in runs))


def _main(task: str, name: str, batch: int) -> int:
    import torch

    import convscope as cs
    from benchmarks.contenders import LAST_LAYER, network, plain

    module = network(name)
    x = torch.randn(batch, 3, *INPUT_SIZES.get(name, (224, 224)))
    model = cs.Model(module)
    works: dict[str, Callable[[], object]] = {
        "plain": plain(module, x),
        "grad-cam": lambda: cs.grad_cam(model, x, layer=LAST_LAYER[name]),
        "forward-backward": lambda: module(x).sum().backward(),
        "score-cam-2048": lambda: cs.score_cam(model, x, layer=LAST_LAYER[name]),
        "score-cam-256": lambda: cs.score_cam(model, x, layer=LAST_LAYER[name], channels=256),
        **{f"ig-{n}": partial(cs.integrated_gradients, model, x, target=0, steps=n) for n in (10, 50, 300)},
    }
    works |= {f"rise-{n}": partial(cs.rise, model, x, target=0, samples=n) for n in (64, 1000, 4000)}
    for count in (128, 384):
        works[f"statistics-{count}"] = partial(
            cs.activations, model, (torch.randn(8, 3, 224, 224) for _ in range(count // 8))
        )
    works["grad-cam-repeated"] = works["grad-cam"]
    if task == "loop":
        return _loop_growth(model)
    small = x[(slice(1), slice(None), *(slice(side * 2 // 7) for side in x.shape[2:]))]
    plain(module, small)()  # allocates what only a first forward pass allocates
    cs.grad_cam(cs.Model(module), small, layer=LAST_LAYER[name])
    if task == "grad-cam-repeated":
        works[task]()  # checks the network, which takes passes of two images and a backward pass to the input
    Path("/proc/self/clear_refs").write_text("5")  # Linux: reset the peak
    before = memory_status("VmRSS")
    works[task]()
    return memory_status("VmHWM") - before


def _loop_growth(model: "Model") -> int:
    """The growth of resident memory over 500 explanations, after ten warm-up rounds."""
    import psutil
    import torch

    import convscope as cs

    process, x = psutil.Process(), torch.randn(1, 3, 224, 224)
    for _ in range(10):
        cs.grad_cam(model, x)
        cs.saliency(model, x)
    before = process.memory_info().rss
    for _ in range(250):
        cs.grad_cam(model, x)
        cs.saliency(model, x)
    return process.memory_info().rss - before


def memory_status(name: str) -> int:
    """A memory figure of this process, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) * 1024


if __name__ == "__main__":
    print(_main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
