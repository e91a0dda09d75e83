"""Loaders that open models from addresses and files; each library or format is imported when it is first used."""

from convscope.loaders import keras, source_file, timm, torchvision  # noqa: F401 - declare their loaders
