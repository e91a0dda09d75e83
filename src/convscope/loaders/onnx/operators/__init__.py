"""The operators of ONNX, by group; importing this package declares them all."""

from convscope.loaders.onnx.operators import (  # noqa: F401 - each declares its operators
    activation,
    convolution,
    creation,
    detection,
    elementwise,
    indexing,
    matrix,
    normalization,
    pooling,
    quantization,
    recurrent,
    recurrent_steps,
    reduction,
    regions,
    resize,
    shapes,
    spectral,
)
