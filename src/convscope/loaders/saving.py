"""Opened networks written to files: weights as safetensors beside a Python module that rebuilds them, or ONNX.

The module opens the architecture at the address it came from where a library defines it (``torchvision:resnet18``), by
its configuration beside it where transformers does (``NAME.config/``), and otherwise an exported program beside it
(``NAME.pt2``), since a network does not hold its own source.
"""

import importlib.util
import json
import pprint
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from convscope.engine.inputs.named_inputs import NamedInputs
from convscope.engine.network.model import Model
from convscope.errors import CannotWrite, ConvScopeError, LoadError, MissingExtra
from convscope.loaders.address import open_address
from convscope.loaders.conversion_check import MAX_DIFFERENCE, relative_difference
from convscope.loaders.transformers.configuration import is_rebuilt_from_configuration, save_configuration
from convscope.loaders.transformers.inputs import as_image_input, is_prepared_by_processor
from convscope.spec import LOADERS

LIBRARIES = ("torchvision", "timm")
"""Loaders whose architectures can be opened again wherever the library is installed."""
_ONNX_OPSET = 17

_TEMPLATE = '''"""{title}, written by ConvScope from {source}.

Open it with ``--model {stem}.py:make``, or in Python with ``make()``.
"""

from pathlib import Path

import convscope as cs

HERE = Path(__file__).parent
LABELS = {labels}


def make():
    """The network with its weights, its input and its labels."""
    model = cs.load({address}, weights=HERE / {weights!r})
    model.labels = LABELS
{settings}
    return model
'''


def save_network(model: Model, path: Path) -> tuple[list[Path], float | None]:
    """Write a network, open what was written, and compare the outputs.

    Args:
        model: the network; its input must have a known shape.
        path: a file that ends in .safetensors or .onnx; the other files have its name too.

    Returns:
        The files, and the largest difference of an output relative to the largest; None if it could not be compared.

    Raises:
        CannotWrite: the network cannot be exported, or what was written computes something else.
    """
    example = _example(model)
    save = _save_onnx if path.suffix == ".onnx" else _save_module
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".convscope-") as folder:
        files, difference = save(model, Path(folder) / path.name, example)
        written = []
        for file in files:  # only what was compared gets its name
            written.append(path.parent / file.relative_to(folder))
            written[-1].parent.mkdir(exist_ok=True)
            file.replace(written[-1])
    return written, difference


def _save_module(model: Model, path: Path, example: Tensor) -> tuple[list[Path], float | None]:
    from safetensors.torch import save_file

    source = path.with_suffix(".py")
    address, files = _save_architecture(model, path, example)
    save_file(_state(model.module), path)
    source.write_text(_module_text(model, path, address), "utf-8")
    LOADERS.fill()
    reopened = open_address(f"{source}:make", None, {}, trust=False)
    return [path, source, *files], _compared(model, example, _scores(reopened, example), path)


def _save_architecture(model: Model, path: Path, example: Tensor) -> tuple[str, list[Path]]:
    """The address, as Python, of an architecture without its weights, and the files that it needs beside it."""
    address = _library_address(model)
    if address is not None:
        return address, []
    if is_rebuilt_from_configuration(model.module):
        folder = path.with_suffix(".config")
        return f'f"hf:{{HERE / {folder.name!r}}}"', save_configuration(model.module, model.input, folder)
    program = path.with_suffix(".pt2")
    _export(model, example, program)
    return f"HERE / {program.name!r}", [program]


def _library_address(model: Model) -> str | None:
    """The address, as Python, of an architecture without its weights; None if no library defines it."""
    address, _, query = model.source.partition(" with ")[0].partition("?")
    if address.partition(":")[0] not in LIBRARIES or "weights=" in query.replace("weights=none", ""):
        return None
    return repr(address)


def _state(module: nn.Module) -> dict[str, Tensor]:
    """The state dict in contiguous tensors that share no memory, as safetensors requires."""
    return {name: tensor.detach().to("cpu").contiguous().clone() for name, tensor in module.state_dict().items()}


def _module_text(model: Model, path: Path, address: str) -> str:
    """The Python module that rebuilds the network."""
    return _TEMPLATE.format(
        name=model.name,
        title=_plain(model.name),
        source=_plain(model.source),
        stem=_plain(path.stem),
        labels=pprint.pformat(tuple(model.labels), width=100, compact=True) if model.labels else None,
        address=address,
        weights=path.name,
        settings="\n".join(f"    model.{name} = {value}" for name, value in _settings(model).items()),
    )


def _settings(model: Model) -> dict[str, str]:
    """What the module sets of a model, as Python; the rest is as the architecture's loader sets it."""
    settings = {
        "name": repr(model.name),
        "caveats": pprint.pformat(tuple(str(caveat) for caveat in model.caveats), width=100),
        "assumed_from": "''",
    }
    if not is_prepared_by_processor(model.input):
        settings["input"] = f"cs.{_input_text(model)}"
    if isinstance(model.output, (str, int)):
        settings["output"] = repr(model.output)
    if model.task_name:
        settings["task_name"] = repr(model.task_name)
    if model.units:
        settings["units"] = repr(model.units)
    return settings


