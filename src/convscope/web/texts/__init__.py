"""Every text of the workbench in English and in Simplified Chinese.

The English text is the key, so that code reads as the page does: ``say("Compare", lang)``. Chinese stands in
``zh.json`` beside this file, in groups that are there for the eye: families, lenses (title, question, reading line,
where they fail), their parameters, pages; and *sentences*, which numbers and names are already in when they come here.
What has no translation is shown in English: among it refusals, which are the very sentences of Python and the command
line. A lens is declared without a thought of languages; ``tests/web/test_texts.py`` then fails and says which sentence
is to be added to which file.
"""

import functools
import json
import re
from collections.abc import Mapping
from importlib.resources import files

LANGUAGES: Mapping[str, str] = {"en": "English", "zh": "简体中文"}
"""The languages of the workbench, each by its own name."""

SENTENCES = "sentences"
"""The group whose English has ``{names}`` for what differs from one time to the next."""


def say(english: str, lang: str = "en", **values: object) -> str:
    """A text in a language, with ``values`` in the place of its ``{names}``.

    Example:
        >>> say("Learned", "zh")
        '所学'
        >>> say("12 numbers are NaN or infinite; they are drawn as zero.", "zh")
        '有 12 个数为 NaN 或无穷大，按零绘制。'
        >>> say("a sentence without translation", "zh")
        'a sentence without translation'
    """
    text = catalogue(lang).get(english)
    if text is None:
        text = english if values else _finished(english, lang)
    return text.format(**values) if values else text


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
            return text.format(**found.groupdict())
    return english


@functools.cache
def _patterns(lang: str) -> list[tuple[re.Pattern[str], str]]:
    if not catalogue(lang):
        return []
    known = groups(lang).get(SENTENCES, {})
    return [(re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>.+?)", re.escape(key))), text) for key, text in known.items()]
