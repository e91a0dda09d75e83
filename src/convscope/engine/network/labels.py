"""The names of a network's classes, read from a list or a mapping."""

from collections.abc import Mapping, Set
from typing import Any

from convscope.errors import InputError


def label_names(labels: Any) -> tuple[str, ...] | None:
    """One name per class, in the order of the outputs: from a list, ``{index: name}`` or ``{name: index}``.

    Indices may be strings, as in JSON.

    Raises:
        InputError: it is none of these, or a mapping leaves a class out or names it twice.
    """
    if labels is None:
        return None
    if isinstance(labels, Mapping):
        return _in_order(_by_index(labels)) or None
    if isinstance(labels, (str, bytes, Set)) or not hasattr(labels, "__iter__"):
        raise InputError(f"labels are a list with one name per class, or {{index: name}}, got {labels!r}")
    return tuple(str(label) for label in labels) or None


def _by_index(labels: Mapping[Any, Any]) -> list[tuple[int, str]]:
    """The pairs (index, name) of a mapping in either direction."""
    pairs = list(labels.items())
    keys, values = ([_index(member) for member in column] for column in (list(labels), list(labels.values())))
    by_name = all(isinstance(key, str) for key in labels) and not any(isinstance(v, str) for v in labels.values())
    if None not in keys and not (by_name and None not in values):
        return [(index, str(name)) for index, (_, name) in zip(keys, pairs, strict=True) if index is not None]
    if None not in values:
        return [(index, str(name)) for index, (name, _) in zip(values, pairs, strict=True) if index is not None]
    key, value = next(pair for pair in pairs if _index(pair[0]) is None or _index(pair[1]) is None)
    raise InputError(f"labels given as a mapping are {{index: name}} or {{name: index}}, got {key!r}: {value!r}")


def _index(value: Any) -> int | None:
    """A class index, given as an integer or a string; None for everything else."""
    if isinstance(value, str):
        return int(value) if value.strip().isdecimal() else None
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        return None
    return int(value) if int(value) >= 0 else None


def _in_order(pairs: list[tuple[int, str]]) -> tuple[str, ...]:
    """The names in the order of their indices, which must be complete and unique."""
    names: dict[int, str] = {}
    for index, name in pairs:
        if index in names:
            raise InputError(f"labels name class {index} twice: {names[index]!r} and {name!r}")
        names[index] = name
    missing = next((index for index in range(len(names)) if index not in names), None)
    if missing is not None:
        raise InputError(
            f"labels name {len(names)} classes up to class {max(names)} and leave out class {missing}: name every "
            "class from 0 on"
        )
    return tuple(names[index] for index in range(len(names)))
