"""The installed peers' public classes beside ours, on the same random networks.

Each is asked only about networks on which it is known to be right. What is left out, and why:

- Captum's GuidedBackprop, Deconvolution and DeepLift, and zennit's composites replace modules: activations that are
  written as functions, or as one module for several places, are silently not seen. They are asked about the network
  with an ``nn.ReLU`` in the place of every activation. DeepLift is incomplete with max pooling, and knows no norm by
  the image and no gate.
- Captum's LRP raises at most layers and counts relevance double at residual sums, as zennit does.
- pytorch-grad-cam and TorchCAM explain what an in-place activation left of a layer, know no layout but (N, C, places),
  and TorchCAM no signals and volumes.
- pytorch-grad-cam adds 1e-7 to the denominator of XGradCAM and 1e-6 to that of GradCAM++, and leaves the sign of
  EigenCAM open.
"""

import copy
import warnings
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from tests.fuzz.checks.perturbation import PARTS, labels_of
from tests.fuzz.comparing import Check, Comparison
from tests.fuzz.heads import CLASSES
from tests.fuzz.layouts import map_layout
from tests.fuzz.networks import Network
from tests.fuzz.parts import Shuffled, Strided, Turned
from tests.fuzz.references import known
from tests.fuzz.spellings import IN_PLACE, MODULES, Spelled, replaced
from tests.twins import peers
from tests.twins.test_surrogates import by_part, mean_colour

STEPS = 5


def _captum(name: str, net: Network, **parameters: Any) -> Tensor:
    """Its numbers for both images, asked of a copy of the network."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it tells of the hooks it sets
        on_net = getattr(peers.captum.attr, name)(copy.deepcopy(net.module))
        values: Tensor = on_net.attribute(net.images.clone(), target=list(net.targets), **parameters)
    return values.detach()


def _each(c: Comparison, what: str, lens: str, theirs: Tensor, tolerance: float = 1e-4, **parameters: Any) -> None:
    """A lens against a peer's numbers per channel and position."""
    for value, other in zip(c.ask(lens, **parameters) or (), theirs, strict=False):
        c.agree(what, value.channels, other, tolerance)


def captum_gradients(c: Comparison, net: Network) -> None:
    _each(c, "Captum's Saliency", "saliency", _captum("Saliency", net, abs=False))
    _each(c, "Captum's InputXGradient", "gradient_x_input", _captum("InputXGradient", net))
    start = torch.full_like(net.images, 0.3)
    theirs = _captum("IntegratedGradients", net, baselines=start, n_steps=STEPS, method="gausslegendre")
    _each(c, "Captum's IntegratedGradients", "integrated_gradients", theirs, baseline=start, steps=STEPS)


def captum_parts(c: Comparison, net: Network) -> None:
    labels = labels_of(net)
    start = torch.stack([mean_colour(image) for image in net.images])
    for method, lens in (("FeatureAblation", "feature_ablation"), ("ShapleyValues", "kernel_shap")):
        theirs = _captum(method, net, baselines=start, feature_mask=labels[None, None])
        for value, other in zip(c.ask(lens, segments=labels) or (), theirs, strict=False):
            painted = torch.stack([other[0][labels == part][0] for part in range(PARTS)])
            c.agree(f"Captum's {method}", by_part(value.values, labels), painted, 1e-4, scale=1e-2)
    if net.axes < 3:
        window = (net.images.shape[1], *[3] * net.axes)
        theirs = _captum("Occlusion", net, sliding_window_shapes=window, strides=(net.images.shape[1], *[1] * net.axes))
        for value, other in zip(c.ask("occlusion", patch=3, stride=1) or (), theirs, strict=False):
            c.agree("Captum's Occlusion", value.values, other[0], 1e-4, scale=1e-2)


def _rectified(net: Network) -> Network | None:
    """The network with an ``nn.ReLU`` for each of its activations; none where something else is curved too."""
    activations = (Spelled, *(type(build()) for build in MODULES.values()))
    module = replaced(net.module, lambda part: isinstance(part, activations), lambda _: nn.ReLU()).eval()
    kinds = (
        nn.modules.conv._ConvNd, nn.Linear, nn.ReLU, nn.modules.batchnorm._BatchNorm, nn.Identity, nn.Dropout,
        nn.modules.pooling._AvgPoolNd, nn.modules.pooling._AdaptiveAvgPoolNd, nn.Upsample, Strided, Turned, Shuffled,
    )  # fmt: skip
    leaves = [part for part in module.modules() if not list(part.children())]
    curved = {"gated", "reused", "squeeze-excite", "recurrent", "tokens", "linear patches", "folded"}
    maxima = {"max", "max, values", "mean and max", "logsumexp"}
    pooled = any(getattr(part, "spelling", "") in maxima for part in module.modules())
    if pooled or curved & net.kinds or "scores" not in net.kinds or not all(isinstance(p, kinds) for p in leaves):
        return None
    return Network(net.seed, module, net.images, net.targets, net.layouts, net.kinds)


