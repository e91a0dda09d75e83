"""Comparison with the installed reference libraries on random networks.

Each is used only on networks for which it is known to be correct. What is excluded, and why:

- Captum's GuidedBackprop, Deconvolution and DeepLift, and zennit's composites replace modules: activations that are
  written as functions, or as one module that is used several times, are silently ignored. They are run on a copy of
  the network with a separate ``nn.ReLU`` for each activation. DeepLift violates completeness for max pooling, and
  supports neither normalization per image nor gates.
- Captum's LRP raises an error for most layers and counts relevance twice at residual sums, as zennit does.
- pytorch-grad-cam and TorchCAM use the output of a layer after an in-place activation overwrote it, and support only
  the layout (N, C, positions); TorchCAM does not support signals and volumes.
- pytorch-grad-cam adds 1e-7 to the denominator of XGradCAM and 1e-6 to that of GradCAM++, and does not
  determine the sign of EigenCAM.
"""

import copy
import warnings
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from tests.fuzz.checks.perturbation import PARTS, segment_labels
from tests.fuzz.comparing import Case, Check
from tests.fuzz.heads import CLASSES
from tests.fuzz.layouts import map_layout
from tests.fuzz.networks import RandomNetwork
from tests.fuzz.parts import ChannelShuffle, SpatialTransform, Strided
from tests.fuzz.references import slow_images
from tests.fuzz.spellings import IN_PLACE, MODULES, FunctionalActivation, replace_modules
from tests.twins import peers
from tests.twins.perturbation.shown_masks import mean_colour
from tests.twins.perturbation.shown_parts import by_part

STEPS = 5


