"""Where pictures are drawn: the extent, the range and the colours of a network's prepared input.

Parametrisations make numbers without bounds whose channels do not go together. A canvas turns them into a picture: its
channels are mixed as they are in natural images, and pressed into the values that the network's input can take, from
black to white. Where nothing is known of that range (signals, volumes), a picture is brought to a mean square of one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from convscope.engine.inputs.specs import ImageInput, Images
from convscope.engine.layers.kernels import effective_weight, is_convolution, is_transposed
from convscope.engine.layers.trace import traced
from convscope.errors import InputError, ModelFailed, ParameterError

if TYPE_CHECKING:
    from convscope.engine.network.model import Model

NATURAL_COLOURS = ((0.0761, 0.0692, 0.0627), (0.0692, 0.0754, 0.0714), (0.0627, 0.0714, 0.0819))
"""The covariance of red, green and blue in natural images, as published with Olah et al. (2017)."""

_LARGEST_LOGIT = 6.0
_CPU = torch.device("cpu")
_USUAL_SIDE = 128
"""The side of a picture for a network that says nothing of its input."""


@dataclass(frozen=True, eq=False)
class Canvas:
    """What a picture (C, …) must be to be an input of the network.

    Attributes:
        low, high: the prepared values (C, 1, …) of black and white; None where there is no such range.
        colours: (C, C), how independent channels are mixed; None leaves them as they are.
    """

    shape: tuple[int, ...]
    low: Tensor | None = None
    high: Tensor | None = None
    colours: Tensor | None = None
    device: torch.device = _CPU
    dtype: torch.dtype = torch.float32

    @property
    def extent(self) -> tuple[int, ...]:
        """The spatial shape."""
        return self.shape[1:]

    def blank(self, dtype: torch.dtype) -> Tensor:
        """One grey input (1, C, …) of that precision, to see what layers give."""
        return self.prepared(torch.zeros(1, *self.shape, device=self.device, dtype=self.dtype)).to(dtype)

    def coloured(self, values: Tensor) -> Tensor:
        """Independent channels mixed as the colours of natural images are."""
        return values if self.colours is None else _mixed(values, self.colours)

    def prepared(self, values: Tensor) -> Tensor:
        """Numbers without bounds (N, C, …) as a prepared input: between black and white, or of mean square one."""
        if self.low is None or self.high is None:
            spread = values.flatten(1).square().mean(1).sqrt().clamp_min(1e-12)
            return values / spread.view(-1, *[1] * (values.ndim - 1))
        return torch.addcmul(self.low, torch.sigmoid(values), self.high - self.low)

    def values(self, picture: Tensor) -> Tensor:
        """The way back: the numbers without bounds that are drawn as this prepared picture."""
        picture = picture.to(device=self.device, dtype=self.dtype)
        if self.low is None or self.high is None:
            return picture
        return torch.logit((picture - self.low) / (self.high - self.low), eps=1e-3).clamp(
            -_LARGEST_LOGIT, _LARGEST_LOGIT
        )

    def uncoloured(self, values: Tensor) -> Tensor:
        """The way back from mixed channels to independent ones."""
        return values if self.colours is None else _mixed(values, torch.linalg.inv(self.colours))

    def like(self, images: Images) -> "Canvas":
        """The same with colours measured from images."""
        return replace(self, colours=colours_of(self.values(images.tensor)))


def canvas_of(model: "Model", size: int | Sequence[int] | None = None, *, given: Tensor | None = None) -> Canvas:
    """The canvas for a network, of its input's own size or another.

    Args:
        size: the side of the picture, or its extent along each axis.
        given: prepared inputs (N, C, …) of a person's own: what the network takes where it says nothing of it.

    Raises:
        InputError: nothing says what the network takes, or it does not take what its first convolution suggests.
        ParameterError: ``size`` has another number of axes than the input.
    """
    spec = model.input
    channels, own = _shape_of(model, given)
    guessed = given is None and not isinstance(spec, ImageInput) and not spec.shape
    extent = own if size is None else (size,) * len(own) if isinstance(size, int) else tuple(size)
    if len(extent) != len(own):
        raise ParameterError(f"size must be one number or {len(own)}, one per axis of the input, got {size!r}")
    where = {"device": model.device, "dtype": torch.float64 if model.dtype == torch.float64 else torch.float32}
    if not isinstance(spec, ImageInput):
        canvas = Canvas((channels, *extent), **where)  # type: ignore[arg-type]
        if guessed:
            _try_out(model, canvas)
        return canvas
    low, high = (spec.level(level).to(**where) for level in (0.0, 1.0))  # type: ignore[call-overload]
    natural = mixing(torch.tensor(NATURAL_COLOURS, dtype=torch.float32, device="cpu")) if channels == 3 else None
    colours = None if natural is None else natural.to(**where)  # type: ignore[call-overload]
    return Canvas((channels, *extent), low, high, colours, **where)  # type: ignore[arg-type]


def mixing(covariance: Tensor) -> Tensor:
    """The matrix that gives independent channels this covariance, scaled so that its strongest component is one."""
    strengths, components = torch.linalg.eigh(covariance.double())
    largest = components.gather(0, components.abs().argmax(0, keepdim=True))
    components = components * largest.sign()  # which way a component points is left open: make it the same everywhere
    matrix = components * strengths.clamp_min(1e-6 * strengths.max()).sqrt()
    scaled: Tensor = matrix / matrix.norm(dim=0).max()
    return scaled.float()


def colours_of(values: Tensor) -> Tensor:
    """How channels go together in a batch (N, C, …), as a matrix to mix independent ones with."""
    flat = values.detach().transpose(0, 1).flatten(1).double()
    return mixing(torch.cov(flat).reshape(len(flat), len(flat))).to(values)


def _shape_of(model: "Model", given: Tensor | None) -> tuple[int, tuple[int, ...]]:
    """Channels and extent of the input: as declared, as given inputs have them, or as a first convolution has."""
    spec = model.input
    if isinstance(spec, ImageInput):
        return spec.channels or 3, tuple(spec.size)  # type: ignore[arg-type]
    if spec.shape:
        return spec.shape[0], tuple(spec.shape[1:])
    if given is not None:
        return given.shape[1], tuple(given.shape[2:])
    first: Any = next((m for m in model.module.modules() if is_convolution(m) and not is_transposed(m)), None)
    if first is None:
        raise InputError(
            f"nothing says what {model.name} takes, and no convolution of it tells: "
            "say it with input=cs.ImageInput(size=…) or input=cs.TensorInput(shape=…)"
        )
    axes = effective_weight(first).ndim - 2
    return first.in_channels, (_USUAL_SIDE if axes < 3 else _USUAL_SIDE // 4,) * axes


def _try_out(model: "Model", canvas: Canvas) -> None:
    """Refuse a shape that was only supposed, where the network does not take it: the network is not to blame."""
    try:
        traced(model, canvas.blank(model.dtype))
    except ModelFailed as error:
        raise InputError(
            f"nothing says what {model.name} takes, and it does not take {canvas.shape}, which its first convolution "
            f"suggests: say it with input=cs.ImageInput(size=…) or input=cs.TensorInput(shape=…) ({error.__cause__})"
        ) from error


def _mixed(values: Tensor, matrix: Tensor) -> Tensor:
    """Each position's channels times a matrix."""
    return torch.matmul(matrix.to(values), values.flatten(2)).view_as(values)
