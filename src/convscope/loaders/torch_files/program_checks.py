"""Checks of an exported program before PyTorch reads it.

PyTorch's own reader looks up the functions that a program names anywhere in torch, evaluates its expressions of sizes
as Python, and imports modules that its nested structures name. Here a program may name operators, arithmetic and plain
containers only.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

from convscope.errors import LoadError
from convscope.loaders.torch_files.script_translation import FORBIDDEN, NAMESPACES


def _words(text: str) -> list[str]:
    return text.split()


_FUNCTIONS = frozenset(
    f"_operator.{name}"
    for name in _words("""getitem add sub mul truediv floordiv mod neg pos pow eq ne lt le gt ge and_ or_ not_ abs""")
)
_FUNCTIONS |= {f"torch.sym_{name}" for name in _words("""int float max min not ite sum sqrt""")}
_FUNCTIONS |= {f"math.{name}" for name in ["ceil", "floor", "sqrt", "trunc"]} | {"torch._sym_sqrt"}
_OPERATOR = re.compile(r"torch\.ops\.(?P<namespace>\w+)\.(?P<name>\w+)\.\w+")
_NAME = re.compile(r"[A-Za-z_]\w*")
_SYMBOL = re.compile(r"[a-z]{1,4}\d+")
_NEW_SYMBOL = re.compile(r"Symbol\('([a-z]{1,4}\d+)'(?:, (?:positive|nonnegative|integer)=True)*\)")
_SIZE_FUNCTIONS = frozenset(
    _words("""FloorDiv ModularIndexing Where PythonMod Mod CleanDiv CeilToInt FloorToInt CeilDiv LShift RShift
    FloatTrueDiv IntTrueDiv TruncToFloat TruncToInt RoundToInt RoundDecimal ToFloat Identity Max Min Eq Ne
    True False Integer Rational Add Mul Pow BooleanTrue BooleanFalse And Or Not""")
)
_CONTAINERS = frozenset({None, "builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict"})
MAX_EXPRESSION = 500
MAX_NODES = 1_000_000


def check_program(program: Any) -> None:
    """Refuse a program, as read from JSON, that names anything but operators, arithmetic and plain containers.

    Raises:
        LoadError: it does.
    """
    for number, (key, value) in enumerate(_entries(program)):
        if number > MAX_NODES:
            raise LoadError(f"the program is refused: it has more than {MAX_NODES:,} entries")
        if key in ("target", "as_operator") and isinstance(value, str):
            _check_function(value)
        elif key == "expr_str":
            _check_expression(value)
        elif key in ("in_spec", "out_spec") and isinstance(value, str):
            _check_containers(value)


def _entries(program: Any) -> Iterator[tuple[str, Any]]:
    """All keys and values of nested objects."""
    pending = [program]
    while pending:
        part = pending.pop()
        if isinstance(part, dict):
            yield from part.items()
            pending += part.values()
        elif isinstance(part, list):
            pending += part


def _check_function(name: str) -> None:
    operator = _OPERATOR.fullmatch(name)
    if operator is not None:
        allowed = operator["namespace"] in NAMESPACES
        allowed = allowed and f"{operator['namespace']}::{operator['name']}" not in FORBIDDEN
    else:
        is_plain_name = re.fullmatch(r"[\w.@]*", name) is not None and not name.startswith(
            ("torch", "math", "_operator")
        )
        allowed = name in _FUNCTIONS or is_plain_name
    if not allowed:
        raise LoadError(f"the program is refused: it calls {name[:80]!r}, which is no operator on tensors")


def _check_expression(expression: Any) -> None:
    if not isinstance(expression, str) or len(expression) > MAX_EXPRESSION:
        raise LoadError("the program is refused: the expression of a size is longer than any real one")
    plain = _NEW_SYMBOL.sub(r"\1", expression)
    unknown = {name for name in _NAME.findall(plain) if name not in _SIZE_FUNCTIONS and not _SYMBOL.fullmatch(name)}
    powers_are_small = plain.count("Pow(") == len(re.findall(r", Integer\((?:-1|2|3)\)\)", plain)) and "**" not in plain
    arithmetic = re.fullmatch(r"[\w\s+\-*/(),<>=]*", plain) is not None and not re.search(r"\d{12}", plain)
    if unknown or not powers_are_small or not arithmetic:
        raise LoadError(f"the program is refused: {expression[:80]!r} is no expression of sizes")


def _check_containers(text: str) -> None:
    try:
        pending = [json.loads(text)]
    except (ValueError, RecursionError) as error:
        raise LoadError(f"the program is damaged: the structure of its inputs is no JSON ({error})") from error
    while pending:
        part = pending.pop()
        if isinstance(part, list):
            pending += part
        elif isinstance(part, dict):
            if "type" in part and part["type"] not in _CONTAINERS:
                raise LoadError(f"the program is refused: its inputs or outputs are of the type {part['type']!r}")
            if "__enum__" in str(part.get("context")):
                raise LoadError("the program is refused: a key of its inputs or outputs is a value of a Python class")
            pending += [value for value in part.values() if isinstance(value, (dict, list))]
