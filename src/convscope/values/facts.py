"""Facts: sentences that remember what they were made of, so that a page can say them in another language.

A `Fact` is the English sentence itself, an ordinary ``str`` for scripts, JSON and the terminal. Beside its text it
keeps its template, which is the key of its translations, and the parameters that were filled in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Self


class Fact(str):
    """An English text with the template and the parameters that it was made of.

    The placeholders of a template are names: ``{layer}``. A list is filled in with ", " between its items, or with
    what the placeholder says: ``{kinds: and }``. Numbers are formatted by the caller if ``str`` does not suit them.

    Attributes:
        template: the English text with ``{names}``, by which translations are found.
        parameters: what the names stand for: numbers, names, other facts (which are translated themselves) and tuples
            of these.

    Example:
        >>> fact = Fact("{requested} inputs were requested, but there are only {images}", requested=9, images=3)
        >>> fact
        '9 inputs were requested, but there are only 3'
        >>> fact.parameters["images"]
        3
    """

    __slots__ = ("parameters", "template")

    template: str
    parameters: Mapping[str, Any]

    def __new__(cls, template: str, /, **parameters: Any) -> Fact:
        """The text of ``template`` with ``parameters`` filled in."""
        plain = {name: _plain(value) for name, value in parameters.items()}
        return _fact(fill(template, plain), template, plain)

    def with_text(self, text: str) -> Fact:
        """The same fact in slightly different English: capitalised, or in the terms for another kind of input."""
        return _fact(text, self.template, self.parameters)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a fact does not change: {name!r} cannot be set")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a fact does not change: {name!r} cannot be deleted")

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _fact, (str(self), self.template, dict(self.parameters))


def _fact(text: str, template: str, parameters: Mapping[str, Any]) -> Fact:
    """A fact from its parts."""
    fact = str.__new__(Fact, text)
    object.__setattr__(fact, "template", template)
    object.__setattr__(fact, "parameters", MappingProxyType(dict(parameters)))
    return fact


def as_fact(text: str) -> Fact:
    """A text that is translated as it is where it is a parameter; declared texts and words, for example."""
    return text if isinstance(text, Fact) else Fact(text)


def heading(key: str) -> Fact:
    """The key of a note as the beginning of its sentence: ``"rules: "``."""
    return Fact(f"{key.template}: ", **key.parameters) if isinstance(key, Fact) else Fact(f"{key}: ")


def fill(template: str, parameters: Mapping[str, Any], comma: str = ", ") -> str:
    """A template with its parameters filled in, the items of lists separated by ``comma``.

    Example:
        >>> fill("packed as {kinds: and } in {layers}", {"kinds": ("int8", "uint8"), "layers": ("fc", "head")})
        'packed as int8 and uint8 in fc, head'
    """
    if not parameters:
        return template
    return template.format(**{name: _Filled(value, comma) for name, value in parameters.items()})


class _Filled:
    """A parameter while it is filled in; its format is the separator of a list."""

    def __init__(self, value: Any, comma: str) -> None:
        self.value, self.comma = value, comma

    def __format__(self, separator: str) -> str:
        if isinstance(self.value, tuple):
            return (separator or self.comma).join(format(_Filled(item, self.comma)) for item in self.value)
        return str(self.value)


def _plain(value: Any) -> Any:
    """A parameter as JSON can hold it: numbers and texts as they are, lists as tuples, all else as text."""
    if isinstance(value, (list, tuple)):
        return tuple(_plain(item) for item in value)
    return value if isinstance(value, (str, bool, int, float)) else str(value)


# Facts in files: beside the manifest, by their texts, so that the manifest itself holds plain texts.


def facts_in(data: Any) -> dict[str, dict[str, Any]]:
    """All facts with parameters in nested data, by their texts, as JSON-serializable objects."""
    return {str(fact): _stored(fact) for fact in _walk(data) if fact.parameters}


def with_facts(data: Any, stored: Mapping[str, Mapping[str, Any]]) -> Any:
    """Nested data in which the texts that `facts_in` listed are facts again."""
    if not stored:
        return data
    facts = {text: _restored({"text": text, **fact}) for text, fact in stored.items()}
    return _with_facts(data, facts)


def _walk(data: Any) -> Iterable[Fact]:
    if isinstance(data, Fact):
        yield data
    elif isinstance(data, Mapping):
        for key, value in data.items():
            yield from _walk(key)
            yield from _walk(value)
    elif isinstance(data, (list, tuple)):
        for item in data:
            yield from _walk(item)


def _stored(fact: Fact) -> dict[str, Any]:
    return {
        "template": fact.template,
        "parameters": {name: _stored_parameter(value) for name, value in fact.parameters.items()},
    }


def _stored_parameter(value: Any) -> Any:
    if isinstance(value, Fact):
        return {"text": str(value), **_stored(value)}
    return [_stored_parameter(item) for item in value] if isinstance(value, tuple) else value


def _restored(data: Any) -> Any:
    if isinstance(data, Mapping):
        parameters = {name: _restored(value) for name, value in data["parameters"].items()}
        return _fact(data["text"], data["template"], parameters)
    return tuple(_restored(item) for item in data) if isinstance(data, list) else data


def _with_facts(data: Any, facts: Mapping[str, Fact]) -> Any:
    if isinstance(data, str):
        return facts.get(data, data)
    if isinstance(data, Mapping):
        return {facts.get(key, key): _with_facts(value, facts) for key, value in data.items()}
    return [_with_facts(item, facts) for item in data] if isinstance(data, list) else data
