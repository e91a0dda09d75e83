"""Translation of all texts of the workbench from English into Simplified Chinese.

The English text is the key: ``translate("Compare", lang)``. Texts with numbers and names in them are facts
(`values/facts.py`); their key is the template, so that a page translates what a fact was made of and matches no text.
The translations are in ``zh.json`` beside this file, in groups for easier editing: families, lenses (title, question,
reading line, limitations), their parameters (help, and names in forms), pages, words, joints (the punctuation between
parts), and *sentences*: the templates of facts, and the keys of notes.

A text without a translation is shown in English. That includes error messages, which are the same as in Python and on
the command line. A new lens needs no translation to work; ``tests/web/test_texts.py`` then fails and lists the missing
texts and the file to add them to.
"""

import functools
import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from convscope.values.facts import Fact, fill

LANGUAGES: Mapping[str, str] = {"en": "English", "zh": "简体中文"}
"""The languages of the workbench, each with its own name."""

SENTENCES = "sentences"
"""The group of the templates of facts."""

_COMMA = ", "
"""The joint between the items of a list."""


def translate(english: str, lang: str = "en", **values: object) -> str:
    """A text or a fact in a language, with ``values`` filled into the ``{names}`` of a text.

    Facts among the values, and among the parameters of a fact, are translated too.

    Example:
        >>> translate("Learned", "zh")
        '所学'
        >>> translate(Fact("stopped after {done} of {steps} steps", done=3, steps=8), "zh")
        '在 8 步中的第 3 步后停止'
        >>> translate("a sentence without translation", "zh")
        'a sentence without translation'
    """
    if isinstance(english, Fact):
        text = catalogue(lang).get(english.template)
        return str(english) if text is None else _filled(text, english.parameters, lang)
    return _filled(catalogue(lang).get(english, english), values, lang)


@functools.cache
def catalogue(lang: str) -> Mapping[str, str]:
    """All translations of a language by their English; empty for English and for unknown languages."""
    if lang == "en" or lang not in LANGUAGES:
        return {}
    return {english: text for group in groups(lang).values() for english, text in group.items()}


@functools.cache
def groups(lang: str) -> Mapping[str, Mapping[str, str]]:
    """The contents of a language's file, by group."""
    groups_of_texts: dict[str, dict[str, str]] = json.loads((files(__package__) / f"{lang}.json").read_text("utf-8"))
    return groups_of_texts


def _filled(text: str, values: Mapping[str, object], lang: str) -> str:
    """A text with values filled in, facts among them translated."""
    translated = {name: _translated(value, lang) for name, value in values.items()}
    return fill(text, translated, catalogue(lang).get(_COMMA, _COMMA))


def _translated(value: object, lang: str) -> Any:
    if isinstance(value, (list, tuple)):
        return tuple(_translated(item, lang) for item in value)
    return translate(value, lang) if isinstance(value, Fact) else value
