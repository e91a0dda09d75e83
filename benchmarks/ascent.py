"""Cost of one gradient ascent step: in passes of the truncated network, compared with lucent, and for many units."""

import os
import sys
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

import convscope as cs
from benchmarks.contenders import network
from benchmarks.measure import Row, interleaved, report, rows_of
from convscope.engine.network.hooks import stop_at
from convscope.engine.optimize.truncated_network import TruncatedNetwork

LAYERS = {"resnet50": "layer2", "squeezenet1_1": "features.7"}
SIZE, STEPS, FEW_STEPS = 128, 128, 32
LUCENT = os.environ.get("LUCENT", "")
"""A folder with torch-lucent, which pins old versions: ``pip install --target FOLDER --no-deps torch-lucent==0.1.8
kornia==0.4.1 tqdm``, and ``pip install --target FOLDER ipython``."""

Work = Callable[[], object]


def ascent(rounds: int) -> list[Row]:
    """The cost per step for one unit, and for eight units in one batch."""
    rows: list[Row] = []
    for name, layer in LAYERS.items():
        module = network(name)
        units = live_units(module, layer)
        single = maximize_units(cs.Model(module), layer, units[:1])
        contenders = {"ConvScope": single}
        setting = f"{name} {layer}, {SIZE} px"
        ratios = interleaved(forward_and_gradient(module, layer, units[0]), contenders, rounds=rounds)
        rows += rows_of(
            f"Activation maximisation, {setting}, in forward + input gradient of the cut network", ratios, 1.15
        )
        if (peer := lucent(network(name), layer, units[0])) is not None:
            ratios = interleaved(peer, contenders, rounds=rounds)
            rows += rows_of(f"The same, in steps of lucent, {setting}", ratios, 0.6)
        batched = {"ConvScope": maximize_units(cs.Model(module), layer, units, FEW_STEPS)}
        ratios = interleaved(
            maximize_units(cs.Model(module), layer, units[:1], FEW_STEPS),
            batched,
            rounds=max(3, rounds // 3),
            unit=1 / len(units),
        )
        rows += rows_of(f"Eight units in one batch, in eight single runs, {setting}", ratios, 0.8)
        rows += report([(f"Hooks left after it, {setting}", "ConvScope", str(count_hooks(module)), "0")])
    return rows


def live_units(module: nn.Module, layer: str, count: int = 8) -> list[int]:
    """The units of a layer that noise activates most: an inactive unit costs a second pass per step."""
    model = cs.Model(module)
    with model.preserve_state(), torch.no_grad():
        noise = torch.randn(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
        means = TruncatedNetwork(model, [layer], noise).activations(noise)[layer][0].mean((1, 2))
    return [int(unit) for unit in means.topk(count).indices]


def maximize_units(model: cs.Model, layer: str, units: list[int], steps: int = STEPS) -> Work:
    """Pictures of units by the lens with its default parameters."""
    names = [f"{layer}[{unit}]" for unit in units]
    return partial(cs.activation_maximization, model, unit=names, size=SIZE, steps=steps)


def forward_and_gradient(module: nn.Module, layer: str, unit: int) -> Work:
    """The same number of forward passes to the layer and gradients to the input, by hand, with frozen parameters."""
    x = torch.randn(1, 3, SIZE, SIZE)

    def work() -> None:
        module.requires_grad_(False)
        for _ in range(STEPS):
            leaf = x.clone().requires_grad_(True)
            activations: dict[str, torch.Tensor] = {}
            hook = module.get_submodule(layer).register_forward_hook(
                lambda _m, _i, output, activations=activations: activations.update(output=output)
            )
            with stop_at(module, layer):
                module(leaf)
            hook.remove()
            torch.autograd.grad(activations["output"][0, unit].mean(), leaf)
        module.requires_grad_(True)

    return work


def lucent(module: nn.Module, layer: str, unit: int) -> Work | None:
    """The same by torch-lucent with its defaults, at the same size; None if it is not installed."""
    if not LUCENT:
        return None
    sys.path.append(LUCENT)
    from lucent.optvis import objectives, param, render

    objective = objectives.channel(layer.replace(".", "_"), unit)

    def make() -> tuple[list[Tensor], Callable[[], Tensor]]:
        image: tuple[list[Tensor], Callable[[], Tensor]] = param.image(SIZE, fft=True, decorrelate=True)
        return image

    def work() -> None:
        for submodule in module.modules():
            submodule._forward_hooks.clear()  # it does not remove its hooks, which would slow down later runs
        render.render_vis(
            module, objective, make, thresholds=(STEPS,), show_image=False, progress=False, fixed_image_size=SIZE
        )

    return work


def count_hooks(module: nn.Module) -> int:
    """The number of hooks on a network."""
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks) for m in module.modules())
