"""Checks of a TorchScript archive before PyTorch reads it: its pickles, its code, its sizes.

A script is no Python, but its objects may run methods of their own while they are opened, and its operators include
some that write files.
"""

import io
import pickle
import pickletools
import re
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from convscope.errors import LoadError, brief_reason
from convscope.loaders.torch_files.archives import Records

MAX_CODE = 64 * 2**20
MAX_NESTING = 150
"""The most brackets, or levels of indentation, within each other: torch's parser calls itself for each."""

_INPUTS = "traced_inputs/"
_FILE_OPERATORS = re.compile(r"\b(?:torch|ops\.\w+)\s*\.\s*(save|from_file|rpc_\w+)\b|\bprim\s*\.\s*rpc_\w+")
_FUNCTION = re.compile(r"^ *def\s+(\w+)\b(.*?)(?=^ *def\s|^class\s|\Z)", re.MULTILINE | re.DOTALL)
_CALLED = re.compile(r"\b(\w+)\(")
_LOOP = re.compile(r"^\s*(?:while|for)\b", re.MULTILINE)
_CHAIN = re.compile(r"(?:(?:\bnot\b|[-~+])\s*){50}")


def check_script(path: Path, *, trust: bool) -> tuple[int, ...] | None:
    """Refuse an archive whose opening might run code, exhaust memory or overflow the stack.

    Returns:
        The sizes of the input with which the network was traced; None for a scripted network.

    Raises:
        LoadError: it might, or it is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            records = Records(archive, path)
            sizes = {record.filename.partition("/")[2]: record.file_size for record in archive.infolist()}
            code = {name: records.read(name) for name in records if name.startswith("code/") and name.endswith(".py")}
            pickles = {name: records.read(name) for name in records if name.endswith((".pkl", ".debug_pkl"))}
    except (zipfile.BadZipFile, OSError, NotImplementedError) as error:
        raise LoadError(f"{str(path)!r} is no complete archive: {brief_reason(error)}") from error
    example = None
    for name, content in pickles.items():
        _check_pickle(name, content, path)
        if not name.endswith(".debug_pkl"):
            tensors = _check_tensors(name, content, sizes, path)
            example = tensors[0] if name == f"{_INPUTS[:-1]}.pkl" and tensors else example
    _check_code({name: content.decode("utf-8", "replace") for name, content in code.items()}, path, trust=trust)
    return example


def _check_pickle(name: str, content: bytes, path: Path) -> None:
    """Refuse a pickle that is cut off or whose table of objects would be far larger than itself."""
    try:
        for operation, argument, _ in pickletools.genops(content):
            if "PUT" in operation.name and int(argument or 0) > len(content):
                raise LoadError(f"{str(path)!r} is damaged: its record {name!r} numbers an object {argument:,}")
    except (ValueError, KeyError, IndexError, TypeError, OverflowError, MemoryError, UnicodeDecodeError) as error:
        raise LoadError(
            f"{str(path)!r} is damaged: its record {name!r} is no pickle ({brief_reason(error)})"
        ) from error


class _Placeholder:
    """Stands for any object of a pickle: nothing of the file runs while sizes are checked."""

    def __new__(cls, *_: Any, **__: Any) -> "_Placeholder":
        return super().__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        """Take and forget what the object was built from."""

    def __setstate__(self, state: Any) -> None:
        """Forget the attributes of the object."""


class _SizeReader(pickle.Unpickler):
    """Reads a pickle with placeholders for all objects, and checks the sizes of its tensors.

    Attributes:
        tensors: the sizes of all tensors.
    """

    def __init__(self, name: str, content: bytes, sizes: Mapping[str, int]) -> None:
        super().__init__(io.BytesIO(content))
        self._folder = f"{name.removesuffix('.pkl')}/"
        self._sizes = sizes
        self.tensors: list[tuple[int, ...]] = []

    def find_class(self, module: str, name: str) -> Any:
        """A placeholder for any class or function; one that checks sizes for those of tensors."""
        if name in ("_rebuild_tensor_v2", "_rebuild_tensor"):
            return self._check_tensor
        return _item_type(name) if name.endswith("Storage") else _Placeholder

    def persistent_load(self, reference: Any) -> Any:
        """The storage that a tensor refers to, with the number of items in its record."""
        _, item_type, key, _, numel = reference[:5]
        item = item_type if isinstance(item_type, int) else 1
        record = f"{self._folder}{key}"
        kept = self._folder != _INPUTS  # of the inputs of a trace only the sizes are in the file
        if int(numel) < 0 or (kept and int(numel) * item > self._sizes.get(record, 0)):
            raise LoadError(f"its record {record!r} is smaller than the {int(numel):,} numbers that it should hold")
        return int(numel)

    def _check_tensor(self, numel: Any, offset: Any, sizes: Any, strides: Any, *_: Any) -> _Placeholder:
        needed = offset + sum((n - 1) * s for n, s in zip(sizes, strides, strict=True)) + 1
        if min((*sizes, *strides, offset), default=0) < 0 or (0 not in sizes and needed > numel):
            raise LoadError(f"a tensor of {tuple(sizes)} numbers reaches beyond the {numel:,} of its record")
        self.tensors.append(tuple(sizes))
        return _Placeholder()


def _item_type(name: str) -> int:
    """The bytes of an item of a kind of storage, at least: unknown kinds count as one byte."""
    known = {"Float": 4, "Double": 8, "Half": 2, "BFloat16": 2, "Long": 8, "Int": 4, "Short": 2}
    return known.get(name.removesuffix("Storage"), 1)


def _check_tensors(name: str, content: bytes, sizes: Mapping[str, int], path: Path) -> list[tuple[int, ...]]:
    """The sizes of the tensors in a pickle; refuses such that claim more numbers than the file has."""
    reader = _SizeReader(name, content, sizes)
    try:
        reader.load()
    except LoadError as error:
        raise LoadError(f"{str(path)!r} is damaged: {brief_reason(error)}") from error
    except Exception as error:  # a damaged pickle raises what its operations happen to cause
        raise LoadError(
            f"{str(path)!r} is damaged: its record {name!r} is no pickle ({brief_reason(error)})"
        ) from error
    return reader.tensors


def _check_code(code: Mapping[str, str], path: Path, *, trust: bool) -> None:
    """Refuse code that names operators on files, nests too deeply, or might run for long while it is opened."""
    if sum(map(len, code.values())) > MAX_CODE:
        raise LoadError(f"{str(path)!r} is refused: its code is longer than {MAX_CODE:,} characters")
    for name, text in code.items():
        operator = _FILE_OPERATORS.search(text)
        if operator is not None and not trust:
            raise LoadError(f"{str(path)!r} is refused: its script calls {operator[0]!r}, which reads or writes files")
        if _nesting(text) > MAX_NESTING or _CHAIN.search(text):
            raise LoadError(f"{str(path)!r} is refused: the code in {name!r} nests deeper than that of any network")
    looping = _loop_while_opened(code.values())
    if looping and not trust:
        raise LoadError(
            f"{str(path)!r} is refused: opening it would run a loop of the script (in {looping}); trust=True opens it "
            "anyway: only for files that you trust"
        )


def _loop_while_opened(texts: Iterable[str]) -> str:
    """The function with a loop that objects run while they are opened; empty if they run none."""
    bodies: dict[str, str] = {}
    for text in texts:
        for name, body in _FUNCTION.findall(text):
            bodies[name] = bodies.get(name, "") + body
    pending, visited = ["__setstate__"], set[str]()
    while pending:
        name = pending.pop()
        if name in visited or name not in bodies:
            continue
        visited.add(name)
        if _LOOP.search(bodies[name]):
            return name
        pending += _CALLED.findall(bodies[name])
    return ""


def _nesting(text: str) -> int:
    """The most brackets or levels of indentation within each other."""
    deepest = depth = 0
    for bracket in re.finditer(r"[(\[{]|[)\]}]", text):
        depth += 1 if bracket[0] in "([{" else -1
        deepest = max(deepest, depth)
    indentation = max((len(spaces) for spaces in re.findall(r"^ +", text, re.MULTILINE)), default=0)
    conditionals = max((line.count(" if ") for line in text.splitlines() if " if " in line), default=0)
    return max(deepest, indentation // 2, conditionals)
