"""Weight files, read without running code, and fitted to a network."""

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from convscope.errors import LoadError

State = Mapping[str, Tensor]
PICKLES = (".pt", ".pth", ".th", ".bin", ".ckpt")
ENDINGS = (".safetensors", *PICKLES)
"""How the name of a weight file ends."""
_MOST_HEADS = 6
"""Weights and biases that change with the number of classes: one head and two auxiliary ones."""
_CHECKPOINT_KEYS = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "module", "ema")
_WRAPPERS = ("module.", "_orig_mod.", "module.", "model.")
"""What data-parallel training, compiling and training frameworks put before every name."""


def with_weights(build: Callable[[int | None], nn.Module], path: str | Path, *, trust: bool) -> nn.Module:
    """Build a network and load a weight file into it, with as many classes as the file has.

    Args:
        build: ``build(classes)`` makes the network; None keeps its own number of classes.
        path: a .safetensors, .pt, .pth, .th or .bin file holding a state dict.
        trust: allow a pickle that runs code.
    """
    module = build(None)
    own = module.state_dict()
    state = _named_as(own, read_state(path, trust=trust))
    mismatched = [k for k in state if k in own and own[k].shape != state[k].shape]
    classes = {state[k].shape[0] for k in mismatched if state[k].shape[1:] == own[k].shape[1:]}
    if mismatched and len(mismatched) <= _MOST_HEADS and len(classes) == 1:
        module = build(classes.pop())
    fit(module, state, path)
    return module


def fit(module: nn.Module, state: State, path: str | Path) -> None:
    """Load a state dict to the letter; what is missing, left over or of another shape is named."""
    own = module.state_dict()
    state = _named_as(own, state)
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
    try:
        path = Path(path).expanduser()
        there = path.is_file()
    except (TypeError, OSError, RuntimeError, ValueError) as error:
        raise LoadError(f"a weight file is named by its path, got {path!r} ({type(error).__name__})") from error
    if not there:
        raise LoadError(f"no such weight file: {str(path)!r}")
    if path.suffix == ".safetensors":
        return _safetensors(path)
    if path.suffix in PICKLES:
        return _pickled(path, trust=trust)
    raise LoadError(
        f"cannot read weights from {path.name!r}: it must end in {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}"
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
        if _needs_code(error):
            raise LoadError(
                f"{str(path)!r} is refused: opening this pickle would run code that is stored in it. Ask for a "
                "safetensors file or a plain state dict; trust=True opens it anyway: only your own files"
            ) from error
        reason = " ".join(str(error).split())[:160]
        raise LoadError(f"{str(path)!r} cannot be read as weights: {type(error).__name__}: {reason}") from error
    return _state_in(found, path)


def _named_as(own: State, state: State) -> State:
    """``state`` without the prefixes of wrappers that the network itself does not have."""
    for prefix in _WRAPPERS:
        if all(key.startswith(prefix) for key in state) and not any(key.startswith(prefix) for key in own):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state


def _needs_code(error: Exception) -> bool:
    """Whether a pickle was refused for the code in it, rather than unreadable."""
    said = str(error)
    return "Unsupported global" in said or "Unsupported class" in said or "add_safe_globals" in said


def _state_in(found: Any, path: Path) -> State:
    """The state dict within what a checkpoint holds, names without what wrappers put before them."""
    for _ in range(3):
        if isinstance(found, nn.Module):
            found = found.state_dict()
        inner = (found.get(key) for key in _CHECKPOINT_KEYS) if isinstance(found, Mapping) else ()
        found = next((part for part in inner if isinstance(part, (Mapping, nn.Module))), found)
    tensors = isinstance(found, Mapping) and found and all(isinstance(v, Tensor) for v in found.values())
    if not tensors:
        raise LoadError(f"{str(path)!r} holds no state dict (names to tensors), but {type(found).__name__}")
    return {str(key): value for key, value in found.items()}


def _some(word: str, names: list[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{word} {', '.join(names[:3])}{more}"
