"""ONNX Runtime: the original engine, which checks a translated network, or computes what cannot be translated."""

import functools
import importlib.util
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from convscope.errors import LoadError, MissingExtra, OutputError
from convscope.loaders.onnx.reading import StoredModel, read_model

_SILENT = 4
"""The severity below which ONNX Runtime logs nothing: only what ends the process."""


@functools.cache
def runtime_package() -> ModuleType:
    """The package onnxruntime."""
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtra("onnxruntime", "onnx") from error
    onnxruntime.set_default_logger_severity(_SILENT)
    return onnxruntime  # type: ignore[no-any-return]


def engine_name() -> str:
    """The engine with its version."""
    return f"ONNX Runtime {runtime_package().__version__}"


def is_installed() -> bool:
    """Whether ONNX Runtime can be imported."""
    return importlib.util.find_spec("onnxruntime") is not None


@dataclass
class RuntimeNetwork:
    """A network in ONNX Runtime, from inputs to one of its outputs; it can be pickled.

    Attributes:
        path: the file.
        input: the name of the input.
        fixed: by name, what the other inputs always are.
        output: the name of the output.
        batch_size: the only batch size that the graph runs; None for any.
        channels_last: whether the graph takes the channels as the last axis.
        dtype: the type of the input's elements.
        as_written: whether each node is computed by itself: fused kernels of integers round elsewhere.
        keeps_memory: whether memory is kept from one run for the next.
    """

    path: Path
    input: str
    fixed: dict[str, np.ndarray[Any, Any]]
    output: str
    batch_size: int | None
    channels_last: bool
    dtype: str
    as_written: bool = False
    keeps_memory: bool = True
    _session: Any = field(default=None, repr=False)

    def open(self, stored: StoredModel) -> None:
        """Open the network as it is in memory, where that is not the file's content."""
        self._open(stored.proto.SerializeToString() if stored.is_changed else str(self.path))

    def _open(self, content: str | bytes) -> None:
        self._session = open_session(content, as_written=self.as_written, keeps_memory=self.keeps_memory)

    def __call__(self, inputs: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """The output for a batch of inputs (N, C, …).

        Raises:
            OutputError: it has no numbers for each input, as with a list of detections.
        """
        (output,) = self.run(inputs, [self.output])
        if output.ndim and len(output) == len(inputs):
            return output
        raise OutputError(
            f"the output {self.output!r} has the shape {output.shape} for {len(inputs)} inputs: export one whose first "
            "axis is the batch and whose other axes have the same size for all inputs"
        )

    def run(self, inputs: np.ndarray[Any, Any], outputs: Sequence[str]) -> list[np.ndarray[Any, Any]]:
        """Several outputs for a batch of inputs, of which those without a row for each input are of the first part."""
        if self._session is None:
            self._open(str(self.path))
        batch = np.moveaxis(inputs, 1, -1) if self.channels_last else inputs
        batch = np.rint(batch) if np.dtype(self.dtype).kind in "iu" else batch
        batch = np.ascontiguousarray(batch.astype(self.dtype))
        size = self.batch_size or len(batch)
        parts = [self._run_part(batch[start : start + size], size, outputs) for start in range(0, len(batch), size)]
        return [_joined([part[i] for part in parts], size, len(batch)) for i in range(len(outputs))]

    def _run_part(self, part: np.ndarray[Any, Any], size: int, outputs: Sequence[str]) -> list[np.ndarray[Any, Any]]:
        """The outputs for at most as many inputs as the graph runs; the last one is repeated to fill it up."""
        full = np.concatenate([part, np.repeat(part[-1:], size - len(part), 0)]) if len(part) < size else part
        try:
            results: list[np.ndarray[Any, Any]] = self._session.run(list(outputs), {self.input: full, **self.fixed})
        except Exception as error:  # of ONNX Runtime, as below
            raise LoadError(f"ONNX Runtime cannot run the network: {_first_line(error)}") from error
        return results

    def __getstate__(self) -> dict[str, Any]:
        """All but the session, which is opened when it is needed."""
        return {**vars(self), "_session": None}

    def with_values(self, stored: StoredModel, names: Iterable[str]) -> "RuntimeNetwork":
        """The same network with values between its nodes as further outputs."""
        proto = type(stored.proto)()
        proto.CopyFrom(stored.proto if stored.is_changed else read_model(stored.path).proto)
        present = {info.name for info in proto.graph.output}
        for name in names:
            if name not in present:
                proto.graph.output.add().name = name
        network = RuntimeNetwork(**{name: value for name, value in vars(self).items() if name != "_session"})
        network._open(proto.SerializeToString())
        return network


def _joined(parts: Sequence[np.ndarray[Any, Any]], size: int, inputs: int) -> np.ndarray[Any, Any]:
    """An output for all inputs from those for batches of one size; the first alone if it has no row for each input."""
    have_rows = all(part.ndim and len(part) == size for part in parts)
    return np.concatenate(parts)[:inputs] if have_rows and len({part.shape[1:] for part in parts}) == 1 else parts[0]


def open_session(model: str | bytes, *, as_written: bool = False, keeps_memory: bool = True) -> Any:
    """A session that runs on one thread and logs nothing.

    Args:
        model: the path of a file, or its content.
        as_written: whether each node is computed by itself.
        keeps_memory: whether memory is kept from one run for the next.

    Raises:
        LoadError: ONNX Runtime refuses the network.
    """
    package = runtime_package()
    options = package.SessionOptions()
    options.log_severity_level = _SILENT
    if as_written:
        options.graph_optimization_level = package.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.enable_cpu_mem_arena = keeps_memory
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        return package.InferenceSession(model, options, providers=["CPUExecutionProvider"], enable_fallback=0)
    except Exception as error:  # of ONNX Runtime, which has many classes of errors and no common one
        raise LoadError(f"ONNX Runtime refuses the network: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def layer_outputs(
    network: RuntimeNetwork, stored: StoredModel, inputs: np.ndarray[Any, Any], layers: Sequence[tuple[str, str]]
) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    """The output of each layer, by its address.

    Args:
        network: the network in ONNX Runtime.
        stored: the file's content.
        inputs: a batch of inputs.
        layers: the address of each layer, and the name of the value that it computes.
    """
    names = [name for _, name in layers]
    outputs = network.with_values(stored, names).run(inputs, names)
    return zip([address for address, _ in layers], outputs, strict=True)
