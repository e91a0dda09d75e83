"""From the name of a repository to a folder, and checks of the files in a folder before anything is built from them."""

import json
import re
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any

from convscope.errors import SAVE_AGAIN, LoadError, brief_reason

CONFIG = "config.json"
SAFETENSORS, SAFETENSORS_INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json")
MAX_CONFIG_BYTES = 2**24
_MAX_COUNT = 1_000_000
"""The largest whole number of a configuration that needs no weights of this size to be believed."""
_MAX_LAYERS = 10_000
"""The most layers of a configuration without weights."""

_REPOSITORY = re.compile(r"[\w.-]+(/[\w.-]+)?")


def find_folder(name: str, *, chosen: str | None, weights: str | Path | None, trust: bool) -> Path:
    """The folder of a network: the path that ``name`` is, its place in the local cache, or downloaded into the cache.

    Args:
        name: a path, or a repository such as ``microsoft/resnet-50``.
        chosen: ``none`` where no weights are needed.
        weights: a file that replaces the weights of the repository.
        trust: whether pickles and code are fetched too.

    Raises:
        LoadError: there is no such folder, and the repository is neither cached nor can be fetched.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    if path.is_file():
        raise LoadError(f"hf:{name} is a file: give the folder that save_pretrained wrote, or the file as {name}")
    if name.startswith((".", "~", "/")) or not _REPOSITORY.fullmatch(name):
        raise LoadError(f"hf:{name} is neither a folder nor the name of a repository such as hf:microsoft/resnet-50")
    needs_weights = chosen != "none" and weights is None
    cached = _cached_folder(name)
    if cached is not None and (not needs_weights or _has_weights(cached, trust=trust)):
        return cached
    return _download(name, needs_weights=needs_weights, trust=trust)


def read_config(folder: Path) -> dict[str, Any]:
    """The configuration of a folder.

    Raises:
        LoadError: it is missing, no JSON object, or too large.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise LoadError(f"{str(folder)!r} holds no {CONFIG}: it is not a folder written by save_pretrained")
    if path.stat().st_size > MAX_CONFIG_BYTES:
        raise LoadError(f"{str(path)!r} has {path.stat().st_size:,} bytes: that is no configuration of a network")
    try:
        config = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise LoadError(f"{str(path)!r} is not JSON: {error}") from error
    if not isinstance(config, dict):
        raise LoadError(f"{str(path)!r} holds {type(config).__name__}, not an object")
    names = config.get("architectures") or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise LoadError(f"{str(path)!r} must name its architectures in a list, got {str(names)[:40]}")
    return config


def check_code(folder: Path, config: Mapping[str, Any], *, trust: bool, known: bool) -> None:
    """Refuse a network that needs code from its folder, unless it is trusted.

    Args:
        known: whether transformers has this kind of network itself.
    """
    if config.get("auto_map") and not known and not trust:
        raise LoadError(
            f"{str(folder)!r} is refused: its network {config.get('model_type')!r} is code in that repository; "
            "trust=True runs it: only for repositories that you trust"
        )


def check_weight_files(folder: Path, config: Mapping[str, Any], *, trust: bool) -> None:
    """Check the weight files before a network is built from the configuration.

    Raises:
        LoadError: there are no weights, only pickles (without ``trust``), shards outside the folder, incomplete files,
            or a configuration whose sizes these weights cannot fill.
    """
    if not _has_weights(folder):
        pickles = [name for name in PICKLES if (folder / name).is_file()]
        if pickles and trust:
            return
        if pickles:
            raise LoadError(
                f"{str(folder)!r} holds its weights as a pickle ({pickles[0]}): save them with "
                "save_pretrained(safe_serialization=True); trust=True opens it anyway: only for files that you trust"
            )
        raise LoadError(
            f"{str(folder)!r} holds no weights ({SAFETENSORS}): pass a file with weights=…, or use random weights with "
            f"'hf:{folder}?weights=none'"
        )
    sizes = [prod(shape) for shape in stored_shapes(folder)]
    for name, number in whole_numbers(config):
        if number > max(sum(sizes), _MAX_COUNT) or (_counts_layers(name) and number > len(sizes)):
            raise LoadError(
                f"{CONFIG} in {str(folder)!r} declares {name}={number:,}, which its weights ({len(sizes):,} tensors, "
                f"{sum(sizes):,} numbers) cannot fill"
            )


