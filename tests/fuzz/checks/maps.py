"""Class activation maps at layers with known layouts."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from tests.fuzz.comparing import Case
from tests.fuzz.networks import RandomNetwork
from tests.fuzz.references import slow_images
from tests.twins.cam.test_eigen_cam import eigen_cam
from tests.twins.cam.test_eigen_grad_cam import eigen_grad_cam
from tests.twins.cam.test_element_wise_grad_cam import element_wise_grad_cam
from tests.twins.cam.test_fem import fem
from tests.twins.cam.test_finer_cam import finer_cam
from tests.twins.cam.test_grad_cam import grad_cam
from tests.twins.cam.test_grad_cam_plus_plus import grad_cam_plus_plus
from tests.twins.cam.test_hires_cam import hires_cam
from tests.twins.cam.test_layer_cam import layer_cam
from tests.twins.cam.test_shapley_cam import shapley_cam
from tests.twins.cam.test_smooth_grad_cam_plus_plus import smooth_grad_cam_plus_plus
from tests.twins.cam.test_x_grad_cam import x_grad_cam
from tests.twins.perturbation.test_ablation_cam import ablation_cam
from tests.twins.perturbation.test_recipro_cam import recipro_cam
from tests.twins.perturbation.test_score_cam import score_cam
from tests.twins.slow import inputs_seen

MAP_TOLERANCE = 1e-4
"""The tolerance for maps: activations and gradients are in single precision; Grad-CAM++ divides by small sums."""
MAX_POSITIONS, MAX_CHANNELS = 40, 8
LAYER_MAPS = [
    grad_cam,
    grad_cam_plus_plus,
    hires_cam,
    element_wise_grad_cam,
    layer_cam,
    x_grad_cam,
    fem,
    eigen_cam,
    eigen_grad_cam,
]
"""The twins that need the activation and the gradient of a layer."""


def tested_layers(net: RandomNetwork) -> list[str]:
    """The last layer with positions and one chosen by the seed; none if frames are folded into the batch axis."""
    addresses = [address for address, layout in net.layouts.items() if layout.frames == 1]
    return list(dict.fromkeys([addresses[net.seed % len(addresses)], addresses[-1]])) if addresses else []


def _channels_cancel(name: str, activation: Tensor, gradient: Tensor) -> bool:
    """Whether the channels sum to zero everywhere, as after layer norm, so that the sign is not determined."""
    features = activation if name == "eigen_cam" else activation * gradient
    return float(features.sum(0).norm()) < 1e-3 * float(features.abs().sum(0).norm())


def magnitude_of_terms(activation: Tensor, gradient: Tensor) -> float:
    """A share of the magnitude of the terms of a map, which bounds the rounding error if they cancel."""
    return 0.05 * float((activation * gradient).abs().sum(0).max())


def formulas(case: Case, net: RandomNetwork) -> None:
    references = slow_images(net)
    for layer in tested_layers(net):
        for formula in LAYER_MAPS:
            values = case.call(formula.__name__, layer=layer)
            for value, slow in zip(values or (), references, strict=False):
                actual, expected = value.layer_values[layer], formula(*slow.at(layer))
                if formula.__name__.startswith("eigen") and _channels_cancel(formula.__name__, *slow.at(layer)):
                    same_sign = float((actual.squeeze() * expected.squeeze()).sum()) >= 0
                    expected = expected if same_sign else -expected
                scale = magnitude_of_terms(*slow.at(layer))
                case.compare(
                    f"{formula.__name__} at {layer}", actual.squeeze(), expected.squeeze(), MAP_TOLERANCE, scale
                )
        with inputs_seen(net.module, with_gradient=False) as inputs:
            values = case.call("smooth_grad_cam_plus_plus", layer=layer, samples=3)
        clean = [float(x.flatten()[0]) for x in net.images]
        noisy = [x for x in inputs if float(x.flatten()[0]) not in clean]
        for value, slow, copies in zip(values or (), references, (noisy[:3], noisy[3:]), strict=False):
            gradients = [slow.seen_at(layer, copy)[1] for copy in copies]
            expected = smooth_grad_cam_plus_plus(slow.at(layer)[0], gradients)
            name, actual = f"smooth_grad_cam_plus_plus at {layer}", value.layer_values[layer]
            case.compare(name, actual.squeeze(), expected.squeeze(), MAP_TOLERANCE)


def by_scores(case: Case, net: RandomNetwork) -> None:
    references = slow_images(net)
    for layer in tested_layers(net)[-1:]:
        activation = references[0].at(layer)[0]
        lenses: list[tuple[Callable[..., Tensor], dict[str, Any], dict[str, Any]]] = [
            (shapley_cam, {"utility": "score"}, {"rest": False}),
            (finer_cam, {}, {}),
        ]
        if len(activation) <= MAX_CHANNELS:
            lenses += [(ablation_cam, {}, {}), (score_cam, {}, {})]
        if activation[0].numel() <= MAX_POSITIONS:
            lenses += [(recipro_cam, {}, {})]
        for formula, parameters, slow_parameters in lenses:
            if formula is finer_cam and "scores" not in net.kinds:
                continue  # it requires a class
            values = case.call(formula.__name__, layer=layer, **parameters)
            for value, slow in zip(values or (), references, strict=False):
                expected = formula(slow, layer, **slow_parameters)
                case.compare(f"{formula.__name__} at {layer}", value.layer_values[layer].squeeze(), expected.squeeze())
