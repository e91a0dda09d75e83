"""A folder written by ``save_pretrained`` as a `Model`: its network, labels, inputs, and the output to explain."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from convscope.errors import ConvScopeError, LoadError
from convscope.loaders.transformers.folders import check_code, check_weight_files, read_config
from convscope.loaders.transformers.inputs import read_input, without_channel_axis
from convscope.loaders.transformers.library import library, quiet
from convscope.loaders.transformers.tasks import IMAGE_EMBEDDING, Task, find_task
from convscope.loaders.weights import read_state
from convscope.values.facts import Fact

if TYPE_CHECKING:
    from convscope.engine.network.model import Model

_INPUTS = ("pixel_values", "input_values", "input_features")
"""The names of first arguments that hold images and sounds."""
_WRAPPERS = ("module.", "_orig_mod.")
"""Prefixes that data-parallel training and ``torch.compile`` add to every name of a state dict."""
_MAX_CLASS_TENSORS = 6
"""The most tensors that depend on the number of classes: weight and bias of a head and two auxiliary heads."""


def open_folder(
    folder: Path,
    *,
    address: str,
    chosen: str | None = None,
    weights: str | Path | None = None,
    trust: bool = False,
) -> "Model":
    """Open a folder.

    Args:
        folder: with ``config.json``, and ``model.safetensors`` unless other weights are chosen.
        address: what the model's source calls it.
        chosen: ``none`` for random weights.
        weights: a weight file instead of the folder's.
        trust: allow pickles, and code in the folder.
    """
    from convscope.engine.network.model import RANDOM_WEIGHTS, Model

    if chosen not in (None, "none"):
        raise LoadError(f"{address} has no named weights such as ?weights={chosen}; weights=… loads a file")
    plain = read_config(folder)
    config = _read_configuration(folder, plain, trust=trust)
    task, build = _builder(config, address, trust=trust)
    caveats: tuple[Fact, ...] = ()
    if weights is not None:
        module = _with_own_weights(folder, build, config, weights, trust=trust)
    elif chosen == "none":
        module, caveats = _call(folder, build, config, None), RANDOM_WEIGHTS
    else:
        check_weight_files(folder, plain, trust=trust)
        module, unused = _pretrained(folder, build, config, trust=trust)
        caveats = () if task is IMAGE_EMBEDDING else _unused_weights(unused)
    if module.main_input_name not in _INPUTS:
        raise LoadError(f"{address} takes {module.main_input_name}: only networks for images and sounds are opened")
    input, assumed_from = read_input(folder, module, trust=trust)
    if module.main_input_name != "pixel_values":
        module.register_forward_pre_hook(without_channel_axis)
    return Model(
        module.eval(),
        input=input,
        labels=_labels(module.config) if task.has_classes else None,
        output=task.output(module.config.num_labels),
        meaning=None if task.has_classes else "value",
        name=Path(address.removeprefix("hf:")).name or type(module).__name__,
        source=address + (f"?weights={chosen}" if chosen else "") + (f" with {weights}" if weights else ""),
        caveats=caveats,
        assumed_from=assumed_from,
    )


def _read_configuration(folder: Path, plain: dict[str, Any], *, trust: bool) -> Any:
    """The configuration as an object of transformers."""
    transformers = library()
    known = str(plain.get("model_type")) in transformers.CONFIG_MAPPING
    check_code(folder, plain, trust=trust, known=known)
    if not known and not trust:
        raise LoadError(
            f"{str(folder)!r} is for a network {plain.get('model_type')!r}, which transformers "
            f"{transformers.__version__} does not have"
        )
    with quiet():
        config = _call(
            folder, transformers.AutoConfig.from_pretrained, folder, local_files_only=True, trust_remote_code=trust
        )
    config.return_dict = True
    return config


Builder = Callable[..., Any]
"""``build(config, folder, **options)``: the network from a folder, or with random weights where that is None."""


def _builder(config: Any, address: str, *, trust: bool) -> tuple[Task, Builder]:
    """The task of a network and the function that builds it."""
    transformers = library()
    names = config.architectures
    tower = _image_tower(transformers, names[0]) if names and hasattr(config, "vision_config") else None
    task = find_task(names, address) if tower is None else IMAGE_EMBEDDING

    def build(config: Any, folder: Path | None, **options: Any) -> Any:
        if tower is not None:
            part = _tower_configuration(config)
            return tower(part) if folder is None else tower.from_pretrained(folder, config=part, **options)
        auto = getattr(transformers, task.builder)
        if folder is None:
            return auto.from_config(config, trust_remote_code=trust)
        return auto.from_pretrained(folder, config=config, trust_remote_code=trust, **options)

    return task, build


def _image_tower(transformers: Any, architecture: str) -> Any:
    """The class for the images of a network for images and texts: ``CLIPVisionModelWithProjection`` of CLIPModel."""
    prefix = architecture.removesuffix("Model")
    names = (f"{prefix}VisionModelWithProjection", f"{prefix}VisionModel") if prefix != architecture else ()
    return next((getattr(transformers, name) for name in names if hasattr(transformers, name)), None)


def _tower_configuration(config: Any) -> Any:
    """The configuration of the part for images; the whole says to which size embeddings are projected."""
    part = config.vision_config
    if hasattr(config, "projection_dim"):
        part.projection_dim = config.projection_dim
    return part


def _pretrained(folder: Path, build: Builder, config: Any, *, trust: bool) -> tuple[Any, list[str]]:
    """The network with the weights of its folder, and the names of tensors that it does not use."""
    module, report = _load(folder, build, config, folder, use_safetensors=None if trust else True)
    return module, _check_report(report, str(folder), module)


def _with_own_weights(folder: Path, build: Builder, config: Any, path: str | Path, *, trust: bool) -> Any:
    """The network with a state dict, whose names may be those of older versions; it may have another number of classes.

    transformers renames tensors while it loads them, and does so for a state dict too.
    """
    state = dict(read_state(path, trust=trust))
    for prefix in _WRAPPERS:
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): value for name, value in state.items()}
    with torch.device("meta"), quiet():
        cls = type(_call(folder, build, config, None))

    def load(config: Any) -> tuple[Any, Any]:
        own = _tower_configuration(config) if hasattr(config, "vision_config") else config
        return _load(folder, lambda _config, _folder, **rest: cls.from_pretrained(None, **rest), own, state=state)

    module, report = load(config)
    classes = {given[0] for _, given, own in report["mismatched_keys"] if given[1:] == own[1:]}
    if len(classes) == 1 and 0 < len(report["mismatched_keys"]) <= _MAX_CLASS_TENSORS:
        module, report = load(_with_classes(config, classes.pop()))
    unused = _check_report(report, str(path), module)
    if unused:
        raise LoadError(f"{str(path)!r} is not for {type(module).__name__}: it has unknown {_listed(unused)}")
    return module


def _load(
    folder: Path, build: Builder, config: Any, source: Path | None = None, *, state: Any = None, **options: Any
) -> Any:
    """A network and the report of what was loaded into it."""
    options |= {"local_files_only": True} if source is not None else {"config": config, "state_dict": state}
    with quiet():
        return _call(
            folder,
            build,
            config,
            source,
            dtype=torch.float32,
            ignore_mismatched_sizes=True,  # they are refused by name
            output_loading_info=True,
            **options,
        )


def _check_report(report: Mapping[str, Any], source: str, module: Any) -> list[str]:
    """The names of tensors that were not used.

    Raises:
        LoadError: tensors are missing or have another shape.
    """
    mismatched = sorted(name for name, _, _ in report["mismatched_keys"])
    for problem, names in (("lack", sorted(report["missing_keys"])), ("do not fit", mismatched)):
        if names:
            raise LoadError(
                f"the weights in {source!r} are not for {type(module).__name__}: they {problem} {_listed(names)}"
            )
    return sorted(report["unexpected_keys"])


def _listed(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _unused_weights(names: list[str]) -> tuple[Fact, ...]:
    if not names:
        return ()
    return (Fact("{count} tensors of the weight file are not used, such as {name}", count=len(names), name=names[0]),)


def _call(folder: Path, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Call transformers; whatever it raises on the content of a folder becomes one sentence."""
    try:
        return function(*args, **options)
    except ConvScopeError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:240]
        raise LoadError(f"transformers cannot open {str(folder)!r}: {type(error).__name__}: {reason}") from error


def _with_classes(config: Any, classes: int) -> Any:
    """The configuration for another number of classes."""
    changed = deepcopy(config)
    changed.num_labels = classes
    return changed


def _labels(config: Any) -> list[str] | None:
    """The names of the classes; none where the configuration only numbers them."""
    names = [str(name) for _, name in sorted((int(index), name) for index, name in config.id2label.items())]
    return None if names == [f"LABEL_{index}" for index in range(len(names))] else names
