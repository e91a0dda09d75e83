"""Weight files: read without running code, and loaded into a network."""

import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from convscope.errors import SAVE_AGAIN, LoadError, brief_reason
from convscope.values.formatting import format_list

State = Mapping[str, Tensor]
PICKLE_EXTENSIONS = (".pt", ".pth", ".th", ".bin", ".ckpt")
EXTENSIONS = (".safetensors", *PICKLE_EXTENSIONS)
"""The extensions of weight files."""
ALL_EXTENSIONS = (*EXTENSIONS, ".h5", ".hdf5", ".keras")
"""The extensions of weight files, also of those that only Keras networks take."""
_MAX_CLASS_TENSORS = 6
"""The most tensors that depend on the number of classes: weight and bias of a head and two auxiliary heads."""
_CHECKPOINT_KEYS = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "module", "ema")
_WRAPPERS = ("module.", "_orig_mod.", "module.", "model.")
"""Prefixes that data-parallel training, ``torch.compile`` and training frameworks add to every name."""
CUT_OFF = "its archive is cut off or damaged"
"""What is wrong with a file that begins as a zip archive and cannot be read as one."""


def build_with_weights(build: Callable[[int | None], nn.Module], path: str | Path, *, trust: bool) -> nn.Module:
    """Build a network with the number of classes of a weight file, and load the file.

    Args:
        build: ``build(classes)`` returns the network; None selects the default number of classes.
        path: a file with a state dict, with one of `EXTENSIONS`.
        trust: allow pickles that run code.
    """
    module = build(None)
    own = module.state_dict()
    state = _strip_prefixes(own, read_state(path, trust=trust))
    mismatched = [k for k in state if k in own and own[k].shape != state[k].shape]
    classes = {state[k].shape[0] for k in mismatched if state[k].shape[1:] == own[k].shape[1:]}
    if mismatched and len(mismatched) <= _MAX_CLASS_TENSORS and len(classes) == 1:
        module = build(classes.pop())
    load_state(module, state, path)
    return module


def load_state(module: nn.Module, state: State, path: str | Path) -> None:
    """Load a state dict strictly; missing names, unknown names and wrong shapes are reported."""
    own = module.state_dict()
    state = _strip_prefixes(own, state)
    missing, unknown = [k for k in own if k not in state], [k for k in state if k not in own]
    missing = [k for k in missing if not k.endswith("num_batches_tracked")]
    wrong = [
        f"{k} is {tuple(state[k].shape)}, not {tuple(own[k].shape)}"
        for k in own
        if k in state and own[k].shape != state[k].shape
    ]
    problems = [
        _list_problem("lacks", missing),
        _list_problem("has unknown", unknown),
        _list_problem("does not fit:", wrong),
    ]
    if any(problems):
        reasons = "; ".join(p for p in problems if p)
        raise LoadError(f"{str(path)!r} is not for {type(module).__name__}: it {reasons}")
    module.load_state_dict(dict(state), strict=False)


def read_state(path: str | Path, *, trust: bool) -> State:
    """The state dict in a weight file.

    Args:
        path: a file with one of `EXTENSIONS`.
        trust: allow pickles that run code.
    """
    try:
        path = Path(path).expanduser()
        exists = path.is_file()
    except (TypeError, OSError, RuntimeError, ValueError) as error:
        raise LoadError(f"a weight file must be given by its path, got {path!r} ({type(error).__name__})") from error
    if not exists:
        raise LoadError(f"no such weight file: {str(path)!r}")
    if path.suffix not in EXTENSIONS:
        raise LoadError(
            f"cannot read weights from {path.name!r}: it must end in {', '.join(EXTENSIONS[:-1])} or {EXTENSIONS[-1]}"
        )
    try:
        is_safetensors = holds_safetensors(path) or (path.suffix == ".safetensors" and not _is_archive(path))
    except OSError as error:
        raise LoadError(f"{str(path)!r} cannot be read: {error.strerror}") from error
    return _read_safetensors(path) if is_safetensors else read_pickle(path, trust=trust)


def weights_alone(path: Path, ending: str) -> str:
    """The error message for a file with weights and no network.

    Args:
        ending: the ending of such files; weights are read from files with one of `EXTENSIONS`.
    """
    renamed = path if path.suffix in EXTENSIONS else path.with_suffix(ending)
    rename = "" if renamed == path else f"rename it to {renamed.name}, and "
    return (
        f"{str(path)!r} holds weights without the network that they belong to: {rename}give them to an architecture, "
        f"as in torchvision:resnet50?weights={renamed}"
    )


def holds_safetensors(path: Path) -> bool:
    """Whether a file begins as those of safetensors do: the length of its header in eight bytes, and the header."""
    with path.open("rb") as file:
        head = file.read(9)
    return len(head) == 9 and head.endswith(b"\0\0{")


