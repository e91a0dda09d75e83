"""The configuration of an opened network of transformers, written to a folder from which it is built again."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import nn

from convscope.engine.inputs.specs import InputSpec
from convscope.loaders.transformers.inputs import ProcessorInput, is_prepared_by_processor
from convscope.loaders.transformers.library import quiet
from convscope.loaders.transformers.networks import MAIN_INPUTS
from convscope.loaders.transformers.tasks import is_opened


def is_rebuilt_from_configuration(module: Any) -> bool:
    """Whether a network is of a class of transformers that a folder names, with the tensors of its configuration."""
    cls = type(module)
    if cls.__module__.partition(".")[0] != "transformers" or not isinstance(module, nn.Module):
        return False
    if getattr(module, "main_input_name", "") not in MAIN_INPUTS or not is_opened(cls.__name__):
        return False
    with torch.device("meta"), quiet():
        own = cls(deepcopy(module.config))
    shapes = [{name: tensor.shape for name, tensor in network.state_dict().items()} for network in (module, own)]
    return shapes[0] == shapes[1]


def save_configuration(module: Any, spec: InputSpec, folder: Path) -> list[Path]:
    """Write the configuration of a network, and its processor where this prepares the images.

    Args:
        module: a network for which `is_rebuilt_from_configuration` holds.
        spec: its input.
        folder: where to; it is made.

    Returns:
        The files.
    """
    config = deepcopy(module.config)
    config.architectures = [type(module).__name__]
    with quiet():
        config.save_pretrained(folder)
        if isinstance(spec, ProcessorInput) and is_prepared_by_processor(spec):
            spec.processor.save_pretrained(folder)
    return sorted(folder.iterdir())
