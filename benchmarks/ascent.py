"""What a step of an ascent costs: in passes of the cut network, against lucent, and for many units together."""

import os
import sys
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

import convscope as cs
from benchmarks.contenders import network
from benchmarks.measure import Row, interleaved, rows_of, said
from convscope.engine.network.hooks import stopping_at
from convscope.engine.optimize.prefix import Cut

PLACES = {"resnet50": "layer2", "squeezenet1_1": "features.7"}
SIZE, STEPS, FEW = 128, 128, 32
LUCENT = os.environ.get("LUCENT", "")
"""A folder with the peer, whose pins are old. ``pip install --target FOLDER`` puts there, with ``--no-deps``,
torch-lucent==0.1.8, kornia==0.4.1 and tqdm, and without it ipython."""

Work = Callable[[], object]


def ascent(rounds: int) -> list[Row]:
    """Seconds per step at one unit, and of eight units in one batch."""
    rows: list[Row] = []
    for name, layer in PLACES.items():
        module = network(name)
        units = live_units(module, layer)
        one = drawing(cs.Model(module), layer, units[:1])
        works = {"ConvScope": one}
        where = f"{name} {layer}, {SIZE} px"
        found = interleaved(cut_passes(module, layer, units[0]), works, rounds=rounds)
        rows += rows_of(
            f"Activation maximisation, {where}, in forward + input gradient of the cut network", found, 1.15
        )
        if (peer := lucent(network(name), layer, units[0])) is not None:
            found = interleaved(peer, works, rounds=rounds)
            rows += rows_of(f"The same, in steps of lucent, {where}", found, 0.6)
        together = {"ConvScope": drawing(cs.Model(module), layer, units, FEW)}
        found = interleaved(
            drawing(cs.Model(module), layer, units[:1], FEW), together, rounds=max(3, rounds // 3), unit=1 / len(units)
        )
        rows += rows_of(f"Eight units in one batch, in eight single runs, {where}", found, 0.8)
        rows += said([(f"Hooks left after it, {where}", "ConvScope", str(hooks(module)), "0")])
    return rows


def live_units(module: nn.Module, layer: str, count: int = 8) -> list[int]:
    """The units of a layer that noise excites most: one that nothing excites costs a second pass a step."""
    model = cs.Model(module)
    with model.untouched(), torch.no_grad():
        noise = torch.randn(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
        found = Cut(model, [layer], noise).read(noise)[layer][0].mean((1, 2))
    return [int(unit) for unit in found.topk(count).indices]


def drawing(model: cs.Model, layer: str, units: list[int], steps: int = STEPS) -> Work:
    """Pictures of units by the lens with its defaults."""
    names = [f"{layer}[{unit}]" for unit in units]
    return partial(cs.activation_maximization, model, unit=names, size=SIZE, steps=steps)


def cut_passes(module: nn.Module, layer: str, unit: int) -> Work:
    """As many forwards to the layer with the gradient to the input, written by hand, parameters frozen."""
    x = torch.randn(1, 3, SIZE, SIZE)

    def work() -> None:
        module.requires_grad_(False)
        for _ in range(STEPS):
            leaf, seen = x.clone().requires_grad_(True), {}
            hook = module.get_submodule(layer).register_forward_hook(lambda _m, _i, out, s=seen: s.update(out=out))
            with stopping_at(module, layer):
                module(leaf)
            hook.remove()
            torch.autograd.grad(seen["out"][0, unit].mean(), leaf)
        module.requires_grad_(True)

    return work


def lucent(module: nn.Module, layer: str, unit: int) -> Work | None:
    """The same by torch-lucent with its defaults, at the same size, where it is installed."""
    if not LUCENT:
        return None
    sys.path.append(LUCENT)
    from lucent.optvis import objectives, param, render

    goal = objectives.channel(layer.replace(".", "_"), unit)

    def make() -> tuple[list[Tensor], Callable[[], Tensor]]:
        found: tuple[list[Tensor], Callable[[], Tensor]] = param.image(SIZE, fft=True, decorrelate=True)
        return found

    def work() -> None:
        for part in module.modules():
            part._forward_hooks.clear()  # it leaves its hooks behind, which would slow every further run
        render.render_vis(
            module, goal, make, thresholds=(STEPS,), show_image=False, progress=False, fixed_image_size=SIZE
        )

    return work


def hooks(module: nn.Module) -> int:
    """Hooks on a network."""
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks) for m in module.modules())
