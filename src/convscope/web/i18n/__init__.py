"""Every text of the workbench in English and in Simplified Chinese.

The English text is the key, so that code reads as the page does: ``say("Compare", lang)``. Chinese stands in
``zh.json`` beside this file, in groups that are there for the eye: families, lenses (title, question, reading line,
where they fail), their parameters (help, and the names in forms), pages, words, joints (the signs between parts); and
*sentences*, which numbers and names are already in when they come here. A sentence may be made of parts that are texts
again: its Chinese says which, ``{why:said}``, and which are lists, ``{rules:, →，}``.
What has no translation is shown in English: among it refusals, which are the very sentences of Python and the command
line. A lens is declared without a thought of languages; ``tests/web/test_texts.py`` then fails and says which sentence
is to be added to which file.
"""

import functools
import json
import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Self

LANGUAGES: Mapping[str, str] = {"en": "English", "zh": "简体中文"}
"""The languages of the workbench, each by its own name."""

SENTENCES = "sentences"
"""The group whose English has ``{names}`` for what differs from one time to the next; ``{name:word}`` is one word."""


def say(english: str, lang: str = "en", **values: object) -> str:
    """A text in a language, with ``values`` in the place of its ``{names}``.

    Example:
        >>> say("Learned", "zh")
        '所学'
        >>> say("12 numbers are NaN or infinite; they are drawn as zero.", "zh")
        '有 12 个数为 NaN 或无穷大，按零绘制。'
        >>> say("convolution 3×3, stride 2, padding 1", "zh")
        '3×3 卷积，步幅 2，填充 1'
        >>> say("a sentence without translation", "zh")
        'a sentence without translation'
    """
    text = catalogue(lang).get(english)
    if text is None:
        text = english if values else _finished(english, lang)
    return _filled(text, values, lang) if values else text


@functools.cache
def catalogue(lang: str) -> Mapping[str, str]:
    """All texts of a language by their English; empty for English itself and for languages that are not there."""
    if lang == "en" or lang not in LANGUAGES:
        return {}
    return {english: text for group in groups(lang).values() for english, text in group.items()}


@functools.cache
def groups(lang: str) -> Mapping[str, Mapping[str, str]]:
    """The file of a language as it is written."""
    found: dict[str, dict[str, str]] = json.loads((files(__package__) / f"{lang}.json").read_text("utf-8"))
    return found


@functools.lru_cache(maxsize=2048)
def _finished(english: str, lang: str) -> str:
    """A sentence that numbers and names are in already, where its like is known."""
    for pattern, text in _patterns(lang):
        if found := pattern.fullmatch(english):
            return _filled(text, found.groupdict(), lang)
    return english


@functools.cache
def _patterns(lang: str) -> list[tuple[re.Pattern[str], str]]:
    """What sentences look like; of two that fit, the one with more text of its own comes first."""
    if not catalogue(lang):
        return []
    known = groups(lang).get(SENTENCES, {})
    ordered = sorted(known, key=lambda english: -len(re.sub(_PLACE, "", english)))
    return [(_pattern(english), known[english]) for english in ordered]


_PLACE, _WORD, _ANY = r"\{(\w+)(:word)?\}", r"\S+", ".+?"


def _pattern(english: str) -> re.Pattern[str]:
    text, *places = re.split(_PLACE, english)
    made = re.escape(text)
    for name, word, after in zip(places[::3], places[1::3], places[2::3], strict=True):
        made += rf"(?P<{name}>{_WORD if word else _ANY})" + re.escape(after)
    return re.compile(made)


def _filled(text: str, values: Mapping[str, object], lang: str) -> str:
    return text.format(**{name: _Part.of(value, lang) for name, value in values.items()})


class _Part(str):
    """What stands in a place of a sentence.

    ``{why}`` is put in as it is, ``{why:said}`` as a text of its own; of ``{rules:, →，}`` each part is, which English
    sets ", " between and this language "，".
    """

    lang: str

    @classmethod
    def of(cls, value: object, lang: str) -> Self:
        made = cls(value)
        made.lang = lang
        return made

    def __format__(self, how: str) -> str:
        if how == "said":
            return say(str(self), self.lang)
        english, arrow, own = how.partition("→")
        return own.join(say(part, self.lang) for part in self.split(english)) if arrow else super().__format__(how)
