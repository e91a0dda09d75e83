"""The space of prepared inputs in which pictures are optimized: their shape, value range and color correlation.

Parametrizations yield unbounded numbers with uncorrelated channels. A space maps them to a prepared input: it
correlates the channels as in natural images and squashes the values into the range between black and white. For inputs
without a known range (signals, volumes), the picture is scaled to a mean square of one instead.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from convscope.engine.inputs.specs import ImageInput, Images
from convscope.engine.layers.kernels import effective_weight, is_convolution, is_transposed
from convscope.engine.layers.layer_trace import trace_layers
from convscope.errors import InputError, ModelFailed, ParameterError

if TYPE_CHECKING:
    from convscope.engine.network.model import Model

NATURAL_COLOR_COVARIANCE = ((0.0761, 0.0692, 0.0627), (0.0692, 0.0754, 0.0714), (0.0627, 0.0714, 0.0819))
"""The covariance of red, green and blue in natural images, as published with Olah et al. (2017)."""

_MAX_LOGIT = 6.0
_CPU = torch.device("cpu")
_DEFAULT_SIDE = 128
"""The side length assumed for a network whose input size is unknown."""


@dataclass(frozen=True, eq=False)
class PictureSpace:
    """Shape, value range and color correlation of one input (C, …) of the network.

    Attributes:
        low, high: the prepared values (C, 1, …) of black and white; None where no range is known.
        color_matrix: (C, C), maps uncorrelated channels to correlated ones; None leaves them as they are.
    """

    shape: tuple[int, ...]
    low: Tensor | None = None
    high: Tensor | None = None
    color_matrix: Tensor | None = None
    device: torch.device = _CPU
    dtype: torch.dtype = torch.float32

    @property
    def extent(self) -> tuple[int, ...]:
        """The spatial shape."""
        return self.shape[1:]

    def blank(self, dtype: torch.dtype) -> Tensor:
        """A gray input (1, C, …) of this dtype, for tracing the network."""
        return self.to_input(torch.zeros(1, *self.shape, device=self.device, dtype=self.dtype)).to(dtype)

    def correlate(self, values: Tensor) -> Tensor:
        """Uncorrelated channels mapped to the color correlation of natural images."""
        return values if self.color_matrix is None else _mix_channels(values, self.color_matrix)

    def to_input(self, values: Tensor) -> Tensor:
        """Unbounded values (N, C, …) as a prepared input: between black and white, or with a mean square of one."""
        if self.low is None or self.high is None:
            rms = values.flatten(1).square().mean(1).sqrt().clamp_min(1e-12)
            return values / rms.view(-1, *[1] * (values.ndim - 1))
        return torch.addcmul(self.low, torch.sigmoid(values), self.high - self.low)

    def from_input(self, picture: Tensor) -> Tensor:
        """The inverse of `to_input`: the unbounded values of a prepared picture."""
        picture = picture.to(device=self.device, dtype=self.dtype)
        if self.low is None or self.high is None:
            return picture
        return torch.logit((picture - self.low) / (self.high - self.low), eps=1e-3).clamp(-_MAX_LOGIT, _MAX_LOGIT)

    def decorrelate(self, values: Tensor) -> Tensor:
        """The inverse of `correlate`."""
        return values if self.color_matrix is None else _mix_channels(values, torch.linalg.inv(self.color_matrix))

    def with_colors_of(self, images: Images) -> "PictureSpace":
        """This space with the color correlation measured on images."""
        return replace(self, color_matrix=color_matrix_of(self.from_input(images.tensor)))


def picture_space_of(
    model: "Model", size: int | Sequence[int] | None = None, *, inputs: Tensor | None = None
) -> PictureSpace:
    """The space for a network, at the size of its input or another one.

    Args:
        size: the side of the picture, or its extent along each axis.
        inputs: prepared inputs (N, C, …), from which the shape is taken where the model declares none.

    Raises:
        InputError: the input shape is unknown, or the network rejects the shape that its first convolution suggests.
        ParameterError: ``size`` has another number of axes than the input.
    """
    spec = model.input
    channels, own_extent = _input_shape(model, inputs)
    is_assumed = inputs is None and not isinstance(spec, ImageInput) and not spec.shape
    extent = own_extent if size is None else (size,) * len(own_extent) if isinstance(size, int) else tuple(size)
    if len(extent) != len(own_extent):
        raise ParameterError(f"size must be one number or {len(own_extent)}, one per axis of the input, got {size!r}")
    options = {"device": model.device, "dtype": torch.float64 if model.dtype == torch.float64 else torch.float32}
    if not isinstance(spec, ImageInput):
        space = PictureSpace((channels, *extent), **options)  # type: ignore[arg-type]
        if is_assumed:
            _check_assumed_shape(model, space)
        return space
    low, high = (spec.level(level).to(**options) for level in (0.0, 1.0))  # type: ignore[call-overload]
    covariance = torch.tensor(NATURAL_COLOR_COVARIANCE, dtype=torch.float32, device="cpu")
    natural = mixing_matrix(covariance) if channels == 3 else None
    color_matrix = None if natural is None else natural.to(**options)  # type: ignore[call-overload]
    return PictureSpace((channels, *extent), low, high, color_matrix, **options)  # type: ignore[arg-type]


def require_positions(extent: tuple[int, ...]) -> None:
    """Refuse inputs without positions, such as the row of a table, where neighbouring positions are needed.

    Raises:
        ParameterError: the extent is empty.
    """
    if not extent:
        raise ParameterError(
            "this network takes numbers without positions, so there is no picture to draw, shift or scale: choose "
            "parametrisation='pixels' and transform='none', which optimize the numbers themselves"
        )


def mixing_matrix(covariance: Tensor) -> Tensor:
    """The matrix that gives uncorrelated channels this covariance, scaled so that its largest column norm is one."""
    eigenvalues, components = torch.linalg.eigh(covariance.double())
    largest = components.gather(0, components.abs().argmax(0, keepdim=True))
    components = components * largest.sign()  # fix the sign of each eigenvector
    matrix = components * eigenvalues.clamp_min(1e-6 * eigenvalues.max()).sqrt()
    scaled: Tensor = matrix / matrix.norm(dim=0).max()
    return scaled.float()


def color_matrix_of(values: Tensor) -> Tensor:
    """The mixing matrix for the channel covariance of a batch (N, C, …)."""
    flat = values.detach().transpose(0, 1).flatten(1).double()
    return mixing_matrix(torch.cov(flat).reshape(len(flat), len(flat))).to(values)


def _input_shape(model: "Model", inputs: Tensor | None) -> tuple[int, tuple[int, ...]]:
    """Channels and extent of the input: as declared, as ``inputs`` have them, or as the first convolution suggests."""
    spec = model.input
    if isinstance(spec, ImageInput):
        return spec.channels or 3, tuple(spec.size)  # type: ignore[arg-type]
    if spec.shape:
        return spec.shape[0], tuple(spec.shape[1:])
    if inputs is not None:
        return inputs.shape[1], tuple(inputs.shape[2:])
    first: Any = next((m for m in model.module.modules() if is_convolution(m) and not is_transposed(m)), None)
    if first is None:
        raise InputError(
            f"the input shape of {model.name} is unknown, and it has no convolution to infer it from: "
            "declare it with input=cs.ImageInput(size=…) or input=cs.TensorInput(shape=…)"
        )
    axes = effective_weight(first).ndim - 2
    return first.in_channels, (_DEFAULT_SIDE if axes < 3 else _DEFAULT_SIDE // 4,) * axes


def _check_assumed_shape(model: "Model", space: PictureSpace) -> None:
    """Raise `InputError` if the network rejects a shape that was only inferred from its first convolution."""
    try:
        trace_layers(model, space.blank(model.dtype))
    except ModelFailed as error:
        raise InputError(
            f"the input shape of {model.name} is unknown, and it rejects {space.shape}, which its first convolution "
            f"suggests: declare it with input=cs.ImageInput(size=…) or input=cs.TensorInput(shape=…) "
            f"({error.__cause__})"
        ) from error


def _mix_channels(values: Tensor, matrix: Tensor) -> Tensor:
    """The channels at each position multiplied by a matrix."""
    return torch.matmul(matrix.to(values), values.flatten(2)).view_as(values)
