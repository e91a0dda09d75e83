"""Every text of the workbench in English and in Simplified Chinese.

The English text is the key, so that code reads as the page does: ``say("Compare", lang)``. Chinese stands in
``zh.json`` beside this file, in groups that are there for the eye alone: families, lenses (title, question, reading
line), their parameters, pages. What has no translation is shown in English. A lens is declared without a thought of
languages; ``tests/web/test_texts.py`` then fails and says which sentence is to be added to which file.
"""

import functools
import json
from collections.abc import Mapping
from importlib.resources import files

LANGUAGES: Mapping[str, str] = {"en": "English", "zh": "简体中文"}
"""The languages of the workbench, each by its own name."""


def say(english: str, lang: str = "en", **values: object) -> str:
    """A text in a language, with ``values`` in the place of its ``{names}``.

    Example:
        >>> say("Learned", "zh")
        '所学'
        >>> say("a sentence without translation", "zh")
        'a sentence without translation'
    """
    text = catalogue(lang).get(english, english)
    return text.format(**values) if values else text


@functools.cache
def catalogue(lang: str) -> Mapping[str, str]:
    """All texts of a language by their English; empty for English itself and for languages that are not there."""
    if lang == "en" or lang not in LANGUAGES:
        return {}
    return {english: text for group in groups(lang).values() for english, text in group.items()}


def groups(lang: str) -> Mapping[str, Mapping[str, str]]:
    """The file of a language as it is written."""
    found: dict[str, dict[str, str]] = json.loads((files(__package__) / f"{lang}.json").read_text("utf-8"))
    return found
