"""The network that a configuration describes, with random weights, those of its folder or those of another file."""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch

from convscope.errors import ConvScopeError, LoadError
from convscope.loaders.transformers.folders import CONFIG, stored_shapes
from convscope.loaders.transformers.library import library, quiet
from convscope.loaders.transformers.tasks import IMAGE_EMBEDDING, PROJECTED_IMAGES, Task, find_task
from convscope.loaders.weights import read_state
from convscope.values.formatting import format_list

_WRAPPERS = ("module.", "_orig_mod.")
"""Prefixes that data-parallel training and ``torch.compile`` add to every name of a state dict."""
_SMALL = 2**20
"""How many numbers a network may have that no weights account for: 4 MiB of float32."""
_MAX_CLASS_TENSORS = 6
"""The most tensors that depend on the number of classes: weight and bias of a head and two auxiliary heads."""


@dataclass(frozen=True)
class Architecture:
    """A network that is yet to be built.

    Attributes:
        folder: where its configuration lies; messages name it.
        config: its configuration; of a network for images and texts, that of the part for images.
        task: what it is for.
        own_class: the class to build, where transformers does not find it by the configuration.
        trust: whether pickles are opened, and code in the folder is run.
    """

    folder: Path
    config: Any
    task: Task
    own_class: Any = None
    trust: bool = False

    def with_random_weights(self) -> Any:
        """The network as it is before training."""
        with quiet():
            if self.own_class is not None:
                return call_library(self.folder, self.own_class, self.config)
            builder = getattr(library(), self.task.builder)
            return call_library(self.folder, builder.from_config, self.config, trust_remote_code=self.trust)

    def with_weights_of_its_folder(self) -> tuple[Any, list[str]]:
        """The network with the weights of its folder, and the names of tensors that it does not use."""
        options = {"local_files_only": True, "use_safetensors": None if self.trust else True}
        builder = self.own_class
        if builder is None:
            builder, options["trust_remote_code"] = getattr(library(), self.task.builder), self.trust
        shapes = stored_shapes(self.folder)
        if shapes:
            _check_size(self._without_memory(), shapes, self.folder)
        module, report = self._load(builder, self.folder, **options)
        return module, _check_report(report, str(self.folder), module)

    def with_state_dict(self, path: str | Path) -> Any:
        """The network with the weights of a file, whose number of classes may be another.

        transformers renames tensors while it loads them, so that the names may be those of its older versions.
        """
        state = dict(read_state(path, trust=self.trust))
        for prefix in _WRAPPERS:
            if all(name.startswith(prefix) for name in state):
                state = {name.removeprefix(prefix): value for name, value in state.items()}
        empty = self._without_memory()
        built_class = type(empty)
        _check_size(empty, [tuple(tensor.shape) for tensor in state.values()], self.folder)
        module, report = self._load(built_class, None, state_dict=state)
        mismatched = report["mismatched_keys"]
        classes = {given[0] for _, given, own in mismatched if given[1:] == own[1:]}
        if len(classes) == 1 and len(mismatched) <= _MAX_CLASS_TENSORS:
            config = deepcopy(self.config)
            config.num_labels = classes.pop()
            module, report = self._load(built_class, None, config, state_dict=state)
        unused = _check_report(report, str(path), module)
        if unused:
            raise LoadError(
                f"{str(path)!r} is not for {built_class.__name__}: it has unknown {format_list(unused, most=3)}"
            )
        return module

    def _without_memory(self) -> Any:
        """The network with tensors that have shapes and no memory."""
        with torch.device("meta"):
            return self.with_random_weights()

    def _load(
        self, builder: Any, source: Path | None, config: Any = None, **options: Any
    ) -> tuple[Any, Mapping[str, Any]]:
        """A network with weights, and the report of what fitted."""
        with quiet():
            module, report = call_library(
                self.folder,
                builder.from_pretrained,
                source,
                config=config or self.config,
                dtype=torch.float32,
                ignore_mismatched_sizes=True,  # they are refused by name
                output_loading_info=True,
                **options,
            )
        return module, report


def find_architecture(folder: Path, config: Any, address: str, *, trust: bool) -> Architecture:
    """The network that a configuration describes.

    Raises:
        LoadError: it is for none of the tasks that are opened.
    """
    names = config.architectures
    if names and names[0].endswith(PROJECTED_IMAGES) and hasattr(library(), names[0]):
        return Architecture(folder, config, IMAGE_EMBEDDING, getattr(library(), names[0]), trust)
    image_class = _image_class(names[0]) if names and hasattr(config, "vision_config") else None
    if image_class is None:
        return Architecture(folder, config, find_task(names, address), trust=trust)
    part = config.vision_config
    if hasattr(config, "projection_dim"):  # the whole says to which size embeddings are projected
        part.projection_dim = config.projection_dim
    return Architecture(folder, part, IMAGE_EMBEDDING, image_class, trust)


def call_library(folder: Path, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Call transformers; whatever it raises on the content of a folder becomes one sentence."""
    try:
        return function(*args, **options)
    except ConvScopeError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:240]
        raise LoadError(f"transformers cannot open {str(folder)!r}: {type(error).__name__}: {reason}") from error


def _image_class(architecture: str) -> Any:
    """The class for the images of a network for images and texts: ``CLIPVisionModelWithProjection`` of CLIPModel."""
    prefix = architecture.removesuffix("Model")
    names = (f"{prefix}VisionModelWithProjection", f"{prefix}VisionModel") if prefix != architecture else ()
    return next((getattr(library(), name) for name in names if hasattr(library(), name)), None)


def _check_size(empty: Any, stored: Sequence[tuple[int, ...]], folder: Path) -> None:
    """Refuse weights that fill less than half of a network, before memory is taken for it.

    Args:
        empty: the network without memory.
        stored: the shapes of the weights.
        folder: where the configuration lies.
    """
    count, numbers = sum(parameter.numel() for parameter in empty.parameters()), sum(map(prod, stored))
    if count <= 2 * numbers + _SMALL:  # of a smaller difference the names are said after loading
        return
    known = set(stored)
    unlike = {name: p for name, p in empty.named_parameters() if tuple(p.shape) not in known}
    name, largest = max(unlike.items(), key=lambda item: item[1].numel(), default=("", None))
    example = "" if largest is None else f", and none for {name} {tuple(largest.shape)}"
    raise LoadError(
        f"{CONFIG} in {str(folder)!r} describes a network of {count:,} numbers, and there are weights for {numbers:,}"
        f"{example}: it is not the configuration of these weights"
    )


def _check_report(report: Mapping[str, Any], source: str, module: Any) -> list[str]:
    """The names of tensors that were not used.

    Raises:
        LoadError: tensors are missing or have another shape.
    """
    mismatched = [
        f"{name} is {tuple(stored)}, not {tuple(own)}" for name, stored, own in sorted(report["mismatched_keys"])
    ]
    for problem, names in (("lack", sorted(report["missing_keys"])), ("do not fit:", mismatched)):
        if names:
            kind = type(module).__name__
            raise LoadError(
                f"the weights in {source!r} are not for {kind}: they {problem} {format_list(names, most=3)}"
            )
    return sorted(report["unexpected_keys"])
