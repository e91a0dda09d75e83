"""Written by scripts/generate.py from the declarations of the lenses; `make generate` renews it."""

from pathlib import Path
from typing import Literal, overload

import numpy as np
from PIL.Image import Image
from torch import Tensor
from torch.nn import Module

from convscope.catalogue import compare as compare
from convscope.catalogue import lenses as lenses
from convscope.catalogue import load as load
from convscope.engine.inputs import ImageInput as ImageInput
from convscope.engine.inputs import TensorInput as TensorInput
from convscope.engine.layers import LayerAddress
from convscope.engine.model import Model as Model
from convscope.engine.targets import TOP1 as TOP1
from convscope.engine.targets import Difference as Difference
from convscope.engine.targets import Region as Region
from convscope.engine.targets import TargetLike
from convscope.engine.targets import Unit as Unit
from convscope.errors import ConvScopeError as ConvScopeError
from convscope.reporting import report as report
from convscope.samples import sample as sample
from convscope.values import Attribution as Attribution
from convscope.values import Comparison as Comparison
from convscope.values import Prediction as Prediction
from convscope.values import Value as Value

__version__: str

OneImage = str | Path | Image | np.ndarray
"""A path or sample: address, a Pillow image, or an array (height, width[, channels])."""

@overload
def predict(model: Model | Module, image: OneImage, *, top: int = 5) -> Prediction:
    """List the best classes with their confidence."""

@overload
def predict(
    model: Model | Module, image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor], *, top: int = 5
) -> list[Prediction]:
    """List the best classes with their confidence."""

@overload
def predict(model: Model | Module, image: Tensor, *, top: int = 5) -> Prediction | list[Prediction]:
    """List the best classes with their confidence."""

@overload
def blur_integrated_gradients(
    model: Model | Module, image: OneImage, *, target: TargetLike = "top-1", steps: int = 50, max_sigma: float = 0.2
) -> Attribution:
    """Add up the gradient along the path on which the image comes into focus."""

@overload
def blur_integrated_gradients(
    model: Model | Module,
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    steps: int = 50,
    max_sigma: float = 0.2,
) -> list[Attribution]:
    """Add up the gradient along the path on which the image comes into focus."""

@overload
def blur_integrated_gradients(
    model: Model | Module, image: Tensor, *, target: TargetLike = "top-1", steps: int = 50, max_sigma: float = 0.2
) -> Attribution | list[Attribution]:
    """Add up the gradient along the path on which the image comes into focus."""

@overload
def expected_gradients(
    model: Model | Module,
    image: OneImage,
    *,
    target: TargetLike = "top-1",
    samples: int = 64,
    references: Literal["blank", "noise"] | Tensor = "blank",
    seed: int = 0,
) -> Attribution:
    """Average integrated gradients over a distribution of baselines, one random point of the path at a time."""

@overload
def expected_gradients(
    model: Model | Module,
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    samples: int = 64,
    references: Literal["blank", "noise"] | Tensor = "blank",
    seed: int = 0,
) -> list[Attribution]:
    """Average integrated gradients over a distribution of baselines, one random point of the path at a time."""

@overload
def expected_gradients(
    model: Model | Module,
    image: Tensor,
    *,
    target: TargetLike = "top-1",
    samples: int = 64,
    references: Literal["blank", "noise"] | Tensor = "blank",
    seed: int = 0,
) -> Attribution | list[Attribution]:
    """Average integrated gradients over a distribution of baselines, one random point of the path at a time."""

@overload
def gradient_x_input(model: Model | Module, image: OneImage, *, target: TargetLike = "top-1") -> Attribution:
    """Multiply the gradient by the prepared input and add the channels up."""

@overload
def gradient_x_input(
    model: Model | Module,
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
) -> list[Attribution]:
    """Multiply the gradient by the prepared input and add the channels up."""

@overload
def gradient_x_input(
    model: Model | Module, image: Tensor, *, target: TargetLike = "top-1"
) -> Attribution | list[Attribution]:
    """Multiply the gradient by the prepared input and add the channels up."""

@overload
def guided_integrated_gradients(
    model: Model | Module,
    image: OneImage,
    *,
    target: TargetLike = "top-1",
    steps: int = 50,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "black",
    fraction: float = 0.25,
    max_distance: float = 0.02,
    seed: int = 0,
) -> Attribution:
    """Add up the gradient along a path that moves the pixels of least gradient first."""

