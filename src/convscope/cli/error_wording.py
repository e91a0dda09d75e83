"""Translation of error messages from Python to shell syntax: ``name=value`` becomes ``--name value``.

Errors are raised by code that does not know about the command line, and name parameters as in Python.
"""

import re
from collections.abc import Callable, Collection

_EXPRESSIONS: tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...] = (
    (r"input=cs\.ImageInput\(([^)]*)\)", lambda call: _join_options(re.findall(r"(\w+)=", call[1]) or ["size"])),
    (
        r"input=cs\.TensorInput\([^)]*\)",
        "the address of a file whose function makes the model with its input, such as net.py:make",
    ),
    (
        r"Model\(…, layouts=\{'([^']*)': '([^']*)'\}\)",
        lambda call: f"--model 'ADDRESS?layout={call[1]}:{call[2].replace(' ', ',')}'",
    ),
    (r"use (cs\.Region\([^)]*\))", r"name a unit of the output, as in --target 'LAYER[3]', or use \1 in Python"),
    (r"model\.layers\(\) or ", ""),
    (
        r"or pass a prepared tensor \(N, C, H, W\)",
        "or describe a signal, a volume or another input in the address of the model (docs/inputs.md)",
    ),
)
"""Python expressions with a translation of their own: pattern → replacement."""

_DICT = re.compile(r"pass a dict, \{([^}]*)\}")
_PAIR = re.compile(r"(?<![\w?&.'\"(-])([a-z_]+)=('[^']*'|\"[^\"]*\"|[\w.]+|…)")
_LEADING_NAME = re.compile(r"^([a-z_]+) (?=must|names|has)")
_QUOTED = " raised "
"""Marks messages that quote an exception of user code, in which only the options of the command are translated."""


def to_shell_syntax(sentence: str, options: Collection[str]) -> str:
    """``sentence`` with parameters in shell syntax.

    Args:
        sentence: an error message.
        options: the names of the parameters of the command in Python.
    """
    for pattern, replacement in _EXPRESSIONS:
        sentence = re.sub(pattern, replacement, sentence)
    is_quoted = _QUOTED in sentence
    sentence = _PAIR.sub(
        lambda pair: pair[0] if is_quoted and pair[1] not in options else _option(*pair.groups()), sentence
    )
    sentence = _DICT.sub(lambda call: _named_inputs(re.findall(r"'([^']*)': …", call[1])), sentence)
    return _LEADING_NAME.sub(lambda first: f"{option_name(first[1])} " if first[1] in options else first[0], sentence)


def option_name(name: str) -> str:
    """The command-line option of a parameter."""
    return "--" + name.replace("_", "-")


def _option(name: str, value: str) -> str:
    if value in ("True", "False"):
        return option_name(name) if value == "True" else option_name(f"no_{name}")
    return f"{option_name(name)} {value if ' ' in value else value.strip(chr(39) + chr(34))}"


def _named_inputs(names: list[str]) -> str:
    """``name each, as in photo=FILE table=FILE``."""
    return "name each, as in " + " ".join(f"{name}=FILE" for name in names)


def _join_options(names: list[str]) -> str:
    """``--size, --mean and --std``."""
    flags = [option_name(name) for name in names]
    return " and ".join([", ".join(flags[:-1]), flags[-1]] if flags[1:] else flags)
