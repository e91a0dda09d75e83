"""The same sentence for a person at a terminal: what Python writes ``name=value`` is there the option ``--name value``.

Refusals are made deep within the package, which knows nothing of a command line, and name its parameters.
"""

import re
from collections.abc import Collection

_CALLS = (
    (re.compile(r"input=cs\.TensorInput\([^)]*\)"), "a file such as net.py:make that gives cs.Model(…, input=…)"),
    (re.compile(r"Model\(…, layouts=\{'([^']*)': '([^']*)'\}\)"), r"--model 'ADDRESS?layout=\1:\2'"),
)
_INPUT = re.compile(r"input=cs\.ImageInput\(([^)]*)\)")
_PAIR = re.compile(r"(?<![\w?&.'\"-])([a-z_]+)=('[^']*'|\"[^\"]*\"|[\w.]+|…)")
_FIRST = re.compile(r"([a-z_]+) (?=must|names)")
_SWITCH = {"True": "--{}", "False": "--no-{}"}


def in_options(sentence: str, options: Collection[str]) -> str:
    """``sentence`` with the parameters among ``options`` written as a shell has them.

    Args:
        options: the names of the command's parameters, as Python spells them.
    """
    sentence = _INPUT.sub(lambda call: _listed(call[1]), sentence)
    for call, words in _CALLS:
        sentence = call.sub(words, sentence)
    sentence = _PAIR.sub(lambda pair: _option(pair[1], pair[2]) if pair[1] in options else pair[0], sentence)
    return _FIRST.sub(lambda first: f"{flag(first[1])} ", sentence, count=1) if _begins(sentence, options) else sentence


def flag(name: str) -> str:
    """The option of a parameter."""
    return "--" + name.replace("_", "-")


def _begins(sentence: str, options: Collection[str]) -> bool:
    first = _FIRST.match(sentence)
    return first is not None and first[1] in options


def _option(name: str, value: str) -> str:
    if value in _SWITCH:
        return _SWITCH[value].format(name.replace("_", "-"))
    return f"{flag(name)} {value.strip(chr(39) + chr(34)) if ' ' not in value else value}"


def _listed(arguments: str) -> str:
    """``size=…, mean=…`` as ``--size and --mean``."""
    flags = [flag(name) for name in re.findall(r"(\w+)=", arguments)] or ["--size"]
    return flags[0] if len(flags) == 1 else f"{', '.join(flags[:-1])} and {flags[-1]}"
