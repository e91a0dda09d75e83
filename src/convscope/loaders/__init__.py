"""Loaders that open models from addresses and files; each library or format is imported when it is first used."""

from convscope.loaders import (  # noqa: F401 - declare their loaders
    keras,
    onnx,
    other_formats,
    source_file,
    timm,
    torch_files,
    torchvision,
    transformers,
)
