"""Transposed convolutions, whose output has the size that TensorFlow gives it."""

from typing import Any

from torch import Tensor, nn

from convscope.errors import LoadError
from convscope.loaders.keras.layers.building import set_weight, with_activation
from convscope.loaders.keras.translation import LayerContext, translates


class _Cropped:
    """Cuts off the end of the output, where TensorFlow crops one element more than at the start."""

    crop: tuple[int, ...]

    def cut(self, output: Tensor) -> Tensor:
        """The output without its last elements along each axis."""
        for axis, amount in enumerate(self.crop, start=2):
            if amount:
                output = output.narrow(axis, 0, output.shape[axis] - amount)
        return output


class CroppedConvTranspose1d(_Cropped, nn.ConvTranspose1d):
    """A transposed convolution whose output is cut at the end."""

    def forward(self, input: Tensor, output_size: Any = None) -> Tensor:
        """Convolve and cut."""
        return self.cut(super().forward(input))


class CroppedConvTranspose2d(_Cropped, nn.ConvTranspose2d):
    """A transposed convolution whose output is cut at the end."""

    def forward(self, input: Tensor, output_size: Any = None) -> Tensor:
        """Convolve and cut."""
        return self.cut(super().forward(input))


class CroppedConvTranspose3d(_Cropped, nn.ConvTranspose3d):
    """A transposed convolution whose output is cut at the end."""

    def forward(self, input: Tensor, output_size: Any = None) -> Tensor:
        """Convolve and cut."""
        return self.cut(super().forward(input))


_PLAIN: dict[int, type[Any]] = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
_CROPPED: dict[int, type[Any]] = {1: CroppedConvTranspose1d, 2: CroppedConvTranspose2d, 3: CroppedConvTranspose3d}


@translates("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose", "Deconvolution2D")
def transposed_convolution(context: LayerContext) -> nn.Module:
    """A transposed convolution; Keras keeps its kernel as (…, outputs, inputs)."""
    rank = int(context.layer.kind[4]) if context.layer.kind[4].isdigit() else 2
    weight = context.tensor("kernel", rank + 2).permute(rank + 1, rank, *range(rank))
    bias = context.tensor("bias", 1) if context.flag("use_bias", True) else None
    if context.numbers("groups", 1)[0] != 1:
        raise context.refuse("its channels are in groups")
    stride, dilation = context.numbers("strides", rank), context.numbers("dilation_rate", rank)
    extra = context.setting("output_padding")
    extras = (None,) * rank if extra is None else context.numbers("output_padding", rank)
    padding = context.setting("padding", "valid")
    if padding not in ("same", "valid"):
        raise LoadError(
            f"layer {context.layer.name!r} has the padding {str(padding)[:40]!r}, which Keras does not have"
        )
    borders = [
        _borders((size - 1) * gap + 1, step, padding == "same", added)
        for size, step, gap, added in zip(weight.shape[2:], stride, dilation, extras, strict=True)
    ]
    crop = tuple(max(-at_end, 0) for _, at_end in borders)
    kind = _CROPPED[rank] if any(crop) else _PLAIN[rank]
    module: Any = kind(
        weight.shape[0],
        weight.shape[1],
        tuple(weight.shape[2:]),
        stride=stride,
        padding=tuple(before for before, _ in borders),
        output_padding=tuple(max(at_end, 0) for _, at_end in borders),
        dilation=dilation,
        bias=bias is not None,
        device="meta",
    )
    module.crop = crop
    set_weight(module, "weight", weight)
    set_weight(module, "bias", bias)
    return with_activation(context, module, "conv")


def _borders(extent: int, stride: int, same: bool, output_padding: int | None) -> tuple[int, int]:
    """How much is cut on both sides of one axis, and how much is then added at its end (less than 0: cut).

    For n inputs the whole result has (n - 1)·stride + extent elements. The output has n·stride of them with "same"
    padding, and at least n·stride without; TensorFlow cuts half of the difference, rounded down, at the start.
    """
    if output_padding is not None:
        surplus = 2 * (extent // 2) - output_padding if same else -output_padding
    elif same:
        surplus = extent - stride
    else:
        surplus = min(extent - stride, 0)
    before = max(surplus, 0) // 2
    return before, 2 * before - surplus
