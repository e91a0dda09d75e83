"""Exported programs in files (``.pt2``), read without running code that is stored in them.

``torch.export.load`` unpickles parts of a file without restriction where they do not fit the restricted way. Here the
records are read one by one: the program as checked JSON, weights from their bytes or by the restricted unpickler.
"""

import io
import json
import logging
import math
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export.graph_signature import OutputKind
from torch.utils import _pytree as pytree

from convscope.errors import LoadError
from convscope.loaders.torch_files.archives import ZIP, Records, check_sizes
from convscope.loaders.torch_files.program_checks import check_program

_LEGACY = {
    "program": "serialized_exported_program.json",
    "state": "serialized_state_dict.pt",
    "constants": "serialized_constants.pt",
    "inputs": "serialized_example_inputs.pt",
}
"""The records of files that PyTorch 2.7 and older wrote."""


def read_program(path: Path) -> Any:
    """The exported program in a file.

    Raises:
        LoadError: the file is damaged, holds several programs, or would run code.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _deserialized(*_read_parts(Records(archive, path), path))
    except LoadError:
        raise
    except Exception as error:  # a damaged program raises whatever its parts happen to cause
        reason = " ".join(str(error).split())[:160]
        raise LoadError(
            f"{str(path)!r} cannot be read as an exported program: {type(error).__name__}: {reason}"
        ) from error


def run_program(program: Any, images: Tensor) -> Any:
    """What PyTorch itself computes for the images."""
    args, kwargs = program.example_inputs
    leaves, structure = pytree.tree_flatten((args, kwargs))
    replaced = [images if isinstance(leaf, Tensor) else leaf for leaf in leaves]
    args, kwargs = pytree.tree_unflatten(replaced, structure)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.export uses parts of torch that are deprecated
        # program.module() would copy and rewrite the graph first
        flat = program._graph_module_flat_inputs(args, kwargs)  # noqa: SLF001 - the weights too, in the graph's order
        results = program.graph_module(*flat)
    kinds = [output.kind for output in program.graph_signature.output_specs]
    own = [result for result, kind in zip(results, kinds, strict=True) if kind is OutputKind.USER_OUTPUT]
    return pytree.tree_unflatten(own, program.call_spec.out_spec)


def _read_parts(records: Records, path: Path) -> tuple[Any, dict[str, Any], dict[str, Any], Any]:
    """The program as JSON, its weights, its constants and its example inputs."""
    if _LEGACY["program"] in records:
        program = _read_json(records, _LEGACY["program"])
        state, constants, inputs = (
            _restricted_load(records.read(_LEGACY[part]), _LEGACY[part]) for part in ("state", "constants", "inputs")
        )
        return program, dict(state or {}), dict(constants or {}), inputs
    names = [name[len("models/") : -len(".json")] for name in records if name.startswith("models/")]
    if len(names) != 1:
        raise LoadError(f"{str(path)!r} holds {len(names)} programs ({', '.join(names[:5])}): export one to a file")
    name = names[0]
    program = _read_json(records, f"models/{name}.json")
    state = _read_tensors(records, "data/weights/", name, "weights")
    constants = _read_tensors(records, "data/constants/", name, "constants")
    sample = f"data/sample_inputs/{name}.pt"
    return program, state, constants, _restricted_load(records.read(sample), sample) if sample in records else None


def _read_json(records: Records, name: str) -> Any:
    try:
        return json.loads(records.read(name))
    except (ValueError, RecursionError) as error:
        raise LoadError(f"its record {name!r} is no JSON: {error}") from error


def _restricted_load(content: bytes, name: str) -> Any:
    """What a pickle of tensors holds."""
    if not content:
        return None
    try:
        if content.startswith(ZIP):  # an archive within the archive
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                check_sizes(archive, name, len(content))
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except LoadError:
        raise
    except Exception as error:  # the restricted unpickler raises errors of many types for damaged files
        reason = " ".join(str(error).split())[:120]
        raise LoadError(f"its record {name!r} is refused: opening this pickle may run code ({reason})") from error


def _read_tensors(records: Records, folder: str, model: str, kind: str) -> dict[str, Any]:
    """The weights or constants of a program by name."""
    legacy, listing = f"{folder}{model}.pt", f"{folder}{model}_{kind}_config.json"
    if legacy in records:
        return dict(_restricted_load(records.read(legacy), legacy) or {})
    entries = _read_json(records, listing).get("config", {})
    storages: dict[str, Tensor] = {}
    return {name: _tensor(records, folder, name, entry, storages) for name, entry in entries.items()}


def _tensor(records: Records, folder: str, name: str, entry: Mapping[str, Any], storages: dict[str, Tensor]) -> Tensor:
    """One tensor as its entry describes it; entries with one record share its memory."""
    record = str(entry["path_name"])
    if entry.get("use_pickle"):
        value = _restricted_load(records.read(folder + record), record)
    elif entry.get("tensor_meta") is None:
        raise LoadError(f"{name!r} is an object of a class, which only code could open: export the network without it")
    else:
        value = _strided(records, folder + record, entry["tensor_meta"], storages)
    if not isinstance(value, Tensor):
        raise LoadError(f"{name!r} is {type(value).__name__}, not a tensor")
    return nn.Parameter(value, value.is_floating_point()) if entry.get("is_param") else value


def _strided(records: Records, record: str, description: Mapping[str, Any], storages: dict[str, Tensor]) -> Tensor:
    """A view of the numbers of a record; sizes beyond the record are an error."""
    dtype = _dtype(int(description["dtype"]))
    sizes, strides = (_integers(description[key]) for key in ("sizes", "strides"))
    (offset,) = _integers([description["storage_offset"]])
    if record not in storages:
        content = bytearray(records.read(record))
        storages[record] = (
            torch.frombuffer(content, dtype=torch.uint8) if content else torch.empty(0, dtype=torch.uint8, device="cpu")
        )
    numbers = storages[record]
    needed = 0 if 0 in sizes else offset + sum((n - 1) * s for n, s in zip(sizes, strides, strict=True)) + 1
    if min((*sizes, *strides, offset), default=0) < 0 or needed * dtype.itemsize > len(numbers):
        raise LoadError(
            f"its record {record!r} has {len(numbers):,} bytes, too few for a tensor of {math.prod(sizes):,}"
        )
    if 0 in sizes:
        return torch.empty(sizes, dtype=dtype, device="cpu")
    whole = numbers[: len(numbers) // dtype.itemsize * dtype.itemsize].view(dtype)
    return torch.as_strided(whole, sizes, strides, offset)


def _integers(sizes: Any) -> tuple[int, ...]:
    return tuple(int(size["as_int"]) for size in sizes)


def _dtype(number: int) -> torch.dtype:
    from torch._export.serde.serialize import _SERIALIZE_TO_TORCH_DTYPE

    dtype: torch.dtype = _SERIALIZE_TO_TORCH_DTYPE[number]
    return dtype


def _deserialized(program: Any, state: dict[str, Any], constants: dict[str, Any], inputs: Any) -> Any:
    """The program, from parts that were checked."""
    check_program(program)
    program["guards_code"] = []  # conditions as Python code; sizes are checked here instead
    from torch._export.serde.serialize import ExportedProgramDeserializer

    from convscope.loaders.torch_files.program_parsing import parse_program

    logger = logging.getLogger("torch._export")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ExportedProgramDeserializer().deserialize(
                parse_program(program), state, constants, inputs or ((), {})
            )
    finally:
        logger.setLevel(level)