@overload
def guided_integrated_gradients(
    model: Model | Module,
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    steps: int = 50,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "black",
    fraction: float = 0.25,
    max_distance: float = 0.02,
    seed: int = 0,
) -> list[Attribution]:
    """Add up the gradient along a path that moves the pixels of least gradient first."""

@overload
def guided_integrated_gradients(
    model: Model | Module,
    image: Tensor,
    *,
    target: TargetLike = "top-1",
    steps: int = 50,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "black",
    fraction: float = 0.25,
    max_distance: float = 0.02,
    seed: int = 0,
) -> Attribution | list[Attribution]:
    """Add up the gradient along a path that moves the pixels of least gradient first."""

@overload
def integrated_gradients(
    model: Model | Module,
    image: OneImage,
    *,
    target: TargetLike = "top-1",
    steps: int = 50,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "black",
    quadrature: Literal[
        "gauss-legendre", "trapezoid", "riemann-left", "riemann-middle", "riemann-right"
    ] = "gauss-legendre",
    seed: int = 0,
) -> Attribution:
    """Add up the gradient along the straight path from a baseline to the image."""

@overload
def integrated_gradients(
    model: Model | Module,
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    steps: int = 50,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "black",
    quadrature: Literal[
        "gauss-legendre", "trapezoid", "riemann-left", "riemann-middle", "riemann-right"
    ] = "gauss-legendre",
    seed: int = 0,
) -> list[Attribution]:
    """Add up the gradient along the straight path from a baseline to the image."""

@overload
def integrated_gradients(
    model: Model | Module,
    image: Tensor,
    *,
    target: TargetLike = "top-1",
    steps: int = 50,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "black",
    quadrature: Literal[
        "gauss-legendre", "trapezoid", "riemann-left", "riemann-middle", "riemann-right"
    ] = "gauss-legendre",
    seed: int = 0,
) -> Attribution | list[Attribution]:
    """Add up the gradient along the straight path from a baseline to the image."""

@overload
def saliency(
    model: Model | Module,
    image: OneImage,
    *,
    target: TargetLike = "top-1",
    sign: Literal["signed", "absolute"] = "signed",
) -> Attribution:
    """Take the gradient of the score with respect to each pixel."""

@overload
def saliency(
    model: Model | Module,
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    sign: Literal["signed", "absolute"] = "signed",
) -> list[Attribution]:
    """Take the gradient of the score with respect to each pixel."""

@overload
def saliency(
    model: Model | Module,
    image: Tensor,
    *,
    target: TargetLike = "top-1",
    sign: Literal["signed", "absolute"] = "signed",
) -> Attribution | list[Attribution]:
    """Take the gradient of the score with respect to each pixel."""

@overload
def smooth_grad(
    model: Model | Module,
    image: OneImage,
    *,
    target: TargetLike = "top-1",
    samples: int = 25,
    sigma: float = 0.15,
    seed: int = 0,
    sign: Literal["signed", "absolute"] = "signed",
) -> Attribution:
    """Average the gradient over noisy copies of the image."""

@overload
def smooth_grad(
    model: Model | Module,
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    samples: int = 25,
    sigma: float = 0.15,
    seed: int = 0,
    sign: Literal["signed", "absolute"] = "signed",
) -> list[Attribution]:
    """Average the gradient over noisy copies of the image."""

@overload
def smooth_grad(
    model: Model | Module,
    image: Tensor,
    *,
    target: TargetLike = "top-1",
    samples: int = 25,
    sigma: float = 0.15,
    seed: int = 0,
    sign: Literal["signed", "absolute"] = "signed",
) -> Attribution | list[Attribution]:
    """Average the gradient over noisy copies of the image."""

@overload
def smooth_grad_squared(
    model: Model | Module,
    image: OneImage,
    *,
    target: TargetLike = "top-1",
    samples: int = 25,
    sigma: float = 0.15,
    seed: int = 0,
) -> Attribution:
    """Average the squared gradient over noisy copies of the image."""

@overload
def smooth_grad_squared(
    model: Model | Module,
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    samples: int = 25,
    sigma: float = 0.15,
    seed: int = 0,
) -> list[Attribution]:
    """Average the squared gradient over noisy copies of the image."""

