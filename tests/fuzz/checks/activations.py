"""Activations of layers."""

import math

import torch

from convscope.engine.statistics.activation_statistics import MEAN_POSITIONS
from tests.fuzz.checks.maps import tested_layers
from tests.fuzz.comparing import Case
from tests.fuzz.networks import RandomNetwork
from tests.fuzz.references import layer_output


def activations(case: Case, net: RandomNetwork) -> None:
    """Feature maps, and the statistics of each channel of a layer."""
    for layer in tested_layers(net):
        expected = net.layouts[layer].to_map(layer_output(net, layer))
        for value, image in zip(case.call("feature_maps", layer=layer, channels=0) or (), expected, strict=False):
            order = list(value.channels[layer])
            case.check(f"feature_maps at {layer}: each channel once", sorted(order) == list(range(len(image))))
            case.compare(f"feature_maps at {layer}", value.maps[layer].flatten(1), image[order].flatten(1))
            case.compare(
                f"feature_maps at {layer}, strengths",
                value.strengths[layer],
                image.flatten(1).abs().mean(1),
                scale=1e-3,
            )
    for layer in tested_layers(net)[-1:]:
        (value,) = case.call("activations", layer=layer, samples=65536) or (None,)
        if value is None or net.layouts[layer].prefix:
            continue  # the statistics include tokens without a position
        per_channel = net.layouts[layer].to_map(layer_output(net, layer)).transpose(0, 1).flatten(1)
        columns = dict(zip(value.columns, value.channels[layer].double().T, strict=True))
        reference = {"min": per_channel.amin(1), "max": per_channel.amax(1)}
        if per_channel.shape[1] <= MEAN_POSITIONS * len(net.images):  # for larger maps, the mean is over a subset
            reference["mean"] = per_channel.mean(1)
        reference["spread"] = per_channel.std(1, correction=0)
        for name, numbers in reference.items():
            case.compare(
                f"activations at {layer}, {name}", columns[name], numbers, 1e-4, scale=float(per_channel.abs().max())
            )


def inputs(case: Case, net: RandomNetwork) -> None:
    """The image with the larger activation of each channel, and its position."""
    for layer in tested_layers(net)[-1:]:
        if net.layouts[layer].prefix:
            continue
        maps = net.layouts[layer].to_map(layer_output(net, layer)).flatten(2)
        (value,) = case.call("top_inputs", unit=layer, k=2, show=100) or (None,)
        if value is None:
            continue
        largest = maps.amax(2)
        case.compare(f"top_inputs at {layer}", value.values[layer], largest.sort(0, descending=True).values)
        for unit in value.units:
            channel = int(unit.unit.rpartition("[")[2][:-1])
            for exemplar in unit.exemplars:
                image = maps[exemplar.place, channel]
                grid = net.layouts[layer].to_map(layer_output(net, layer)).shape[2:]
                position = sum(p * math.prod(grid[axis + 1 :]) for axis, p in enumerate(exemplar.position))
                if exemplar.position:
                    case.compare(f"top_inputs at {unit.unit}, its position", image[position], image.max())


def steps(case: Case, net: RandomNetwork) -> None:
    """The recomputed number at a position equals that of the network."""
    if "folded" in net.kinds or "stem.0" not in net.layouts:
        return
    expected = net.layouts["stem.0"].to_map(layer_output(net, "stem.0"))
    middle = [n // 2 for n in expected.shape[2:]]
    unit = f"stem.0[1, {', '.join(map(str, middle))}]"
    for value, image in zip(case.call("step_through", unit=unit) or (), expected, strict=False):
        case.compare(f"step_through {unit}", value.steps[0].value, image[(1, *middle)])
        case.compare(f"step_through {unit}, its difference", value.difference, torch.tensor(0.0), 1e-5, scale=1)
