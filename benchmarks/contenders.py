"""The same explanation by ConvScope and other libraries, from a prepared tensor to a map of the image's size."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

import convscope as cs
from convscope.loaders.torchvision import library

Work = Callable[[], object]
LAST_LAYER = {"resnet50": "layer4", "vgg16": "features.30", "squeezenet1_1": "features.12", "r3d_18": "layer4"}


def network(name: str) -> nn.Module:
    """A torchvision network with random weights, in eval mode."""
    torch.manual_seed(0)
    module: nn.Module = library().models.get_model(name, weights=None)
    return module.eval()


def plain(module: nn.Module, x: Tensor) -> Work:
    """One plain forward pass: eval, inference mode, default memory format."""

    def work() -> object:
        with torch.inference_mode():
            return module(x)

    return work


def input_gradient(module: nn.Module, x: Tensor) -> Work:
    """One forward pass and the gradient with respect to the input, with frozen parameters."""

    def work() -> object:
        requires_grad = [p.requires_grad for p in module.parameters()]
        for p in module.parameters():
            p.requires_grad_(False)
        leaf = x.clone().requires_grad_(True)
        gradient = torch.autograd.grad(module(leaf).amax(1).sum(), leaf)
        for p, flag in zip(module.parameters(), requires_grad, strict=True):
            p.requires_grad_(flag)
        return gradient

    return work


def ours(module: nn.Module) -> dict[str, Any]:
    """The network as a user's own module, and as ``cs.load`` opens it (weights channels-last)."""
    import copy

    loaded = copy.deepcopy(module).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return {"ConvScope, own module": cs.Model(module), "ConvScope, loaded": cs.Model(loaded)}


def grad_cam_peers(module: nn.Module, layer: str, x: Tensor) -> dict[str, Work]:
    """Grad-CAM by pytorch-grad-cam, TorchCAM and Captum."""
    from captum.attr import LayerAttribution, LayerGradCam
    from pytorch_grad_cam import GradCAM
    from torchcam.methods import GradCAM as TorchGradCAM

    target_layer = module.get_submodule(layer)
    pytorch_grad_cam = GradCAM(model=module, target_layers=[target_layer])
    captum = LayerGradCam(module, target_layer)

    def torchcam() -> object:
        with TorchGradCAM(module, target_layer=layer) as extractor:
            scores = module(x)
            maps = extractor(scores.argmax(1).tolist(), scores)
        return nn.functional.interpolate(maps[0][:, None], size=x.shape[2:], mode="bilinear")

    def by_captum() -> object:
        return LayerAttribution.interpolate(captum.attribute(x, target=0), x.shape[2:], "bilinear")

    return {"pytorch-grad-cam": lambda: pytorch_grad_cam(x, None), "TorchCAM": torchcam, "Captum": by_captum}


def captum_gradients(module: nn.Module, x: Tensor) -> dict[str, Work]:
    """Saliency, integrated gradients and SmoothGrad by Captum, the latter two with the fastest chunk sizes."""
    from captum.attr import IntegratedGradients, NoiseTunnel, Saliency

    saliency, integrated = Saliency(module), IntegratedGradients(module)
    noisy = NoiseTunnel(Saliency(module))
    options = {"nt_type": "smoothgrad", "nt_samples": 25, "nt_samples_batch_size": 5, "stdevs": 0.15, "abs": False}
    return {
        "saliency": lambda: saliency.attribute(x.clone().requires_grad_(True), target=0, abs=False),
        "integrated gradients": lambda: integrated.attribute(x, target=0, n_steps=50, internal_batch_size=10),
        "smooth-grad": lambda: noisy.attribute(x, target=0, **options),
    }
