"""Output to terminals with limited encodings: unsupported characters are replaced instead of raising an error."""

import codecs
import sys
import unicodedata

_REPLACEMENTS = {
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
"""Replacements for non-ASCII characters in our messages."""

_HANDLER = "convscope"


def replace_unencodable_characters() -> None:
    """Make standard output and standard error replace characters that their encoding lacks."""
    codecs.register_error(_HANDLER, _replace_characters)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=_HANDLER)


def supports_unicode() -> bool:
    """Whether standard output can encode any character."""
    try:
        return codecs.lookup(sys.stdout.encoding or "ascii").name.startswith("utf")
    except LookupError:
        return False


def _replace_characters(error: UnicodeError) -> tuple[str, int]:
    """An error handler: a replacement, a letter without its accent, or else an escape with the code point."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_replacement, error.object[error.start : error.end])), error.end


def _replacement(character: str) -> str:
    text = _REPLACEMENTS.get(character) or unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return text or character.encode("ascii", "backslashreplace").decode()
