"""Font files: where DejaVu Sans lies, how wide words are, and which characters a file has.

matplotlib brings DejaVu Sans, but takes too long to import for one picture, so its folder is found without it.
"""

import functools
import importlib.util
import threading
from pathlib import Path

from fontTools.ttLib import TTFont
from PIL import ImageFont


def load_font(path: str, size: int) -> ImageFont.FreeTypeFont:
    """A font at a size in pixels. Threads have their own, since FreeType's faces are not safe to share."""
    return _font_of_thread(path, size, threading.get_ident())


@functools.lru_cache(256)
def _font_of_thread(path: str, size: int, _thread: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)


@functools.lru_cache(8192)
def advance_width(path: str, words: str, size: int) -> float:
    """The distance in pixels from the start of some words to where the next character begins."""
    return load_font(path, size).getlength(words)


@functools.lru_cache(8192)
def ink_width(path: str, words: str, size: int) -> float:
    """The width in pixels of some words from their first to their last inked pixel."""
    left, _, right, _ = load_font(path, size).getbbox(words)
    return right - left


@functools.cache
def dejavu_folder() -> Path:
    """The folder with the files of DejaVu Sans."""
    spec = importlib.util.find_spec("matplotlib")
    for package in (spec and spec.submodule_search_locations) or ():
        folder = Path(package) / "mpl-data" / "fonts" / "ttf"
        if folder.is_dir():
            return folder
    import matplotlib  # a distribution may keep its data elsewhere

    return Path(matplotlib.get_data_path()) / "fonts" / "ttf"


@functools.cache
def characters_of(path: str) -> frozenset[int]:
    """The code points of the characters that a font file has."""
    with TTFont(path, lazy=True) as font:
        return frozenset(font.getBestCmap())
