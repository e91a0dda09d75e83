"""Operators between signals and frequencies: Fourier transforms, also in windows, and weights of the mel scale."""

import math
from typing import Any

import torch
from torch import Tensor

from convscope.errors import LoadError
from convscope.loaders.onnx.operators.declaration import operator
from convscope.loaders.onnx.operators.numbers import check_elements, number
from convscope.loaders.onnx.tensors import torch_dtype

_AXIS_AS_INPUT = 20
"""The version of the operators from which on DFT takes its axis as an input."""


def _as_complex(x: Tensor) -> Tensor:
    """Numbers whose last axis holds the real part alone, or the real and the imaginary part."""
    if x.shape[-1] not in (1, 2):
        raise LoadError(f"a signal has one or two numbers for each position, not {x.shape[-1]}")
    return x[..., 0] if x.shape[-1] == 1 else torch.view_as_complex(x.contiguous())


@operator("DFT", numbers="length axes")
def fourier_transform(
    x: Tensor, length: Any = None, axes: Any = None, *, axis: int = 1, inverse: int = 0, onesided: int = 0, opset: int
) -> Tensor:
    """The discrete Fourier transform along an axis, or its inverse."""
    if opset >= _AXIS_AS_INPUT:
        axis = -2 if axes is None else int(number(axes))
    signal, dim = _as_complex(x), axis % x.ndim
    count = None if length is None else int(number(length))
    check_elements([x.numel(), count or 1], "DFT")
    if inverse and onesided:
        real: Tensor = torch.fft.irfft(signal, count, dim)
        return real.unsqueeze(-1)
    if inverse:
        return torch.view_as_real(torch.fft.ifft(signal, count, dim))
    spectrum = torch.fft.fft(signal, count, dim)
    if onesided:
        spectrum = spectrum.narrow(dim, 0, spectrum.shape[dim] // 2 + 1)
    return torch.view_as_real(spectrum)


@operator("STFT", numbers="step length")
def windowed_fourier_transform(
    x: Tensor, step: Any, window: Tensor | None = None, length: Any = None, *, onesided: int = 1
) -> Tensor:
    """The Fourier transform of each window of a signal (N, samples, 1 or 2)."""
    size = int(number(length)) if length is not None else len(window) if window is not None else x.shape[1]
    frames = _as_complex(x if x.ndim > 2 else x.unsqueeze(-1)).unfold(1, size, int(number(step)))
    spectrum = torch.fft.fft(frames if window is None else frames * window)
    return torch.view_as_real(spectrum[..., : size // 2 + 1] if onesided else spectrum)


@operator("MelWeightMatrix", numbers="bands length rate lowest highest")
def mel_weights(bands: Any, length: Any, rate: Any, lowest: Any, highest: Any, *, output_datatype: int = 1) -> Tensor:
    """The weight of each frequency of a spectrum in each band of the mel scale: triangles that overlap."""
    count, size = int(number(bands)), int(number(length))
    rows = size // 2 + 1
    check_elements([rows, count + 2], "MelWeightMatrix")
    low, high = (2595 * math.log10(1 + float(number(edge)) / 700) for edge in (lowest, highest))
    mels = [low + i * (high - low) / (count + 2) for i in range(count + 2)]
    edges = [int((size + 1) * 700 * (10 ** (mel / 2595) - 1) // number(rate)) for mel in mels]
    weights = torch.zeros(rows, count, dtype=torch_dtype(output_datatype, "MelWeightMatrix"), device="cpu")
    for band, (left, center, right) in enumerate(zip(edges, edges[1:], edges[2:], strict=False)):
        for row in range(left, min(center + 1, rows)):
            weights[row, band] = (row - left) / (center - left) if center > left else 1
        for row in range(center, min(right, rows)):
            weights[row, band] = (right - row) / (right - center)
    return weights
