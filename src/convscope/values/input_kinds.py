"""What kind of thing one input is, and the words that people use for it and for its smallest part.

Sentences of lenses speak of images and pixels, as most networks take images. `worded` says the same of signals and
samples, volumes and voxels, vectors and numbers.
"""

import re
from collections.abc import Mapping

KINDS: Mapping[int, str] = {0: "vector", 1: "signal", 2: "image", 3: "volume"}
"""By how many axes an input has beside its channels."""

_WORDS: Mapping[str, Mapping[str, str]] = {
    "vector": {"image": "input", "photograph": "input", "pixel": "number"},
    "signal": {
        "image": "signal",
        "photograph": "signal",
        "pixel": "sample",
        "regions": "stretches",
        "region": "stretch",
        "brightening": "raising",
    },
    "volume": {"image": "volume", "photograph": "volume", "pixel": "voxel", "brightening": "raising"},
}
_CHINESE: Mapping[str, Mapping[str, str]] = {
    "vector": {"图像": "输入", "图片": "输入", "照片": "输入", "像素": "数值"},
    "signal": {"图像": "信号", "图片": "信号", "照片": "信号", "像素": "采样点", "区域": "区段"},
    "volume": {"图像": "体数据", "图片": "体数据", "照片": "体数据", "像素": "体素"},
}

_NAMED = r"""(?<![\w.'"\[/:-])(?P<an>an )?(?P<word>{words})(?P<several>s?)(?!\w|[._/:-]\w|[\["]|'(?!s\b))"""
"""A word by itself, not as part of an address (``image.conv1``), of a name in quotes or of a parameter."""


def worded(text: str, kind: str) -> str:
    """A sentence about images as one about inputs of that kind, in English or Chinese.

    Example:
        >>> worded("Brightening a warm pixel of an image raises the score.", "signal")
        'Raising a warm sample of a signal raises the score.'
    """
    words = _WORDS.get(kind, {})
    if not words:
        return text

    def put(found: re.Match[str]) -> str:
        word = words[found["word"].lower()]
        article = "" if not found["an"] else "an " if word[0] in "aeiou" else "a "
        if found["an"] and found["an"][0] == "A":
            article = article.capitalize()
        said = (word.capitalize() if found["word"][0].isupper() else word) + found["several"]
        return article + said

    text = re.sub(_NAMED.format(words="|".join(words)), put, text, flags=re.IGNORECASE)
    for chinese, other in _CHINESE[kind].items():
        text = text.replace(chinese, other)
    return text