def _plain(text: str) -> str:
    """A name without the characters that end a docstring or begin an escape."""
    return "".join(letter for letter in text if letter.isprintable() and letter not in '"\\')


def _input_text(model: Model) -> str:
    """The specification of the input as Python."""
    spec = as_image_input(model.input)
    settings: Mapping[str, Any] = {name: value for name, value in vars(spec).items() if value is not None}
    return f"{type(spec).__name__}({', '.join(f'{name}={value!r}' for name, value in settings.items())})"


def _export(model: Model, example: Tensor, path: Path) -> None:
    """Write the network as an exported program, for any number of images where that can be traced."""
    batch = torch.cat([example, example.flip(-1)])
    error: Exception | None = None
    for shapes, inputs in ((({0: torch.export.Dim("batch")},), batch), (None, example)):
        try:
            with model.preserve_state(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch.export uses parts of torch that are deprecated
                program = torch.export.export(model.module, (inputs,), dynamic_shapes=shapes)
                torch.export.save(program, path)
            return
        except ConvScopeError:
            raise
        except Exception as failure:  # what torch.export raises depends on the network
            error = failure
    reason = " ".join(str(error).split())[:160]
    raise CannotWrite(f"{model.name} cannot be exported by torch.export: {type(error).__name__}: {reason}") from error


def _save_onnx(model: Model, path: Path, example: Tensor) -> tuple[list[Path], float | None]:
    if importlib.util.find_spec("onnx") is None:
        raise MissingExtra("onnx", "onnx")
    names = {"input": {0: "batch"}, "output": {0: "batch"}}
    try:
        with model.preserve_state(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter that needs no other package is deprecated
            torch.onnx.export(
                model.module,
                (example,),
                str(path),
                input_names=["input"],
                output_names=["output"],
                dynamic_axes=names,
                opset_version=_ONNX_OPSET,
                dynamo=False,
            )
    except ConvScopeError:
        raise
    except Exception as error:  # what the exporter raises depends on the network
        reason = " ".join(str(error).split())[:160]
        raise CannotWrite(f"{model.name} cannot be written as ONNX: {type(error).__name__}: {reason}") from error
    _describe(path, model)
    if importlib.util.find_spec("onnxruntime") is None:
        return [path], None
    import onnxruntime  # type: ignore[import-not-found, import-untyped, unused-ignore]

    onnxruntime.set_default_logger_severity(4)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    outputs = session.run(None, {"input": example.numpy()})
    expected = _scores(model, example)
    actual = next((output for output in outputs if output.shape == expected.shape), outputs[0])
    return [path], _compared(model, example, actual, path)


def _describe(path: Path, model: Model) -> None:
    """Add the labels and the preprocessing to the metadata of an ONNX file."""
    import onnx  # type: ignore[import-not-found, import-untyped, unused-ignore]

    content = onnx.load(str(path))
    entries = {"convscope.source": model.source, "convscope.input": _input_text(model)}
    if model.labels:
        entries["convscope.labels"] = json.dumps(list(model.labels), ensure_ascii=False)
    for key, value in entries.items():
        content.metadata_props.add(key=key, value=value)
    onnx.save(content, str(path))


def _example(model: Model) -> Tensor:
    """A random image on the CPU.

    Raises:
        CannotWrite: the network takes more than one tensor of numbers, or has no weights.
    """
    if model.binding is not None:
        kind = "several inputs" if isinstance(model.input, NamedInputs) else "tokens"
        raise CannotWrite(f"{model.name} takes {kind}: only networks of one input of numbers are written")
    if any(True for _ in model.module.buffers()) or any(True for _ in model.module.parameters()):
        return model.example().to("cpu")
    raise CannotWrite(f"{model.name} has no weights to write: it is a function, not a network of layers")


def _scores(model: Model, example: Tensor) -> np.ndarray:
    with model.preserve_state(), torch.no_grad():
        return model.run(model.input_copy(example)).float().cpu().numpy()


def _compared(model: Model, example: Tensor, written: np.ndarray, path: Path) -> float:
    """How much what was written differs from the network."""
    difference = relative_difference(written, _scores(model, example))
    if not difference <= MAX_DIFFERENCE:
        raise LoadError(
            f"{path.name} was written, but differs from {model.name} by {difference:.1e} of the largest output"
        )
    return difference


def refuse_other_endings(path: Path) -> None:
    """Refuse a path that names no kind of file a network can be written to.

    Raises:
        CannotWrite: it ends in something else.
    """
    if path.suffix not in (".safetensors", ".onnx"):
        raise CannotWrite(
            f"a network is written to a folder, to .safetensors (with a Python module beside it) or to .onnx, not to "
            f"{path.name!r}"
        )