def _is_archive(path: Path) -> bool:
    """Whether a file begins as a zip archive, such as PyTorch writes."""
    from convscope.loaders.torch_files.archives import ZIP

    with path.open("rb") as file:
        return file.read(len(ZIP)) == ZIP


def check_safetensors(path: Path) -> None:
    """Refuse a file of safetensors that is cut off or damaged, without reading its tensors.

    Raises:
        LoadError: its header does not describe the rest of the file.
    """
    from safetensors import safe_open

    with _complete_safetensors(path), safe_open(path, framework="pt"):
        pass


def _read_safetensors(path: Path) -> State:
    from safetensors.torch import load_file

    with _complete_safetensors(path):
        state: State = load_file(path)
        return state


@contextmanager
def _complete_safetensors(path: Path) -> Iterator[None]:
    """Raise what safetensors finds wrong with a file as a `LoadError`."""
    from safetensors import SafetensorError

    try:
        yield
    except (SafetensorError, OSError) as error:
        raise LoadError(
            f"{str(path)!r} is not a complete safetensors file: {brief_reason(error)}; {SAVE_AGAIN}"
        ) from error


def check_archive(path: Path) -> None:
    """Refuse a zip archive of PyTorch whose records would unpack to far more than the file; other files pass.

    Raises:
        LoadError: it would, or it is damaged.
    """
    from convscope.loaders.torch_files.archives import ZIP, check_sizes

    try:
        with path.open("rb") as file:
            if file.read(len(ZIP)) != ZIP:
                return
        with zipfile.ZipFile(path) as archive:
            check_sizes(archive, str(path), path.stat().st_size)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise LoadError(
            f"{str(path)!r} cannot be read as weights: {CUT_OFF} ({brief_reason(error)}); {SAVE_AGAIN}"
        ) from error


def read_pickle(path: Path, *, trust: bool) -> State:
    """The state dict in a pickle of torch."""
    check_archive(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns about TorchScript archives before it refuses them
            with path.open("rb") as file:  # of a path with the ending .safetensors, torch reads no pickle
                checkpoint = torch.load(
                    file if path.suffix == ".safetensors" else path, map_location="cpu", weights_only=not trust
                )
    except Exception as error:
        if "TorchScript" in str(error):
            raise LoadError(
                f"{str(path)!r} is a TorchScript archive, not a state dict: save module.state_dict()"
            ) from error
        if _needs_code(error):
            raise LoadError(
                f"{str(path)!r} is refused: opening this pickle would run code that is stored in it. Use a "
                "safetensors file or a plain state dict; trust=True opens it anyway: only for files that you trust"
            ) from error
        if "PytorchStreamReader" in str(error):
            raise LoadError(f"{str(path)!r} cannot be read as weights: {CUT_OFF}; {SAVE_AGAIN}") from error
        raise LoadError(
            f"{str(path)!r} cannot be read as weights: it is no checkpoint of PyTorch, or damaged "
            f"({type(error).__name__}: {_unpickling_reason(error)}); save it again, with "
            "torch.save(module.state_dict(), FILE)"
        ) from error
    return _find_state(checkpoint, path)


def _unpickling_reason(error: Exception) -> str:
    """What torch says about a pickle, without its advice to open it unsafely."""
    _, _, detail = str(error).partition("WeightsUnpickler error:")
    return next(iter(detail.strip().splitlines()), "") or brief_reason(error)


def _strip_prefixes(own: State, state: State) -> State:
    """``state`` without the prefixes of wrappers, unless the network has them itself."""
    for prefix in _WRAPPERS:
        if all(key.startswith(prefix) for key in state) and not any(key.startswith(prefix) for key in own):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state


def _needs_code(error: Exception) -> bool:
    """Whether a pickle was refused because it contains code, and not because it is unreadable."""
    message = str(error).lower()
    return any(reason in message for reason in ("unsupported global", "unsupported class", "add_safe_globals"))


def _find_state(checkpoint: Any, path: Path) -> State:
    """The state dict in a checkpoint, which may be nested."""
    content = checkpoint
    for _ in range(3):
        if isinstance(content, nn.Module):
            content = content.state_dict()
        nested = (content.get(key) for key in _CHECKPOINT_KEYS) if isinstance(content, Mapping) else ()
        content = next((part for part in nested if isinstance(part, (Mapping, nn.Module))), content)
    is_state = isinstance(content, Mapping) and content and all(isinstance(v, Tensor) for v in content.values())
    if not is_state:
        raise LoadError(f"{str(path)!r} holds no state dict (names to tensors), but {type(content).__name__}")
    return {str(key): value for key, value in content.items()}


def _list_problem(problem: str, names: list[str]) -> str:
    return f"{problem} {format_list(names, most=3)}" if names else ""
