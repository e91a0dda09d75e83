"""What a step of an ascent costs: in passes of the cut network, against lucent, and for many units together."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

import convscope as cs
from benchmarks.contenders import network
from benchmarks.measure import Row, interleaved, rows_of, said
from convscope.engine.capture import stopping_at

PLACES = {"resnet50": "layer2", "squeezenet1_1": "features.7"}
SIZE, UNIT = 128, 12
LUCENT = Path("/work/scratch/lucent")
"""Where ``pip install --target … --no-deps torch-lucent==0.1.8 'kornia<0.9' tqdm`` put the peer."""

Work = Callable[[], object]


def ascent(rounds: int) -> list[Row]:
    """Seconds per step at one unit, and of eight units in one batch."""
    rows: list[Row] = []
    for name, layer in PLACES.items():
        module = network(name)
        steps = 24
        works = {"ConvScope": drawing(cs.Model(module), layer, steps)}
        where = f"{name} {layer}, {SIZE} px"
        found = interleaved(cut_passes(module, layer, steps), works, rounds=rounds)
        rows += rows_of(
            f"Activation maximisation, {where}, in forward + input gradient of the cut network", found, 1.15
        )
        if (peer := lucent(network(name), layer, steps)) is not None:
            found = interleaved(peer, works, rounds=rounds)
            rows += rows_of(f"The same, in steps of lucent, {where}", found, 0.6)
        together = partial(drawing(cs.Model(module), layer, steps, units=8))
        single = drawing(cs.Model(module), layer, steps)
        found = interleaved(single, {"ConvScope": together}, rounds=max(3, rounds // 3), unit=1 / 8)
        rows += rows_of(f"Eight units in one batch, in eight single runs, {where}", found, 0.8)
        rows += said([(f"Hooks left after it, {where}", "ConvScope", str(hooks(module)), "0")])
    return rows


def drawing(model: cs.Model, layer: str, steps: int, units: int = 1) -> Work:
    """Pictures of units by the lens as it is called by default, in the time of ``steps`` steps beyond the first few.

    What is done once, the forward that shows the order of layers and the search for batch norms, is done before.
    """
    names = [f"{layer}[{UNIT + unit}]" for unit in range(units)]
    return partial(cs.activation_maximization, model, unit=names, size=SIZE, steps=steps)


def cut_passes(module: nn.Module, layer: str, steps: int) -> Work:
    """As many forwards to the layer with the gradient to the input, written by hand, parameters frozen."""
    x = torch.randn(1, 3, SIZE, SIZE)

    def work() -> None:
        module.requires_grad_(False)
        for _ in range(steps):
            leaf, seen = x.clone().requires_grad_(True), {}
            hook = module.get_submodule(layer).register_forward_hook(lambda _m, _i, out, s=seen: s.update(out=out))
            with stopping_at(module, layer):
                module(leaf)
            hook.remove()
            torch.autograd.grad(seen["out"][0, UNIT].mean(), leaf)
        module.requires_grad_(True)

    return work


def lucent(module: nn.Module, layer: str, steps: int) -> Work | None:
    """The same by torch-lucent with its defaults, at the same size, where it is installed."""
    if not LUCENT.is_dir():
        return None
    sys.path.append(str(LUCENT))
    import lucent.optvis.render as render
    from lucent.optvis import objectives, param

    goal = objectives.channel(layer.replace(".", "_"), UNIT)

    def make() -> tuple[list[Tensor], Callable[[], Tensor]]:
        found: tuple[list[Tensor], Callable[[], Tensor]] = param.image(SIZE, fft=True, decorrelate=True)
        return found

    def work() -> None:
        for part in module.modules():
            part._forward_hooks.clear()  # it leaves its hooks behind, which would slow every further run
        render.render_vis(
            module, goal, make, thresholds=(steps,), show_image=False, progress=False, fixed_image_size=SIZE
        )

    return work


def hooks(module: nn.Module) -> int:
    """Hooks on a network."""
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks) for m in module.modules())