def check_sizes(folder: Path, config: Mapping[str, Any]) -> None:
    """Refuse a configuration without weights whose sizes are those of no network.

    Raises:
        LoadError: it declares more than `_MAX_COUNT` of something, or more than `_MAX_LAYERS` layers.
    """
    for name, number in whole_numbers(config):
        if number > (_MAX_LAYERS if _counts_layers(name) else _MAX_COUNT):
            raise LoadError(f"{CONFIG} in {str(folder)!r} declares {name}={number:,}, which no network has")


def stored_shapes(folder: Path) -> list[tuple[int, ...]]:
    """The shapes of the tensors in the safetensors files of a folder, from their headers; empty if there are none."""
    return [shape for path in _weight_files(folder) for shape in _tensor_shapes(path)] if _has_weights(folder) else []


def _counts_layers(name: str) -> bool:
    return "layers" in name or name == "depths"


def _has_weights(folder: Path, *, trust: bool = False) -> bool:
    return any((folder / name).is_file() for name in (SAFETENSORS, SAFETENSORS_INDEX, *(PICKLES if trust else ())))


def _weight_files(folder: Path) -> list[Path]:
    """The safetensors files that make up the weights."""
    if (folder / SAFETENSORS).is_file():
        return [folder / SAFETENSORS]
    index = folder / SAFETENSORS_INDEX
    try:
        names = set(json.loads(index.read_text("utf-8"))["weight_map"].values())
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise LoadError(f"{str(index)!r} is not the index of weight files: {type(error).__name__}: {error}") from error
    for name in names:
        if not isinstance(name, str) or Path(name).name != name or not (folder / name).is_file():
            raise LoadError(f"{str(index)!r} names {name!r}, which is no file of its folder")
    return [folder / name for name in sorted(names)]


def _tensor_shapes(path: Path) -> list[tuple[int, ...]]:
    """The shape of each tensor in a safetensors file; nothing but its header is read."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return [tuple(file.get_slice(name).get_shape()) for name in file.keys()]  # noqa: SIM118 - no mapping
    except (SafetensorError, OSError) as error:
        raise LoadError(
            f"{str(path)!r} is not a complete safetensors file: {brief_reason(error)}; {SAVE_AGAIN}"
        ) from error


def whole_numbers(config: Any, name: str = "", depth: int = 0) -> Iterator[tuple[str, int]]:
    """Every whole number of a configuration with its name; identifiers of tokens are no sizes."""
    if depth > 8:
        raise LoadError(f"{CONFIG} is nested more than 8 levels deep")
    if isinstance(config, Mapping):
        for key, value in config.items():
            if not str(key).endswith("_id"):
                yield from whole_numbers(value, str(key), depth + 1)
    elif isinstance(config, list):
        for value in config:
            yield from whole_numbers(value, name, depth + 1)
    elif isinstance(config, int) and not isinstance(config, bool):
        yield name, config


def _cached_folder(name: str) -> Path | None:
    """The folder of a repository in the local cache."""
    from convscope.loaders.transformers.library import library

    library()
    from huggingface_hub import try_to_load_from_cache

    config = try_to_load_from_cache(name, CONFIG)
    return Path(config).parent if isinstance(config, str) else None


def _download(name: str, *, needs_weights: bool, trust: bool) -> Path:
    """Fetch a repository into the local cache."""
    from huggingface_hub import constants, snapshot_download

    from convscope.loaders.download import is_reachable

    remedy = "pass its folder as hf:./FOLDER, or download it where there is a network ('hf download " + name + "')"
    if constants.HF_HUB_OFFLINE or not is_reachable(constants.ENDPOINT):
        reason = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else "there is no network"
        raise LoadError(f"hf:{name} is not in the local cache and cannot be fetched ({reason}): {remedy}")
    patterns = ["*.json"] + ["*.safetensors"] * needs_weights + ["*.py", "*.bin"] * trust
    try:
        return Path(snapshot_download(name, allow_patterns=patterns))
    except Exception as error:
        reason = " ".join(str(error).split())[:160]
        raise LoadError(f"hf:{name} could not be fetched ({type(error).__name__}: {reason}): {remedy}") from error
