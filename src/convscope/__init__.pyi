"""Written by scripts/generate.py from the declarations of the lenses; `make generate` renews it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
from PIL.Image import Image
from torch import Tensor
from torch.nn import Module
from torch.utils.data import DataLoader, Dataset

from convscope.catalogue import compare as compare
from convscope.catalogue import lenses as lenses
from convscope.catalogue import load as load
from convscope.catalogue import recommend as recommend
from convscope.engine.context.metering import watching as watching
from convscope.engine.context.progress_bar import show_progress as show_progress
from convscope.engine.inputs.measured_inputs import BandsInput as BandsInput
from convscope.engine.inputs.measured_inputs import SignalInput as SignalInput
from convscope.engine.inputs.measured_inputs import VideoInput as VideoInput
from convscope.engine.inputs.measured_inputs import VolumeInput as VolumeInput
from convscope.engine.inputs.specs import ImageInput as ImageInput
from convscope.engine.inputs.specs import TensorInput as TensorInput
from convscope.engine.inputs.table_input import TableInput as TableInput
from convscope.engine.inputs.token_input import TokenInput as TokenInput
from convscope.engine.layers.addresses import LayerAddress
from convscope.engine.network.model import Model as Model
from convscope.engine.targets.target import TOP1 as TOP1
from convscope.engine.targets.target import Difference as Difference
from convscope.engine.targets.target import Region as Region
from convscope.engine.targets.target import TargetLike
from convscope.engine.targets.target import Unit as Unit
from convscope.errors import ConvScopeError as ConvScopeError
from convscope.reporting import report as report
from convscope.runtime.smoothing import Smooth as Smooth
from convscope.runtime.value_stream import ValueStream
from convscope.samples import sample as sample
from convscope.training.diagnosis import diagnose as diagnose
from convscope.training.loop.fit import train as train
from convscope.training.recorder.recorder import record as record
from convscope.training.run import open_log as open_log
from convscope.values import Arithmetic as Arithmetic
from convscope.values import AttentionHeads as AttentionHeads
from convscope.values import AttentionMaps as AttentionMaps
from convscope.values import Attribution as Attribution
from convscope.values import Comparison as Comparison
from convscope.values import Detections as Detections
from convscope.values import Distribution as Distribution
from convscope.values import Exemplars as Exemplars
from convscope.values import FeatureMaps as FeatureMaps
from convscope.values import GateMaps as GateMaps
from convscope.values import JointAttribution as JointAttribution
from convscope.values import Kernels as Kernels
from convscope.values import LayerAttribution as LayerAttribution
from convscope.values import Pictures as Pictures
from convscope.values import Prediction as Prediction
from convscope.values import ReceptiveField as ReceptiveField
from convscope.values import Recommendation as Recommendation
from convscope.values import Segmentation as Segmentation
from convscope.values import Structure as Structure
from convscope.values import Value as Value

__version__: str

OneImage = str | Path | Image | np.ndarray
"""A path or sample: address, a Pillow image, or an array (height, width[, channels])."""
DataSet = Dataset[Any] | DataLoader[Any] | Iterator[Any]
"""Many inputs as a stream, with or without classes."""
Samples = Mapping[str, Any] | Sequence[Mapping[str, Any]] | Sequence[tuple[Any, ...]] | Sequence[int]
"""Several inputs by name, a list of such samples, or the numbers of tokens."""

@overload
def predict(model: Model | Module | Callable[..., Any], image: OneImage, *, top: int = 5) -> Prediction:
    """List the classes with the highest scores, with confidences if the network's output can be read as such."""

@overload
def predict(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    top: int = 5,
) -> list[Prediction]:
    """List the classes with the highest scores, with confidences if the network's output can be read as such."""

@overload
def predict(
    model: Model | Module | Callable[..., Any], image: Tensor, *, top: int = 5
) -> Prediction | list[Prediction]:
    """List the classes with the highest scores, with confidences if the network's output can be read as such."""

@overload
def predict(model: Model | Module | Callable[..., Any], image: DataSet, *, top: int = 5) -> ValueStream[Prediction]:
    """List the classes with the highest scores, with confidences if the network's output can be read as such."""

@overload
def predict(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    top: int = 5,
    explain: str | Sequence[str] | None = None,
) -> Any:
    """List the classes with the highest scores, with confidences if the network's output can be read as such."""

def kernels(
    model: Model | Module | Callable[..., Any],
    *,
    layer: LayerAddress = ...,
    view: Literal["auto", "colour", "channels", "norm", "component", "spectrum"] = "auto",
    scale: Literal["shared", "each"] = "shared",
    sort: Literal["none", "norm", "similarity"] = "none",
    most: int = 64,
) -> Kernels:
    """Show the weights of convolutions, one tile per filter, and report unusual filters."""

def receptive_field(
    model: Model | Module | Callable[..., Any], images: Any, *, unit: Any | None = None, seed: int = 0
) -> ReceptiveField:
    """Average the magnitude of a unit's gradient with respect to the input over many inputs."""

def structure(
    model: Model | Module | Callable[..., Any], image: OneImage | Tensor | None = None, *, depth: int = 0
) -> Structure:
    """Run the network once and record every operation that is executed, module by module."""

def activations(
    model: Model | Module | Callable[..., Any], images: Any, *, layer: LayerAddress = ..., samples: int = 1024
) -> Distribution:
    """Compute statistics of the activations of every layer and channel, in one pass over any number of images."""

def convolve(
    matrix: str
    | list[Any]
    | tuple[Any, ...]
    | np.ndarray
    | Tensor = "1 0 2 1 0 / 0 1 0 2 1 / 1 1 0 0 2 / 2 0 1 1 0 / 1 2 0 0 1",
    kernel: str | list[Any] | tuple[Any, ...] | np.ndarray | Tensor = "1 0 1 / 1 1 0 / 0 1 1",
    *,
    position: str = "0,0",
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    bias: float = 0.0,
) -> Arithmetic:
    """Convolve a small matrix with a kernel and show every sum."""

@overload
def feature_maps(
    model: Model | Module | Callable[..., Any],
    image: OneImage,
    *,
    layer: LayerAddress = ...,
    channels: int = 32,
    scale: Literal["shared", "each"] = "shared",
    view: Literal["mosaic", "overlay", "colours"] = "mosaic",
    activation: Literal["as it is", "before", "after"] = "as it is",
    gates: bool = False,
) -> FeatureMaps:
    """Show the activations of layers, with one map per channel."""

@overload
def feature_maps(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    layer: LayerAddress = ...,
    channels: int = 32,
    scale: Literal["shared", "each"] = "shared",
    view: Literal["mosaic", "overlay", "colours"] = "mosaic",
    activation: Literal["as it is", "before", "after"] = "as it is",
    gates: bool = False,
) -> list[FeatureMaps]:
    """Show the activations of layers, with one map per channel."""

@overload
def feature_maps(
    model: Model | Module | Callable[..., Any],
    image: Tensor,
    *,
    layer: LayerAddress = ...,
    channels: int = 32,
    scale: Literal["shared", "each"] = "shared",
    view: Literal["mosaic", "overlay", "colours"] = "mosaic",
    activation: Literal["as it is", "before", "after"] = "as it is",
    gates: bool = False,
) -> FeatureMaps | list[FeatureMaps]:
    """Show the activations of layers, with one map per channel."""

@overload
def feature_maps(
    model: Model | Module | Callable[..., Any],
    image: DataSet,
    *,
    layer: LayerAddress = ...,
    channels: int = 32,
    scale: Literal["shared", "each"] = "shared",
    view: Literal["mosaic", "overlay", "colours"] = "mosaic",
    activation: Literal["as it is", "before", "after"] = "as it is",
    gates: bool = False,
) -> ValueStream[FeatureMaps]:
    """Show the activations of layers, with one map per channel."""

