"""Every text that is seen, in English and Chinese; the English text itself is the key."""

LANGUAGES = {"en": "English", "zh": "简体中文"}


def say(english: str, lang: str = "en") -> str:
    """A text in a language; English where no other is known."""
    return english
