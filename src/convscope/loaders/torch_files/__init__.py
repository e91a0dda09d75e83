"""Networks in files of PyTorch: exported programs (.pt2), TorchScript and, if trusted, pickled modules."""

from convscope.loaders.torch_files import formats  # noqa: F401 - declares the formats