@overload
def feature_maps(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    layer: LayerAddress = ...,
    channels: int = 32,
    scale: Literal["shared", "each"] = "shared",
    view: Literal["mosaic", "overlay", "colours"] = "mosaic",
    activation: Literal["as it is", "before", "after"] = "as it is",
    gates: bool = False,
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Show the activations of layers, with one map per channel."""

def parameter_gradients(model: Model | Module | Callable[..., Any], images: Any) -> Distribution:
    """Compute the distribution of the loss gradient over the parameters of every layer."""

@overload
def similarity(
    model: Model | Module | Callable[..., Any],
    image: OneImage,
    *,
    guide: OneImage | Tensor | None = None,
    layer: LayerAddress = ...,
    place: str = "",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution:
    """Compare the features of one place with those of all places, by the cosine of the angle between them."""

@overload
def similarity(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    guide: OneImage | Tensor | None = None,
    layer: LayerAddress = ...,
    place: str = "",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Attribution]:
    """Compare the features of one place with those of all places, by the cosine of the angle between them."""

@overload
def similarity(
    model: Model | Module | Callable[..., Any],
    image: Tensor,
    *,
    guide: OneImage | Tensor | None = None,
    layer: LayerAddress = ...,
    place: str = "",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution | list[Attribution]:
    """Compare the features of one place with those of all places, by the cosine of the angle between them."""

@overload
def similarity(
    model: Model | Module | Callable[..., Any],
    image: DataSet,
    *,
    guide: OneImage | Tensor | None = None,
    layer: LayerAddress = ...,
    place: str = "",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> ValueStream[Attribution]:
    """Compare the features of one place with those of all places, by the cosine of the angle between them."""

@overload
def similarity(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    guide: OneImage | Tensor | None = None,
    layer: LayerAddress = ...,
    place: str = "",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Compare the features of one place with those of all places, by the cosine of the angle between them."""

@overload
def step_through(model: Model | Module | Callable[..., Any], image: OneImage, *, unit: Any | None = None) -> Arithmetic:
    """Compute one number of a layer's output step by step: the operands, the operation, and the operations after it."""

@overload
def step_through(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    unit: Any | None = None,
) -> list[Arithmetic]:
    """Compute one number of a layer's output step by step: the operands, the operation, and the operations after it."""

@overload
def step_through(
    model: Model | Module | Callable[..., Any], image: Tensor, *, unit: Any | None = None
) -> Arithmetic | list[Arithmetic]:
    """Compute one number of a layer's output step by step: the operands, the operation, and the operations after it."""

@overload
def step_through(
    model: Model | Module | Callable[..., Any], image: DataSet, *, unit: Any | None = None
) -> ValueStream[Arithmetic]:
    """Compute one number of a layer's output step by step: the operands, the operation, and the operations after it."""

@overload
def step_through(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    unit: Any | None = None,
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Compute one number of a layer's output step by step: the operands, the operation, and the operations after it."""

def top_inputs(
    model: Model | Module | Callable[..., Any],
    images: Any,
    *,
    unit: Any | None = None,
    k: int = 9,
    by: Literal["max", "mean"] = "max",
    show: int = 12,
) -> Exemplars:
    """Find the inputs of a data set that activate a unit most, cropped to the strongest position's receptive field."""

@overload
def blur_integrated_gradients(
    model: Model | Module | Callable[..., Any],
    image: OneImage,
    *,
    target: TargetLike = "top-1",
    steps: int = 50,
    max_sigma: float = 0.2,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution:
    """Integrate the gradient along a path from a blurred image to the sharp one."""

@overload
def blur_integrated_gradients(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    steps: int = 50,
    max_sigma: float = 0.2,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Attribution]:
    """Integrate the gradient along a path from a blurred image to the sharp one."""

@overload
def blur_integrated_gradients(
    model: Model | Module | Callable[..., Any],
    image: Tensor,
    *,
    target: TargetLike = "top-1",
    steps: int = 50,
    max_sigma: float = 0.2,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution | list[Attribution]:
    """Integrate the gradient along a path from a blurred image to the sharp one."""

@overload
def blur_integrated_gradients(
    model: Model | Module | Callable[..., Any],
    image: DataSet,
    *,
    target: TargetLike = "top-1",
    steps: int = 50,
    max_sigma: float = 0.2,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> ValueStream[Attribution]:
    """Integrate the gradient along a path from a blurred image to the sharp one."""

@overload
def blur_integrated_gradients(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    target: TargetLike = "top-1",
    steps: int = 50,
    max_sigma: float = 0.2,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Integrate the gradient along a path from a blurred image to the sharp one."""

@overload
def blur_integrated_gradients(
    model: Model | Module | Callable[..., Any],
    image: Any,
    *,
    targets: Sequence[TargetLike],
    steps: int = 50,
    max_sigma: float = 0.2,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Any]:
    """Integrate the gradient along a path from a blurred image to the sharp one."""

@overload
def expected_gradients(
    model: Model | Module | Callable[..., Any],
    image: OneImage,
    *,
    target: TargetLike = "top-1",
    samples: int = 64,
    references: Literal["blank", "noise"] | Tensor = "blank",
    multiply_by_inputs: bool = True,
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution:
    """Average integrated gradients over a distribution of baselines, sampling random points of the paths."""

@overload
def expected_gradients(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    samples: int = 64,
    references: Literal["blank", "noise"] | Tensor = "blank",
    multiply_by_inputs: bool = True,
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Attribution]:
    """Average integrated gradients over a distribution of baselines, sampling random points of the paths."""

@overload
def expected_gradients(
    model: Model | Module | Callable[..., Any],
    image: Tensor,
    *,
    target: TargetLike = "top-1",
    samples: int = 64,
    references: Literal["blank", "noise"] | Tensor = "blank",
    multiply_by_inputs: bool = True,
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution | list[Attribution]:
    """Average integrated gradients over a distribution of baselines, sampling random points of the paths."""

@overload
def expected_gradients(
    model: Model | Module | Callable[..., Any],
    image: DataSet,
    *,
    target: TargetLike = "top-1",
    samples: int = 64,
    references: Literal["blank", "noise"] | Tensor = "blank",
    multiply_by_inputs: bool = True,
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> ValueStream[Attribution]:
    """Average integrated gradients over a distribution of baselines, sampling random points of the paths."""

@overload
def expected_gradients(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    target: TargetLike = "top-1",
    samples: int = 64,
    references: Literal["blank", "noise"] | Tensor = "blank",
    multiply_by_inputs: bool = True,
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Average integrated gradients over a distribution of baselines, sampling random points of the paths."""

@overload
def expected_gradients(
    model: Model | Module | Callable[..., Any],
    image: Any,
    *,
    targets: Sequence[TargetLike],
    samples: int = 64,
    references: Literal["blank", "noise"] | Tensor = "blank",
    multiply_by_inputs: bool = True,
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Any]:
    """Average integrated gradients over a distribution of baselines, sampling random points of the paths."""

@overload
def gradient_x_input(
    model: Model | Module | Callable[..., Any],
    image: OneImage,
    *,
    target: TargetLike = "top-1",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    differentiable: bool = False,
) -> Attribution:
    """Multiply the gradient by the preprocessed input and sum over channels."""

@overload
def gradient_x_input(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    differentiable: bool = False,
) -> list[Attribution]:
    """Multiply the gradient by the preprocessed input and sum over channels."""

@overload
def gradient_x_input(
    model: Model | Module | Callable[..., Any],
    image: Tensor,
    *,
    target: TargetLike = "top-1",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    differentiable: bool = False,
) -> Attribution | list[Attribution]:
    """Multiply the gradient by the preprocessed input and sum over channels."""

@overload
def gradient_x_input(
    model: Model | Module | Callable[..., Any],
    image: DataSet,
    *,
    target: TargetLike = "top-1",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    differentiable: bool = False,
) -> ValueStream[Attribution]:
    """Multiply the gradient by the preprocessed input and sum over channels."""

@overload
def gradient_x_input(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    target: TargetLike = "top-1",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    differentiable: bool = False,
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Multiply the gradient by the preprocessed input and sum over channels."""

@overload
def gradient_x_input(
    model: Model | Module | Callable[..., Any],
    image: Any,
    *,
    targets: Sequence[TargetLike],
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    differentiable: bool = False,
) -> list[Any]:
    """Multiply the gradient by the preprocessed input and sum over channels."""

@overload
def guided_integrated_gradients(
    model: Model | Module | Callable[..., Any],
    image: OneImage,
    *,
    target: TargetLike = "top-1",
    steps: int = 50,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "black",
    fraction: float = 0.25,
    max_distance: float = 0.02,
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution:
    """Integrate the gradient along a path that moves the pixels with the smallest gradients first."""

@overload
def guided_integrated_gradients(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    steps: int = 50,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "black",
    fraction: float = 0.25,
    max_distance: float = 0.02,
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Attribution]:
    """Integrate the gradient along a path that moves the pixels with the smallest gradients first."""

@overload
def guided_integrated_gradients(
    model: Model | Module | Callable[..., Any],
    image: Tensor,
    *,
    target: TargetLike = "top-1",
    steps: int = 50,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "black",
    fraction: float = 0.25,
    max_distance: float = 0.02,
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution | list[Attribution]:
    """Integrate the gradient along a path that moves the pixels with the smallest gradients first."""

@overload
def guided_integrated_gradients(
    model: Model | Module | Callable[..., Any],
    image: DataSet,
    *,
    target: TargetLike = "top-1",
    steps: int = 50,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "black",
    fraction: float = 0.25,
    max_distance: float = 0.02,
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> ValueStream[Attribution]:
    """Integrate the gradient along a path that moves the pixels with the smallest gradients first."""

@overload
def guided_integrated_gradients(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    target: TargetLike = "top-1",
    steps: int = 50,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "black",
    fraction: float = 0.25,
    max_distance: float = 0.02,
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Integrate the gradient along a path that moves the pixels with the smallest gradients first."""

@overload
def guided_integrated_gradients(
    model: Model | Module | Callable[..., Any],
    image: Any,
    *,
    targets: Sequence[TargetLike],
    steps: int = 50,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "black",
    fraction: float = 0.25,
    max_distance: float = 0.02,
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Any]:
    """Integrate the gradient along a path that moves the pixels with the smallest gradients first."""

@overload
def integrated_gradients(
    model: Model | Module | Callable[..., Any],
    image: OneImage,
    *,
    target: TargetLike = "top-1",
    steps: int = 50,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "black",
    quadrature: Literal[
        "gauss-legendre", "trapezoid", "riemann-left", "riemann-middle", "riemann-right"
    ] = "gauss-legendre",
    multiply_by_inputs: bool = True,
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution:
    """Integrate the gradient along the straight path from a baseline to the image."""

@overload
def integrated_gradients(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    steps: int = 50,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "black",
    quadrature: Literal[
        "gauss-legendre", "trapezoid", "riemann-left", "riemann-middle", "riemann-right"
    ] = "gauss-legendre",
    multiply_by_inputs: bool = True,
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Attribution]:
    """Integrate the gradient along the straight path from a baseline to the image."""

@overload
def integrated_gradients(
    model: Model | Module | Callable[..., Any],
    image: Tensor,
    *,
    target: TargetLike = "top-1",
    steps: int = 50,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "black",
    quadrature: Literal[
        "gauss-legendre", "trapezoid", "riemann-left", "riemann-middle", "riemann-right"
    ] = "gauss-legendre",
    multiply_by_inputs: bool = True,
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution | list[Attribution]:
    """Integrate the gradient along the straight path from a baseline to the image."""

@overload
def integrated_gradients(
    model: Model | Module | Callable[..., Any],
    image: DataSet,
    *,
    target: TargetLike = "top-1",
    steps: int = 50,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "black",
    quadrature: Literal[
        "gauss-legendre", "trapezoid", "riemann-left", "riemann-middle", "riemann-right"
    ] = "gauss-legendre",
    multiply_by_inputs: bool = True,
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> ValueStream[Attribution]:
    """Integrate the gradient along the straight path from a baseline to the image."""

@overload
def integrated_gradients(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    target: TargetLike = "top-1",
    steps: int = 50,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "black",
    quadrature: Literal[
        "gauss-legendre", "trapezoid", "riemann-left", "riemann-middle", "riemann-right"
    ] = "gauss-legendre",
    multiply_by_inputs: bool = True,
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Integrate the gradient along the straight path from a baseline to the image."""

@overload
def integrated_gradients(
    model: Model | Module | Callable[..., Any],
    image: Any,
    *,
    targets: Sequence[TargetLike],
    steps: int = 50,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "black",
    quadrature: Literal[
        "gauss-legendre", "trapezoid", "riemann-left", "riemann-middle", "riemann-right"
    ] = "gauss-legendre",
    multiply_by_inputs: bool = True,
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Any]:
    """Integrate the gradient along the straight path from a baseline to the image."""

@overload
def internal_influence(
    model: Model | Module | Callable[..., Any],
    image: OneImage,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    steps: int = 50,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "black",
    quadrature: Literal[
        "gauss-legendre", "trapezoid", "riemann-left", "riemann-middle", "riemann-right"
    ] = "gauss-legendre",
    seed: int = 0,
) -> LayerAttribution:
    """Average the gradient with respect to each unit of a layer along the straight path from a baseline to the image."""

@overload
def internal_influence(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    steps: int = 50,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "black",
    quadrature: Literal[
        "gauss-legendre", "trapezoid", "riemann-left", "riemann-middle", "riemann-right"
    ] = "gauss-legendre",
    seed: int = 0,
) -> list[LayerAttribution]:
    """Average the gradient with respect to each unit of a layer along the straight path from a baseline to the image."""

@overload
def internal_influence(
    model: Model | Module | Callable[..., Any],
    image: Tensor,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    steps: int = 50,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "black",
    quadrature: Literal[
        "gauss-legendre", "trapezoid", "riemann-left", "riemann-middle", "riemann-right"
    ] = "gauss-legendre",
    seed: int = 0,
) -> LayerAttribution | list[LayerAttribution]:
    """Average the gradient with respect to each unit of a layer along the straight path from a baseline to the image."""

@overload
def internal_influence(
    model: Model | Module | Callable[..., Any],
    image: DataSet,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    steps: int = 50,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "black",
    quadrature: Literal[
        "gauss-legendre", "trapezoid", "riemann-left", "riemann-middle", "riemann-right"
    ] = "gauss-legendre",
    seed: int = 0,
) -> ValueStream[LayerAttribution]:
    """Average the gradient with respect to each unit of a layer along the straight path from a baseline to the image."""

@overload
def internal_influence(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    steps: int = 50,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "black",
    quadrature: Literal[
        "gauss-legendre", "trapezoid", "riemann-left", "riemann-middle", "riemann-right"
    ] = "gauss-legendre",
    seed: int = 0,
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Average the gradient with respect to each unit of a layer along the straight path from a baseline to the image."""

@overload
def internal_influence(
    model: Model | Module | Callable[..., Any],
    image: Any,
    *,
    targets: Sequence[TargetLike],
    layer: LayerAddress = ...,
    steps: int = 50,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "black",
    quadrature: Literal[
        "gauss-legendre", "trapezoid", "riemann-left", "riemann-middle", "riemann-right"
    ] = "gauss-legendre",
    seed: int = 0,
) -> list[Any]:
    """Average the gradient with respect to each unit of a layer along the straight path from a baseline to the image."""

@overload
def layer_conductance(
    model: Model | Module | Callable[..., Any],
    image: OneImage,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    steps: int = 50,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "black",
    seed: int = 0,
) -> LayerAttribution:
    """Integrate the contribution of each unit along the straight path from a baseline to the image."""

@overload
def layer_conductance(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    steps: int = 50,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "black",
    seed: int = 0,
) -> list[LayerAttribution]:
    """Integrate the contribution of each unit along the straight path from a baseline to the image."""

@overload
def layer_conductance(
    model: Model | Module | Callable[..., Any],
    image: Tensor,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    steps: int = 50,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "black",
    seed: int = 0,
) -> LayerAttribution | list[LayerAttribution]:
    """Integrate the contribution of each unit along the straight path from a baseline to the image."""

@overload
def layer_conductance(
    model: Model | Module | Callable[..., Any],
    image: DataSet,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    steps: int = 50,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "black",
    seed: int = 0,
) -> ValueStream[LayerAttribution]:
    """Integrate the contribution of each unit along the straight path from a baseline to the image."""

@overload
def layer_conductance(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    steps: int = 50,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "black",
    seed: int = 0,
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Integrate the contribution of each unit along the straight path from a baseline to the image."""

@overload
def layer_conductance(
    model: Model | Module | Callable[..., Any],
    image: Any,
    *,
    targets: Sequence[TargetLike],
    layer: LayerAddress = ...,
    steps: int = 50,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "black",
    seed: int = 0,
) -> list[Any]:
    """Integrate the contribution of each unit along the straight path from a baseline to the image."""

@overload
def layer_gradient_x_activation(
    model: Model | Module | Callable[..., Any],
    image: OneImage,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
) -> LayerAttribution:
    """Multiply each unit of a layer by the gradient of the score with respect to it."""

@overload
def layer_gradient_x_activation(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
) -> list[LayerAttribution]:
    """Multiply each unit of a layer by the gradient of the score with respect to it."""

@overload
def layer_gradient_x_activation(
    model: Model | Module | Callable[..., Any],
    image: Tensor,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
) -> LayerAttribution | list[LayerAttribution]:
    """Multiply each unit of a layer by the gradient of the score with respect to it."""

@overload
def layer_gradient_x_activation(
    model: Model | Module | Callable[..., Any],
    image: DataSet,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
) -> ValueStream[LayerAttribution]:
    """Multiply each unit of a layer by the gradient of the score with respect to it."""

@overload
def layer_gradient_x_activation(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Multiply each unit of a layer by the gradient of the score with respect to it."""

@overload
def layer_gradient_x_activation(
    model: Model | Module | Callable[..., Any], image: Any, *, targets: Sequence[TargetLike], layer: LayerAddress = ...
) -> list[Any]:
    """Multiply each unit of a layer by the gradient of the score with respect to it."""

@overload
def layer_integrated_gradients(
    model: Model | Module | Callable[..., Any],
    image: OneImage,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    steps: int = 50,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "black",
    quadrature: Literal[
        "gauss-legendre", "trapezoid", "riemann-left", "riemann-middle", "riemann-right"
    ] = "gauss-legendre",
    multiply_by_inputs: bool = True,
    seed: int = 0,
) -> LayerAttribution:
    """Integrate the gradient along the straight path from a layer's output for a baseline to its output for the image."""

@overload
def layer_integrated_gradients(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    steps: int = 50,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "black",
    quadrature: Literal[
        "gauss-legendre", "trapezoid", "riemann-left", "riemann-middle", "riemann-right"
    ] = "gauss-legendre",
    multiply_by_inputs: bool = True,
    seed: int = 0,
) -> list[LayerAttribution]:
    """Integrate the gradient along the straight path from a layer's output for a baseline to its output for the image."""

@overload
def layer_integrated_gradients(
    model: Model | Module | Callable[..., Any],
    image: Tensor,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    steps: int = 50,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "black",
    quadrature: Literal[
        "gauss-legendre", "trapezoid", "riemann-left", "riemann-middle", "riemann-right"
    ] = "gauss-legendre",
    multiply_by_inputs: bool = True,
    seed: int = 0,
) -> LayerAttribution | list[LayerAttribution]:
    """Integrate the gradient along the straight path from a layer's output for a baseline to its output for the image."""

@overload
def layer_integrated_gradients(
    model: Model | Module | Callable[..., Any],
    image: DataSet,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    steps: int = 50,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "black",
    quadrature: Literal[
        "gauss-legendre", "trapezoid", "riemann-left", "riemann-middle", "riemann-right"
    ] = "gauss-legendre",
    multiply_by_inputs: bool = True,
    seed: int = 0,
) -> ValueStream[LayerAttribution]:
    """Integrate the gradient along the straight path from a layer's output for a baseline to its output for the image."""

@overload
def layer_integrated_gradients(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    steps: int = 50,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "black",
    quadrature: Literal[
        "gauss-legendre", "trapezoid", "riemann-left", "riemann-middle", "riemann-right"
    ] = "gauss-legendre",
    multiply_by_inputs: bool = True,
    seed: int = 0,
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Integrate the gradient along the straight path from a layer's output for a baseline to its output for the image."""

@overload
def layer_integrated_gradients(
    model: Model | Module | Callable[..., Any],
    image: Any,
    *,
    targets: Sequence[TargetLike],
    layer: LayerAddress = ...,
    steps: int = 50,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "black",
    quadrature: Literal[
        "gauss-legendre", "trapezoid", "riemann-left", "riemann-middle", "riemann-right"
    ] = "gauss-legendre",
    multiply_by_inputs: bool = True,
    seed: int = 0,
) -> list[Any]:
    """Integrate the gradient along the straight path from a layer's output for a baseline to its output for the image."""

@overload
def neuron_conductance(
    model: Model | Module | Callable[..., Any],
    image: OneImage,
    *,
    unit: Any | None = None,
    target: TargetLike = "top-1",
    steps: int = 50,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "black",
    quadrature: Literal[
        "gauss-legendre", "trapezoid", "riemann-left", "riemann-middle", "riemann-right"
    ] = "gauss-legendre",
    multiply_by_inputs: bool = True,
    seed: int = 0,
) -> Attribution:
    """Integrate the contribution of each pixel through one unit along the path from a baseline to the image."""

@overload
def neuron_conductance(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    unit: Any | None = None,
    target: TargetLike = "top-1",
    steps: int = 50,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "black",
    quadrature: Literal[
        "gauss-legendre", "trapezoid", "riemann-left", "riemann-middle", "riemann-right"
    ] = "gauss-legendre",
    multiply_by_inputs: bool = True,
    seed: int = 0,
) -> list[Attribution]:
    """Integrate the contribution of each pixel through one unit along the path from a baseline to the image."""

@overload
def neuron_conductance(
    model: Model | Module | Callable[..., Any],
    image: Tensor,
    *,
    unit: Any | None = None,
    target: TargetLike = "top-1",
    steps: int = 50,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "black",
    quadrature: Literal[
        "gauss-legendre", "trapezoid", "riemann-left", "riemann-middle", "riemann-right"
    ] = "gauss-legendre",
    multiply_by_inputs: bool = True,
    seed: int = 0,
) -> Attribution | list[Attribution]:
    """Integrate the contribution of each pixel through one unit along the path from a baseline to the image."""

@overload
def neuron_conductance(
    model: Model | Module | Callable[..., Any],
    image: DataSet,
    *,
    unit: Any | None = None,
    target: TargetLike = "top-1",
    steps: int = 50,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "black",
    quadrature: Literal[
        "gauss-legendre", "trapezoid", "riemann-left", "riemann-middle", "riemann-right"
    ] = "gauss-legendre",
    multiply_by_inputs: bool = True,
    seed: int = 0,
) -> ValueStream[Attribution]:
    """Integrate the contribution of each pixel through one unit along the path from a baseline to the image."""

@overload
def neuron_conductance(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    unit: Any | None = None,
    target: TargetLike = "top-1",
    steps: int = 50,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "black",
    quadrature: Literal[
        "gauss-legendre", "trapezoid", "riemann-left", "riemann-middle", "riemann-right"
    ] = "gauss-legendre",
    multiply_by_inputs: bool = True,
    seed: int = 0,
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Integrate the contribution of each pixel through one unit along the path from a baseline to the image."""

@overload
def neuron_conductance(
    model: Model | Module | Callable[..., Any],
    image: Any,
    *,
    unit: Any | None = None,
    targets: Sequence[TargetLike],
    steps: int = 50,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "black",
    quadrature: Literal[
        "gauss-legendre", "trapezoid", "riemann-left", "riemann-middle", "riemann-right"
    ] = "gauss-legendre",
    multiply_by_inputs: bool = True,
    seed: int = 0,
) -> list[Any]:
    """Integrate the contribution of each pixel through one unit along the path from a baseline to the image."""

@overload
def saliency(
    model: Model | Module | Callable[..., Any],
    image: OneImage,
    *,
    target: TargetLike = "top-1",
    sign: Literal["signed", "absolute"] = "signed",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    differentiable: bool = False,
) -> Attribution:
    """Compute the gradient of the score with respect to each pixel."""

@overload
def saliency(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    sign: Literal["signed", "absolute"] = "signed",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    differentiable: bool = False,
) -> list[Attribution]:
    """Compute the gradient of the score with respect to each pixel."""

@overload
def saliency(
    model: Model | Module | Callable[..., Any],
    image: Tensor,
    *,
    target: TargetLike = "top-1",
    sign: Literal["signed", "absolute"] = "signed",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    differentiable: bool = False,
) -> Attribution | list[Attribution]:
    """Compute the gradient of the score with respect to each pixel."""

@overload
def saliency(
    model: Model | Module | Callable[..., Any],
    image: DataSet,
    *,
    target: TargetLike = "top-1",
    sign: Literal["signed", "absolute"] = "signed",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    differentiable: bool = False,
) -> ValueStream[Attribution]:
    """Compute the gradient of the score with respect to each pixel."""

@overload
def saliency(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    target: TargetLike = "top-1",
    sign: Literal["signed", "absolute"] = "signed",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    differentiable: bool = False,
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Compute the gradient of the score with respect to each pixel."""

@overload
def saliency(
    model: Model | Module | Callable[..., Any],
    image: Any,
    *,
    targets: Sequence[TargetLike],
    sign: Literal["signed", "absolute"] = "signed",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    differentiable: bool = False,
) -> list[Any]:
    """Compute the gradient of the score with respect to each pixel."""

@overload
def smooth_grad(
    model: Model | Module | Callable[..., Any],
    image: OneImage,
    *,
    target: TargetLike = "top-1",
    samples: int = 25,
    sigma: float = 0.15,
    seed: int = 0,
    sign: Literal["signed", "absolute"] = "signed",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution:
    """Average the gradient over noisy copies of the image."""

@overload
def smooth_grad(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    samples: int = 25,
    sigma: float = 0.15,
    seed: int = 0,
    sign: Literal["signed", "absolute"] = "signed",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Attribution]:
    """Average the gradient over noisy copies of the image."""

@overload
def smooth_grad(
    model: Model | Module | Callable[..., Any],
    image: Tensor,
    *,
    target: TargetLike = "top-1",
    samples: int = 25,
    sigma: float = 0.15,
    seed: int = 0,
    sign: Literal["signed", "absolute"] = "signed",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution | list[Attribution]:
    """Average the gradient over noisy copies of the image."""

@overload
def smooth_grad(
    model: Model | Module | Callable[..., Any],
    image: DataSet,
    *,
    target: TargetLike = "top-1",
    samples: int = 25,
    sigma: float = 0.15,
    seed: int = 0,
    sign: Literal["signed", "absolute"] = "signed",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> ValueStream[Attribution]:
    """Average the gradient over noisy copies of the image."""

@overload
def smooth_grad(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    target: TargetLike = "top-1",
    samples: int = 25,
    sigma: float = 0.15,
    seed: int = 0,
    sign: Literal["signed", "absolute"] = "signed",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Average the gradient over noisy copies of the image."""

@overload
def smooth_grad(
    model: Model | Module | Callable[..., Any],
    image: Any,
    *,
    targets: Sequence[TargetLike],
    samples: int = 25,
    sigma: float = 0.15,
    seed: int = 0,
    sign: Literal["signed", "absolute"] = "signed",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Any]:
    """Average the gradient over noisy copies of the image."""

@overload
def smooth_grad_squared(
    model: Model | Module | Callable[..., Any],
    image: OneImage,
    *,
    target: TargetLike = "top-1",
    samples: int = 25,
    sigma: float = 0.15,
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution:
    """Average the squared gradient over noisy copies of the image."""

@overload
def smooth_grad_squared(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    samples: int = 25,
    sigma: float = 0.15,
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Attribution]:
    """Average the squared gradient over noisy copies of the image."""

@overload
def smooth_grad_squared(
    model: Model | Module | Callable[..., Any],
    image: Tensor,
    *,
    target: TargetLike = "top-1",
    samples: int = 25,
    sigma: float = 0.15,
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution | list[Attribution]:
    """Average the squared gradient over noisy copies of the image."""

@overload
def smooth_grad_squared(
    model: Model | Module | Callable[..., Any],
    image: DataSet,
    *,
    target: TargetLike = "top-1",
    samples: int = 25,
    sigma: float = 0.15,
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> ValueStream[Attribution]:
    """Average the squared gradient over noisy copies of the image."""

@overload
def smooth_grad_squared(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    target: TargetLike = "top-1",
    samples: int = 25,
    sigma: float = 0.15,
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Average the squared gradient over noisy copies of the image."""

@overload
def smooth_grad_squared(
    model: Model | Module | Callable[..., Any],
    image: Any,
    *,
    targets: Sequence[TargetLike],
    samples: int = 25,
    sigma: float = 0.15,
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Any]:
    """Average the squared gradient over noisy copies of the image."""

@overload
def var_grad(
    model: Model | Module | Callable[..., Any],
    image: OneImage,
    *,
    target: TargetLike = "top-1",
    samples: int = 25,
    sigma: float = 0.15,
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution:
    """Compute the variance of the gradient over noisy copies of the image."""

@overload
def var_grad(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    samples: int = 25,
    sigma: float = 0.15,
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Attribution]:
    """Compute the variance of the gradient over noisy copies of the image."""

@overload
def var_grad(
    model: Model | Module | Callable[..., Any],
    image: Tensor,
    *,
    target: TargetLike = "top-1",
    samples: int = 25,
    sigma: float = 0.15,
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution | list[Attribution]:
    """Compute the variance of the gradient over noisy copies of the image."""

@overload
def var_grad(
    model: Model | Module | Callable[..., Any],
    image: DataSet,
    *,
    target: TargetLike = "top-1",
    samples: int = 25,
    sigma: float = 0.15,
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> ValueStream[Attribution]:
    """Compute the variance of the gradient over noisy copies of the image."""

@overload
def var_grad(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    target: TargetLike = "top-1",
    samples: int = 25,
    sigma: float = 0.15,
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Compute the variance of the gradient over noisy copies of the image."""

@overload
def var_grad(
    model: Model | Module | Callable[..., Any],
    image: Any,
    *,
    targets: Sequence[TargetLike],
    samples: int = 25,
    sigma: float = 0.15,
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Any]:
    """Compute the variance of the gradient over noisy copies of the image."""

@overload
def cam(
    model: Model | Module | Callable[..., Any],
    image: OneImage,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution:
    """Sum the channels with the weights that the last linear layer gives them for this class."""

@overload
def cam(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Attribution]:
    """Sum the channels with the weights that the last linear layer gives them for this class."""

@overload
def cam(
    model: Model | Module | Callable[..., Any],
    image: Tensor,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution | list[Attribution]:
    """Sum the channels with the weights that the last linear layer gives them for this class."""

@overload
def cam(
    model: Model | Module | Callable[..., Any],
    image: DataSet,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> ValueStream[Attribution]:
    """Sum the channels with the weights that the last linear layer gives them for this class."""

@overload
def cam(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Sum the channels with the weights that the last linear layer gives them for this class."""

@overload
def cam(
    model: Model | Module | Callable[..., Any],
    image: Any,
    *,
    targets: Sequence[TargetLike],
    layer: LayerAddress = ...,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Any]:
    """Sum the channels with the weights that the last linear layer gives them for this class."""

@overload
def eigen_cam(
    model: Model | Module | Callable[..., Any],
    image: OneImage,
    *,
    layer: LayerAddress = ...,
    center: bool = True,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution:
    """Project a layer's activations onto their first principal direction."""

@overload
def eigen_cam(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    layer: LayerAddress = ...,
    center: bool = True,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Attribution]:
    """Project a layer's activations onto their first principal direction."""

@overload
def eigen_cam(
    model: Model | Module | Callable[..., Any],
    image: Tensor,
    *,
    layer: LayerAddress = ...,
    center: bool = True,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution | list[Attribution]:
    """Project a layer's activations onto their first principal direction."""

@overload
def eigen_cam(
    model: Model | Module | Callable[..., Any],
    image: DataSet,
    *,
    layer: LayerAddress = ...,
    center: bool = True,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> ValueStream[Attribution]:
    """Project a layer's activations onto their first principal direction."""

@overload
def eigen_cam(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    layer: LayerAddress = ...,
    center: bool = True,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Project a layer's activations onto their first principal direction."""

@overload
def eigen_grad_cam(
    model: Model | Module | Callable[..., Any],
    image: OneImage,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    center: bool = True,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution:
    """Project activation × gradient onto its first principal direction."""

@overload
def eigen_grad_cam(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    center: bool = True,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Attribution]:
    """Project activation × gradient onto its first principal direction."""

@overload
def eigen_grad_cam(
    model: Model | Module | Callable[..., Any],
    image: Tensor,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    center: bool = True,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution | list[Attribution]:
    """Project activation × gradient onto its first principal direction."""

@overload
def eigen_grad_cam(
    model: Model | Module | Callable[..., Any],
    image: DataSet,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    center: bool = True,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> ValueStream[Attribution]:
    """Project activation × gradient onto its first principal direction."""

@overload
def eigen_grad_cam(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    center: bool = True,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Project activation × gradient onto its first principal direction."""

@overload
def eigen_grad_cam(
    model: Model | Module | Callable[..., Any],
    image: Any,
    *,
    targets: Sequence[TargetLike],
    layer: LayerAddress = ...,
    center: bool = True,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Any]:
    """Project activation × gradient onto its first principal direction."""

@overload
def element_wise_grad_cam(
    model: Model | Module | Callable[..., Any],
    image: OneImage,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    differentiable: bool = False,
) -> Attribution:
    """Keep only the positive products of activation and gradient, then sum the channels."""

@overload
def element_wise_grad_cam(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    differentiable: bool = False,
) -> list[Attribution]:
    """Keep only the positive products of activation and gradient, then sum the channels."""

@overload
def element_wise_grad_cam(
    model: Model | Module | Callable[..., Any],
    image: Tensor,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    differentiable: bool = False,
) -> Attribution | list[Attribution]:
    """Keep only the positive products of activation and gradient, then sum the channels."""

@overload
def element_wise_grad_cam(
    model: Model | Module | Callable[..., Any],
    image: DataSet,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    differentiable: bool = False,
) -> ValueStream[Attribution]:
    """Keep only the positive products of activation and gradient, then sum the channels."""

@overload
def element_wise_grad_cam(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    differentiable: bool = False,
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Keep only the positive products of activation and gradient, then sum the channels."""

@overload
def element_wise_grad_cam(
    model: Model | Module | Callable[..., Any],
    image: Any,
    *,
    targets: Sequence[TargetLike],
    layer: LayerAddress = ...,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    differentiable: bool = False,
) -> list[Any]:
    """Keep only the positive products of activation and gradient, then sum the channels."""

@overload
def fem(
    model: Model | Module | Callable[..., Any],
    image: OneImage,
    *,
    layer: LayerAddress = ...,
    k: float = 2.0,
    variant: Literal["paper", "pytorch-grad-cam"] = "paper",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution:
    """Threshold each channel at its strongest activations, and sum the masks weighted by the channels' means."""

@overload
def fem(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    layer: LayerAddress = ...,
    k: float = 2.0,
    variant: Literal["paper", "pytorch-grad-cam"] = "paper",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Attribution]:
    """Threshold each channel at its strongest activations, and sum the masks weighted by the channels' means."""

@overload
def fem(
    model: Model | Module | Callable[..., Any],
    image: Tensor,
    *,
    layer: LayerAddress = ...,
    k: float = 2.0,
    variant: Literal["paper", "pytorch-grad-cam"] = "paper",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution | list[Attribution]:
    """Threshold each channel at its strongest activations, and sum the masks weighted by the channels' means."""

@overload
def fem(
    model: Model | Module | Callable[..., Any],
    image: DataSet,
    *,
    layer: LayerAddress = ...,
    k: float = 2.0,
    variant: Literal["paper", "pytorch-grad-cam"] = "paper",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> ValueStream[Attribution]:
    """Threshold each channel at its strongest activations, and sum the masks weighted by the channels' means."""

@overload
def fem(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    layer: LayerAddress = ...,
    k: float = 2.0,
    variant: Literal["paper", "pytorch-grad-cam"] = "paper",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Threshold each channel at its strongest activations, and sum the masks weighted by the channels' means."""

@overload
def finer_cam(
    model: Model | Module | Callable[..., Any],
    image: OneImage,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    similar: int = 3,
    alpha: float = 1.0,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution:
    """Explain by Grad-CAM the difference between a class's score and the scores of the most similar classes."""

@overload
def finer_cam(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    similar: int = 3,
    alpha: float = 1.0,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Attribution]:
    """Explain by Grad-CAM the difference between a class's score and the scores of the most similar classes."""

@overload
def finer_cam(
    model: Model | Module | Callable[..., Any],
    image: Tensor,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    similar: int = 3,
    alpha: float = 1.0,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution | list[Attribution]:
    """Explain by Grad-CAM the difference between a class's score and the scores of the most similar classes."""

@overload
def finer_cam(
    model: Model | Module | Callable[..., Any],
    image: DataSet,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    similar: int = 3,
    alpha: float = 1.0,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> ValueStream[Attribution]:
    """Explain by Grad-CAM the difference between a class's score and the scores of the most similar classes."""

@overload
def finer_cam(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    similar: int = 3,
    alpha: float = 1.0,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Explain by Grad-CAM the difference between a class's score and the scores of the most similar classes."""

@overload
def finer_cam(
    model: Model | Module | Callable[..., Any],
    image: Any,
    *,
    targets: Sequence[TargetLike],
    layer: LayerAddress = ...,
    similar: int = 3,
    alpha: float = 1.0,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Any]:
    """Explain by Grad-CAM the difference between a class's score and the scores of the most similar classes."""

@overload
def grad_cam(
    model: Model | Module | Callable[..., Any],
    image: OneImage,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    differentiable: bool = False,
) -> Attribution:
    """Weight a layer's channels by how much each raises the score on average."""

@overload
def grad_cam(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    differentiable: bool = False,
) -> list[Attribution]:
    """Weight a layer's channels by how much each raises the score on average."""

@overload
def grad_cam(
    model: Model | Module | Callable[..., Any],
    image: Tensor,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    differentiable: bool = False,
) -> Attribution | list[Attribution]:
    """Weight a layer's channels by how much each raises the score on average."""

@overload
def grad_cam(
    model: Model | Module | Callable[..., Any],
    image: DataSet,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    differentiable: bool = False,
) -> ValueStream[Attribution]:
    """Weight a layer's channels by how much each raises the score on average."""

@overload
def grad_cam(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    differentiable: bool = False,
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Weight a layer's channels by how much each raises the score on average."""

@overload
def grad_cam(
    model: Model | Module | Callable[..., Any],
    image: Any,
    *,
    targets: Sequence[TargetLike],
    layer: LayerAddress = ...,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    differentiable: bool = False,
) -> list[Any]:
    """Weight a layer's channels by how much each raises the score on average."""

@overload
def grad_cam_plus_plus(
    model: Model | Module | Callable[..., Any],
    image: OneImage,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    differentiable: bool = False,
) -> Attribution:
    """Weight channels by their positive gradients, with positions scaled so that every instance counts equally."""

@overload
def grad_cam_plus_plus(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    differentiable: bool = False,
) -> list[Attribution]:
    """Weight channels by their positive gradients, with positions scaled so that every instance counts equally."""

@overload
def grad_cam_plus_plus(
    model: Model | Module | Callable[..., Any],
    image: Tensor,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    differentiable: bool = False,
) -> Attribution | list[Attribution]:
    """Weight channels by their positive gradients, with positions scaled so that every instance counts equally."""

@overload
def grad_cam_plus_plus(
    model: Model | Module | Callable[..., Any],
    image: DataSet,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    differentiable: bool = False,
) -> ValueStream[Attribution]:
    """Weight channels by their positive gradients, with positions scaled so that every instance counts equally."""

@overload
def grad_cam_plus_plus(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    differentiable: bool = False,
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Weight channels by their positive gradients, with positions scaled so that every instance counts equally."""

@overload
def grad_cam_plus_plus(
    model: Model | Module | Callable[..., Any],
    image: Any,
    *,
    targets: Sequence[TargetLike],
    layer: LayerAddress = ...,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    differentiable: bool = False,
) -> list[Any]:
    """Weight channels by their positive gradients, with positions scaled so that every instance counts equally."""

@overload
def hires_cam(
    model: Model | Module | Callable[..., Any],
    image: OneImage,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    differentiable: bool = False,
) -> Attribution:
    """Multiply activation and gradient at each position, and sum the channels."""

@overload
def hires_cam(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    differentiable: bool = False,
) -> list[Attribution]:
    """Multiply activation and gradient at each position, and sum the channels."""

@overload
def hires_cam(
    model: Model | Module | Callable[..., Any],
    image: Tensor,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    differentiable: bool = False,
) -> Attribution | list[Attribution]:
    """Multiply activation and gradient at each position, and sum the channels."""

@overload
def hires_cam(
    model: Model | Module | Callable[..., Any],
    image: DataSet,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    differentiable: bool = False,
) -> ValueStream[Attribution]:
    """Multiply activation and gradient at each position, and sum the channels."""

@overload
def hires_cam(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    differentiable: bool = False,
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Multiply activation and gradient at each position, and sum the channels."""

@overload
def hires_cam(
    model: Model | Module | Callable[..., Any],
    image: Any,
    *,
    targets: Sequence[TargetLike],
    layer: LayerAddress = ...,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    differentiable: bool = False,
) -> list[Any]:
    """Multiply activation and gradient at each position, and sum the channels."""

@overload
def layer_cam(
    model: Model | Module | Callable[..., Any],
    image: OneImage,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    differentiable: bool = False,
) -> Attribution:
    """Weight every position of every channel by its own positive gradient."""

@overload
def layer_cam(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    differentiable: bool = False,
) -> list[Attribution]:
    """Weight every position of every channel by its own positive gradient."""

@overload
def layer_cam(
    model: Model | Module | Callable[..., Any],
    image: Tensor,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    differentiable: bool = False,
) -> Attribution | list[Attribution]:
    """Weight every position of every channel by its own positive gradient."""

@overload
def layer_cam(
    model: Model | Module | Callable[..., Any],
    image: DataSet,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    differentiable: bool = False,
) -> ValueStream[Attribution]:
    """Weight every position of every channel by its own positive gradient."""

@overload
def layer_cam(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    differentiable: bool = False,
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Weight every position of every channel by its own positive gradient."""

@overload
def layer_cam(
    model: Model | Module | Callable[..., Any],
    image: Any,
    *,
    targets: Sequence[TargetLike],
    layer: LayerAddress = ...,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    differentiable: bool = False,
) -> list[Any]:
    """Weight every position of every channel by its own positive gradient."""

@overload
def layer_grad_cam(
    model: Model | Module | Callable[..., Any],
    image: OneImage,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
) -> LayerAttribution:
    """Weight each channel of a layer by its mean gradient, without summing the channels."""

@overload
def layer_grad_cam(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
) -> list[LayerAttribution]:
    """Weight each channel of a layer by its mean gradient, without summing the channels."""

@overload
def layer_grad_cam(
    model: Model | Module | Callable[..., Any],
    image: Tensor,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
) -> LayerAttribution | list[LayerAttribution]:
    """Weight each channel of a layer by its mean gradient, without summing the channels."""

@overload
def layer_grad_cam(
    model: Model | Module | Callable[..., Any],
    image: DataSet,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
) -> ValueStream[LayerAttribution]:
    """Weight each channel of a layer by its mean gradient, without summing the channels."""

@overload
def layer_grad_cam(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Weight each channel of a layer by its mean gradient, without summing the channels."""

@overload
def layer_grad_cam(
    model: Model | Module | Callable[..., Any], image: Any, *, targets: Sequence[TargetLike], layer: LayerAddress = ...
) -> list[Any]:
    """Weight each channel of a layer by its mean gradient, without summing the channels."""

@overload
def refine_cam(
    model: Model | Module | Callable[..., Any],
    image: OneImage,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    stages: int = 3,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution:
    """Multiply the Grad-CAM++ maps of layers of several resolutions: late layers identify, early layers localize."""

@overload
def refine_cam(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    stages: int = 3,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Attribution]:
    """Multiply the Grad-CAM++ maps of layers of several resolutions: late layers identify, early layers localize."""

@overload
def refine_cam(
    model: Model | Module | Callable[..., Any],
    image: Tensor,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    stages: int = 3,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution | list[Attribution]:
    """Multiply the Grad-CAM++ maps of layers of several resolutions: late layers identify, early layers localize."""

@overload
def refine_cam(
    model: Model | Module | Callable[..., Any],
    image: DataSet,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    stages: int = 3,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> ValueStream[Attribution]:
    """Multiply the Grad-CAM++ maps of layers of several resolutions: late layers identify, early layers localize."""

@overload
def refine_cam(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    stages: int = 3,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Multiply the Grad-CAM++ maps of layers of several resolutions: late layers identify, early layers localize."""

@overload
def refine_cam(
    model: Model | Module | Callable[..., Any],
    image: Any,
    *,
    targets: Sequence[TargetLike],
    layer: LayerAddress = ...,
    stages: int = 3,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Any]:
    """Multiply the Grad-CAM++ maps of layers of several resolutions: late layers identify, early layers localize."""

@overload
def shapley_cam(
    model: Model | Module | Callable[..., Any],
    image: OneImage,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    utility: Literal["rest", "score"] = "rest",
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution:
    """Weight channels as Grad-CAM does, with gradients corrected for the curvature between zero and the activation."""

@overload
def shapley_cam(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    utility: Literal["rest", "score"] = "rest",
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Attribution]:
    """Weight channels as Grad-CAM does, with gradients corrected for the curvature between zero and the activation."""

@overload
def shapley_cam(
    model: Model | Module | Callable[..., Any],
    image: Tensor,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    utility: Literal["rest", "score"] = "rest",
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution | list[Attribution]:
    """Weight channels as Grad-CAM does, with gradients corrected for the curvature between zero and the activation."""

@overload
def shapley_cam(
    model: Model | Module | Callable[..., Any],
    image: DataSet,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    utility: Literal["rest", "score"] = "rest",
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> ValueStream[Attribution]:
    """Weight channels as Grad-CAM does, with gradients corrected for the curvature between zero and the activation."""

@overload
def shapley_cam(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    utility: Literal["rest", "score"] = "rest",
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Weight channels as Grad-CAM does, with gradients corrected for the curvature between zero and the activation."""

@overload
def shapley_cam(
    model: Model | Module | Callable[..., Any],
    image: Any,
    *,
    targets: Sequence[TargetLike],
    layer: LayerAddress = ...,
    utility: Literal["rest", "score"] = "rest",
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Any]:
    """Weight channels as Grad-CAM does, with gradients corrected for the curvature between zero and the activation."""

@overload
def smooth_grad_cam_plus_plus(
    model: Model | Module | Callable[..., Any],
    image: OneImage,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    samples: int = 8,
    sigma: float = 0.1,
    seed: int = 0,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution:
    """Compute the weights of Grad-CAM++ from derivatives averaged over noisy copies of the image."""

@overload
def smooth_grad_cam_plus_plus(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    samples: int = 8,
    sigma: float = 0.1,
    seed: int = 0,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Attribution]:
    """Compute the weights of Grad-CAM++ from derivatives averaged over noisy copies of the image."""

@overload
def smooth_grad_cam_plus_plus(
    model: Model | Module | Callable[..., Any],
    image: Tensor,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    samples: int = 8,
    sigma: float = 0.1,
    seed: int = 0,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution | list[Attribution]:
    """Compute the weights of Grad-CAM++ from derivatives averaged over noisy copies of the image."""

@overload
def smooth_grad_cam_plus_plus(
    model: Model | Module | Callable[..., Any],
    image: DataSet,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    samples: int = 8,
    sigma: float = 0.1,
    seed: int = 0,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> ValueStream[Attribution]:
    """Compute the weights of Grad-CAM++ from derivatives averaged over noisy copies of the image."""

@overload
def smooth_grad_cam_plus_plus(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    samples: int = 8,
    sigma: float = 0.1,
    seed: int = 0,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Compute the weights of Grad-CAM++ from derivatives averaged over noisy copies of the image."""

@overload
def smooth_grad_cam_plus_plus(
    model: Model | Module | Callable[..., Any],
    image: Any,
    *,
    targets: Sequence[TargetLike],
    layer: LayerAddress = ...,
    samples: int = 8,
    sigma: float = 0.1,
    seed: int = 0,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Any]:
    """Compute the weights of Grad-CAM++ from derivatives averaged over noisy copies of the image."""

@overload
def x_grad_cam(
    model: Model | Module | Callable[..., Any],
    image: OneImage,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    differentiable: bool = False,
) -> Attribution:
    """Weight each channel by the mean of its gradient, weighted by its own activation."""

@overload
def x_grad_cam(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    differentiable: bool = False,
) -> list[Attribution]:
    """Weight each channel by the mean of its gradient, weighted by its own activation."""

@overload
def x_grad_cam(
    model: Model | Module | Callable[..., Any],
    image: Tensor,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    differentiable: bool = False,
) -> Attribution | list[Attribution]:
    """Weight each channel by the mean of its gradient, weighted by its own activation."""

@overload
def x_grad_cam(
    model: Model | Module | Callable[..., Any],
    image: DataSet,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    differentiable: bool = False,
) -> ValueStream[Attribution]:
    """Weight each channel by the mean of its gradient, weighted by its own activation."""

@overload
def x_grad_cam(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    differentiable: bool = False,
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Weight each channel by the mean of its gradient, weighted by its own activation."""

@overload
def x_grad_cam(
    model: Model | Module | Callable[..., Any],
    image: Any,
    *,
    targets: Sequence[TargetLike],
    layer: LayerAddress = ...,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    differentiable: bool = False,
) -> list[Any]:
    """Weight each channel by the mean of its gradient, weighted by its own activation."""

@overload
def attention(
    model: Model | Module | Callable[..., Any],
    image: OneImage,
    *,
    patch: str = "",
    direction: Literal["from", "to"] = "from",
    heads: Literal["each", "mean", "max", "min"] = "each",
    within: str = "",
    matrix: bool = False,
) -> AttentionMaps:
    """Show the attention weights of every layer and head, from or to one token."""

@overload
def attention(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    patch: str = "",
    direction: Literal["from", "to"] = "from",
    heads: Literal["each", "mean", "max", "min"] = "each",
    within: str = "",
    matrix: bool = False,
) -> list[AttentionMaps]:
    """Show the attention weights of every layer and head, from or to one token."""

@overload
def attention(
    model: Model | Module | Callable[..., Any],
    image: Tensor,
    *,
    patch: str = "",
    direction: Literal["from", "to"] = "from",
    heads: Literal["each", "mean", "max", "min"] = "each",
    within: str = "",
    matrix: bool = False,
) -> AttentionMaps | list[AttentionMaps]:
    """Show the attention weights of every layer and head, from or to one token."""

@overload
def attention(
    model: Model | Module | Callable[..., Any],
    image: DataSet,
    *,
    patch: str = "",
    direction: Literal["from", "to"] = "from",
    heads: Literal["each", "mean", "max", "min"] = "each",
    within: str = "",
    matrix: bool = False,
) -> ValueStream[AttentionMaps]:
    """Show the attention weights of every layer and head, from or to one token."""

@overload
def attention(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    patch: str = "",
    direction: Literal["from", "to"] = "from",
    heads: Literal["each", "mean", "max", "min"] = "each",
    within: str = "",
    matrix: bool = False,
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Show the attention weights of every layer and head, from or to one token."""

def attention_heads(model: Model | Module | Callable[..., Any], images: Any) -> AttentionHeads:
    """Measure every head: the entropy of its weights, and the mean distance of what it attends to."""

@overload
def attention_norms(
    model: Model | Module | Callable[..., Any],
    image: OneImage,
    *,
    heads: Literal["sum", "mean"] = "sum",
    within: str = "",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution:
    """Show the norms of the vectors that attention adds up, averaged over layers."""

@overload
def attention_norms(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    heads: Literal["sum", "mean"] = "sum",
    within: str = "",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Attribution]:
    """Show the norms of the vectors that attention adds up, averaged over layers."""

@overload
def attention_norms(
    model: Model | Module | Callable[..., Any],
    image: Tensor,
    *,
    heads: Literal["sum", "mean"] = "sum",
    within: str = "",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution | list[Attribution]:
    """Show the norms of the vectors that attention adds up, averaged over layers."""

@overload
def attention_norms(
    model: Model | Module | Callable[..., Any],
    image: DataSet,
    *,
    heads: Literal["sum", "mean"] = "sum",
    within: str = "",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> ValueStream[Attribution]:
    """Show the norms of the vectors that attention adds up, averaged over layers."""

@overload
def attention_norms(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    heads: Literal["sum", "mean"] = "sum",
    within: str = "",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Show the norms of the vectors that attention adds up, averaged over layers."""

@overload
def attention_rollout(
    model: Model | Module | Callable[..., Any],
    image: OneImage,
    *,
    heads: Literal["mean", "max", "min"] = "mean",
    discard: float = 0.0,
    token: Literal["auto", "class", "mean"] = "auto",
    each_layer: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution:
    """Multiply the attention of all layers, each mixed in equal parts with the identity of the residual connection."""

@overload
def attention_rollout(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    heads: Literal["mean", "max", "min"] = "mean",
    discard: float = 0.0,
    token: Literal["auto", "class", "mean"] = "auto",
    each_layer: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Attribution]:
    """Multiply the attention of all layers, each mixed in equal parts with the identity of the residual connection."""

@overload
def attention_rollout(
    model: Model | Module | Callable[..., Any],
    image: Tensor,
    *,
    heads: Literal["mean", "max", "min"] = "mean",
    discard: float = 0.0,
    token: Literal["auto", "class", "mean"] = "auto",
    each_layer: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution | list[Attribution]:
    """Multiply the attention of all layers, each mixed in equal parts with the identity of the residual connection."""

@overload
def attention_rollout(
    model: Model | Module | Callable[..., Any],
    image: DataSet,
    *,
    heads: Literal["mean", "max", "min"] = "mean",
    discard: float = 0.0,
    token: Literal["auto", "class", "mean"] = "auto",
    each_layer: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> ValueStream[Attribution]:
    """Multiply the attention of all layers, each mixed in equal parts with the identity of the residual connection."""

@overload
def attention_rollout(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    heads: Literal["mean", "max", "min"] = "mean",
    discard: float = 0.0,
    token: Literal["auto", "class", "mean"] = "auto",
    each_layer: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Multiply the attention of all layers, each mixed in equal parts with the identity of the residual connection."""

@overload
def attention_x_gradient(
    model: Model | Module | Callable[..., Any],
    image: OneImage,
    *,
    target: TargetLike = "top-1",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution:
    """Average attention weights times their positive gradients over layers, heads and queries (Grad-SAM)."""

@overload
def attention_x_gradient(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Attribution]:
    """Average attention weights times their positive gradients over layers, heads and queries (Grad-SAM)."""

@overload
def attention_x_gradient(
    model: Model | Module | Callable[..., Any],
    image: Tensor,
    *,
    target: TargetLike = "top-1",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution | list[Attribution]:
    """Average attention weights times their positive gradients over layers, heads and queries (Grad-SAM)."""

@overload
def attention_x_gradient(
    model: Model | Module | Callable[..., Any],
    image: DataSet,
    *,
    target: TargetLike = "top-1",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> ValueStream[Attribution]:
    """Average attention weights times their positive gradients over layers, heads and queries (Grad-SAM)."""

@overload
def attention_x_gradient(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    target: TargetLike = "top-1",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Average attention weights times their positive gradients over layers, heads and queries (Grad-SAM)."""

@overload
def attention_x_gradient(
    model: Model | Module | Callable[..., Any],
    image: Any,
    *,
    targets: Sequence[TargetLike],
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Any]:
    """Average attention weights times their positive gradients over layers, heads and queries (Grad-SAM)."""

@overload
def gates(
    model: Model | Module | Callable[..., Any], image: OneImage, *, target: TargetLike = "top-1", within: str = ""
) -> GateMaps:
    """Show what squeeze-excite, CBAM, ECA and other gates let through, and gate × gradient for a class."""

@overload
def gates(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    within: str = "",
) -> list[GateMaps]:
    """Show what squeeze-excite, CBAM, ECA and other gates let through, and gate × gradient for a class."""

@overload
def gates(
    model: Model | Module | Callable[..., Any], image: Tensor, *, target: TargetLike = "top-1", within: str = ""
) -> GateMaps | list[GateMaps]:
    """Show what squeeze-excite, CBAM, ECA and other gates let through, and gate × gradient for a class."""

@overload
def gates(
    model: Model | Module | Callable[..., Any], image: DataSet, *, target: TargetLike = "top-1", within: str = ""
) -> ValueStream[GateMaps]:
    """Show what squeeze-excite, CBAM, ECA and other gates let through, and gate × gradient for a class."""

@overload
def gates(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    target: TargetLike = "top-1",
    within: str = "",
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Show what squeeze-excite, CBAM, ECA and other gates let through, and gate × gradient for a class."""

@overload
def gates(
    model: Model | Module | Callable[..., Any], image: Any, *, targets: Sequence[TargetLike], within: str = ""
) -> list[Any]:
    """Show what squeeze-excite, CBAM, ECA and other gates let through, and gate × gradient for a class."""

@overload
def gradient_rollout(
    model: Model | Module | Callable[..., Any],
    image: OneImage,
    *,
    target: TargetLike = "top-1",
    discard: float = 0.9,
    token: Literal["auto", "class", "mean"] = "auto",
    each_layer: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution:
    """Attention rollout of weights that are multiplied by their gradients."""

@overload
def gradient_rollout(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    discard: float = 0.9,
    token: Literal["auto", "class", "mean"] = "auto",
    each_layer: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Attribution]:
    """Attention rollout of weights that are multiplied by their gradients."""

@overload
def gradient_rollout(
    model: Model | Module | Callable[..., Any],
    image: Tensor,
    *,
    target: TargetLike = "top-1",
    discard: float = 0.9,
    token: Literal["auto", "class", "mean"] = "auto",
    each_layer: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution | list[Attribution]:
    """Attention rollout of weights that are multiplied by their gradients."""

@overload
def gradient_rollout(
    model: Model | Module | Callable[..., Any],
    image: DataSet,
    *,
    target: TargetLike = "top-1",
    discard: float = 0.9,
    token: Literal["auto", "class", "mean"] = "auto",
    each_layer: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> ValueStream[Attribution]:
    """Attention rollout of weights that are multiplied by their gradients."""

@overload
def gradient_rollout(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    target: TargetLike = "top-1",
    discard: float = 0.9,
    token: Literal["auto", "class", "mean"] = "auto",
    each_layer: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Attention rollout of weights that are multiplied by their gradients."""

@overload
def gradient_rollout(
    model: Model | Module | Callable[..., Any],
    image: Any,
    *,
    targets: Sequence[TargetLike],
    discard: float = 0.9,
    token: Literal["auto", "class", "mean"] = "auto",
    each_layer: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Any]:
    """Attention rollout of weights that are multiplied by their gradients."""

@overload
def legrad(
    model: Model | Module | Callable[..., Any],
    image: OneImage,
    *,
    target: TargetLike = "top-1",
    pool: Literal["mean", "network"] = "mean",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution:
    """Average the positive gradients of each layer's own score to its attention weights over heads, queries and layers."""

@overload
def legrad(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    pool: Literal["mean", "network"] = "mean",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Attribution]:
    """Average the positive gradients of each layer's own score to its attention weights over heads, queries and layers."""

@overload
def legrad(
    model: Model | Module | Callable[..., Any],
    image: Tensor,
    *,
    target: TargetLike = "top-1",
    pool: Literal["mean", "network"] = "mean",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution | list[Attribution]:
    """Average the positive gradients of each layer's own score to its attention weights over heads, queries and layers."""

@overload
def legrad(
    model: Model | Module | Callable[..., Any],
    image: DataSet,
    *,
    target: TargetLike = "top-1",
    pool: Literal["mean", "network"] = "mean",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> ValueStream[Attribution]:
    """Average the positive gradients of each layer's own score to its attention weights over heads, queries and layers."""

@overload
def legrad(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    target: TargetLike = "top-1",
    pool: Literal["mean", "network"] = "mean",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Average the positive gradients of each layer's own score to its attention weights over heads, queries and layers."""

@overload
def legrad(
    model: Model | Module | Callable[..., Any],
    image: Any,
    *,
    targets: Sequence[TargetLike],
    pool: Literal["mean", "network"] = "mean",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Any]:
    """Average the positive gradients of each layer's own score to its attention weights over heads, queries and layers."""

@overload
def transformer_attribution(
    model: Model | Module | Callable[..., Any],
    image: OneImage,
    *,
    target: TargetLike = "top-1",
    token: Literal["auto", "class", "mean"] = "auto",
    each_layer: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution:
    """Add up over layers what attention that raises the score brings from each patch to the class token."""

@overload
def transformer_attribution(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    token: Literal["auto", "class", "mean"] = "auto",
    each_layer: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Attribution]:
    """Add up over layers what attention that raises the score brings from each patch to the class token."""

@overload
def transformer_attribution(
    model: Model | Module | Callable[..., Any],
    image: Tensor,
    *,
    target: TargetLike = "top-1",
    token: Literal["auto", "class", "mean"] = "auto",
    each_layer: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution | list[Attribution]:
    """Add up over layers what attention that raises the score brings from each patch to the class token."""

@overload
def transformer_attribution(
    model: Model | Module | Callable[..., Any],
    image: DataSet,
    *,
    target: TargetLike = "top-1",
    token: Literal["auto", "class", "mean"] = "auto",
    each_layer: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> ValueStream[Attribution]:
    """Add up over layers what attention that raises the score brings from each patch to the class token."""

@overload
def transformer_attribution(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    target: TargetLike = "top-1",
    token: Literal["auto", "class", "mean"] = "auto",
    each_layer: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Add up over layers what attention that raises the score brings from each patch to the class token."""

@overload
def transformer_attribution(
    model: Model | Module | Callable[..., Any],
    image: Any,
    *,
    targets: Sequence[TargetLike],
    token: Literal["auto", "class", "mean"] = "auto",
    each_layer: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Any]:
    """Add up over layers what attention that raises the score brings from each patch to the class token."""

@overload
def attn_lrp(
    model: Model | Module | Callable[..., Any],
    image: OneImage,
    *,
    target: TargetLike = "top-1",
    conv_gamma: float = 0.25,
    linear_gamma: float = 0.05,
    on_missing: Literal["error", "gradient"] = "error",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution:
    """Propagate relevance through attention too: queries and keys receive relevance for the attention weights."""

@overload
def attn_lrp(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    conv_gamma: float = 0.25,
    linear_gamma: float = 0.05,
    on_missing: Literal["error", "gradient"] = "error",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Attribution]:
    """Propagate relevance through attention too: queries and keys receive relevance for the attention weights."""

@overload
def attn_lrp(
    model: Model | Module | Callable[..., Any],
    image: Tensor,
    *,
    target: TargetLike = "top-1",
    conv_gamma: float = 0.25,
    linear_gamma: float = 0.05,
    on_missing: Literal["error", "gradient"] = "error",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution | list[Attribution]:
    """Propagate relevance through attention too: queries and keys receive relevance for the attention weights."""

@overload
def attn_lrp(
    model: Model | Module | Callable[..., Any],
    image: DataSet,
    *,
    target: TargetLike = "top-1",
    conv_gamma: float = 0.25,
    linear_gamma: float = 0.05,
    on_missing: Literal["error", "gradient"] = "error",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> ValueStream[Attribution]:
    """Propagate relevance through attention too: queries and keys receive relevance for the attention weights."""

@overload
def attn_lrp(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    target: TargetLike = "top-1",
    conv_gamma: float = 0.25,
    linear_gamma: float = 0.05,
    on_missing: Literal["error", "gradient"] = "error",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Propagate relevance through attention too: queries and keys receive relevance for the attention weights."""

@overload
def attn_lrp(
    model: Model | Module | Callable[..., Any],
    image: Any,
    *,
    targets: Sequence[TargetLike],
    conv_gamma: float = 0.25,
    linear_gamma: float = 0.05,
    on_missing: Literal["error", "gradient"] = "error",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Any]:
    """Propagate relevance through attention too: queries and keys receive relevance for the attention weights."""

@overload
def concept_relevance(
    model: Model | Module | Callable[..., Any],
    image: OneImage,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    channels: str = "",
    most: int = 1,
    composite: Literal[
        "epsilon-plus",
        "epsilon-plus-flat",
        "epsilon-gamma-box",
        "alpha2-beta1",
        "alpha2-beta1-flat",
        "deep-taylor",
        "epsilon",
        "zero",
    ] = "epsilon-plus",
    on_missing: Literal["error", "gradient"] = "error",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution:
    """Propagate the score back as in LRP, but through chosen channels only at one layer."""

@overload
def concept_relevance(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    channels: str = "",
    most: int = 1,
    composite: Literal[
        "epsilon-plus",
        "epsilon-plus-flat",
        "epsilon-gamma-box",
        "alpha2-beta1",
        "alpha2-beta1-flat",
        "deep-taylor",
        "epsilon",
        "zero",
    ] = "epsilon-plus",
    on_missing: Literal["error", "gradient"] = "error",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Attribution]:
    """Propagate the score back as in LRP, but through chosen channels only at one layer."""

@overload
def concept_relevance(
    model: Model | Module | Callable[..., Any],
    image: Tensor,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    channels: str = "",
    most: int = 1,
    composite: Literal[
        "epsilon-plus",
        "epsilon-plus-flat",
        "epsilon-gamma-box",
        "alpha2-beta1",
        "alpha2-beta1-flat",
        "deep-taylor",
        "epsilon",
        "zero",
    ] = "epsilon-plus",
    on_missing: Literal["error", "gradient"] = "error",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution | list[Attribution]:
    """Propagate the score back as in LRP, but through chosen channels only at one layer."""

@overload
def concept_relevance(
    model: Model | Module | Callable[..., Any],
    image: DataSet,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    channels: str = "",
    most: int = 1,
    composite: Literal[
        "epsilon-plus",
        "epsilon-plus-flat",
        "epsilon-gamma-box",
        "alpha2-beta1",
        "alpha2-beta1-flat",
        "deep-taylor",
        "epsilon",
        "zero",
    ] = "epsilon-plus",
    on_missing: Literal["error", "gradient"] = "error",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> ValueStream[Attribution]:
    """Propagate the score back as in LRP, but through chosen channels only at one layer."""

@overload
def concept_relevance(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    channels: str = "",
    most: int = 1,
    composite: Literal[
        "epsilon-plus",
        "epsilon-plus-flat",
        "epsilon-gamma-box",
        "alpha2-beta1",
        "alpha2-beta1-flat",
        "deep-taylor",
        "epsilon",
        "zero",
    ] = "epsilon-plus",
    on_missing: Literal["error", "gradient"] = "error",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Propagate the score back as in LRP, but through chosen channels only at one layer."""

@overload
def concept_relevance(
    model: Model | Module | Callable[..., Any],
    image: Any,
    *,
    targets: Sequence[TargetLike],
    layer: LayerAddress = ...,
    channels: str = "",
    most: int = 1,
    composite: Literal[
        "epsilon-plus",
        "epsilon-plus-flat",
        "epsilon-gamma-box",
        "alpha2-beta1",
        "alpha2-beta1-flat",
        "deep-taylor",
        "epsilon",
        "zero",
    ] = "epsilon-plus",
    on_missing: Literal["error", "gradient"] = "error",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Any]:
    """Propagate the score back as in LRP, but through chosen channels only at one layer."""

@overload
def deconvnet(
    model: Model | Module | Callable[..., Any],
    image: OneImage,
    *,
    target: TargetLike = "top-1",
    on_missing: Literal["error", "gradient"] = "error",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution:
    """Propagate the score back through the transposed network, applying each rectifier to the gradient."""

@overload
def deconvnet(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    on_missing: Literal["error", "gradient"] = "error",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Attribution]:
    """Propagate the score back through the transposed network, applying each rectifier to the gradient."""

@overload
def deconvnet(
    model: Model | Module | Callable[..., Any],
    image: Tensor,
    *,
    target: TargetLike = "top-1",
    on_missing: Literal["error", "gradient"] = "error",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution | list[Attribution]:
    """Propagate the score back through the transposed network, applying each rectifier to the gradient."""

@overload
def deconvnet(
    model: Model | Module | Callable[..., Any],
    image: DataSet,
    *,
    target: TargetLike = "top-1",
    on_missing: Literal["error", "gradient"] = "error",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> ValueStream[Attribution]:
    """Propagate the score back through the transposed network, applying each rectifier to the gradient."""

@overload
def deconvnet(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    target: TargetLike = "top-1",
    on_missing: Literal["error", "gradient"] = "error",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Propagate the score back through the transposed network, applying each rectifier to the gradient."""

@overload
def deconvnet(
    model: Model | Module | Callable[..., Any],
    image: Any,
    *,
    targets: Sequence[TargetLike],
    on_missing: Literal["error", "gradient"] = "error",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Any]:
    """Propagate the score back through the transposed network, applying each rectifier to the gradient."""

@overload
def deep_lift(
    model: Model | Module | Callable[..., Any],
    image: OneImage,
    *,
    target: TargetLike = "top-1",
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "black",
    rule: Literal["rescale", "reveal-cancel"] = "rescale",
    multiply_by_inputs: bool = True,
    seed: int = 0,
    on_missing: Literal["error", "gradient"] = "error",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution:
    """Compare every operation with itself at a reference input, and propagate the difference in the score back."""

@overload
def deep_lift(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "black",
    rule: Literal["rescale", "reveal-cancel"] = "rescale",
    multiply_by_inputs: bool = True,
    seed: int = 0,
    on_missing: Literal["error", "gradient"] = "error",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Attribution]:
    """Compare every operation with itself at a reference input, and propagate the difference in the score back."""

@overload
def deep_lift(
    model: Model | Module | Callable[..., Any],
    image: Tensor,
    *,
    target: TargetLike = "top-1",
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "black",
    rule: Literal["rescale", "reveal-cancel"] = "rescale",
    multiply_by_inputs: bool = True,
    seed: int = 0,
    on_missing: Literal["error", "gradient"] = "error",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution | list[Attribution]:
    """Compare every operation with itself at a reference input, and propagate the difference in the score back."""

@overload
def deep_lift(
    model: Model | Module | Callable[..., Any],
    image: DataSet,
    *,
    target: TargetLike = "top-1",
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "black",
    rule: Literal["rescale", "reveal-cancel"] = "rescale",
    multiply_by_inputs: bool = True,
    seed: int = 0,
    on_missing: Literal["error", "gradient"] = "error",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> ValueStream[Attribution]:
    """Compare every operation with itself at a reference input, and propagate the difference in the score back."""

@overload
def deep_lift(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    target: TargetLike = "top-1",
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "black",
    rule: Literal["rescale", "reveal-cancel"] = "rescale",
    multiply_by_inputs: bool = True,
    seed: int = 0,
    on_missing: Literal["error", "gradient"] = "error",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Compare every operation with itself at a reference input, and propagate the difference in the score back."""

@overload
def deep_lift(
    model: Model | Module | Callable[..., Any],
    image: Any,
    *,
    targets: Sequence[TargetLike],
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "black",
    rule: Literal["rescale", "reveal-cancel"] = "rescale",
    multiply_by_inputs: bool = True,
    seed: int = 0,
    on_missing: Literal["error", "gradient"] = "error",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Any]:
    """Compare every operation with itself at a reference input, and propagate the difference in the score back."""

@overload
def deep_shap(
    model: Model | Module | Callable[..., Any],
    image: OneImage,
    *,
    target: TargetLike = "top-1",
    samples: int = 8,
    references: Literal["blank", "noise"] | Tensor = "blank",
    multiply_by_inputs: bool = True,
    seed: int = 0,
    on_missing: Literal["error", "gradient"] = "error",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution:
    """Average DeepLIFT over several references, as an estimate of Shapley values."""

@overload
def deep_shap(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    samples: int = 8,
    references: Literal["blank", "noise"] | Tensor = "blank",
    multiply_by_inputs: bool = True,
    seed: int = 0,
    on_missing: Literal["error", "gradient"] = "error",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Attribution]:
    """Average DeepLIFT over several references, as an estimate of Shapley values."""

@overload
def deep_shap(
    model: Model | Module | Callable[..., Any],
    image: Tensor,
    *,
    target: TargetLike = "top-1",
    samples: int = 8,
    references: Literal["blank", "noise"] | Tensor = "blank",
    multiply_by_inputs: bool = True,
    seed: int = 0,
    on_missing: Literal["error", "gradient"] = "error",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution | list[Attribution]:
    """Average DeepLIFT over several references, as an estimate of Shapley values."""

@overload
def deep_shap(
    model: Model | Module | Callable[..., Any],
    image: DataSet,
    *,
    target: TargetLike = "top-1",
    samples: int = 8,
    references: Literal["blank", "noise"] | Tensor = "blank",
    multiply_by_inputs: bool = True,
    seed: int = 0,
    on_missing: Literal["error", "gradient"] = "error",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> ValueStream[Attribution]:
    """Average DeepLIFT over several references, as an estimate of Shapley values."""

@overload
def deep_shap(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    target: TargetLike = "top-1",
    samples: int = 8,
    references: Literal["blank", "noise"] | Tensor = "blank",
    multiply_by_inputs: bool = True,
    seed: int = 0,
    on_missing: Literal["error", "gradient"] = "error",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Average DeepLIFT over several references, as an estimate of Shapley values."""

@overload
def deep_shap(
    model: Model | Module | Callable[..., Any],
    image: Any,
    *,
    targets: Sequence[TargetLike],
    samples: int = 8,
    references: Literal["blank", "noise"] | Tensor = "blank",
    multiply_by_inputs: bool = True,
    seed: int = 0,
    on_missing: Literal["error", "gradient"] = "error",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Any]:
    """Average DeepLIFT over several references, as an estimate of Shapley values."""

@overload
def excitation_backprop(
    model: Model | Module | Callable[..., Any],
    image: OneImage,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    contrastive: bool = False,
    relu: bool = False,
    on_missing: Literal["error", "gradient"] = "error",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution:
    """Propagate a probability back from the target: each unit divides it among its inputs in proportion to x · w⁺."""

@overload
def excitation_backprop(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    contrastive: bool = False,
    relu: bool = False,
    on_missing: Literal["error", "gradient"] = "error",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Attribution]:
    """Propagate a probability back from the target: each unit divides it among its inputs in proportion to x · w⁺."""

@overload
def excitation_backprop(
    model: Model | Module | Callable[..., Any],
    image: Tensor,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    contrastive: bool = False,
    relu: bool = False,
    on_missing: Literal["error", "gradient"] = "error",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution | list[Attribution]:
    """Propagate a probability back from the target: each unit divides it among its inputs in proportion to x · w⁺."""

@overload
def excitation_backprop(
    model: Model | Module | Callable[..., Any],
    image: DataSet,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    contrastive: bool = False,
    relu: bool = False,
    on_missing: Literal["error", "gradient"] = "error",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> ValueStream[Attribution]:
    """Propagate a probability back from the target: each unit divides it among its inputs in proportion to x · w⁺."""

@overload
def excitation_backprop(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    contrastive: bool = False,
    relu: bool = False,
    on_missing: Literal["error", "gradient"] = "error",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Propagate a probability back from the target: each unit divides it among its inputs in proportion to x · w⁺."""

@overload
def excitation_backprop(
    model: Model | Module | Callable[..., Any],
    image: Any,
    *,
    targets: Sequence[TargetLike],
    layer: LayerAddress = ...,
    contrastive: bool = False,
    relu: bool = False,
    on_missing: Literal["error", "gradient"] = "error",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Any]:
    """Propagate a probability back from the target: each unit divides it among its inputs in proportion to x · w⁺."""

@overload
def full_grad(
    model: Model | Module | Callable[..., Any],
    image: OneImage,
    *,
    target: TargetLike = "top-1",
    on_missing: Literal["error", "gradient"] = "error",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution:
    """Sum the magnitudes of all terms into which the score of a ReLU network decomposes exactly."""

@overload
def full_grad(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    on_missing: Literal["error", "gradient"] = "error",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Attribution]:
    """Sum the magnitudes of all terms into which the score of a ReLU network decomposes exactly."""

@overload
def full_grad(
    model: Model | Module | Callable[..., Any],
    image: Tensor,
    *,
    target: TargetLike = "top-1",
    on_missing: Literal["error", "gradient"] = "error",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution | list[Attribution]:
    """Sum the magnitudes of all terms into which the score of a ReLU network decomposes exactly."""

@overload
def full_grad(
    model: Model | Module | Callable[..., Any],
    image: DataSet,
    *,
    target: TargetLike = "top-1",
    on_missing: Literal["error", "gradient"] = "error",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> ValueStream[Attribution]:
    """Sum the magnitudes of all terms into which the score of a ReLU network decomposes exactly."""

@overload
def full_grad(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    target: TargetLike = "top-1",
    on_missing: Literal["error", "gradient"] = "error",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Sum the magnitudes of all terms into which the score of a ReLU network decomposes exactly."""

@overload
def full_grad(
    model: Model | Module | Callable[..., Any],
    image: Any,
    *,
    targets: Sequence[TargetLike],
    on_missing: Literal["error", "gradient"] = "error",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Any]:
    """Sum the magnitudes of all terms into which the score of a ReLU network decomposes exactly."""

@overload
def guided_backprop(
    model: Model | Module | Callable[..., Any],
    image: OneImage,
    *,
    target: TargetLike = "top-1",
    on_missing: Literal["error", "gradient"] = "error",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution:
    """Compute the gradient, but pass only positive gradients through every rectifier in the backward pass."""

@overload
def guided_backprop(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    on_missing: Literal["error", "gradient"] = "error",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Attribution]:
    """Compute the gradient, but pass only positive gradients through every rectifier in the backward pass."""

@overload
def guided_backprop(
    model: Model | Module | Callable[..., Any],
    image: Tensor,
    *,
    target: TargetLike = "top-1",
    on_missing: Literal["error", "gradient"] = "error",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution | list[Attribution]:
    """Compute the gradient, but pass only positive gradients through every rectifier in the backward pass."""

@overload
def guided_backprop(
    model: Model | Module | Callable[..., Any],
    image: DataSet,
    *,
    target: TargetLike = "top-1",
    on_missing: Literal["error", "gradient"] = "error",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> ValueStream[Attribution]:
    """Compute the gradient, but pass only positive gradients through every rectifier in the backward pass."""

@overload
def guided_backprop(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    target: TargetLike = "top-1",
    on_missing: Literal["error", "gradient"] = "error",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Compute the gradient, but pass only positive gradients through every rectifier in the backward pass."""

@overload
def guided_backprop(
    model: Model | Module | Callable[..., Any],
    image: Any,
    *,
    targets: Sequence[TargetLike],
    on_missing: Literal["error", "gradient"] = "error",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Any]:
    """Compute the gradient, but pass only positive gradients through every rectifier in the backward pass."""

@overload
def guided_grad_cam(
    model: Model | Module | Callable[..., Any],
    image: OneImage,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    on_missing: Literal["error", "gradient"] = "error",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution:
    """Multiply the fine structures of guided backpropagation by the regions of Grad-CAM."""

@overload
def guided_grad_cam(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    on_missing: Literal["error", "gradient"] = "error",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Attribution]:
    """Multiply the fine structures of guided backpropagation by the regions of Grad-CAM."""

@overload
def guided_grad_cam(
    model: Model | Module | Callable[..., Any],
    image: Tensor,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    on_missing: Literal["error", "gradient"] = "error",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution | list[Attribution]:
    """Multiply the fine structures of guided backpropagation by the regions of Grad-CAM."""

@overload
def guided_grad_cam(
    model: Model | Module | Callable[..., Any],
    image: DataSet,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    on_missing: Literal["error", "gradient"] = "error",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> ValueStream[Attribution]:
    """Multiply the fine structures of guided backpropagation by the regions of Grad-CAM."""

@overload
def guided_grad_cam(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    on_missing: Literal["error", "gradient"] = "error",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Multiply the fine structures of guided backpropagation by the regions of Grad-CAM."""

@overload
def guided_grad_cam(
    model: Model | Module | Callable[..., Any],
    image: Any,
    *,
    targets: Sequence[TargetLike],
    layer: LayerAddress = ...,
    on_missing: Literal["error", "gradient"] = "error",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Any]:
    """Multiply the fine structures of guided backpropagation by the regions of Grad-CAM."""

@overload
def layer_deep_lift(
    model: Model | Module | Callable[..., Any],
    image: OneImage,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "black",
    rule: Literal["rescale", "reveal-cancel"] = "rescale",
    seed: int = 0,
    on_missing: Literal["error", "gradient"] = "error",
) -> LayerAttribution:
    """Compare every operation with itself at a reference input, and read the contributions of a layer."""

@overload
def layer_deep_lift(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "black",
    rule: Literal["rescale", "reveal-cancel"] = "rescale",
    seed: int = 0,
    on_missing: Literal["error", "gradient"] = "error",
) -> list[LayerAttribution]:
    """Compare every operation with itself at a reference input, and read the contributions of a layer."""

@overload
def layer_deep_lift(
    model: Model | Module | Callable[..., Any],
    image: Tensor,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "black",
    rule: Literal["rescale", "reveal-cancel"] = "rescale",
    seed: int = 0,
    on_missing: Literal["error", "gradient"] = "error",
) -> LayerAttribution | list[LayerAttribution]:
    """Compare every operation with itself at a reference input, and read the contributions of a layer."""

@overload
def layer_deep_lift(
    model: Model | Module | Callable[..., Any],
    image: DataSet,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "black",
    rule: Literal["rescale", "reveal-cancel"] = "rescale",
    seed: int = 0,
    on_missing: Literal["error", "gradient"] = "error",
) -> ValueStream[LayerAttribution]:
    """Compare every operation with itself at a reference input, and read the contributions of a layer."""

@overload
def layer_deep_lift(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "black",
    rule: Literal["rescale", "reveal-cancel"] = "rescale",
    seed: int = 0,
    on_missing: Literal["error", "gradient"] = "error",
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Compare every operation with itself at a reference input, and read the contributions of a layer."""

@overload
def layer_deep_lift(
    model: Model | Module | Callable[..., Any],
    image: Any,
    *,
    targets: Sequence[TargetLike],
    layer: LayerAddress = ...,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "black",
    rule: Literal["rescale", "reveal-cancel"] = "rescale",
    seed: int = 0,
    on_missing: Literal["error", "gradient"] = "error",
) -> list[Any]:
    """Compare every operation with itself at a reference input, and read the contributions of a layer."""

@overload
def layer_lrp(
    model: Model | Module | Callable[..., Any],
    image: OneImage,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    composite: Literal[
        "epsilon-plus",
        "epsilon-plus-flat",
        "epsilon-gamma-box",
        "alpha2-beta1",
        "alpha2-beta1-flat",
        "deep-taylor",
        "epsilon",
        "zero",
    ] = "epsilon-plus",
    rules: str = "",
    epsilon: float = 0.0,
    bias: Literal["absorb", "share"] = "absorb",
    on_missing: Literal["error", "gradient"] = "error",
) -> LayerAttribution:
    """Propagate the score back by the rules of ``lrp``, and read the relevance at a layer."""

@overload
def layer_lrp(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    composite: Literal[
        "epsilon-plus",
        "epsilon-plus-flat",
        "epsilon-gamma-box",
        "alpha2-beta1",
        "alpha2-beta1-flat",
        "deep-taylor",
        "epsilon",
        "zero",
    ] = "epsilon-plus",
    rules: str = "",
    epsilon: float = 0.0,
    bias: Literal["absorb", "share"] = "absorb",
    on_missing: Literal["error", "gradient"] = "error",
) -> list[LayerAttribution]:
    """Propagate the score back by the rules of ``lrp``, and read the relevance at a layer."""

@overload
def layer_lrp(
    model: Model | Module | Callable[..., Any],
    image: Tensor,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    composite: Literal[
        "epsilon-plus",
        "epsilon-plus-flat",
        "epsilon-gamma-box",
        "alpha2-beta1",
        "alpha2-beta1-flat",
        "deep-taylor",
        "epsilon",
        "zero",
    ] = "epsilon-plus",
    rules: str = "",
    epsilon: float = 0.0,
    bias: Literal["absorb", "share"] = "absorb",
    on_missing: Literal["error", "gradient"] = "error",
) -> LayerAttribution | list[LayerAttribution]:
    """Propagate the score back by the rules of ``lrp``, and read the relevance at a layer."""

@overload
def layer_lrp(
    model: Model | Module | Callable[..., Any],
    image: DataSet,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    composite: Literal[
        "epsilon-plus",
        "epsilon-plus-flat",
        "epsilon-gamma-box",
        "alpha2-beta1",
        "alpha2-beta1-flat",
        "deep-taylor",
        "epsilon",
        "zero",
    ] = "epsilon-plus",
    rules: str = "",
    epsilon: float = 0.0,
    bias: Literal["absorb", "share"] = "absorb",
    on_missing: Literal["error", "gradient"] = "error",
) -> ValueStream[LayerAttribution]:
    """Propagate the score back by the rules of ``lrp``, and read the relevance at a layer."""

@overload
def layer_lrp(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    composite: Literal[
        "epsilon-plus",
        "epsilon-plus-flat",
        "epsilon-gamma-box",
        "alpha2-beta1",
        "alpha2-beta1-flat",
        "deep-taylor",
        "epsilon",
        "zero",
    ] = "epsilon-plus",
    rules: str = "",
    epsilon: float = 0.0,
    bias: Literal["absorb", "share"] = "absorb",
    on_missing: Literal["error", "gradient"] = "error",
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Propagate the score back by the rules of ``lrp``, and read the relevance at a layer."""

@overload
def layer_lrp(
    model: Model | Module | Callable[..., Any],
    image: Any,
    *,
    targets: Sequence[TargetLike],
    layer: LayerAddress = ...,
    composite: Literal[
        "epsilon-plus",
        "epsilon-plus-flat",
        "epsilon-gamma-box",
        "alpha2-beta1",
        "alpha2-beta1-flat",
        "deep-taylor",
        "epsilon",
        "zero",
    ] = "epsilon-plus",
    rules: str = "",
    epsilon: float = 0.0,
    bias: Literal["absorb", "share"] = "absorb",
    on_missing: Literal["error", "gradient"] = "error",
) -> list[Any]:
    """Propagate the score back by the rules of ``lrp``, and read the relevance at a layer."""

@overload
def lrp(
    model: Model | Module | Callable[..., Any],
    image: OneImage,
    *,
    target: TargetLike = "top-1",
    composite: Literal[
        "epsilon-plus",
        "epsilon-plus-flat",
        "epsilon-gamma-box",
        "alpha2-beta1",
        "alpha2-beta1-flat",
        "deep-taylor",
        "epsilon",
        "zero",
    ] = "epsilon-plus",
    rules: str = "",
    epsilon: float = 0.0,
    bias: Literal["absorb", "share"] = "absorb",
    on_missing: Literal["error", "gradient"] = "error",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution:
    """Propagate the score back from layer to layer: each output shares its relevance among its inputs by a rule."""

@overload
def lrp(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    composite: Literal[
        "epsilon-plus",
        "epsilon-plus-flat",
        "epsilon-gamma-box",
        "alpha2-beta1",
        "alpha2-beta1-flat",
        "deep-taylor",
        "epsilon",
        "zero",
    ] = "epsilon-plus",
    rules: str = "",
    epsilon: float = 0.0,
    bias: Literal["absorb", "share"] = "absorb",
    on_missing: Literal["error", "gradient"] = "error",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Attribution]:
    """Propagate the score back from layer to layer: each output shares its relevance among its inputs by a rule."""

@overload
def lrp(
    model: Model | Module | Callable[..., Any],
    image: Tensor,
    *,
    target: TargetLike = "top-1",
    composite: Literal[
        "epsilon-plus",
        "epsilon-plus-flat",
        "epsilon-gamma-box",
        "alpha2-beta1",
        "alpha2-beta1-flat",
        "deep-taylor",
        "epsilon",
        "zero",
    ] = "epsilon-plus",
    rules: str = "",
    epsilon: float = 0.0,
    bias: Literal["absorb", "share"] = "absorb",
    on_missing: Literal["error", "gradient"] = "error",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution | list[Attribution]:
    """Propagate the score back from layer to layer: each output shares its relevance among its inputs by a rule."""

@overload
def lrp(
    model: Model | Module | Callable[..., Any],
    image: DataSet,
    *,
    target: TargetLike = "top-1",
    composite: Literal[
        "epsilon-plus",
        "epsilon-plus-flat",
        "epsilon-gamma-box",
        "alpha2-beta1",
        "alpha2-beta1-flat",
        "deep-taylor",
        "epsilon",
        "zero",
    ] = "epsilon-plus",
    rules: str = "",
    epsilon: float = 0.0,
    bias: Literal["absorb", "share"] = "absorb",
    on_missing: Literal["error", "gradient"] = "error",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> ValueStream[Attribution]:
    """Propagate the score back from layer to layer: each output shares its relevance among its inputs by a rule."""

@overload
def lrp(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    target: TargetLike = "top-1",
    composite: Literal[
        "epsilon-plus",
        "epsilon-plus-flat",
        "epsilon-gamma-box",
        "alpha2-beta1",
        "alpha2-beta1-flat",
        "deep-taylor",
        "epsilon",
        "zero",
    ] = "epsilon-plus",
    rules: str = "",
    epsilon: float = 0.0,
    bias: Literal["absorb", "share"] = "absorb",
    on_missing: Literal["error", "gradient"] = "error",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Propagate the score back from layer to layer: each output shares its relevance among its inputs by a rule."""

@overload
def lrp(
    model: Model | Module | Callable[..., Any],
    image: Any,
    *,
    targets: Sequence[TargetLike],
    composite: Literal[
        "epsilon-plus",
        "epsilon-plus-flat",
        "epsilon-gamma-box",
        "alpha2-beta1",
        "alpha2-beta1-flat",
        "deep-taylor",
        "epsilon",
        "zero",
    ] = "epsilon-plus",
    rules: str = "",
    epsilon: float = 0.0,
    bias: Literal["absorb", "share"] = "absorb",
    on_missing: Literal["error", "gradient"] = "error",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Any]:
    """Propagate the score back from layer to layer: each output shares its relevance among its inputs by a rule."""

@overload
def rectified_gradient(
    model: Model | Module | Callable[..., Any],
    image: OneImage,
    *,
    target: TargetLike = "top-1",
    quantile: float = 0.9,
    on_missing: Literal["error", "gradient"] = "error",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution:
    """Pass the gradient through a rectifier only where activation × gradient is among the largest of its layer."""

@overload
def rectified_gradient(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    quantile: float = 0.9,
    on_missing: Literal["error", "gradient"] = "error",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Attribution]:
    """Pass the gradient through a rectifier only where activation × gradient is among the largest of its layer."""

@overload
def rectified_gradient(
    model: Model | Module | Callable[..., Any],
    image: Tensor,
    *,
    target: TargetLike = "top-1",
    quantile: float = 0.9,
    on_missing: Literal["error", "gradient"] = "error",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution | list[Attribution]:
    """Pass the gradient through a rectifier only where activation × gradient is among the largest of its layer."""

@overload
def rectified_gradient(
    model: Model | Module | Callable[..., Any],
    image: DataSet,
    *,
    target: TargetLike = "top-1",
    quantile: float = 0.9,
    on_missing: Literal["error", "gradient"] = "error",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> ValueStream[Attribution]:
    """Pass the gradient through a rectifier only where activation × gradient is among the largest of its layer."""

@overload
def rectified_gradient(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    target: TargetLike = "top-1",
    quantile: float = 0.9,
    on_missing: Literal["error", "gradient"] = "error",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Pass the gradient through a rectifier only where activation × gradient is among the largest of its layer."""

@overload
def rectified_gradient(
    model: Model | Module | Callable[..., Any],
    image: Any,
    *,
    targets: Sequence[TargetLike],
    quantile: float = 0.9,
    on_missing: Literal["error", "gradient"] = "error",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Any]:
    """Pass the gradient through a rectifier only where activation × gradient is among the largest of its layer."""

@overload
def ablation_cam(
    model: Model | Module | Callable[..., Any],
    image: OneImage,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution:
    """Weight each channel of a layer by the drop of the score when the channel is set to zero."""

@overload
def ablation_cam(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Attribution]:
    """Weight each channel of a layer by the drop of the score when the channel is set to zero."""

@overload
def ablation_cam(
    model: Model | Module | Callable[..., Any],
    image: Tensor,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution | list[Attribution]:
    """Weight each channel of a layer by the drop of the score when the channel is set to zero."""

@overload
def ablation_cam(
    model: Model | Module | Callable[..., Any],
    image: DataSet,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> ValueStream[Attribution]:
    """Weight each channel of a layer by the drop of the score when the channel is set to zero."""

@overload
def ablation_cam(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Weight each channel of a layer by the drop of the score when the channel is set to zero."""

@overload
def ablation_cam(
    model: Model | Module | Callable[..., Any],
    image: Any,
    *,
    targets: Sequence[TargetLike],
    layer: LayerAddress = ...,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Any]:
    """Weight each channel of a layer by the drop of the score when the channel is set to zero."""

@overload
def extremal_perturbation(
    model: Model | Module | Callable[..., Any],
    image: OneImage,
    *,
    target: TargetLike = "top-1",
    steps: int = 200,
    area: float = 0.1,
    width: float = 0.09,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "blur",
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution:
    """Learn the smooth mask of a given area that keeps the score as high as possible."""

@overload
def extremal_perturbation(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    steps: int = 200,
    area: float = 0.1,
    width: float = 0.09,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "blur",
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Attribution]:
    """Learn the smooth mask of a given area that keeps the score as high as possible."""

@overload
def extremal_perturbation(
    model: Model | Module | Callable[..., Any],
    image: Tensor,
    *,
    target: TargetLike = "top-1",
    steps: int = 200,
    area: float = 0.1,
    width: float = 0.09,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "blur",
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution | list[Attribution]:
    """Learn the smooth mask of a given area that keeps the score as high as possible."""

@overload
def extremal_perturbation(
    model: Model | Module | Callable[..., Any],
    image: DataSet,
    *,
    target: TargetLike = "top-1",
    steps: int = 200,
    area: float = 0.1,
    width: float = 0.09,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "blur",
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> ValueStream[Attribution]:
    """Learn the smooth mask of a given area that keeps the score as high as possible."""

@overload
def extremal_perturbation(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    target: TargetLike = "top-1",
    steps: int = 200,
    area: float = 0.1,
    width: float = 0.09,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "blur",
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Learn the smooth mask of a given area that keeps the score as high as possible."""

@overload
def extremal_perturbation(
    model: Model | Module | Callable[..., Any],
    image: Any,
    *,
    targets: Sequence[TargetLike],
    steps: int = 200,
    area: float = 0.1,
    width: float = 0.09,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "blur",
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Any]:
    """Learn the smooth mask of a given area that keeps the score as high as possible."""

@overload
def feature_ablation(
    model: Model | Module | Callable[..., Any],
    image: OneImage,
    *,
    target: TargetLike = "top-1",
    segments: int | Tensor = 50,
    segmenter: Literal["slic", "quickshift", "grid"] = "slic",
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "mean",
    precision: Literal["float32", "bfloat16"] = "float32",
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution:
    """Replace one segment of the image at a time by a baseline and measure the drop of the score."""

@overload
def feature_ablation(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    segments: int | Tensor = 50,
    segmenter: Literal["slic", "quickshift", "grid"] = "slic",
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "mean",
    precision: Literal["float32", "bfloat16"] = "float32",
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Attribution]:
    """Replace one segment of the image at a time by a baseline and measure the drop of the score."""

@overload
def feature_ablation(
    model: Model | Module | Callable[..., Any],
    image: Tensor,
    *,
    target: TargetLike = "top-1",
    segments: int | Tensor = 50,
    segmenter: Literal["slic", "quickshift", "grid"] = "slic",
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "mean",
    precision: Literal["float32", "bfloat16"] = "float32",
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution | list[Attribution]:
    """Replace one segment of the image at a time by a baseline and measure the drop of the score."""

@overload
def feature_ablation(
    model: Model | Module | Callable[..., Any],
    image: DataSet,
    *,
    target: TargetLike = "top-1",
    segments: int | Tensor = 50,
    segmenter: Literal["slic", "quickshift", "grid"] = "slic",
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "mean",
    precision: Literal["float32", "bfloat16"] = "float32",
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> ValueStream[Attribution]:
    """Replace one segment of the image at a time by a baseline and measure the drop of the score."""

@overload
def feature_ablation(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    target: TargetLike = "top-1",
    segments: int | Tensor = 50,
    segmenter: Literal["slic", "quickshift", "grid"] = "slic",
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "mean",
    precision: Literal["float32", "bfloat16"] = "float32",
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Replace one segment of the image at a time by a baseline and measure the drop of the score."""

@overload
def feature_ablation(
    model: Model | Module | Callable[..., Any],
    image: Any,
    *,
    targets: Sequence[TargetLike],
    segments: int | Tensor = 50,
    segmenter: Literal["slic", "quickshift", "grid"] = "slic",
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "mean",
    precision: Literal["float32", "bfloat16"] = "float32",
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Any]:
    """Replace one segment of the image at a time by a baseline and measure the drop of the score."""

@overload
def group_cam(
    model: Model | Module | Callable[..., Any],
    image: OneImage,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    groups: int = 32,
    keep: float = 0.3,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution:
    """Make one mask per group of channels, weighted as in Grad-CAM, and weight each mask by the score it restores."""

@overload
def group_cam(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    groups: int = 32,
    keep: float = 0.3,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Attribution]:
    """Make one mask per group of channels, weighted as in Grad-CAM, and weight each mask by the score it restores."""

@overload
def group_cam(
    model: Model | Module | Callable[..., Any],
    image: Tensor,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    groups: int = 32,
    keep: float = 0.3,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution | list[Attribution]:
    """Make one mask per group of channels, weighted as in Grad-CAM, and weight each mask by the score it restores."""

@overload
def group_cam(
    model: Model | Module | Callable[..., Any],
    image: DataSet,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    groups: int = 32,
    keep: float = 0.3,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> ValueStream[Attribution]:
    """Make one mask per group of channels, weighted as in Grad-CAM, and weight each mask by the score it restores."""

@overload
def group_cam(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    groups: int = 32,
    keep: float = 0.3,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Make one mask per group of channels, weighted as in Grad-CAM, and weight each mask by the score it restores."""

@overload
def group_cam(
    model: Model | Module | Callable[..., Any],
    image: Any,
    *,
    targets: Sequence[TargetLike],
    layer: LayerAddress = ...,
    groups: int = 32,
    keep: float = 0.3,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Any]:
    """Make one mask per group of channels, weighted as in Grad-CAM, and weight each mask by the score it restores."""

@overload
def hsic(
    model: Model | Module | Callable[..., Any],
    image: OneImage,
    *,
    target: TargetLike = "top-1",
    samples: int = 1000,
    cells: int = 7,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "mean",
    precision: Literal["float32", "bfloat16"] = "float32",
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution:
    """Measure how strongly the score depends on each cell of random masks (Hilbert-Schmidt independence criterion)."""

@overload
def hsic(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    samples: int = 1000,
    cells: int = 7,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "mean",
    precision: Literal["float32", "bfloat16"] = "float32",
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Attribution]:
    """Measure how strongly the score depends on each cell of random masks (Hilbert-Schmidt independence criterion)."""

@overload
def hsic(
    model: Model | Module | Callable[..., Any],
    image: Tensor,
    *,
    target: TargetLike = "top-1",
    samples: int = 1000,
    cells: int = 7,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "mean",
    precision: Literal["float32", "bfloat16"] = "float32",
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution | list[Attribution]:
    """Measure how strongly the score depends on each cell of random masks (Hilbert-Schmidt independence criterion)."""

@overload
def hsic(
    model: Model | Module | Callable[..., Any],
    image: DataSet,
    *,
    target: TargetLike = "top-1",
    samples: int = 1000,
    cells: int = 7,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "mean",
    precision: Literal["float32", "bfloat16"] = "float32",
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> ValueStream[Attribution]:
    """Measure how strongly the score depends on each cell of random masks (Hilbert-Schmidt independence criterion)."""

@overload
def hsic(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    target: TargetLike = "top-1",
    samples: int = 1000,
    cells: int = 7,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "mean",
    precision: Literal["float32", "bfloat16"] = "float32",
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Measure how strongly the score depends on each cell of random masks (Hilbert-Schmidt independence criterion)."""

@overload
def hsic(
    model: Model | Module | Callable[..., Any],
    image: Any,
    *,
    targets: Sequence[TargetLike],
    samples: int = 1000,
    cells: int = 7,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "mean",
    precision: Literal["float32", "bfloat16"] = "float32",
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Any]:
    """Measure how strongly the score depends on each cell of random masks (Hilbert-Schmidt independence criterion)."""

@overload
def integrated_score_cam(
    model: Model | Module | Callable[..., Any],
    image: OneImage,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    steps: int = 10,
    channels: int = 0,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution:
    """Score-CAM with masks of increasing strength, over which the scores are averaged."""

@overload
def integrated_score_cam(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    steps: int = 10,
    channels: int = 0,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Attribution]:
    """Score-CAM with masks of increasing strength, over which the scores are averaged."""

@overload
def integrated_score_cam(
    model: Model | Module | Callable[..., Any],
    image: Tensor,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    steps: int = 10,
    channels: int = 0,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution | list[Attribution]:
    """Score-CAM with masks of increasing strength, over which the scores are averaged."""

@overload
def integrated_score_cam(
    model: Model | Module | Callable[..., Any],
    image: DataSet,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    steps: int = 10,
    channels: int = 0,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> ValueStream[Attribution]:
    """Score-CAM with masks of increasing strength, over which the scores are averaged."""

@overload
def integrated_score_cam(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    steps: int = 10,
    channels: int = 0,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Score-CAM with masks of increasing strength, over which the scores are averaged."""

@overload
def integrated_score_cam(
    model: Model | Module | Callable[..., Any],
    image: Any,
    *,
    targets: Sequence[TargetLike],
    layer: LayerAddress = ...,
    steps: int = 10,
    channels: int = 0,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Any]:
    """Score-CAM with masks of increasing strength, over which the scores are averaged."""

@overload
def kernel_shap(
    model: Model | Module | Callable[..., Any],
    image: OneImage,
    *,
    target: TargetLike = "top-1",
    samples: int = 500,
    segments: int | Tensor = 50,
    segmenter: Literal["slic", "quickshift", "grid"] = "slic",
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "mean",
    stop_when: float = 0.0,
    precision: Literal["float32", "bfloat16"] = "float32",
    seed: int = 0,
    hide: Literal["pixels", "tokens"] = "pixels",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution:
    """Estimate the Shapley value of each segment by a regression on random coalitions of segments."""

@overload
def kernel_shap(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    samples: int = 500,
    segments: int | Tensor = 50,
    segmenter: Literal["slic", "quickshift", "grid"] = "slic",
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "mean",
    stop_when: float = 0.0,
    precision: Literal["float32", "bfloat16"] = "float32",
    seed: int = 0,
    hide: Literal["pixels", "tokens"] = "pixels",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Attribution]:
    """Estimate the Shapley value of each segment by a regression on random coalitions of segments."""

@overload
def kernel_shap(
    model: Model | Module | Callable[..., Any],
    image: Tensor,
    *,
    target: TargetLike = "top-1",
    samples: int = 500,
    segments: int | Tensor = 50,
    segmenter: Literal["slic", "quickshift", "grid"] = "slic",
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "mean",
    stop_when: float = 0.0,
    precision: Literal["float32", "bfloat16"] = "float32",
    seed: int = 0,
    hide: Literal["pixels", "tokens"] = "pixels",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution | list[Attribution]:
    """Estimate the Shapley value of each segment by a regression on random coalitions of segments."""

@overload
def kernel_shap(
    model: Model | Module | Callable[..., Any],
    image: DataSet,
    *,
    target: TargetLike = "top-1",
    samples: int = 500,
    segments: int | Tensor = 50,
    segmenter: Literal["slic", "quickshift", "grid"] = "slic",
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "mean",
    stop_when: float = 0.0,
    precision: Literal["float32", "bfloat16"] = "float32",
    seed: int = 0,
    hide: Literal["pixels", "tokens"] = "pixels",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> ValueStream[Attribution]:
    """Estimate the Shapley value of each segment by a regression on random coalitions of segments."""

@overload
def kernel_shap(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    target: TargetLike = "top-1",
    samples: int = 500,
    segments: int | Tensor = 50,
    segmenter: Literal["slic", "quickshift", "grid"] = "slic",
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "mean",
    stop_when: float = 0.0,
    precision: Literal["float32", "bfloat16"] = "float32",
    seed: int = 0,
    hide: Literal["pixels", "tokens"] = "pixels",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Estimate the Shapley value of each segment by a regression on random coalitions of segments."""

@overload
def kernel_shap(
    model: Model | Module | Callable[..., Any],
    image: Any,
    *,
    targets: Sequence[TargetLike],
    samples: int = 500,
    segments: int | Tensor = 50,
    segmenter: Literal["slic", "quickshift", "grid"] = "slic",
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "mean",
    stop_when: float = 0.0,
    precision: Literal["float32", "bfloat16"] = "float32",
    seed: int = 0,
    hide: Literal["pixels", "tokens"] = "pixels",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Any]:
    """Estimate the Shapley value of each segment by a regression on random coalitions of segments."""

@overload
def lime(
    model: Model | Module | Callable[..., Any],
    image: OneImage,
    *,
    target: TargetLike = "top-1",
    samples: int = 1000,
    segments: int | Tensor = 50,
    segmenter: Literal["slic", "quickshift", "grid"] = "slic",
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "mean",
    width: float = 0.25,
    ridge: float = 1.0,
    stop_when: float = 0.0,
    precision: Literal["float32", "bfloat16"] = "float32",
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution:
    """Fit a linear model to the scores of the image with random segments removed."""

@overload
def lime(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    samples: int = 1000,
    segments: int | Tensor = 50,
    segmenter: Literal["slic", "quickshift", "grid"] = "slic",
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "mean",
    width: float = 0.25,
    ridge: float = 1.0,
    stop_when: float = 0.0,
    precision: Literal["float32", "bfloat16"] = "float32",
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Attribution]:
    """Fit a linear model to the scores of the image with random segments removed."""

@overload
def lime(
    model: Model | Module | Callable[..., Any],
    image: Tensor,
    *,
    target: TargetLike = "top-1",
    samples: int = 1000,
    segments: int | Tensor = 50,
    segmenter: Literal["slic", "quickshift", "grid"] = "slic",
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "mean",
    width: float = 0.25,
    ridge: float = 1.0,
    stop_when: float = 0.0,
    precision: Literal["float32", "bfloat16"] = "float32",
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution | list[Attribution]:
    """Fit a linear model to the scores of the image with random segments removed."""

@overload
def lime(
    model: Model | Module | Callable[..., Any],
    image: DataSet,
    *,
    target: TargetLike = "top-1",
    samples: int = 1000,
    segments: int | Tensor = 50,
    segmenter: Literal["slic", "quickshift", "grid"] = "slic",
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "mean",
    width: float = 0.25,
    ridge: float = 1.0,
    stop_when: float = 0.0,
    precision: Literal["float32", "bfloat16"] = "float32",
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> ValueStream[Attribution]:
    """Fit a linear model to the scores of the image with random segments removed."""

@overload
def lime(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    target: TargetLike = "top-1",
    samples: int = 1000,
    segments: int | Tensor = 50,
    segmenter: Literal["slic", "quickshift", "grid"] = "slic",
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "mean",
    width: float = 0.25,
    ridge: float = 1.0,
    stop_when: float = 0.0,
    precision: Literal["float32", "bfloat16"] = "float32",
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Fit a linear model to the scores of the image with random segments removed."""

@overload
def lime(
    model: Model | Module | Callable[..., Any],
    image: Any,
    *,
    targets: Sequence[TargetLike],
    samples: int = 1000,
    segments: int | Tensor = 50,
    segmenter: Literal["slic", "quickshift", "grid"] = "slic",
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "mean",
    width: float = 0.25,
    ridge: float = 1.0,
    stop_when: float = 0.0,
    precision: Literal["float32", "bfloat16"] = "float32",
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Any]:
    """Fit a linear model to the scores of the image with random segments removed."""

@overload
def meaningful_perturbation(
    model: Model | Module | Callable[..., Any],
    image: OneImage,
    *,
    target: TargetLike = "top-1",
    steps: int = 150,
    cells: int = 28,
    sparsity: float = 1.0,
    smoothness: float = 5.0,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "blur",
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution:
    """Learn a mask that deletes as little of the image as possible and lowers the score as much as possible."""

@overload
def meaningful_perturbation(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    steps: int = 150,
    cells: int = 28,
    sparsity: float = 1.0,
    smoothness: float = 5.0,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "blur",
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Attribution]:
    """Learn a mask that deletes as little of the image as possible and lowers the score as much as possible."""

@overload
def meaningful_perturbation(
    model: Model | Module | Callable[..., Any],
    image: Tensor,
    *,
    target: TargetLike = "top-1",
    steps: int = 150,
    cells: int = 28,
    sparsity: float = 1.0,
    smoothness: float = 5.0,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "blur",
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution | list[Attribution]:
    """Learn a mask that deletes as little of the image as possible and lowers the score as much as possible."""

@overload
def meaningful_perturbation(
    model: Model | Module | Callable[..., Any],
    image: DataSet,
    *,
    target: TargetLike = "top-1",
    steps: int = 150,
    cells: int = 28,
    sparsity: float = 1.0,
    smoothness: float = 5.0,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "blur",
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> ValueStream[Attribution]:
    """Learn a mask that deletes as little of the image as possible and lowers the score as much as possible."""

@overload
def meaningful_perturbation(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    target: TargetLike = "top-1",
    steps: int = 150,
    cells: int = 28,
    sparsity: float = 1.0,
    smoothness: float = 5.0,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "blur",
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Learn a mask that deletes as little of the image as possible and lowers the score as much as possible."""

@overload
def meaningful_perturbation(
    model: Model | Module | Callable[..., Any],
    image: Any,
    *,
    targets: Sequence[TargetLike],
    steps: int = 150,
    cells: int = 28,
    sparsity: float = 1.0,
    smoothness: float = 5.0,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "blur",
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Any]:
    """Learn a mask that deletes as little of the image as possible and lowers the score as much as possible."""

@overload
def occlusion(
    model: Model | Module | Callable[..., Any],
    image: OneImage,
    *,
    target: TargetLike = "top-1",
    patch: int = 0,
    stride: int = 0,
    sides: str = "",
    strides: str = "",
    channels: Literal["together", "apart"] = "together",
    shape: Literal["square", "disc"] = "square",
    fill: Literal["value", "mean", "blur", "inpaint", "noise"] = "value",
    value: float | Tensor = 0.0,
    samples: int = 8,
    seed: int = 0,
    hide: Literal["pixels", "tokens"] = "pixels",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution:
    """Slide a patch over the image and measure the drop of the score at every position."""

@overload
def occlusion(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    patch: int = 0,
    stride: int = 0,
    sides: str = "",
    strides: str = "",
    channels: Literal["together", "apart"] = "together",
    shape: Literal["square", "disc"] = "square",
    fill: Literal["value", "mean", "blur", "inpaint", "noise"] = "value",
    value: float | Tensor = 0.0,
    samples: int = 8,
    seed: int = 0,
    hide: Literal["pixels", "tokens"] = "pixels",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Attribution]:
    """Slide a patch over the image and measure the drop of the score at every position."""

@overload
def occlusion(
    model: Model | Module | Callable[..., Any],
    image: Tensor,
    *,
    target: TargetLike = "top-1",
    patch: int = 0,
    stride: int = 0,
    sides: str = "",
    strides: str = "",
    channels: Literal["together", "apart"] = "together",
    shape: Literal["square", "disc"] = "square",
    fill: Literal["value", "mean", "blur", "inpaint", "noise"] = "value",
    value: float | Tensor = 0.0,
    samples: int = 8,
    seed: int = 0,
    hide: Literal["pixels", "tokens"] = "pixels",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution | list[Attribution]:
    """Slide a patch over the image and measure the drop of the score at every position."""

@overload
def occlusion(
    model: Model | Module | Callable[..., Any],
    image: DataSet,
    *,
    target: TargetLike = "top-1",
    patch: int = 0,
    stride: int = 0,
    sides: str = "",
    strides: str = "",
    channels: Literal["together", "apart"] = "together",
    shape: Literal["square", "disc"] = "square",
    fill: Literal["value", "mean", "blur", "inpaint", "noise"] = "value",
    value: float | Tensor = 0.0,
    samples: int = 8,
    seed: int = 0,
    hide: Literal["pixels", "tokens"] = "pixels",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> ValueStream[Attribution]:
    """Slide a patch over the image and measure the drop of the score at every position."""

@overload
def occlusion(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    target: TargetLike = "top-1",
    patch: int = 0,
    stride: int = 0,
    sides: str = "",
    strides: str = "",
    channels: Literal["together", "apart"] = "together",
    shape: Literal["square", "disc"] = "square",
    fill: Literal["value", "mean", "blur", "inpaint", "noise"] = "value",
    value: float | Tensor = 0.0,
    samples: int = 8,
    seed: int = 0,
    hide: Literal["pixels", "tokens"] = "pixels",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Slide a patch over the image and measure the drop of the score at every position."""

@overload
def occlusion(
    model: Model | Module | Callable[..., Any],
    image: Any,
    *,
    targets: Sequence[TargetLike],
    patch: int = 0,
    stride: int = 0,
    sides: str = "",
    strides: str = "",
    channels: Literal["together", "apart"] = "together",
    shape: Literal["square", "disc"] = "square",
    fill: Literal["value", "mean", "blur", "inpaint", "noise"] = "value",
    value: float | Tensor = 0.0,
    samples: int = 8,
    seed: int = 0,
    hide: Literal["pixels", "tokens"] = "pixels",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Any]:
    """Slide a patch over the image and measure the drop of the score at every position."""

@overload
def partition_shap(
    model: Model | Module | Callable[..., Any],
    image: OneImage,
    *,
    target: TargetLike = "top-1",
    samples: int = 500,
    segmenter: Literal["grid", "slic", "quickshift"] = "grid",
    cells: int = 32,
    segments: int | Tensor = 100,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "blur",
    precision: Literal["float32", "bfloat16"] = "float32",
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution:
    """Distribute the score over halves of the image, halves of these, and so on: Owen values of a binary tree."""

@overload
def partition_shap(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    samples: int = 500,
    segmenter: Literal["grid", "slic", "quickshift"] = "grid",
    cells: int = 32,
    segments: int | Tensor = 100,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "blur",
    precision: Literal["float32", "bfloat16"] = "float32",
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Attribution]:
    """Distribute the score over halves of the image, halves of these, and so on: Owen values of a binary tree."""

@overload
def partition_shap(
    model: Model | Module | Callable[..., Any],
    image: Tensor,
    *,
    target: TargetLike = "top-1",
    samples: int = 500,
    segmenter: Literal["grid", "slic", "quickshift"] = "grid",
    cells: int = 32,
    segments: int | Tensor = 100,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "blur",
    precision: Literal["float32", "bfloat16"] = "float32",
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution | list[Attribution]:
    """Distribute the score over halves of the image, halves of these, and so on: Owen values of a binary tree."""

@overload
def partition_shap(
    model: Model | Module | Callable[..., Any],
    image: DataSet,
    *,
    target: TargetLike = "top-1",
    samples: int = 500,
    segmenter: Literal["grid", "slic", "quickshift"] = "grid",
    cells: int = 32,
    segments: int | Tensor = 100,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "blur",
    precision: Literal["float32", "bfloat16"] = "float32",
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> ValueStream[Attribution]:
    """Distribute the score over halves of the image, halves of these, and so on: Owen values of a binary tree."""

@overload
def partition_shap(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    target: TargetLike = "top-1",
    samples: int = 500,
    segmenter: Literal["grid", "slic", "quickshift"] = "grid",
    cells: int = 32,
    segments: int | Tensor = 100,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "blur",
    precision: Literal["float32", "bfloat16"] = "float32",
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Distribute the score over halves of the image, halves of these, and so on: Owen values of a binary tree."""

@overload
def partition_shap(
    model: Model | Module | Callable[..., Any],
    image: Any,
    *,
    targets: Sequence[TargetLike],
    samples: int = 500,
    segmenter: Literal["grid", "slic", "quickshift"] = "grid",
    cells: int = 32,
    segments: int | Tensor = 100,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "blur",
    precision: Literal["float32", "bfloat16"] = "float32",
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Any]:
    """Distribute the score over halves of the image, halves of these, and so on: Owen values of a binary tree."""

@overload
def permutation(
    model: Model | Module | Callable[..., Any],
    image: OneImage,
    *,
    target: TargetLike = "top-1",
    samples: int = 8,
    segments: int | Tensor = 50,
    segmenter: Literal["slic", "quickshift", "grid"] = "slic",
    precision: Literal["float32", "bfloat16"] = "float32",
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution:
    """Fill one segment at a time with pixels drawn from the whole image and measure the drop of the score."""

@overload
def permutation(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    samples: int = 8,
    segments: int | Tensor = 50,
    segmenter: Literal["slic", "quickshift", "grid"] = "slic",
    precision: Literal["float32", "bfloat16"] = "float32",
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Attribution]:
    """Fill one segment at a time with pixels drawn from the whole image and measure the drop of the score."""

@overload
def permutation(
    model: Model | Module | Callable[..., Any],
    image: Tensor,
    *,
    target: TargetLike = "top-1",
    samples: int = 8,
    segments: int | Tensor = 50,
    segmenter: Literal["slic", "quickshift", "grid"] = "slic",
    precision: Literal["float32", "bfloat16"] = "float32",
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution | list[Attribution]:
    """Fill one segment at a time with pixels drawn from the whole image and measure the drop of the score."""

@overload
def permutation(
    model: Model | Module | Callable[..., Any],
    image: DataSet,
    *,
    target: TargetLike = "top-1",
    samples: int = 8,
    segments: int | Tensor = 50,
    segmenter: Literal["slic", "quickshift", "grid"] = "slic",
    precision: Literal["float32", "bfloat16"] = "float32",
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> ValueStream[Attribution]:
    """Fill one segment at a time with pixels drawn from the whole image and measure the drop of the score."""

@overload
def permutation(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    target: TargetLike = "top-1",
    samples: int = 8,
    segments: int | Tensor = 50,
    segmenter: Literal["slic", "quickshift", "grid"] = "slic",
    precision: Literal["float32", "bfloat16"] = "float32",
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Fill one segment at a time with pixels drawn from the whole image and measure the drop of the score."""

@overload
def permutation(
    model: Model | Module | Callable[..., Any],
    image: Any,
    *,
    targets: Sequence[TargetLike],
    samples: int = 8,
    segments: int | Tensor = 50,
    segmenter: Literal["slic", "quickshift", "grid"] = "slic",
    precision: Literal["float32", "bfloat16"] = "float32",
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Any]:
    """Fill one segment at a time with pixels drawn from the whole image and measure the drop of the score."""

@overload
def recipro_cam(
    model: Model | Module | Callable[..., Any],
    image: OneImage,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    gaussian: bool = True,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution:
    """Set a layer to zero except at one position, for each position in turn, and measure the score."""

@overload
def recipro_cam(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    gaussian: bool = True,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Attribution]:
    """Set a layer to zero except at one position, for each position in turn, and measure the score."""

@overload
def recipro_cam(
    model: Model | Module | Callable[..., Any],
    image: Tensor,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    gaussian: bool = True,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution | list[Attribution]:
    """Set a layer to zero except at one position, for each position in turn, and measure the score."""

@overload
def recipro_cam(
    model: Model | Module | Callable[..., Any],
    image: DataSet,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    gaussian: bool = True,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> ValueStream[Attribution]:
    """Set a layer to zero except at one position, for each position in turn, and measure the score."""

@overload
def recipro_cam(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    gaussian: bool = True,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Set a layer to zero except at one position, for each position in turn, and measure the score."""

@overload
def recipro_cam(
    model: Model | Module | Callable[..., Any],
    image: Any,
    *,
    targets: Sequence[TargetLike],
    layer: LayerAddress = ...,
    gaussian: bool = True,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Any]:
    """Set a layer to zero except at one position, for each position in turn, and measure the score."""

@overload
def rise(
    model: Model | Module | Callable[..., Any],
    image: OneImage,
    *,
    target: TargetLike = "top-1",
    samples: int = 1000,
    cells: int = 7,
    keep: float = 0.5,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "mean",
    centred: bool = True,
    stop_when: float = 0.0,
    precision: Literal["float32", "bfloat16"] = "float32",
    seed: int = 0,
    hide: Literal["pixels", "tokens"] = "pixels",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution:
    """Hide random parts of the image and average the masks, each weighted by the score of the masked image."""

@overload
def rise(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    samples: int = 1000,
    cells: int = 7,
    keep: float = 0.5,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "mean",
    centred: bool = True,
    stop_when: float = 0.0,
    precision: Literal["float32", "bfloat16"] = "float32",
    seed: int = 0,
    hide: Literal["pixels", "tokens"] = "pixels",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Attribution]:
    """Hide random parts of the image and average the masks, each weighted by the score of the masked image."""

@overload
def rise(
    model: Model | Module | Callable[..., Any],
    image: Tensor,
    *,
    target: TargetLike = "top-1",
    samples: int = 1000,
    cells: int = 7,
    keep: float = 0.5,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "mean",
    centred: bool = True,
    stop_when: float = 0.0,
    precision: Literal["float32", "bfloat16"] = "float32",
    seed: int = 0,
    hide: Literal["pixels", "tokens"] = "pixels",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution | list[Attribution]:
    """Hide random parts of the image and average the masks, each weighted by the score of the masked image."""

@overload
def rise(
    model: Model | Module | Callable[..., Any],
    image: DataSet,
    *,
    target: TargetLike = "top-1",
    samples: int = 1000,
    cells: int = 7,
    keep: float = 0.5,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "mean",
    centred: bool = True,
    stop_when: float = 0.0,
    precision: Literal["float32", "bfloat16"] = "float32",
    seed: int = 0,
    hide: Literal["pixels", "tokens"] = "pixels",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> ValueStream[Attribution]:
    """Hide random parts of the image and average the masks, each weighted by the score of the masked image."""

@overload
def rise(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    target: TargetLike = "top-1",
    samples: int = 1000,
    cells: int = 7,
    keep: float = 0.5,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "mean",
    centred: bool = True,
    stop_when: float = 0.0,
    precision: Literal["float32", "bfloat16"] = "float32",
    seed: int = 0,
    hide: Literal["pixels", "tokens"] = "pixels",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Hide random parts of the image and average the masks, each weighted by the score of the masked image."""

@overload
def rise(
    model: Model | Module | Callable[..., Any],
    image: Any,
    *,
    targets: Sequence[TargetLike],
    samples: int = 1000,
    cells: int = 7,
    keep: float = 0.5,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "mean",
    centred: bool = True,
    stop_when: float = 0.0,
    precision: Literal["float32", "bfloat16"] = "float32",
    seed: int = 0,
    hide: Literal["pixels", "tokens"] = "pixels",
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Any]:
    """Hide random parts of the image and average the masks, each weighted by the score of the masked image."""

@overload
def score_cam(
    model: Model | Module | Callable[..., Any],
    image: OneImage,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    channels: int = 0,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution:
    """Mask the image with each channel of a layer, and weight the channel by the score of the masked image."""

@overload
def score_cam(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    channels: int = 0,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Attribution]:
    """Mask the image with each channel of a layer, and weight the channel by the score of the masked image."""

@overload
def score_cam(
    model: Model | Module | Callable[..., Any],
    image: Tensor,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    channels: int = 0,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution | list[Attribution]:
    """Mask the image with each channel of a layer, and weight the channel by the score of the masked image."""

@overload
def score_cam(
    model: Model | Module | Callable[..., Any],
    image: DataSet,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    channels: int = 0,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> ValueStream[Attribution]:
    """Mask the image with each channel of a layer, and weight the channel by the score of the masked image."""

@overload
def score_cam(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    channels: int = 0,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Mask the image with each channel of a layer, and weight the channel by the score of the masked image."""

@overload
def score_cam(
    model: Model | Module | Callable[..., Any],
    image: Any,
    *,
    targets: Sequence[TargetLike],
    layer: LayerAddress = ...,
    channels: int = 0,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Any]:
    """Mask the image with each channel of a layer, and weight the channel by the score of the masked image."""

@overload
def smoothed_score_cam(
    model: Model | Module | Callable[..., Any],
    image: OneImage,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    samples: int = 10,
    sigma: float = 2.0,
    seed: int = 0,
    channels: int = 0,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution:
    """Score-CAM with the scores averaged over several noisy copies of every mask."""

@overload
def smoothed_score_cam(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    samples: int = 10,
    sigma: float = 2.0,
    seed: int = 0,
    channels: int = 0,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Attribution]:
    """Score-CAM with the scores averaged over several noisy copies of every mask."""

@overload
def smoothed_score_cam(
    model: Model | Module | Callable[..., Any],
    image: Tensor,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    samples: int = 10,
    sigma: float = 2.0,
    seed: int = 0,
    channels: int = 0,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution | list[Attribution]:
    """Score-CAM with the scores averaged over several noisy copies of every mask."""

@overload
def smoothed_score_cam(
    model: Model | Module | Callable[..., Any],
    image: DataSet,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    samples: int = 10,
    sigma: float = 2.0,
    seed: int = 0,
    channels: int = 0,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> ValueStream[Attribution]:
    """Score-CAM with the scores averaged over several noisy copies of every mask."""

@overload
def smoothed_score_cam(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    samples: int = 10,
    sigma: float = 2.0,
    seed: int = 0,
    channels: int = 0,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Score-CAM with the scores averaged over several noisy copies of every mask."""

@overload
def smoothed_score_cam(
    model: Model | Module | Callable[..., Any],
    image: Any,
    *,
    targets: Sequence[TargetLike],
    layer: LayerAddress = ...,
    samples: int = 10,
    sigma: float = 2.0,
    seed: int = 0,
    channels: int = 0,
    relu: bool = False,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Any]:
    """Score-CAM with the scores averaged over several noisy copies of every mask."""

@overload
def sobol(
    model: Model | Module | Callable[..., Any],
    image: OneImage,
    *,
    target: TargetLike = "top-1",
    samples: int = 32,
    cells: int = 8,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "mean",
    stop_when: float = 0.0,
    precision: Literal["float32", "bfloat16"] = "float32",
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution:
    """Estimate the total Sobol index of each cell of a mask: the share of the score's variance that involves the cell."""

@overload
def sobol(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    samples: int = 32,
    cells: int = 8,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "mean",
    stop_when: float = 0.0,
    precision: Literal["float32", "bfloat16"] = "float32",
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Attribution]:
    """Estimate the total Sobol index of each cell of a mask: the share of the score's variance that involves the cell."""

@overload
def sobol(
    model: Model | Module | Callable[..., Any],
    image: Tensor,
    *,
    target: TargetLike = "top-1",
    samples: int = 32,
    cells: int = 8,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "mean",
    stop_when: float = 0.0,
    precision: Literal["float32", "bfloat16"] = "float32",
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution | list[Attribution]:
    """Estimate the total Sobol index of each cell of a mask: the share of the score's variance that involves the cell."""

@overload
def sobol(
    model: Model | Module | Callable[..., Any],
    image: DataSet,
    *,
    target: TargetLike = "top-1",
    samples: int = 32,
    cells: int = 8,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "mean",
    stop_when: float = 0.0,
    precision: Literal["float32", "bfloat16"] = "float32",
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> ValueStream[Attribution]:
    """Estimate the total Sobol index of each cell of a mask: the share of the score's variance that involves the cell."""

@overload
def sobol(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    target: TargetLike = "top-1",
    samples: int = 32,
    cells: int = 8,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "mean",
    stop_when: float = 0.0,
    precision: Literal["float32", "bfloat16"] = "float32",
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Estimate the total Sobol index of each cell of a mask: the share of the score's variance that involves the cell."""

@overload
def sobol(
    model: Model | Module | Callable[..., Any],
    image: Any,
    *,
    targets: Sequence[TargetLike],
    samples: int = 32,
    cells: int = 8,
    baseline: Literal["black", "white", "mean", "blur", "noise"] | Tensor = "mean",
    stop_when: float = 0.0,
    precision: Literal["float32", "bfloat16"] = "float32",
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Any]:
    """Estimate the total Sobol index of each cell of a mask: the share of the score's variance that involves the cell."""

@overload
def vit_cx(
    model: Model | Module | Callable[..., Any],
    image: OneImage,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    distance: float = 0.1,
    sigma: float = 0.1,
    centred: bool = True,
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution:
    """Turn the features of a layer into masks, and average these, each weighted by the score that the image keeps."""

@overload
def vit_cx(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    distance: float = 0.1,
    sigma: float = 0.1,
    centred: bool = True,
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Attribution]:
    """Turn the features of a layer into masks, and average these, each weighted by the score that the image keeps."""

@overload
def vit_cx(
    model: Model | Module | Callable[..., Any],
    image: Tensor,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    distance: float = 0.1,
    sigma: float = 0.1,
    centred: bool = True,
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution | list[Attribution]:
    """Turn the features of a layer into masks, and average these, each weighted by the score that the image keeps."""

@overload
def vit_cx(
    model: Model | Module | Callable[..., Any],
    image: DataSet,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    distance: float = 0.1,
    sigma: float = 0.1,
    centred: bool = True,
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> ValueStream[Attribution]:
    """Turn the features of a layer into masks, and average these, each weighted by the score that the image keeps."""

@overload
def vit_cx(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    target: TargetLike = "top-1",
    layer: LayerAddress = ...,
    distance: float = 0.1,
    sigma: float = 0.1,
    centred: bool = True,
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Turn the features of a layer into masks, and average these, each weighted by the score that the image keeps."""

@overload
def vit_cx(
    model: Model | Module | Callable[..., Any],
    image: Any,
    *,
    targets: Sequence[TargetLike],
    layer: LayerAddress = ...,
    distance: float = 0.1,
    sigma: float = 0.1,
    centred: bool = True,
    seed: int = 0,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Any]:
    """Turn the features of a layer into masks, and average these, each weighted by the score that the image keeps."""

@overload
def xrai(
    model: Model | Module | Callable[..., Any],
    image: OneImage,
    *,
    target: TargetLike = "top-1",
    steps: int = 50,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution:
    """Sum integrated gradients over regions of many sizes and rank the regions by their mean."""

@overload
def xrai(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    target: TargetLike = "top-1",
    steps: int = 50,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Attribution]:
    """Sum integrated gradients over regions of many sizes and rank the regions by their mean."""

@overload
def xrai(
    model: Model | Module | Callable[..., Any],
    image: Tensor,
    *,
    target: TargetLike = "top-1",
    steps: int = 50,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> Attribution | list[Attribution]:
    """Sum integrated gradients over regions of many sizes and rank the regions by their mean."""

@overload
def xrai(
    model: Model | Module | Callable[..., Any],
    image: DataSet,
    *,
    target: TargetLike = "top-1",
    steps: int = 50,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> ValueStream[Attribution]:
    """Sum integrated gradients over regions of many sizes and rank the regions by their mean."""

@overload
def xrai(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    target: TargetLike = "top-1",
    steps: int = 50,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Sum integrated gradients over regions of many sizes and rank the regions by their mean."""

@overload
def xrai(
    model: Model | Module | Callable[..., Any],
    image: Any,
    *,
    targets: Sequence[TargetLike],
    steps: int = 50,
    smooth: int | Smooth | None = None,
    smooth_of: Literal["mean", "mean-square", "variance"] | None = None,
) -> list[Any]:
    """Sum integrated gradients over regions of many sizes and rank the regions by their mean."""

def activation_maximization(
    model: Model | Module | Callable[..., Any],
    *,
    unit: Any | None = None,
    size: int = 0,
    parametrisation: Literal["fourier", "maco", "laplacian", "pixels"] = "fourier",
    steps: int = 128,
    rate: float = 0.0,
    transform: Literal["standard", "strong", "jitter", "none"] = "standard",
    total_variation: float = 0.0,
    l1: float = 0.0,
    l2: float = 0.0,
    blur: float = 0.0,
    clip: float = 0.0,
    variants: int = 1,
    diverse: float = 0.0,
    frames: int = 0,
    seed: int = 0,
) -> Pictures:
    """Optimise a picture that maximises the activation of a unit, of a class or of a sum of them."""

@overload
def caricature(
    model: Model | Module | Callable[..., Any],
    image: OneImage,
    *,
    layer: LayerAddress = ...,
    power: float = 2.0,
    steps: int = 200,
    rate: float = 0.05,
    frames: int = 0,
    seed: int = 0,
) -> Pictures:
    """Optimise a picture whose activation at a layer is large and points in the direction of the image's activation."""

@overload
def caricature(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    layer: LayerAddress = ...,
    power: float = 2.0,
    steps: int = 200,
    rate: float = 0.05,
    frames: int = 0,
    seed: int = 0,
) -> list[Pictures]:
    """Optimise a picture whose activation at a layer is large and points in the direction of the image's activation."""

@overload
def caricature(
    model: Model | Module | Callable[..., Any],
    image: Tensor,
    *,
    layer: LayerAddress = ...,
    power: float = 2.0,
    steps: int = 200,
    rate: float = 0.05,
    frames: int = 0,
    seed: int = 0,
) -> Pictures | list[Pictures]:
    """Optimise a picture whose activation at a layer is large and points in the direction of the image's activation."""

@overload
def caricature(
    model: Model | Module | Callable[..., Any],
    image: DataSet,
    *,
    layer: LayerAddress = ...,
    power: float = 2.0,
    steps: int = 200,
    rate: float = 0.05,
    frames: int = 0,
    seed: int = 0,
) -> ValueStream[Pictures]:
    """Optimise a picture whose activation at a layer is large and points in the direction of the image's activation."""

@overload
def caricature(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    layer: LayerAddress = ...,
    power: float = 2.0,
    steps: int = 200,
    rate: float = 0.05,
    frames: int = 0,
    seed: int = 0,
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Optimise a picture whose activation at a layer is large and points in the direction of the image's activation."""

@overload
def deconv_unit(
    model: Model | Module | Callable[..., Any],
    image: OneImage,
    *,
    unit: Any | None = None,
    rule: Literal["deconvnet", "guided"] = "deconvnet",
) -> Attribution:
    """Project the strongest activation of one unit back to the pixels through the transposed network."""

@overload
def deconv_unit(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    unit: Any | None = None,
    rule: Literal["deconvnet", "guided"] = "deconvnet",
) -> list[Attribution]:
    """Project the strongest activation of one unit back to the pixels through the transposed network."""

@overload
def deconv_unit(
    model: Model | Module | Callable[..., Any],
    image: Tensor,
    *,
    unit: Any | None = None,
    rule: Literal["deconvnet", "guided"] = "deconvnet",
) -> Attribution | list[Attribution]:
    """Project the strongest activation of one unit back to the pixels through the transposed network."""

@overload
def deconv_unit(
    model: Model | Module | Callable[..., Any],
    image: DataSet,
    *,
    unit: Any | None = None,
    rule: Literal["deconvnet", "guided"] = "deconvnet",
) -> ValueStream[Attribution]:
    """Project the strongest activation of one unit back to the pixels through the transposed network."""

@overload
def deconv_unit(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    unit: Any | None = None,
    rule: Literal["deconvnet", "guided"] = "deconvnet",
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Project the strongest activation of one unit back to the pixels through the transposed network."""

@overload
def deep_dream(
    model: Model | Module | Callable[..., Any],
    image: OneImage,
    *,
    unit: Any | None = None,
    guide: OneImage | Tensor | None = None,
    octaves: int = 4,
    ratio: float = 1.4,
    steps: int = 12,
    rate: float = 0.05,
    frames: int = 0,
    seed: int = 0,
) -> Pictures:
    """Modify a photograph so that the activation of a layer, a unit or a class increases."""

@overload
def deep_dream(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    unit: Any | None = None,
    guide: OneImage | Tensor | None = None,
    octaves: int = 4,
    ratio: float = 1.4,
    steps: int = 12,
    rate: float = 0.05,
    frames: int = 0,
    seed: int = 0,
) -> list[Pictures]:
    """Modify a photograph so that the activation of a layer, a unit or a class increases."""

@overload
def deep_dream(
    model: Model | Module | Callable[..., Any],
    image: Tensor,
    *,
    unit: Any | None = None,
    guide: OneImage | Tensor | None = None,
    octaves: int = 4,
    ratio: float = 1.4,
    steps: int = 12,
    rate: float = 0.05,
    frames: int = 0,
    seed: int = 0,
) -> Pictures | list[Pictures]:
    """Modify a photograph so that the activation of a layer, a unit or a class increases."""

@overload
def deep_dream(
    model: Model | Module | Callable[..., Any],
    image: DataSet,
    *,
    unit: Any | None = None,
    guide: OneImage | Tensor | None = None,
    octaves: int = 4,
    ratio: float = 1.4,
    steps: int = 12,
    rate: float = 0.05,
    frames: int = 0,
    seed: int = 0,
) -> ValueStream[Pictures]:
    """Modify a photograph so that the activation of a layer, a unit or a class increases."""

@overload
def deep_dream(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    unit: Any | None = None,
    guide: OneImage | Tensor | None = None,
    octaves: int = 4,
    ratio: float = 1.4,
    steps: int = 12,
    rate: float = 0.05,
    frames: int = 0,
    seed: int = 0,
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Modify a photograph so that the activation of a layer, a unit or a class increases."""

@overload
def invert(
    model: Model | Module | Callable[..., Any],
    image: OneImage,
    *,
    layer: LayerAddress = ...,
    steps: int = 200,
    rate: float = 0.05,
    total_variation: float = 0.02,
    frames: int = 0,
    seed: int = 0,
) -> Pictures:
    """Optimise, from noise, a picture with the same activation at a layer as the image."""

@overload
def invert(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    layer: LayerAddress = ...,
    steps: int = 200,
    rate: float = 0.05,
    total_variation: float = 0.02,
    frames: int = 0,
    seed: int = 0,
) -> list[Pictures]:
    """Optimise, from noise, a picture with the same activation at a layer as the image."""

@overload
def invert(
    model: Model | Module | Callable[..., Any],
    image: Tensor,
    *,
    layer: LayerAddress = ...,
    steps: int = 200,
    rate: float = 0.05,
    total_variation: float = 0.02,
    frames: int = 0,
    seed: int = 0,
) -> Pictures | list[Pictures]:
    """Optimise, from noise, a picture with the same activation at a layer as the image."""

@overload
def invert(
    model: Model | Module | Callable[..., Any],
    image: DataSet,
    *,
    layer: LayerAddress = ...,
    steps: int = 200,
    rate: float = 0.05,
    total_variation: float = 0.02,
    frames: int = 0,
    seed: int = 0,
) -> ValueStream[Pictures]:
    """Optimise, from noise, a picture with the same activation at a layer as the image."""

@overload
def invert(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    layer: LayerAddress = ...,
    steps: int = 200,
    rate: float = 0.05,
    total_variation: float = 0.02,
    frames: int = 0,
    seed: int = 0,
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Optimise, from noise, a picture with the same activation at a layer as the image."""

@overload
def style_features(
    model: Model | Module | Callable[..., Any],
    image: OneImage,
    *,
    layer: LayerAddress = ...,
    steps: int = 150,
    rate: float = 0.05,
    frames: int = 0,
    seed: int = 0,
) -> Pictures:
    """Optimise, from noise, textures with the image's Gram matrices at a layer and at all layers named before it."""

@overload
def style_features(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    layer: LayerAddress = ...,
    steps: int = 150,
    rate: float = 0.05,
    frames: int = 0,
    seed: int = 0,
) -> list[Pictures]:
    """Optimise, from noise, textures with the image's Gram matrices at a layer and at all layers named before it."""

@overload
def style_features(
    model: Model | Module | Callable[..., Any],
    image: Tensor,
    *,
    layer: LayerAddress = ...,
    steps: int = 150,
    rate: float = 0.05,
    frames: int = 0,
    seed: int = 0,
) -> Pictures | list[Pictures]:
    """Optimise, from noise, textures with the image's Gram matrices at a layer and at all layers named before it."""

@overload
def style_features(
    model: Model | Module | Callable[..., Any],
    image: DataSet,
    *,
    layer: LayerAddress = ...,
    steps: int = 150,
    rate: float = 0.05,
    frames: int = 0,
    seed: int = 0,
) -> ValueStream[Pictures]:
    """Optimise, from noise, textures with the image's Gram matrices at a layer and at all layers named before it."""

@overload
def style_features(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    layer: LayerAddress = ...,
    steps: int = 150,
    rate: float = 0.05,
    frames: int = 0,
    seed: int = 0,
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Optimise, from noise, textures with the image's Gram matrices at a layer and at all layers named before it."""

@overload
def style_transfer(
    model: Model | Module | Callable[..., Any],
    image: OneImage,
    *,
    style: OneImage | Tensor,
    content_layers: str = "",
    style_layers: str = "",
    content_weight: float = 1.0,
    style_weight: float = 4.0,
    total_variation: float = 0.02,
    steps: int = 200,
    rate: float = 0.05,
    frames: int = 0,
) -> Pictures:
    """Optimise an image to keep its content and to take on the style of another, as a network represents them."""

@overload
def style_transfer(
    model: Model | Module | Callable[..., Any],
    image: list[OneImage] | list[str] | list[Path] | list[Image] | list[Tensor],
    *,
    style: OneImage | Tensor,
    content_layers: str = "",
    style_layers: str = "",
    content_weight: float = 1.0,
    style_weight: float = 4.0,
    total_variation: float = 0.02,
    steps: int = 200,
    rate: float = 0.05,
    frames: int = 0,
) -> list[Pictures]:
    """Optimise an image to keep its content and to take on the style of another, as a network represents them."""

@overload
def style_transfer(
    model: Model | Module | Callable[..., Any],
    image: Tensor,
    *,
    style: OneImage | Tensor,
    content_layers: str = "",
    style_layers: str = "",
    content_weight: float = 1.0,
    style_weight: float = 4.0,
    total_variation: float = 0.02,
    steps: int = 200,
    rate: float = 0.05,
    frames: int = 0,
) -> Pictures | list[Pictures]:
    """Optimise an image to keep its content and to take on the style of another, as a network represents them."""

@overload
def style_transfer(
    model: Model | Module | Callable[..., Any],
    image: DataSet,
    *,
    style: OneImage | Tensor,
    content_layers: str = "",
    style_layers: str = "",
    content_weight: float = 1.0,
    style_weight: float = 4.0,
    total_variation: float = 0.02,
    steps: int = 200,
    rate: float = 0.05,
    frames: int = 0,
) -> ValueStream[Pictures]:
    """Optimise an image to keep its content and to take on the style of another, as a network represents them."""

@overload
def style_transfer(
    model: Model | Module | Callable[..., Any],
    image: Samples,
    *,
    style: OneImage | Tensor,
    content_layers: str = "",
    style_layers: str = "",
    content_weight: float = 1.0,
    style_weight: float = 4.0,
    total_variation: float = 0.02,
    steps: int = 200,
    rate: float = 0.05,
    frames: int = 0,
    explain: str | Sequence[str] | None = None,
) -> Any:
    """Optimise an image to keep its content and to take on the style of another, as a network represents them."""
