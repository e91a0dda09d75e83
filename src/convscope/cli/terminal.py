"""What a terminal can show: characters that its encoding lacks are written in others, and nothing fails for them."""

import codecs
import sys
import unicodedata

_PLAIN = {
    "…": "...",
    "·": "-",
    "×": "x",
    "→": "->",
    "←": "<-",
    "–": "-",
    "—": "-",
    "−": "-",
    "≥": ">=",
    "≤": "<=",
    "±": "+-",
    "’": "'",
    "‘": "'",
    "“": '"',
    "”": '"',
    "²": "2",
    "Σ": "sum",
    "⊙": "*",
    "Δ": "d",
    "μ": "u",
    "µ": "u",
    "σ": "sigma",
    "│": "|",
    "─": "-",
}
"""Stand-ins for characters of our own sentences."""

_HANDLER = "convscope"


def write_what_can_be_shown() -> None:
    """Have standard output and standard error replace what their encoding lacks instead of failing."""
    codecs.register_error(_HANDLER, _replaced)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=_HANDLER)


def shows_unicode() -> bool:
    """Whether standard output can carry any character."""
    try:
        return codecs.lookup(sys.stdout.encoding or "ascii").name.startswith("utf")
    except LookupError:
        return False


def _replaced(error: UnicodeError) -> tuple[str, int]:
    """A stand-in; an accented letter without its accent; else the character's number, from which it can be read."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_stand_in, error.object[error.start : error.end])), error.end


def _stand_in(character: str) -> str:
    bare = _PLAIN.get(character) or unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return bare or character.encode("ascii", "backslashreplace").decode()
