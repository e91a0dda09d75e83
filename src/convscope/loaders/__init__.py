"""From an address or a file to a model: one library or format a file, imported only when somebody asks for it."""

from convscope.loaders import source, timm, torchvision  # noqa: F401 - each declares its loader
