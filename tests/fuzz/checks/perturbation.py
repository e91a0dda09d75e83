"""Scores of images of which parts are hidden, each by a whole forward."""

import torch
from torch import Tensor

from tests.fuzz.comparing import Comparison
from tests.fuzz.networks import Network
from tests.fuzz.references import known
from tests.twins import test_masks as mask_formulas
from tests.twins import test_occlusion as occlusion_formulas
from tests.twins import test_surrogates as part_formulas
from tests.twins.slow import inputs_seen

PARTS = 4


def occlusion(c: Comparison, net: Network) -> None:
    """Windows of which the last is moved in at most borders; what is followed incrementally and what is not."""
    patch = max(2, min(net.images.shape[2:]) // 2)
    stride = patch - 1 if net.axes < 3 else patch
    values = c.ask("occlusion", patch=patch, stride=stride)
    for value, slow in zip(values or (), known(net), strict=False):
        true = occlusion_formulas.occlusion(slow, torch.zeros_like(slow.x), patch, stride)
        c.agree("occlusion", value.values, true)


def labels_of(net: Network) -> Tensor:
    """Four parts of uneven size."""
    extent = net.images.shape[2:]
    places = torch.arange(torch.Size(extent).numel()).view(extent)
    return (places * PARTS * 3 // places.numel()).remainder(PARTS + 1).clamp(max=PARTS - 1)


def parts(c: Comparison, net: Network) -> None:
    labels = labels_of(net)
    for name, formula in (("feature_ablation", part_formulas.feature_ablation), ("kernel_shap", part_formulas.shapley)):
        for value, slow in zip(c.ask(name, segments=labels) or (), known(net), strict=False):
            true = formula(slow, part_formulas.mean_colour(slow.x), labels)
            c.agree(name, part_formulas.by_part(value.values, labels), true)
    count = 12
    with inputs_seen(net.module, with_gradient=False) as seen:
        values = c.ask("lime", segments=labels, samples=count) or []
    shown = part_formulas.variants_seen(seen, count, max(1, len(values)))
    for value, slow, inputs in zip(values, known(net), shown, strict=False):
        start = part_formulas.mean_colour(slow.x)
        on = part_formulas.coalitions_of(inputs, slow.x, start, labels)
        true, _ = part_formulas.lime(slow, start, labels, on, 0.25, 1.0)
        c.agree("lime", part_formulas.by_part(value.values, labels), true)


def masks(c: Comparison, net: Network) -> None:
    count = 10
    with inputs_seen(net.module, with_gradient=False) as seen:
        values = c.ask("rise", samples=count, cells=3) or []
    shown = mask_formulas.variants_seen(seen, count, max(1, len(values)))
    for value, slow, inputs in zip(values, known(net), shown, strict=False):
        start = mask_formulas.mean_colour(slow.x)
        drawn = mask_formulas.masks_of(inputs, slow.x, start)
        c.agree("rise", value.values, mask_formulas.rise(slow, start, drawn, 0.5))
    labels = labels_of(net)
    with inputs_seen(net.module, with_gradient=False) as seen:
        values = c.ask("permutation", segments=labels, samples=2) or []
    shown = mask_formulas.variants_seen(seen, 2 * PARTS, max(1, len(values)))
    for value, slow, inputs in zip(values, known(net), shown, strict=False):
        true = mask_formulas.permutation(slow, inputs, labels, 2)
        sums = torch.stack([value.values[labels == part].double().sum() for part in range(PARTS)])
        c.agree("permutation", sums, true)
