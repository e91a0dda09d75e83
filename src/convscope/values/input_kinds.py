"""The kinds of input (vector, signal, image, volume) and the terms for each.

Lenses describe themselves in terms of images and pixels. `adapt_wording` replaces these terms for other inputs: signals
and samples, volumes and voxels, vectors and numbers.
"""

import re
from collections.abc import Mapping

from convscope.values.facts import Fact

INPUT_KINDS: Mapping[int, str] = {0: "vector", 1: "signal", 2: "image", 3: "volume"}
"""The number of axes besides the channels → the kind of input."""

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
    "tokens": {
        "image": "sequence",
        "photograph": "sequence",
        "pixel": "token",
        "regions": "stretches",
        "region": "stretch",
        "brightening": "raising",
    },
    "video": {"image": "clip", "photograph": "clip"},
}
_CHINESE: Mapping[str, Mapping[str, str]] = {
    "vector": {"图像": "输入", "图片": "输入", "照片": "输入", "像素": "数值"},
    "signal": {"图像": "信号", "图片": "信号", "照片": "信号", "像素": "采样点", "区域": "区段"},
    "volume": {"图像": "体数据", "图片": "体数据", "照片": "体数据", "像素": "体素"},
    "tokens": {"图像": "序列", "图片": "序列", "照片": "序列", "像素": "词元", "区域": "片段"},
    "video": {"图像": "视频", "图片": "视频", "照片": "视频"},
}

_TERM = r"""(?<![\w.'"\[/:-])(?P<an>an )?(?P<word>{words})(?P<plural>s?)(?!\w|[._/:-]\w|[\["]|'(?!s\b))"""
"""A term as a word of its own, not part of an address (``image.conv1``), a quoted name or a parameter."""


def adapt_wording(text: str, kind: str) -> str:
    """Replace the terms for images in ``text`` by those for inputs of ``kind``, in English or Chinese.

    Example:
        >>> adapt_wording("Brightening a warm pixel of an image raises the score.", "signal")
        'Raising a warm sample of a signal raises the score.'
    """
    words = _WORDS.get(kind, {})
    if not words:
        return text

    def replacement(match: re.Match[str]) -> str:
        word = words[match["word"].lower()]
        article = "" if not match["an"] else "an " if word[0] in "aeiou" else "a "
        if match["an"] and match["an"][0] == "A":
            article = article.capitalize()
        term = (word.capitalize() if match["word"][0].isupper() else word) + match["plural"]
        return article + term

    adapted = re.sub(_TERM.format(words="|".join(words)), replacement, text, flags=re.IGNORECASE)
    for chinese, substitute in _CHINESE[kind].items():
        adapted = adapted.replace(chinese, substitute)
    return text.with_text(adapted) if isinstance(text, Fact) else adapted
