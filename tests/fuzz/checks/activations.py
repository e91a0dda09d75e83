"""What layers give."""

import math

import torch

from convscope.engine.statistics.activation_statistics import MEAN_POSITIONS
from tests.fuzz.checks.maps import layers
from tests.fuzz.comparing import Comparison
from tests.fuzz.networks import Network
from tests.fuzz.references import output_of


def activations(c: Comparison, net: Network) -> None:
    """Feature maps, and the statistics of a layer channel by channel."""
    for layer in layers(net):
        true = net.layouts[layer].to_map(output_of(net, layer))
        for value, image in zip(c.ask("feature_maps", layer=layer, channels=0) or (), true, strict=False):
            order = list(value.channels[layer])
            c.holds(f"feature_maps at {layer}: every channel once", sorted(order) == list(range(len(image))))
            c.agree(f"feature_maps at {layer}", value.maps[layer].flatten(1), image[order].flatten(1))
            c.agree(
                f"feature_maps at {layer}, strengths",
                value.strengths[layer],
                image.flatten(1).abs().mean(1),
                scale=1e-3,
            )
    for layer in layers(net)[-1:]:
        (value,) = c.ask("activations", layer=layer, samples=65536) or (None,)
        if value is None or net.layouts[layer].prefix:
            continue  # the statistics count tokens that are no places too
        per_channel = net.layouts[layer].to_map(output_of(net, layer)).transpose(0, 1).flatten(1)
        columns = dict(zip(value.columns, value.channels[layer].double().T, strict=True))
        exact = {"min": per_channel.amin(1), "max": per_channel.amax(1)}
        if per_channel.shape[1] <= MEAN_POSITIONS * len(net.images):  # of larger maps the mean is of some positions
            exact["mean"] = per_channel.mean(1)
        exact["spread"] = per_channel.std(1, correction=0)
        for name, numbers in exact.items():
            c.agree(
                f"activations at {layer}, {name}", columns[name], numbers, 1e-4, scale=float(per_channel.abs().max())
            )


def inputs(c: Comparison, net: Network) -> None:
    """Which of the two images excites each channel more, and where."""
    for layer in layers(net)[-1:]:
        if net.layouts[layer].prefix:
            continue
        maps = net.layouts[layer].to_map(output_of(net, layer)).flatten(2)
        (value,) = c.ask("top_inputs", unit=layer, k=2, show=100) or (None,)
        if value is None:
            continue
        best = maps.amax(2)
        c.agree(f"top_inputs at {layer}", value.values[layer], best.sort(0, descending=True).values)
        for unit in value.units:
            channel = int(unit.unit.rpartition("[")[2][:-1])
            for exemplar in unit.exemplars:
                image = maps[exemplar.place, channel]
                grid = net.layouts[layer].to_map(output_of(net, layer)).shape[2:]
                position = sum(p * math.prod(grid[axis + 1 :]) for axis, p in enumerate(exemplar.position))
                if exemplar.position:
                    c.agree(f"top_inputs at {unit.unit}, its place", image[position], image.max())


def steps(c: Comparison, net: Network) -> None:
    """A number worked out by hand is the number that the network has there."""
    if "folded" in net.kinds or "stem.0" not in net.layouts:
        return
    true = net.layouts["stem.0"].to_map(output_of(net, "stem.0"))
    middle = [n // 2 for n in true.shape[2:]]
    unit = f"stem.0[1, {', '.join(map(str, middle))}]"
    for value, image in zip(c.ask("step_through", unit=unit) or (), true, strict=False):
        c.agree(f"step_through {unit}", value.steps[0].value, image[(1, *middle)])
        c.agree(f"step_through {unit}, what it finds apart", value.difference, torch.tensor(0.0), 1e-5, scale=1)
