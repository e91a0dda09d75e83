"""Fonts: DejaVu Sans, with a font of the system for the characters it lacks (Chinese, Japanese, Korean …).

DejaVu Sans is distributed with matplotlib, so that pictures look the same everywhere. Other fonts are searched for only
where a character needs one. The font folders are read each time, since matplotlib's cached list of fonts does not
contain fonts that were installed later.
"""

import functools
import re
import threading
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from convscope.render.font_metrics import characters_of, dejavu_folder

MISSING_GLYPH = "□"
"""Drawn in place of a character that no installed font has."""

_PREFERRED_NAMES = (
    ("notosanscjk", "sourcehansans", "notosanssc", "notosansjp", "notosanskr", "notosanstc"),
    ("pingfang", "hiragino", "applesdgothic", "msyh", "yugoth", "malgun", "microsoftyahei"),
    ("wqy", "wenquanyi", "droidsansfallback", "simhei", "msgothic", "gothic", "unbatang", "arialuni"),
    ("notosans",),
    ("sans",),
)
"""Parts of the file names of sans-serif fonts in order of preference, in lower case without spaces and dashes."""

_EXCLUDED_NAMES = re.compile("lastresort|emoji")
"""Fonts that have a box for every character, or coloured glyphs, which cannot be drawn."""

_CJK = re.compile("CJK|HIRAGANA|KATAKANA|HANGUL|BOPOMOFO|FULLWIDTH|IDEOGRAPHIC")
"""Matches the Unicode names of Chinese, Japanese and Korean characters."""

_font_of: dict[tuple[str, bool], str | None] = {}
_lock = threading.Lock()


def default_font(bold: bool) -> str:
    """The path of DejaVu Sans, which draws every character that it has."""
    return str(dejavu_folder() / ("DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"))


def replace_missing(words: str) -> str:
    """``words`` on one line, with boxes in place of characters that no installed font has."""
    words = " ".join(words.split())
    missing = missing_characters(words)
    return "".join(MISSING_GLYPH if character in missing else character for character in words) if missing else words


def missing_characters(words: str) -> list[str]:
    """The characters of a text that no installed font has, each once."""
    return [character for character, font in _fallback_fonts(words, bold=False).items() if font is None]


def font_runs(words: str, bold: bool) -> list[tuple[str, str]]:
    """Split a line into runs of one font each: (path of the font, characters)."""
    fonts = _fallback_fonts(words, bold)
    result: list[tuple[str, str]] = []
    for character in words:
        font = fonts.get(character) or default_font(bold)
        last = result[-1] if result else ("", "")
        continues = last[0] == font or (last[0] and unicodedata.combining(character))
        result[len(result) - bool(continues) :] = [(last[0], last[1] + character) if continues else (font, character)]
    return result


def install_advice(characters: Iterable[str]) -> str:
    """A sentence that says what to install so that these characters can be drawn."""
    text = "".join(dict.fromkeys(characters))
    packages = dict.fromkeys(map(_debian_package, text))
    shown = text if len(text) <= 12 else text[:12] + "…"
    return (
        f"No installed font has {_code_points(shown)}, drawn as {MISSING_GLYPH}. Install one that does, such as Noto "
        f"Sans (on Debian and Ubuntu: apt install {' '.join(packages)}), and draw the picture again."
    )


def _debian_package(character: str) -> str:
    """The Debian package with a font that has a character."""
    if _CJK.search(unicodedata.name(character, "")):
        return "fonts-noto-cjk"
    return "fonts-symbola" if unicodedata.category(character) in ("So", "Sk") else "fonts-noto-core"


def _code_points(characters: str) -> str:
    """Characters as code points, since they cannot be drawn: ``U+864E, U+6591``."""
    return ", ".join("…" if character == "…" else f"U+{ord(character):04X}" for character in characters)


def _fallback_fonts(words: str, bold: bool) -> dict[str, str | None]:
    """For each character that DejaVu Sans lacks, the path of a font that has it, or None."""
    available = _default_characters()
    wanted = dict.fromkeys(
        character for character in words if ord(character) not in available and not character.isspace()
    )
    if not wanted:
        return {}
    with _lock:
        unresolved = [character for character in wanted if (character, bold) not in _font_of]
        if unresolved:
            _find_fonts(unresolved, bold)
        return {character: _font_of[character, bold] for character in wanted}


def _find_fonts(characters: list[str], bold: bool) -> None:
    """Find a font for each character; the first font that has any of them is used for all that it has."""
    remaining = set(characters)
    for path in candidate_fonts(bold):
        if not remaining:
            break
        for character in _covered_characters(path, remaining):
            _font_of[character, bold] = path
            remaining.discard(character)
    _font_of.update({(character, bold): None for character in remaining})


def candidate_fonts(bold: bool) -> list[str]:
    """The paths of all installed fonts; sans-serif fonts of the requested weight come first."""
    from matplotlib.font_manager import findSystemFonts, fontManager  # takes too long to import for most pictures

    files = {entry.fname for entry in fontManager.ttflist} | set(findSystemFonts())
    names = {path: re.sub("[^a-z]", "", Path(path).stem.lower()) for path in files}
    allowed = {path: name for path, name in names.items() if not _EXCLUDED_NAMES.search(name)}
    return sorted(allowed, key=lambda path: (*_rank(allowed[path], bold), path))


def _rank(name: str, bold: bool) -> tuple[int, int]:
    group = next(
        (index for index, parts in enumerate(_PREFERRED_NAMES) if any(part in name for part in parts)),
        len(_PREFERRED_NAMES),
    )
    is_variant = re.search("light|thin|black|medium|mono|italic|oblique", name) is not None
    return group, 2 * is_variant + (("bold" in name) != bold)


def _covered_characters(path: str, characters: set[str]) -> list[str]:
    """The given characters that a font has; none if FreeType cannot use the font."""
    from matplotlib.font_manager import get_font

    try:
        font = get_font(path)
    except (OSError, RuntimeError):  # not a font, or a format that FreeType does not support
        return []
    return [c for c in characters if font.get_char_index(ord(c))] if font.scalable else []


@functools.cache
def _default_characters() -> frozenset[int]:
    return characters_of(default_font(bold=False))
