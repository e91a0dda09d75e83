"""The file formats of PyTorch that hold a whole network: exported programs, TorchScript, pickled modules."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convscope.errors import InputError, LoadError, brief_reason
from convscope.loaders.torch_files.archives import archive_kind
from convscope.spec import file_format
from convscope.values.facts import Fact

if TYPE_CHECKING:
    from torch import Tensor, nn

    from convscope.engine.inputs.specs import InputSpec
    from convscope.engine.network.model import Model


def _recognizes(kind: str) -> Callable[[Path, bytes], bool]:
    return lambda path, head: archive_kind(path, head) == kind


@file_format(
    name="exported",
    title="an exported program of PyTorch (torch.export.save)",
    example="net.pt2",
    extensions=(".pt2",),
    recognizes=_recognizes("exported"),
)
def open_exported(path: Path, *, options: Mapping[str, str], weights: str | Path | None, trust: bool) -> "Model":
    """Open the network of an exported program; its example input gives the shape of inputs."""
    import torch

    from convscope.engine.network.exported_layers import accept_other_batches, example_input, layers_of_program
    from convscope.loaders.torch_files.exported import read_program, run_program

    program = read_program(path)
    try:
        network = layers_of_program(program)
    except InputError as error:
        raise LoadError(f"{str(path)!r} cannot be opened: {brief_reason(error)}") from error
    except Exception as error:  # torch.export raises errors of many types for programs that are damaged
        reason = " ".join(str(error).split())[:160]
        raise LoadError(f"{str(path)!r} cannot be opened: {type(error).__name__}: {reason}") from error
    example = example_input(program)
    inputs = 0 if example is None or example.layout is not torch.strided else _stored_numbers(example)
    with _guarded_run(path, inputs):
        ran = accept_other_batches(network, program)
    model = _model(network, path, weights, trust, None if example is None else tuple(example.shape))
    if weights is None and example is not None:
        with _guarded_run(path, inputs):
            batch, output = (example, None) if ran is None else ran
            expected = run_program(program, batch.clone())
        _check(model, batch, expected, f"torch.export {torch.__version__}", output)
    if network.sizes and network.sizes[0] is not None and network.batch is None:
        model.caveats += (
            Fact("exported for {count} images at once, and run with other numbers of them", count=network.sizes[0]),
        )
    return model


@file_format(
    name="scripted",
    title="a TorchScript archive (torch.jit.save)",
    example="net.pt",
    extensions=(),
    recognizes=_recognizes("scripted"),
    options=("arguments",),
)
def open_scripted(path: Path, *, options: Mapping[str, str], weights: str | Path | None, trust: bool) -> "Model":
    """Open the network of a TorchScript archive; ``?arguments=16000`` fixes what its forward takes beside the input."""
    import torch

    from convscope.loaders.size_guard import SMALL
    from convscope.loaders.torch_files.scripted import check_parameters, read_script, set_arguments

    script = read_script(path, trust=trust)
    if "arguments" in options:
        set_arguments(script, options["arguments"], path)
    check_parameters(script, path)
    model = _model(script.network, path, weights, trust, script.example)
    if "arguments" in options:
        model.source = model.source.replace(str(path), f"{path}?arguments={options['arguments']}", 1)
    if script.hidden_by:
        model.caveats += (
            Fact(
                "its layers are hidden: nothing translates the functions of TorchScript {names}", names=script.hidden_by
            ),
        )
    elif weights is None and script.example is not None:
        noise = torch.Generator().manual_seed(0)
        with _guarded_run(path, min(math.prod(script.example), SMALL)):  # the numbers of its input are not in the file
            example = torch.randn(script.example, generator=noise, device="cpu", dtype=torch.float32)
            expected = script.run_original(example.clone())
        _check(model, example, expected, f"TorchScript of torch {torch.__version__}")
    return model


@file_format(
    name="pickled",
    title="a whole network as a pickle (torch.save), which runs code: --trust",
    example="net.pt",
    extensions=(),
    recognizes=_recognizes("pickled"),
)
def open_pickled(path: Path, *, options: Mapping[str, str], weights: str | Path | None, trust: bool) -> "Model":
    """Open a pickled module, if its code is trusted; weights alone are refused with the way to use them."""
    from convscope.loaders.torch_files.pickled import read_module

    return _model(read_module(path, trust=trust).eval(), path, weights, trust, None)


def _model(
    network: "nn.Module", path: Path, weights: str | Path | None, trust: bool, example: tuple[int, ...] | None
) -> "Model":
    """The model of a network in a file, whose example input may say what inputs look like."""
    from convscope.engine.network.model import Model
    from convscope.loaders.weights import load_state, read_state

    if weights is not None:
        load_state(network, read_state(weights, trust=trust), weights)
    spec = None if example is None else _input(example)
    is_image = spec is not None and not hasattr(spec, "shape")
    return Model(
        network,
        input=spec,
        name=path.stem,
        source=str(path) + (f" with {weights}" if weights else ""),
        assumed_from=f"the example input of {path.name}" if is_image else "",
    )


def _input(example: tuple[int, ...]) -> "InputSpec | None":
    """Inputs of the shape of an example: pictures if it has one or three channels and two axes."""
    from convscope.engine.inputs.specs import ImageInput, TensorInput

    if len(example) == 4 and example[1] in (1, 3):
        return ImageInput(size=example[2:], channels=example[1])
    return TensorInput(example[1:]) if len(example) > 2 else None


def _stored_numbers(x: "Tensor") -> int:
    """How many numbers a tensor has in memory: one that is expanded has fewer than its sizes say."""
    return min(x.numel(), x.untyped_storage().nbytes() // x.itemsize)


@contextmanager
def _guarded_run(path: Path, inputs: int) -> Iterator[None]:
    """Run the network of a file for the first time, on tensors that the file or as many inputs explain.

    Args:
        path: the file.
        inputs: the numbers of the network's input, at most those that are stored.

    Raises:
        LoadError: it asks for larger tensors, or raises an error.
    """
    from convscope.loaders.size_guard import bounded_sizes

    try:
        with bounded_sizes(path.stat().st_size, inputs):
            yield
    except LoadError as error:
        raise LoadError(f"{str(path)!r} is refused: {error}") from error
    except Exception as error:  # the network itself raises it, in PyTorch too
        reason = " ".join(str(error).split())[:160]
        raise LoadError(f"{path.stem} raises {type(error).__name__} on its own example input: {reason}") from error


def _check(model: "Model", example: "Tensor", expected: Any, engine: str, actual: "Tensor | None" = None) -> None:
    """Compare the network with PyTorch's own run of the file, where it returns one tensor.

    Args:
        actual: what the network gives for the example, if it has run; otherwise it runs.
    """
    from torch import Tensor

    from convscope.loaders.conversion_check import check_conversion

    if isinstance(expected, Tensor):
        check_conversion(model, example, expected.detach().float().numpy(), engine=engine, actual=actual)
