"""The same sentence for a person at a terminal: what Python writes ``name=value`` is there the option ``--name value``.

Refusals are made deep within the package, which knows nothing of a command line, and name its parameters.
"""

import re
from collections.abc import Callable, Collection

_FORMS: tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...] = (
    (r"input=cs\.ImageInput\(([^)]*)\)", lambda call: _listed(re.findall(r"(\w+)=", call[1]) or ["size"])),
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
    (r"or pass a prepared tensor \(N, C, H, W\)", "or pass signals and volumes as prepared tensors in Python"),
)
"""What is written in a way of its own: the constructors of Python, and what stands for them."""

_PAIR = re.compile(r"(?<![\w?&.'\"(-])([a-z_]+)=('[^']*'|\"[^\"]*\"|[\w.]+|…)")
_FIRST = re.compile(r"^([a-z_]+) (?=must|names|has)")
_QUOTED = " raised "
"""In what another's code raised, nothing but the command's own options is meant."""


def in_options(sentence: str, options: Collection[str]) -> str:
    """``sentence`` with parameters written as a shell has them.

    Args:
        options: the names of the command's parameters, as Python spells them.
    """
    for form, words in _FORMS:
        sentence = re.sub(form, words, sentence)
    quotes = _QUOTED in sentence
    sentence = _PAIR.sub(
        lambda pair: pair[0] if quotes and pair[1] not in options else _option(*pair.groups()), sentence
    )
    return _FIRST.sub(lambda first: f"{flag(first[1])} " if first[1] in options else first[0], sentence)


def flag(name: str) -> str:
    """The option of a parameter."""
    return "--" + name.replace("_", "-")


def _option(name: str, value: str) -> str:
    if value in ("True", "False"):
        return flag(name) if value == "True" else flag(f"no_{name}")
    return f"{flag(name)} {value if ' ' in value else value.strip(chr(39) + chr(34))}"


def _listed(names: list[str]) -> str:
    """``--size, --mean and --std``."""
    flags = [flag(name) for name in names]
    return " and ".join([", ".join(flags[:-1]), flags[-1]] if flags[1:] else flags)
