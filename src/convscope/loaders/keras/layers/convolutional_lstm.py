"""LSTMs whose states are signals, images or volumes, and whose gates are convolutions."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convscope.errors import LoadError
from convscope.loaders.keras.layers.activation_functions import activation_of
from convscope.loaders.keras.layers.padding import pad_same
from convscope.loaders.keras.layout import Layout
from convscope.loaders.keras.translation import LayerContext, translates

_CONVOLUTION: dict[int, Any] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


class ConvolutionalLSTM(nn.Module):
    """An LSTM over a Keras sequence (N, steps, …, features) of signals, images or volumes.

    Args:
        weight: the kernel of the input (4 × filters, features, …).
        recurrent_weight: the kernel of the state (4 × filters, filters, …).
        bias: (4 × filters), or None.
        functions: of the output and of the gates.
        stride: of the convolution of the input.
        dilation: of the convolution of the input.
        same: whether that convolution is padded.
        options: ``backwards``, ``sequences`` and ``state``, as of other recurrent layers.
    """

    def __init__(
        self,
        weight: Tensor,
        recurrent_weight: Tensor,
        bias: Tensor | None,
        functions: tuple[nn.Module, nn.Module],
        layout: Layout,
        *,
        stride: tuple[int, ...],
        dilation: tuple[int, ...],
        same: bool,
        **options: bool,
    ) -> None:
        super().__init__()
        self.weight, self.recurrent_weight = nn.Parameter(weight), nn.Parameter(recurrent_weight)
        self.bias = None if bias is None else nn.Parameter(bias)
        self.activation, self.recurrent_activation = functions
        self.layout, self.stride, self.dilation, self.same = layout, stride, dilation, same
        self.options = options

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Any:
        """The outputs of all steps or of the last one, and the final states where they are asked for."""
        steps = x if self.layout.channels_first else x.transpose(1, 2)  # (N, steps, features, …)
        if self.options["backwards"]:
            steps, mask = steps.flip(1), None if mask is None else mask.flip(1)
        convolved = self._convolved(steps.flatten(0, 1))
        read = convolved.reshape(*steps.shape[:2], *convolved.shape[1:])
        state = read.new_zeros(len(read), self.recurrent_weight.shape[1], *read.shape[3:])
        memory = output = state
        outputs = []
        for step in range(read.shape[1]):
            new_state, new_memory = self._step(read[:, step], state, memory)
            if mask is not None:
                counts = mask[:, step].bool().reshape(-1, *(1,) * (state.ndim - 1))
                new_state, new_memory = torch.where(counts, new_state, state), torch.where(counts, new_memory, memory)
            state, memory = new_state, new_memory
            output = state
            outputs.append(output)
        result = output
        if self.options["sequences"]:
            result = torch.stack(outputs, 1 if self.layout.channels_first else 2)
        return (result, state, memory) if self.options["state"] else result

    def _convolved(self, images: Tensor) -> Tensor:
        rank = len(self.stride)
        if self.same:
            images = pad_same(images, self.weight.shape[2:], self.stride, self.dilation)
        result: Tensor = _CONVOLUTION[rank](images, self.weight, self.bias, self.stride, dilation=self.dilation)
        return result

    def _step(self, read: Tensor, state: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        rank = len(self.stride)
        padded = pad_same(state, self.recurrent_weight.shape[2:], (1,) * rank, (1,) * rank)
        recalled = _CONVOLUTION[rank](padded, self.recurrent_weight)
        gate, forget, candidate, output = (read + recalled).chunk(4, 1)
        memory = self.recurrent_activation(forget) * memory + self.recurrent_activation(gate) * self.activation(
            candidate
        )
        return self.recurrent_activation(output) * self.activation(memory), memory


@translates("ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D")
def convolutional_lstm(context: LayerContext) -> nn.Module:
    """An LSTM whose gates are convolutions; Keras keeps kernels as (…, inputs, 4 × filters)."""
    rank = int(context.layer.kind[-2])
    order = (rank + 1, rank, *range(rank))
    weight, recurrent_weight = (
        context.tensor(name, rank + 2).permute(order).contiguous() for name in ("kernel", "recurrent kernel")
    )
    bias = context.tensor("bias", 1) if context.flag("use_bias", True) else None
    filters = context.numbers("filters", 1, recurrent_weight.shape[1])[0]
    if weight.shape[0] != 4 * filters or recurrent_weight.shape[:2] != (4 * filters, filters):
        raise LoadError(
            f"the weights do not fit: layer {context.layer.name!r} has {filters} filters, and kernels of the shapes "
            f"{tuple(weight.shape)} and {tuple(recurrent_weight.shape)}"
        )
    padding = context.setting("padding", "valid")
    if padding not in ("same", "valid"):
        raise LoadError(
            f"layer {context.layer.name!r} has the padding {str(padding)[:40]!r}, which Keras does not have"
        )
    usual = "sigmoid" if context.conversion.keras_major >= 3 else "hard_sigmoid"
    functions = (
        activation_of(context, "activation", "tanh") or nn.Identity(),
        activation_of(context, "recurrent_activation", usual) or nn.Identity(),
    )
    return ConvolutionalLSTM(
        weight,
        recurrent_weight,
        bias,
        functions,
        context.layout,
        stride=context.numbers("strides", rank),
        dilation=context.numbers("dilation_rate", rank),
        same=padding == "same",
        backwards=context.flag("go_backwards"),
        sequences=context.flag("return_sequences"),
        state=context.flag("return_state"),
    )
