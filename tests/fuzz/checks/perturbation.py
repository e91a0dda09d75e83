"""Perturbation methods, with one forward pass per perturbed image."""

import torch
from torch import Tensor

from tests.fuzz.comparing import Case
from tests.fuzz.networks import RandomNetwork
from tests.fuzz.references import slow_images
from tests.twins.perturbation.shown_masks import masks_of, mean_colour, variants_seen
from tests.twins.perturbation.shown_parts import by_part, coalitions_of
from tests.twins.perturbation.test_feature_ablation import feature_ablation
from tests.twins.perturbation.test_kernel_shap import shapley
from tests.twins.perturbation.test_lime import lime
from tests.twins.perturbation.test_occlusion import occlusion as occlusion_twin
from tests.twins.perturbation.test_permutation import permutation
from tests.twins.perturbation.test_rise import rise
from tests.twins.slow import inputs_seen

PARTS = 4


def occlusion(case: Case, net: RandomNetwork) -> None:
    """Overlapping windows that do not divide the image evenly, with and without incremental evaluation."""
    patch = max(2, min(net.images.shape[2:]) // 2)
    stride = patch - 1 if net.axes < 3 else patch
    values = case.call("occlusion", patch=patch, stride=stride)
    for value, slow in zip(values or (), slow_images(net), strict=False):
        expected = occlusion_twin(slow, torch.zeros_like(slow.x), patch, stride)
        case.compare("occlusion", value.values, expected)


def segment_labels(net: RandomNetwork) -> Tensor:
    """A label per position for four segments of different size."""
    extent = net.images.shape[2:]
    index = torch.arange(torch.Size(extent).numel()).view(extent)
    return (index * PARTS * 3 // index.numel()).remainder(PARTS + 1).clamp(max=PARTS - 1)


def parts(case: Case, net: RandomNetwork) -> None:
    labels = segment_labels(net)
    for name, formula in (("feature_ablation", feature_ablation), ("kernel_shap", shapley)):
        for value, slow in zip(case.call(name, segments=labels) or (), slow_images(net), strict=False):
            expected = formula(slow, mean_colour(slow.x), labels)
            case.compare(name, by_part(value.values, labels), expected)
    count = 12
    with inputs_seen(net.module, with_gradient=False) as network_inputs:
        values = case.call("lime", segments=labels, samples=count) or []
    variants = variants_seen(network_inputs, count, max(1, len(values)))
    for value, slow, inputs in zip(values, slow_images(net), variants, strict=False):
        start = mean_colour(slow.x)
        coalitions = coalitions_of(inputs, slow.x, start, labels)
        expected, _ = lime(slow, start, labels, coalitions, 0.25, 1.0)
        case.compare("lime", by_part(value.values, labels), expected)


def masks(case: Case, net: RandomNetwork) -> None:
    count = 10
    with inputs_seen(net.module, with_gradient=False) as network_inputs:
        values = case.call("rise", samples=count, cells=3) or []
    variants = variants_seen(network_inputs, count, max(1, len(values)))
    for value, slow, inputs in zip(values, slow_images(net), variants, strict=False):
        start = mean_colour(slow.x)
        drawn_masks = masks_of(inputs, slow.x, start)
        case.compare("rise", value.values, rise(slow, start, drawn_masks, 0.5))
    labels = segment_labels(net)
    with inputs_seen(net.module, with_gradient=False) as network_inputs:
        values = case.call("permutation", segments=labels, samples=2) or []
    variants = variants_seen(network_inputs, 2 * PARTS, max(1, len(values)))
    for value, slow, inputs in zip(values, slow_images(net), variants, strict=False):
        expected = permutation(slow, inputs, labels, 2)
        sums = torch.stack([value.values[labels == part].double().sum() for part in range(PARTS)])
        case.compare("permutation", sums, expected)