def _captum(name: str, net: RandomNetwork, **parameters: Any) -> Tensor:
    """The attributions of a Captum method for both images, computed on a copy of the network."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ignore its warnings about hooks
        method = getattr(peers.captum.attr, name)(copy.deepcopy(net.module))
        values: Tensor = method.attribute(net.images.clone(), target=list(net.targets), **parameters)
    return values.detach()


def _compare_channels(
    case: Case, name: str, lens: str, expected: Tensor, tolerance: float = 1e-4, **parameters: Any
) -> None:
    """Compare the channels of a lens with those of another library."""
    for value, reference in zip(case.call(lens, **parameters) or (), expected, strict=False):
        case.compare(name, value.channels, reference, tolerance)


def captum_gradients(case: Case, net: RandomNetwork) -> None:
    _compare_channels(case, "Captum's Saliency", "saliency", _captum("Saliency", net, abs=False))
    _compare_channels(case, "Captum's InputXGradient", "gradient_x_input", _captum("InputXGradient", net))
    start = torch.full_like(net.images, 0.3)
    expected = _captum("IntegratedGradients", net, baselines=start, n_steps=STEPS, method="gausslegendre")
    _compare_channels(
        case, "Captum's IntegratedGradients", "integrated_gradients", expected, baseline=start, steps=STEPS
    )


def captum_parts(case: Case, net: RandomNetwork) -> None:
    labels = segment_labels(net)
    start = torch.stack([mean_colour(image) for image in net.images])
    for method, lens in (("FeatureAblation", "feature_ablation"), ("ShapleyValues", "kernel_shap")):
        expected = _captum(method, net, baselines=start, feature_mask=labels[None, None])
        for value, reference in zip(case.call(lens, segments=labels) or (), expected, strict=False):
            per_part = torch.stack([reference[0][labels == part][0] for part in range(PARTS)])
            case.compare(f"Captum's {method}", by_part(value.values, labels), per_part, 1e-4, scale=1e-2)
    if net.axes < 3:
        window = (net.images.shape[1], *[3] * net.axes)
        expected = _captum(
            "Occlusion", net, sliding_window_shapes=window, strides=(net.images.shape[1], *[1] * net.axes)
        )
        for value, reference in zip(case.call("occlusion", patch=3, stride=1) or (), expected, strict=False):
            case.compare("Captum's Occlusion", value.values, reference[0], 1e-4, scale=1e-2)


def _with_relus(net: RandomNetwork) -> RandomNetwork | None:
    """The network with an ``nn.ReLU`` for each activation; None if other operations are not piecewise linear."""
    activations: tuple[type[nn.Module], ...] = (FunctionalActivation, *(type(build()) for build in MODULES.values()))
    module = replace_modules(net.module, lambda part: isinstance(part, activations), lambda _: nn.ReLU()).eval()
    kinds = (
        nn.modules.conv._ConvNd, nn.Linear, nn.ReLU, nn.modules.batchnorm._BatchNorm, nn.Identity, nn.Dropout,
        nn.modules.pooling._AvgPoolNd, nn.modules.pooling._AdaptiveAvgPoolNd, nn.Upsample, Strided, SpatialTransform,
        ChannelShuffle,
    )  # fmt: skip
    leaves = [part for part in module.modules() if not list(part.children())]
    unsupported = {"gated", "reused", "squeeze-excite", "recurrent", "tokens", "linear patches", "folded"}
    maxima = {"max", "max, values", "mean and max", "logsumexp"}
    pooled = any(getattr(part, "spelling", "") in maxima for part in module.modules())
    if pooled or unsupported & net.kinds or "scores" not in net.kinds or not all(isinstance(p, kinds) for p in leaves):
        return None
    return RandomNetwork(net.seed, module, net.images, net.targets, net.layouts, net.kinds)


def captum_rules(case: Case, net: RandomNetwork) -> None:
    relu_network = _with_relus(net)
    if relu_network is None:
        return
    case.network = relu_network
    _compare_channels(case, "Captum's GuidedBackprop", "guided_backprop", _captum("GuidedBackprop", relu_network))
    _compare_channels(case, "Captum's Deconvolution", "deconvnet", _captum("Deconvolution", relu_network))
    start = torch.full_like(net.images, 0.3)
    _compare_channels(
        case, "Captum's DeepLift", "deep_lift", _captum("DeepLift", relu_network, baselines=start), baseline=start
    )


def _layer(net: RandomNetwork) -> str | None:
    """The last layer with the layout (N, C, positions) whose output is not overwritten."""
    has_in_place = any(getattr(m, "inplace", False) for m in net.module.modules()) or any(
        isinstance(m, FunctionalActivation) and m.spelling in IN_PLACE for m in net.module.modules()
    )
    addresses = [a for a, layout in net.layouts.items() if layout == map_layout(net.axes) and a != "stem.0"]
    return addresses[-1] if addresses and not has_in_place else None


def captum_maps(case: Case, net: RandomNetwork) -> None:
    layer = _layer(net)
    if layer is None:
        return
    module = copy.deepcopy(net.module)
    expected = peers.captum.attr.LayerGradCam(module, module.get_submodule(layer)).attribute(
        net.images, target=list(net.targets)
    )
    for value, reference in zip(case.call("grad_cam", layer=layer) or (), expected.detach(), strict=False):
        case.compare(
            f"Captum's LayerGradCam at {layer}",
            value.layer_values[layer],
            reference[0],
            1e-4,
            _magnitude_of_terms(net, layer),
        )


def _magnitude_of_terms(net: RandomNetwork, layer: str) -> float:
    """The largest sum of magnitudes of the terms of a map, which bounds the rounding error if they cancel."""
    largest = (activation.abs() * gradient.abs() for activation, gradient in (s.at(layer) for s in slow_images(net)))
    return max(float(terms.sum(0).max()) for terms in largest)


PYTORCH_GRAD_CAM = {
    "grad_cam": "GradCAM",
    "hires_cam": "HiResCAM",
    "element_wise_grad_cam": "GradCAMElementWise",
    "layer_cam": "LayerCAM",
    "fem": "FEM",
}


def grad_cam_maps(case: Case, net: RandomNetwork) -> None:
    """The maps of pytorch-grad-cam and TorchCAM before normalization."""
    layer = _layer(net)
    if layer is None or net.axes == 1:
        return
    subject: Any = SimpleNamespace(model=SimpleNamespace(module=net.module), images=net.images, targets=net.targets)
    size = _magnitude_of_terms(net, layer)
    for lens, method in PYTORCH_GRAD_CAM.items():
        expected = peers.pytorch_grad_cam_maps(method, subject, layer)
        options: dict[str, Any] = {"variant": "pytorch-grad-cam"} if lens == "fem" else {}
        for value, reference in zip(case.call(lens, layer=layer, **options) or (), expected, strict=False):
            case.compare(f"pytorch-grad-cam's {method} at {layer}", value.layer_values[layer], reference, 1e-4, size)
    if net.axes != 2:
        return
    for lens, method in (("grad_cam", "GradCAM"), ("layer_cam", "LayerCAM")):
        expected = peers.torchcam_maps(method, subject, layer)
        for value, reference in zip(case.call(lens, layer=layer, relu=True) or (), expected, strict=False):
            case.compare(f"TorchCAM's {method} at {layer}", value.layer_values[layer], reference.detach(), 1e-4, size)


def zennit_rules(case: Case, net: RandomNetwork) -> None:
    """The ε rule of zennit, on sequential networks without normalization, which it would have to merge.

    Its z⁺ rule loses relevance at outputs without positive contributions, which ours propagates; the ε rule has no such
    case. It uses plain gradients for pooling that is not a module.
    """
    relu_network = _with_relus(net)
    branched = {"residual", "dense", "inception", "hourglass", "convnext", "shuffled"}
    if relu_network is None or "pooled" in net.kinds or branched & net.kinds or "Norm" in str(relu_network.module):
        return
    from tests.twins.backward.zennit_peer import by_zennit, zennit

    case.network = relu_network
    values = case.call("lrp", composite="zero") or []
    for row, value in enumerate(values):
        one_class = torch.eye(CLASSES, dtype=torch.double)[net.targets[row]]
        epsilon = [(kind, zennit.rules.Epsilon(1e-12)) for kind in (zennit.types.Convolution, zennit.types.Linear)]
        composite = zennit.composites.LayerMapComposite(epsilon + zennit.composites.layer_map_base(1e-12))
        image = net.images[row : row + 1]
        expected = by_zennit(relu_network.module, image, composite, start=one_class.mul)
        case.compare("zennit's ε rule", value.channels, expected[0], 1e-4)


PEERS: dict[str, Check] = {
    "Captum, gradients": captum_gradients,
    "Captum, parts": captum_parts,
    "Captum, rules": captum_rules,
    "Captum, maps": captum_maps,
    "pytorch-grad-cam and TorchCAM": grad_cam_maps,
    "zennit": zennit_rules,
}
