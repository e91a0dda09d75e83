"""What takes seconds to import: the process from which `tests.warm_processes` forks others has it already."""

import contextlib
import gc
import importlib
import warnings

import torch

import convscope as cs
from convscope.catalogue import lenses
from convscope.errors import ConvScopeError
from convscope.loaders import torchvision
from convscope.loaders.keras import engine as keras
from convscope.loaders.transformers import library as transformers

MODULES = (
    "convscope.cli",
    "convscope.render",
    "convscope.reporting.report",
    "torch.export",
    "onnx",
    "scipy.stats",
    "matplotlib.pyplot",
)
FAMILIES = ("resnet", "vit")
"""Networks of transformers that the pages name."""

torch.set_num_threads(1)  # a forked process cannot use the threads of this one
for spec in lenses():
    getattr(cs, spec.name)
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of libraries, of their own internals
    for module in MODULES:
        with contextlib.suppress(ImportError):
            importlib.import_module(module)
    for library in (torchvision, keras, transformers):
        with contextlib.suppress(ConvScopeError):  # a package that is not installed
            library.library()
gc.collect()
gc.freeze()  # no collection of a forked process scans, and thereby copies, what is imported here
