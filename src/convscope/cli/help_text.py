"""Escaping of square brackets in help texts, which rich would interpret as markup."""

import os
import re

STYLED = not os.environ.get("NO_COLOR")
"""Whether help is formatted by rich, which interprets square brackets as markup."""

_MARKUP = re.compile(r"\[(?=[a-zA-Z/@#])")


def help_text(text: str) -> str:
    """``text`` with square brackets escaped, if help is formatted by rich."""
    return _MARKUP.sub(r"\[", text) if STYLED else text
