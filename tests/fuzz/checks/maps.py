"""Class activation maps at layers whose axes the generator knows."""

from torch import Tensor

from tests.fuzz.comparing import Comparison
from tests.fuzz.networks import Network
from tests.fuzz.references import known
from tests.twins import test_cam as formulas_of
from tests.twins import test_channels as score_formulas
from tests.twins.slow import inputs_seen

ROUNDED = 1e-4
"""Maps are made of activations and gradients in single precision; Grad-CAM++ divides by sums that may nearly vanish."""
MOST_PLACES, MOST_CHANNELS = 40, 8


def layers(net: Network) -> list[str]:
    """The last layer with places and one that the seed chooses; none where frames lie along the batch axis."""
    addresses = [address for address, layout in net.layouts.items() if layout.frames == 1]
    return list(dict.fromkeys([addresses[net.seed % len(addresses)], addresses[-1]])) if addresses else []


def _adds_to_zero(name: str, activation: Tensor, gradient: Tensor) -> bool:
    """Whether channels add to zero everywhere, as behind a layer norm: no sum then tells a component's sign."""
    features = activation if name == "eigen_cam" else activation * gradient
    return float(features.sum(0).norm()) < 1e-3 * float(features.abs().sum(0).norm())


def summed(activation: Tensor, gradient: Tensor) -> float:
    """A share of the terms that a map adds up: where they cancel, what is left is rounded in single precision."""
    return 0.05 * float((activation * gradient).abs().sum(0).max())


def formulas(c: Comparison, net: Network) -> None:
    slow_images = known(net)
    for layer in layers(net):
        for formula in formulas_of.FORMULAS:
            values = c.ask(formula.__name__, layer=layer)
            for value, slow in zip(values or (), slow_images, strict=False):
                found, true = value.layer_values[layer], formula(*slow.at(layer))
                if formula.__name__.startswith("eigen") and _adds_to_zero(formula.__name__, *slow.at(layer)):
                    true = true if float((found.squeeze() * true.squeeze()).sum()) >= 0 else -true  # its sign is open
                scale = summed(*slow.at(layer))
                c.agree(f"{formula.__name__} at {layer}", found.squeeze(), true.squeeze(), ROUNDED, scale)
        with inputs_seen(net.module, with_gradient=False) as seen:
            values = c.ask("smooth_grad_cam_plus_plus", layer=layer, samples=3)
        clean = [float(x.flatten()[0]) for x in net.images]
        noisy = [x for x in seen if float(x.flatten()[0]) not in clean]
        for value, slow, copies in zip(values or (), slow_images, (noisy[:3], noisy[3:]), strict=False):
            gradients = [slow.seen_at(layer, copy)[1] for copy in copies]
            true = formulas_of.smooth_grad_cam_plus_plus(slow.at(layer)[0], gradients)
            name, found = f"smooth_grad_cam_plus_plus at {layer}", value.layer_values[layer]
            c.agree(name, found.squeeze(), true.squeeze(), ROUNDED)


def by_scores(c: Comparison, net: Network) -> None:
    slow_images = known(net)
    for layer in layers(net)[-1:]:
        activation = slow_images[0].at(layer)[0]
        lenses = [
            (score_formulas.shapley_cam, {"utility": "score"}, {"rest": False}),
            (score_formulas.finer_cam, {}, {}),
        ]
        if len(activation) <= MOST_CHANNELS:
            lenses += [(score_formulas.ablation_cam, {}, {}), (score_formulas.score_cam, {}, {})]
        if activation[0].numel() <= MOST_PLACES:
            lenses += [(score_formulas.recipro_cam, {}, {})]
        for formula, parameters, slow_parameters in lenses:
            if formula is score_formulas.finer_cam and "scores" not in net.kinds:
                continue  # it wants a class
            values = c.ask(formula.__name__, layer=layer, **parameters)
            for value, slow in zip(values or (), slow_images, strict=False):
                true = formula(slow, layer, **slow_parameters)
                c.agree(f"{formula.__name__} at {layer}", value.layer_values[layer].squeeze(), true.squeeze())