def captum_rules(c: Comparison, net: Network) -> None:
    plain = _rectified(net)
    if plain is None:
        return
    c.network = plain
    _each(c, "Captum's GuidedBackprop", "guided_backprop", _captum("GuidedBackprop", plain))
    _each(c, "Captum's Deconvolution", "deconvnet", _captum("Deconvolution", plain))
    start = torch.full_like(net.images, 0.3)
    _each(c, "Captum's DeepLift", "deep_lift", _captum("DeepLift", plain, baselines=start), baseline=start)


def _layer(net: Network) -> str | None:
    """The last layer of maps that nothing overwrites."""
    overwriting = any(getattr(m, "inplace", False) for m in net.module.modules()) or any(
        isinstance(m, Spelled) and m.spelling in IN_PLACE for m in net.module.modules()
    )
    fits = [a for a, layout in net.layouts.items() if layout == map_layout(net.axes) and a != "stem.0"]
    return fits[-1] if fits and not overwriting else None


def captum_maps(c: Comparison, net: Network) -> None:
    layer = _layer(net)
    if layer is None:
        return
    module = copy.deepcopy(net.module)
    theirs = peers.captum.attr.LayerGradCam(module, module.get_submodule(layer)).attribute(
        net.images, target=list(net.targets)
    )
    for value, other in zip(c.ask("grad_cam", layer=layer) or (), theirs.detach(), strict=False):
        c.agree(f"Captum's LayerGradCam at {layer}", value.layer_values[layer], other[0], 1e-4, _terms(net, layer))


def _terms(net: Network, layer: str) -> float:
    """How large the terms are that a map adds up: where they cancel, single precision says little of the sum."""
    largest = (activation.abs() * gradient.abs() for activation, gradient in (s.at(layer) for s in known(net)))
    return max(float(terms.sum(0).max()) for terms in largest)


PYTORCH_GRAD_CAM = {
    "grad_cam": "GradCAM",
    "hires_cam": "HiResCAM",
    "element_wise_grad_cam": "GradCAMElementWise",
    "layer_cam": "LayerCAM",
    "fem": "FEM",
}


def grad_cam_maps(c: Comparison, net: Network) -> None:
    """pytorch-grad-cam's and TorchCAM's maps before they are scaled for drawing."""
    layer = _layer(net)
    if layer is None or net.axes == 1:
        return
    subject: Any = SimpleNamespace(model=SimpleNamespace(module=net.module), images=net.images, targets=net.targets)
    size = _terms(net, layer)
    for lens, method in PYTORCH_GRAD_CAM.items():
        theirs = peers.pytorch_grad_cam_maps(method, subject, layer)
        form = {"variant": "pytorch-grad-cam"} if lens == "fem" else {}
        for value, other in zip(c.ask(lens, layer=layer, **form) or (), theirs, strict=False):
            c.agree(f"pytorch-grad-cam's {method} at {layer}", value.layer_values[layer], other, 1e-4, size)
    if net.axes != 2:
        return
    for lens, method in (("grad_cam", "GradCAM"), ("layer_cam", "LayerCAM")):
        theirs = peers.torchcam_maps(method, subject, layer)
        for value, other in zip(c.ask(lens, layer=layer, relu=True) or (), theirs, strict=False):
            c.agree(f"TorchCAM's {method} at {layer}", value.layer_values[layer], other.detach(), 1e-4, size)


def zennit_rules(c: Comparison, net: Network) -> None:
    """zennit's ε rule, on networks of one path without norms, which it would have to be told to merge.

    Where nothing raised an output its z⁺ rule loses what ours hands on; the ε rule has no such case. A pooling that is
    no module hands on plain gradients.
    """
    plain = _rectified(net)
    branched = {"residual", "dense", "inception", "hourglass", "convnext", "shuffled"}
    if plain is None or "pooled" in net.kinds or branched & net.kinds or "Norm" in str(plain.module):
        return
    from tests.twins.test_backward_peers import by_zennit, zennit

    c.network = plain
    values = c.ask("lrp", composite="zero") or []
    for row, value in enumerate(values):
        one_class = torch.eye(CLASSES, dtype=torch.double)[net.targets[row]]
        epsilon = [(kind, zennit.rules.Epsilon(1e-12)) for kind in (zennit.types.Convolution, zennit.types.Linear)]
        composite = zennit.composites.LayerMapComposite(epsilon + zennit.composites.layer_map_base(1e-12))
        image = net.images[row : row + 1]
        theirs = by_zennit(plain.module, image, composite, start=lambda y, seed=one_class: y * seed)
        c.agree("zennit's ε rule", value.channels, theirs[0], 1e-4)


PEERS: dict[str, Check] = {
    "Captum, gradients": captum_gradients,
    "Captum, parts": captum_parts,
    "Captum, rules": captum_rules,
    "Captum, maps": captum_maps,
    "pytorch-grad-cam and TorchCAM": grad_cam_maps,
    "zennit": zennit_rules,
}