@overload
def smooth_grad_squared(
    model: Model | Module,
    image: Tensor,
    *,
    target: TargetLike = "top-1",
    samples: int = 25,
    sigma: float = 0.15,
    seed: int = 0,
) -> Attribution | list[Attribution]:
    """Average the squared gradient over noisy copies of the image."""

@overload
def var_grad(
    model: Model | Module,
    image: OneImage,
    *,
    target: TargetLike = "top-1",
    samples: int = 25,
    sigma: float = 0.15,
    seed: int = 0,
) -> Attribution:
    """Take the variance of the gradient over noisy copies of the image."""

@overload
def var_grad(
    model: Model | Module,
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    samples: int = 25,
    sigma: float = 0.15,
    seed: int = 0,
) -> list[Attribution]:
    """Take the variance of the gradient over noisy copies of the image."""

@overload
def var_grad(
    model: Model | Module,
    image: Tensor,
    *,
    target: TargetLike = "top-1",
    samples: int = 25,
    sigma: float = 0.15,
    seed: int = 0,
) -> Attribution | list[Attribution]:
    """Take the variance of the gradient over noisy copies of the image."""

@overload
def cam(
    model: Model | Module,
    image: OneImage,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    relu: bool = False,
) -> Attribution:
    """Add the channels up with the weights that the last linear layer gives them for this class."""

@overload
def cam(
    model: Model | Module,
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    relu: bool = False,
) -> list[Attribution]:
    """Add the channels up with the weights that the last linear layer gives them for this class."""

@overload
def cam(
    model: Model | Module, image: Tensor, *, target: TargetLike = "top-1", layer: LayerAddress = ..., relu: bool = False
) -> Attribution | list[Attribution]:
    """Add the channels up with the weights that the last linear layer gives them for this class."""

@overload
def eigen_cam(model: Model | Module, image: OneImage, *, layer: LayerAddress = ..., center: bool = True) -> Attribution:
    """Project a layer's activations on their first principal direction."""

@overload
def eigen_cam(
    model: Model | Module,
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    layer: LayerAddress = ...,
    center: bool = True,
) -> list[Attribution]:
    """Project a layer's activations on their first principal direction."""

@overload
def eigen_cam(
    model: Model | Module, image: Tensor, *, layer: LayerAddress = ..., center: bool = True
) -> Attribution | list[Attribution]:
    """Project a layer's activations on their first principal direction."""

@overload
def eigen_grad_cam(
    model: Model | Module,
    image: OneImage,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    center: bool = True,
) -> Attribution:
    """Project activation × gradient on its first principal direction."""

@overload
def eigen_grad_cam(
    model: Model | Module,
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    center: bool = True,
) -> list[Attribution]:
    """Project activation × gradient on its first principal direction."""

@overload
def eigen_grad_cam(
    model: Model | Module,
    image: Tensor,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    center: bool = True,
) -> Attribution | list[Attribution]:
    """Project activation × gradient on its first principal direction."""

@overload
def element_wise_grad_cam(
    model: Model | Module, image: OneImage, *, target: TargetLike = "top-1", layer: LayerAddress = ...
) -> Attribution:
    """Keep the positive products of activation and gradient only, then add the channels up."""

@overload
def element_wise_grad_cam(
    model: Model | Module,
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
) -> list[Attribution]:
    """Keep the positive products of activation and gradient only, then add the channels up."""

@overload
def element_wise_grad_cam(
    model: Model | Module, image: Tensor, *, target: TargetLike = "top-1", layer: LayerAddress = ...
) -> Attribution | list[Attribution]:
    """Keep the positive products of activation and gradient only, then add the channels up."""

@overload
def fem(model: Model | Module, image: OneImage, *, layer: LayerAddress = ..., k: float = 2.0) -> Attribution:
    """Weigh each channel by how much of it is unusually strong."""

@overload
def fem(
    model: Model | Module,
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    layer: LayerAddress = ...,
    k: float = 2.0,
) -> list[Attribution]:
    """Weigh each channel by how much of it is unusually strong."""

@overload
def fem(
    model: Model | Module, image: Tensor, *, layer: LayerAddress = ..., k: float = 2.0
) -> Attribution | list[Attribution]:
    """Weigh each channel by how much of it is unusually strong."""

