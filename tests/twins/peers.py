"""Other people's libraries asked for their raw numbers: before resizing and scaling to 0 … 1, which differ needlessly.

Import it through the fixture ``peers``, which brings torchvision in first.
"""

import copy
from typing import Any

import captum.attr
import pytorch_grad_cam
import torch
import torchcam.methods
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor

from tests.twins.subjects import Subject

__all__ = ["captum", "pytorch_grad_cam", "pytorch_grad_cam_maps", "torchcam", "torchcam_maps"]


def pytorch_grad_cam_maps(method: str, subject: Subject, layer: str) -> list[Tensor]:
    """pytorch-grad-cam's map of each image at the layer, signed; on a copy, since it fills every ``param.grad``."""
    net = copy.deepcopy(subject.model.module)
    targets = [ClassifierOutputTarget(target) for target in subject.targets]
    maps: list[Any] = []
    with getattr(pytorch_grad_cam, method)(net, [net.get_submodule(layer)]) as method_on_net:
        compute_maps = method_on_net.get_cam_image

        def keep_maps(*args: Any, **named: Any) -> list[Any]:
            maps.extend(compute_maps(*args, **named))
            return maps

        method_on_net.get_cam_image = keep_maps
        with torch.enable_grad():
            method_on_net(subject.images, targets)
        method_on_net.activations_and_grads.gradients = []  # its own clearing up raises where one is a view
    return [torch.from_numpy(each) for each in maps]


def torchcam_maps(method: str, subject: Subject, layer: str, **options: object) -> list[Tensor]:
    """TorchCAM's map of each image at the layer, after the ReLU that its gradient methods apply."""
    net = copy.deepcopy(subject.model.module)
    extractor_options = {name: options.pop(name) for name in ("num_samples", "std") if name in options}
    with getattr(torchcam.methods, method)(net, layer, **extractor_options) as extractor:
        scores = net(subject.images)
        (maps,) = extractor(list(subject.targets), scores, normalized=False, **options)
    return list(maps)
