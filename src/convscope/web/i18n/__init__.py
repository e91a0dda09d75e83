"""Translation of all texts of the workbench from English into Simplified Chinese.

The English text is the key: ``translate("Compare", lang)``. The translations are in ``zh.json`` beside this file, in
groups for easier editing: families, lenses (title, question, reading line, limitations), their parameters (help, and
names in forms), pages, words, joints (the punctuation between parts), and *sentences*: patterns of texts into which
numbers and names were filled before translation. A sentence may contain parts that are translated themselves: its
Chinese marks them as ``{why:said}``, and lists as ``{rules:, →，}``.

A text without a translation is shown in English. That includes error messages, which are the same as in Python and on
the command line. A new lens needs no translation to work; ``tests/web/test_translations.py`` then fails and lists the
missing texts and the file to add them to.
"""

import functools
import json
import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Self

LANGUAGES: Mapping[str, str] = {"en": "English", "zh": "简体中文"}
"""The languages of the workbench, each with its own name."""

SENTENCES = "sentences"
"""The group of patterns: ``{name}`` stands for any text, ``{name:word}`` for one word."""


def translate(english: str, lang: str = "en", **values: object) -> str:
    """A text in a language, with ``values`` filled into its ``{names}``.

    Example:
        >>> translate("Learned", "zh")
        '所学'
        >>> translate("12 numbers are NaN or infinite; they are drawn as zero.", "zh")
        '有 12 个数为 NaN 或无穷大，按零绘制。'
        >>> translate("convolution 3×3, stride 2, padding 1", "zh")
        '3×3 卷积，步幅 2，填充 1'
        >>> translate("a sentence without translation", "zh")
        'a sentence without translation'
    """
    text = catalogue(lang).get(english)
    if text is None:
        text = english if values else _translate_filled(english, lang)
    return _fill(text, values, lang) if values else text


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


@functools.lru_cache(maxsize=2048)
def _translate_filled(english: str, lang: str) -> str:
    """The translation of a sentence that already contains numbers and names, if it matches a pattern."""
    for pattern, text in _patterns(lang):
        if match := pattern.fullmatch(english):
            return _fill(text, match.groupdict(), lang)
    return english


@functools.cache
def _patterns(lang: str) -> list[tuple[re.Pattern[str], str]]:
    """The patterns of sentences and their translations, those with more literal text first."""
    if not catalogue(lang):
        return []
    sentences = groups(lang).get(SENTENCES, {})
    ordered = sorted(sentences, key=lambda english: -len(re.sub(_PLACEHOLDER, "", english)))
    return [(_compile_pattern(english), sentences[english]) for english in ordered]


_PLACEHOLDER, _WORD, _ANY = r"\{(\w+)(:word)?\}", r"\S+", ".+?"


def _compile_pattern(english: str) -> re.Pattern[str]:
    text, *placeholders = re.split(_PLACEHOLDER, english)
    pattern = re.escape(text)
    for name, word, literal in zip(placeholders[::3], placeholders[1::3], placeholders[2::3], strict=True):
        pattern += rf"(?P<{name}>{_WORD if word else _ANY})" + re.escape(literal)
    return re.compile(pattern)


def _fill(text: str, values: Mapping[str, object], lang: str) -> str:
    return text.format(**{name: _Value.of(value, lang) for name, value in values.items()})


class _Value(str):
    """A value filled into a placeholder.

    ``{why}`` is filled in unchanged, ``{why:said}`` is translated, and in ``{rules:, →，}`` each item of a list is
    translated; the items are separated by ", " in English and by "，" in this language.
    """

    lang: str

    @classmethod
    def of(cls, value: object, lang: str) -> Self:
        part = cls(value)
        part.lang = lang
        return part

    def __format__(self, spec: str) -> str:
        if spec == "said":
            return translate(str(self), self.lang)
        english_separator, is_list, separator = spec.partition("→")
        if not is_list:
            return super().__format__(spec)
        return separator.join(translate(item, self.lang) for item in self.split(english_separator))
