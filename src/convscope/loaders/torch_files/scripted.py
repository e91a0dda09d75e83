"""TorchScript archives as networks whose layers, gradients and operations can be looked at."""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from convscope.engine.network.operation_lists import OperationModule
from convscope.errors import LoadError
from convscope.loaders.torch_files.script_checks import check_script
from convscope.loaders.torch_files.script_layers import layers_of_script
from convscope.loaders.torch_files.script_translation import Untranslated
from convscope.values.formatting import format_list


@dataclass
class Script:
    """The network in an archive.

    Attributes:
        network: the network; the script itself where a built-in function has no translation, since black-box lenses
            and those that use the gradient of the input work on that too.
        original: the script as PyTorch itself runs it.
        hidden_by: the built-in functions without a translation; empty if the layers can be seen.
        example: the sizes of the input with which it was traced, if it was.
        arguments: what the forward takes beside the images.
    """

    network: nn.Module
    original: nn.Module
    hidden_by: str
    example: tuple[int, ...] | None
    arguments: tuple[Any, ...] = ()

    def run_original(self, images: Tensor) -> Any:
        """What PyTorch itself computes."""
        with torch.no_grad():
            return self.original(images, *self.arguments)


def read_script(path: Path, *, trust: bool) -> Script:
    """The network in a TorchScript archive.

    Raises:
        LoadError: the archive is damaged, or opening it would run code.
    """
    example = check_script(path, trust=trust)
    unit = torch._C.CompilationUnit()
    try:
        read: Any = torch._C.import_ir_module  # its declared type lacks the last two arguments
        script = read(unit, str(path), torch.device("cpu"), {}, False)
    except Exception as error:  # torch's reader raises errors of many types for files that are damaged
        raise LoadError(f"{str(path)!r} cannot be read as TorchScript: {_reason(error)}") from error
    original = _runnable(script)
    if "forward" not in script._method_names():
        raise LoadError(f"{str(path)!r} holds a script without a forward: save the network itself")
    _check_input_type(script, path)
    try:
        return Script(layers_of_script(script, unit.find_function), original, "", example)
    except Untranslated as error:
        listed = format_list([f"{name} ×{count}" for name, count in sorted(error.missing.items())])
        return Script(original, original, listed, example)
    except RecursionError as error:
        raise LoadError(f"{str(path)!r} is refused: its modules contain each other") from error
    except Exception as error:  # a damaged script breaks what torch otherwise guarantees
        raise LoadError(f"{str(path)!r} cannot be read as TorchScript: {_reason(error)}") from error


def _check_input_type(script: Any, path: Path) -> None:
    """Refuse a network whose input holds no tensor, as one of texts."""
    kind = next((str(argument.type) for argument in script._get_method("forward").schema.arguments[1:]), "Tensor")
    if "Tensor" not in kind and "Any" not in kind:
        raise LoadError(f"the forward of {path.name} takes an input of type {kind}, and lenses explain tensors")


def set_arguments(script: Script, text: str, path: Path) -> None:
    """Fix the parameters of the network's forward after the first one, as numbers separated by commas.

    Raises:
        LoadError: there are no such parameters, or a value is no number.
    """
    values = tuple(_number(part.strip(), text) for part in text.split(","))
    network = script.network
    names = network.methods["forward"].parameters[2:] if isinstance(network, OperationModule) else ()
    if not isinstance(network, OperationModule) or len(values) > len(names):
        raise LoadError(f"?arguments={text}: the forward of {path.name} takes {len(names)} more ({', '.join(names)})")
    method = network.methods["forward"]
    method.defaults = {**method.defaults, **dict(zip(names, values, strict=False))}
    script.arguments = values


def check_parameters(script: Script, path: Path) -> None:
    """Refuse a network whose forward takes more than the images.

    Raises:
        LoadError: it does.
    """
    network = script.network
    if not isinstance(network, OperationModule):
        return
    method = network.methods["forward"]
    needed = [name for name in method.parameters[1:] if name not in method.defaults]
    if len(needed) != 1:
        further = ", ".join(needed[1:])
        raise LoadError(
            f"the forward of {path.name} takes {len(needed)} arguments ({', '.join(needed)}): give numbers for the "
            f"others, as in ?arguments=16000 for {further or 'one'}, or wrap it in a network that takes images alone"
        )


def _number(text: str, option: str) -> Any:
    if text in ("true", "false", "none"):
        return {"true": True, "false": False, "none": None}[text]
    try:
        return int(text) if text.lstrip("-").isdecimal() else float(text)
    except ValueError:
        raise LoadError(f"?arguments={option} is not made of numbers, true, false or none") from None


def _runnable(script: Any) -> nn.Module:
    """The script as a module that PyTorch runs itself, in eval mode."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is deprecated
        module: nn.Module = torch.jit._recursive.wrap_cpp_module(script)  # type: ignore[no-untyped-call]
    return module.eval()


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:200]
