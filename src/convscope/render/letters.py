"""Which font draws which character: DejaVu Sans, and for what it lacks (Chinese, Japanese, Korean …) a font of the
system.

DejaVu Sans comes with matplotlib, so that pictures look the same everywhere. Other fonts are looked for only where a
character needs one. The folders are read anew each time, since matplotlib's own list of fonts does not know what was
installed after it was made.
"""

import functools
import re
import threading
import unicodedata
from collections.abc import Iterable
from pathlib import Path

import matplotlib
from matplotlib.font_manager import findSystemFonts, fontManager, get_font

MISSING = "□"
"""What stands for a character that no font here has."""

_FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
_PREFERRED = (
    ("notosanscjk", "sourcehansans", "notosanssc", "notosansjp", "notosanskr", "notosanstc"),
    ("pingfang", "hiragino", "applesdgothic", "msyh", "yugoth", "malgun", "microsoftyahei"),
    ("wqy", "wenquanyi", "droidsansfallback", "simhei", "msgothic", "gothic", "unbatang", "arialuni"),
    ("notosans",),
    ("sans",),
)
"""What fonts without serifs are called, the first choice first; spaces and dashes left out."""

_UNFIT = re.compile("lastresort|emoji")
"""Fonts that draw boxes for everything, or in colours, which matplotlib cannot."""

_EASTERN = re.compile("CJK|HIRAGANA|KATAKANA|HANGUL|BOPOMOFO|FULLWIDTH|IDEOGRAPHIC")
"""In the names of characters of Chinese, Japanese and Korean."""

_found: dict[tuple[str, bool], str | None] = {}
_lock = threading.Lock()


def regular(bold: bool) -> str:
    """The file of the font for everything it has characters for."""
    return str(_FONTS / ("DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"))


def drawable(words: str) -> str:
    """``words`` on one line, with a box for what no font here has."""
    words = " ".join(words.split())
    lacking = missing(words)
    return "".join(MISSING if c in lacking else c for c in words) if lacking else words


def missing(words: str) -> list[str]:
    """The characters of a text that no font here has, each once."""
    return [c for c, font in _fonts(words, bold=False).items() if font is None]


def runs(words: str, bold: bool) -> list[tuple[str, str]]:
    """A line as stretches of one font each: (file of the font, characters)."""
    fonts = _fonts(words, bold)
    found: list[tuple[str, str]] = []
    for character in words:
        font = fonts.get(character) or regular(bold)
        before = found[-1] if found else ("", "")
        stays = before[0] == font or (before[0] and unicodedata.combining(character))
        found[len(found) - bool(stays) :] = [(before[0], before[1] + character) if stays else (font, character)]
    return found


def advice(lacking: Iterable[str]) -> str:
    """What to install so that these characters are drawn."""
    listed = "".join(dict.fromkeys(lacking))
    packages = dict.fromkeys(map(_package, listed))
    shown = listed if len(listed) <= 12 else listed[:12] + "…"
    return (
        f"No font on this machine has {_numbered(shown)}, drawn as {MISSING}. Install one that has, such as Noto Sans "
        f"(on Debian and Ubuntu: apt install {' '.join(packages)}), and draw the picture again."
    )


def _package(character: str) -> str:
    """The package of Debian with a font that has a character."""
    if _EASTERN.search(unicodedata.name(character, "")):
        return "fonts-noto-cjk"
    return "fonts-symbola" if unicodedata.category(character) in ("So", "Sk") else "fonts-noto-core"


def _numbered(characters: str) -> str:
    """Characters by their numbers, since they cannot be drawn: ``U+864E, U+6591``."""
    return ", ".join("…" if c == "…" else f"U+{ord(c):04X}" for c in characters)


def _fonts(words: str, bold: bool) -> dict[str, str | None]:
    """For each character that DejaVu Sans lacks the file of a font that has it, or None."""
    known = _characters()
    lacking = dict.fromkeys(c for c in words if ord(c) not in known and not c.isspace())
    if not lacking:
        return {}
    with _lock:
        unknown = [c for c in lacking if (c, bold) not in _found]
        if unknown:
            _look_for(unknown, bold)
        return {c: _found[c, bold] for c in lacking}


def _look_for(characters: list[str], bold: bool) -> None:
    """Note which font has which character; the first that has any of them draws all that it has."""
    left = set(characters)
    for path in candidates(bold):
        if not left:
            break
        for character in _covered(path, left):
            _found[character, bold] = path
            left.discard(character)
    _found.update({(character, bold): None for character in left})


def candidates(bold: bool) -> list[str]:
    """The files of all other fonts here, those without serifs and of the weight wanted first."""
    files = {entry.fname for entry in fontManager.ttflist} | set(findSystemFonts())
    named = {path: re.sub("[^a-z]", "", Path(path).stem.lower()) for path in files}
    fit = {path: name for path, name in named.items() if not _UNFIT.search(name)}
    return sorted(fit, key=lambda path: (*_rank(fit[path], bold), path))


def _rank(name: str, bold: bool) -> tuple[int, int]:
    kind = next((place for place, names in enumerate(_PREFERRED) if any(n in name for n in names)), len(_PREFERRED))
    other = re.search("light|thin|black|medium|mono|italic|oblique", name) is not None
    return kind, 2 * other + (("bold" in name) != bold)


def _covered(path: str, characters: set[str]) -> list[str]:
    """Those characters that a font has; none where matplotlib cannot draw with it."""
    try:
        font = get_font(path)
    except (OSError, RuntimeError):  # no font, or one of a kind that FreeType does not know
        return []
    return [c for c in characters if font.get_char_index(ord(c))] if font.scalable else []


@functools.cache
def _characters() -> frozenset[int]:
    return frozenset(get_font(regular(bold=False)).get_charmap())