@overload
def grad_cam(
    model: Model | Module,
    image: OneImage,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    relu: bool = False,
) -> Attribution:
    """Weigh a layer's channels by how much each raises the score on average."""

@overload
def grad_cam(
    model: Model | Module,
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    relu: bool = False,
) -> list[Attribution]:
    """Weigh a layer's channels by how much each raises the score on average."""

@overload
def grad_cam(
    model: Model | Module, image: Tensor, *, target: TargetLike = "top-1", layer: LayerAddress = ..., relu: bool = False
) -> Attribution | list[Attribution]:
    """Weigh a layer's channels by how much each raises the score on average."""

@overload
def grad_cam_plus_plus(
    model: Model | Module,
    image: OneImage,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    relu: bool = False,
) -> Attribution:
    """Weigh channels by their positive gradients, each position scaled so that every instance counts alike."""

@overload
def grad_cam_plus_plus(
    model: Model | Module,
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    relu: bool = False,
) -> list[Attribution]:
    """Weigh channels by their positive gradients, each position scaled so that every instance counts alike."""

@overload
def grad_cam_plus_plus(
    model: Model | Module, image: Tensor, *, target: TargetLike = "top-1", layer: LayerAddress = ..., relu: bool = False
) -> Attribution | list[Attribution]:
    """Weigh channels by their positive gradients, each position scaled so that every instance counts alike."""

@overload
def hires_cam(
    model: Model | Module,
    image: OneImage,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    relu: bool = False,
) -> Attribution:
    """Multiply activation and gradient position by position, and add the channels up."""

@overload
def hires_cam(
    model: Model | Module,
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    relu: bool = False,
) -> list[Attribution]:
    """Multiply activation and gradient position by position, and add the channels up."""

@overload
def hires_cam(
    model: Model | Module, image: Tensor, *, target: TargetLike = "top-1", layer: LayerAddress = ..., relu: bool = False
) -> Attribution | list[Attribution]:
    """Multiply activation and gradient position by position, and add the channels up."""

@overload
def layer_cam(
    model: Model | Module,
    image: OneImage,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    relu: bool = False,
) -> Attribution:
    """Weigh every position of every channel by its own positive gradient."""

@overload
def layer_cam(
    model: Model | Module,
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    relu: bool = False,
) -> list[Attribution]:
    """Weigh every position of every channel by its own positive gradient."""

@overload
def layer_cam(
    model: Model | Module, image: Tensor, *, target: TargetLike = "top-1", layer: LayerAddress = ..., relu: bool = False
) -> Attribution | list[Attribution]:
    """Weigh every position of every channel by its own positive gradient."""

@overload
def smooth_grad_cam_plus_plus(
    model: Model | Module,
    image: OneImage,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    samples: int = 8,
    sigma: float = 0.1,
    seed: int = 0,
    relu: bool = False,
) -> Attribution:
    """Form Grad-CAM++'s weights from derivatives averaged over noisy copies of the image."""

@overload
def smooth_grad_cam_plus_plus(
    model: Model | Module,
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    samples: int = 8,
    sigma: float = 0.1,
    seed: int = 0,
    relu: bool = False,
) -> list[Attribution]:
    """Form Grad-CAM++'s weights from derivatives averaged over noisy copies of the image."""

@overload
def smooth_grad_cam_plus_plus(
    model: Model | Module,
    image: Tensor,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    samples: int = 8,
    sigma: float = 0.1,
    seed: int = 0,
    relu: bool = False,
) -> Attribution | list[Attribution]:
    """Form Grad-CAM++'s weights from derivatives averaged over noisy copies of the image."""

@overload
def x_grad_cam(
    model: Model | Module,
    image: OneImage,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    relu: bool = False,
) -> Attribution:
    """Weigh each channel by its mean gradient, averaged with its own activation as the weight."""

@overload
def x_grad_cam(
    model: Model | Module,
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    relu: bool = False,
) -> list[Attribution]:
    """Weigh each channel by its mean gradient, averaged with its own activation as the weight."""

@overload
def x_grad_cam(
    model: Model | Module, image: Tensor, *, target: TargetLike = "top-1", layer: LayerAddress = ..., relu: bool = False
) -> Attribution | list[Attribution]:
    """Weigh each channel by its mean gradient, averaged with its own activation as the weight."""
