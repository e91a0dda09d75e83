"""Weight files, read without running code, and fitted to a network."""

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from convscope.errors import LoadError

State = Mapping[str, Tensor]
RANDOM = ("random weights: the network has learned nothing",)
"""The caveat of a network without trained weights."""


def with_weights(build: Callable[[int | None], nn.Module], path: str | Path, *, trust: bool) -> nn.Module:
    """Build a network and load a weight file into it, with as many classes as the file has.

    Args:
        build: ``build(classes)`` makes the network; None keeps its own number of classes.
        path: a .safetensors, .pt, .pth, .th or .bin file holding a state dict.
        trust: allow a pickle that runs code.
    """
    state = read_state(path, trust=trust)
    module = build(None)
    own = module.state_dict()
    mismatched = [k for k in state if k in own and own[k].shape != state[k].shape]
    classes = {state[k].shape[0] for k in mismatched if state[k].shape[1:] == own[k].shape[1:]}
    if mismatched and len(mismatched) <= 4 and len(classes) == 1:
        module = build(classes.pop())
    fit(module, state, path)
    return module


def fit(module: nn.Module, state: State, path: str | Path) -> None:
    """Load a state dict to the letter; what is missing, left over or of another shape is named."""
    own = module.state_dict()
    missing, extra = [k for k in own if k not in state], [k for k in state if k not in own]
    missing = [k for k in missing if not k.endswith("num_batches_tracked")]
    wrong = [
        f"{k} is {tuple(state[k].shape)}, not {tuple(own[k].shape)}"
        for k in own
        if k in state and own[k].shape != state[k].shape
    ]
    problems = [_some("lacks", missing), _some("has unknown", extra), _some("does not fit:", wrong)]
    if any(problems):
        said = "; ".join(p for p in problems if p)
        raise LoadError(f"{str(path)!r} is not for {type(module).__name__}: it {said}")
    module.load_state_dict(dict(state), strict=False)


def read_state(path: str | Path, *, trust: bool) -> State:
    """The tensors of a weight file by name."""
    path = Path(path).expanduser()
    if not path.is_file():
        raise LoadError(f"no such weight file: {str(path)!r}")
    if path.suffix == ".safetensors":
        return _safetensors(path)
    if path.suffix in (".pt", ".pth", ".th", ".bin", ".ckpt"):
        return _pickled(path, trust=trust)
    raise LoadError(
        f"cannot read weights from {path.name!r}: it must end in .safetensors, .pt, .pth, .th, .bin or .ckpt"
    )


def _safetensors(path: Path) -> State:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        found: State = load_file(path)
        return found
    except (SafetensorError, OSError) as error:
        raise LoadError(f"{str(path)!r} is not a whole safetensors file: {error}") from error


def _pickled(path: Path, *, trust: bool) -> State:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of scripted archives before it refuses them
            found = torch.load(path, map_location="cpu", weights_only=not trust)
    except Exception as error:
        if "TorchScript" in str(error):
            raise LoadError(
                f"{str(path)!r} is a TorchScript archive, not a state dict: save module.state_dict()"
            ) from error
        if "weights_only" in str(error) or "Unsupported" in str(error):
            raise LoadError(
                f"{str(path)!r} is refused: opening this pickle would run code that is stored in it. Ask for a "
                "safetensors file or a plain state dict; trust=True (--trust) opens it anyway: only your own files"
            ) from error
        raise LoadError(f"{str(path)!r} cannot be read as weights: {type(error).__name__}: {error}") from error
    return _state_in(found, path)


def _state_in(found: Any, path: Path) -> State:
    """The state dict within what a checkpoint holds, names without the prefix that data-parallel training adds."""
    if isinstance(found, nn.Module):
        found = found.state_dict()
    for key in ("state_dict", "model_state_dict", "model", "net"):
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    if not isinstance(found, Mapping) or not found or not all(isinstance(v, Tensor) for v in found.values()):
        raise LoadError(f"{str(path)!r} holds no state dict (names to tensors), but {type(found).__name__}")
    return {str(key).removeprefix("module."): value for key, value in found.items()}


def _some(word: str, names: list[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{word} {', '.join(names[:3])}{more}"
