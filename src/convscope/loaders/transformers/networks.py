"""A folder written by ``save_pretrained`` as a `Model`: its network, labels, inputs, and the output to explain."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from convscope.errors import LoadError
from convscope.loaders.transformers.architecture import call_library, find_architecture
from convscope.loaders.transformers.folders import check_code, check_sizes, check_weight_files, read_config
from convscope.loaders.transformers.inputs import read_input, without_channel_axis
from convscope.loaders.transformers.library import library, quiet
from convscope.loaders.transformers.tasks import IMAGE_EMBEDDING, task_name
from convscope.values.facts import Fact

if TYPE_CHECKING:
    from convscope.engine.network.model import Model

MAIN_INPUTS = ("pixel_values", "input_values", "input_features")
"""The names of first arguments that hold images and sounds."""


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
    architecture = find_architecture(folder, _read_configuration(folder, plain, trust=trust), address, trust=trust)
    task, caveats = architecture.task, tuple[Fact, ...]()
    if weights is not None or chosen == "none":
        check_sizes(folder, plain)
    if weights is not None:
        module = architecture.with_state_dict(weights)
    elif chosen == "none":
        module, caveats = architecture.with_random_weights(), RANDOM_WEIGHTS
    else:
        check_weight_files(folder, plain, trust=trust)
        module, unused = architecture.with_weights_of_its_folder()
        caveats = () if task is IMAGE_EMBEDDING else _unused_weights(unused)
    if module.main_input_name not in MAIN_INPUTS:
        raise LoadError(f"{address} takes {module.main_input_name}: only networks for images and sounds are opened")
    input, assumed_from = read_input(folder, module, trust=trust)
    if module.main_input_name == "pixel_values":
        module.to(memory_format=torch.channels_last)
    else:
        module.register_forward_pre_hook(without_channel_axis)
    return Model(
        module.eval(),
        input=input,
        labels=_labels(module.config) if task.has_classes else None,
        output=task.output(module.config.num_labels),
        task=task_name(task, module.config),
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
            f"{transformers.__version__} does not have: install a newer transformers"
        )
    read = transformers.AutoConfig.from_pretrained
    with quiet():
        config = call_library(folder, read, folder, local_files_only=True, trust_remote_code=trust)
    config.return_dict = True
    return config


def _unused_weights(names: list[str]) -> tuple[Fact, ...]:
    if not names:
        return ()
    return (Fact("{count} tensors of the weight file are not used, such as {name}", count=len(names), name=names[0]),)


def _labels(config: Any) -> list[str] | None:
    """The names of the classes; none where the configuration only numbers them."""
    names = [str(name) for _, name in sorted((int(index), name) for index, name in config.id2label.items())]
    return None if names == [f"LABEL_{index}" for index in range(len(names))] else names
