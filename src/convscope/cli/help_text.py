"""Help as it was written: brackets are brackets, and nothing in them is taken for a style."""

import os
import re

STYLED = not os.environ.get("NO_COLOR")
"""Whether help is laid out in panels, in which square brackets are markup."""

_MARKUP = re.compile(r"\[(?=[a-zA-Z/@#])")


def help_text(text: str) -> str:
    """``text`` for a place where markup is read."""
    return _MARKUP.sub(r"\[", text) if STYLED else text
