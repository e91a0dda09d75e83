"""The texts of the workbench: nothing that a page says is without its Chinese, and both languages say the same things.

A lens that is declared later fails here until its sentences stand in ``src/convscope/web/texts/zh.json``: that is
meant. The page itself shows what is missing in English.
"""

import ast
import itertools
import string
from collections.abc import Iterator
from pathlib import Path

import pytest

import convscope as cs
import convscope.web
from convscope import render
from convscope.catalogue import lenses
from convscope.spec import FAMILIES
from convscope.web.i18n import LANGUAGES, catalogue, groups, say

WEB = Path(convscope.web.__file__).parent
FILE = "src/convscope/web/texts/zh.json"


def missing(sentences: dict[str, str], group: str) -> str:
    """Which of these have no translation, as what a person is to write into the file; nothing where all have."""
    lacking = {english: where for english, where in sentences.items() if english not in catalogue("zh")}
    told = "".join(f'\n  "{english}": "…",   ({where})' for english, where in lacking.items())
    return f'add to "{group}" in {FILE}:{told}' if lacking else ""


def test_every_lens_asks_and_is_read_in_both_languages() -> None:
    sentences = {
        s: f"{spec.name}, {what}" for spec in lenses() for what in ("asks", "reads") if (s := getattr(spec, what))
    }
    assert not (told := missing(sentences, "lenses")), told


def test_where_a_lens_fails_is_told_in_both_languages() -> None:
    told = {text: spec.name for spec in lenses() for pair in spec.fails.items() for text in pair}
    assert not (lacking := missing(told, "lenses")), lacking


def test_every_parameter_is_explained_in_both_languages() -> None:
    helps = {p.about.help: f"{spec.name}, {p.name}" for spec in lenses() for p in spec.options.values()}
    assert not (told := missing(helps, "parameters")), told


def test_every_field_of_a_form_is_in_both_languages() -> None:
    """The names of parameters, what can be chosen for them, and their units."""
    names = {p.name.replace("_", " "): spec.name for spec in lenses() for p in spec.options.values()}
    abouts = [(spec.name, p.about) for spec in lenses() for p in spec.options.values()]
    names |= {one: name for name, about in abouts for one in (*about.choices, about.unit) if one}
    assert not (told := missing(names, "names")), told


def test_every_family_has_a_name_in_both_languages() -> None:
    assert not (told := missing({english: name for name, english in FAMILIES.items()}, "families")), told


def test_every_text_of_a_page_is_in_both_languages() -> None:
    assert not (told := missing(dict(said()), "pages")), told


def said() -> Iterator[tuple[str, str]]:
    """Every text that stands in ``say("…")`` or names a page in ``@page(path, "…")``, with its place."""
    for path in sorted(WEB.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            called = getattr(node.func, "id", getattr(node.func, "attr", ""))
            place = {"say": 0, "t": 0, "page": 1, "frame": 0}.get(called)
            if place is None or place >= len(node.args):
                continue
            for text in texts_in(node.args[place]):
                yield text, f"{path.relative_to(WEB.parents[2])}:{node.lineno}"


def texts_in(argument: ast.expr) -> list[str]:
    """The texts that an argument may be: one, or either end of a condition."""
    if isinstance(argument, ast.IfExp):
        return texts_in(argument.body) + texts_in(argument.orelse)
    return [argument.value] if isinstance(argument, ast.Constant) and isinstance(argument.value, str) else []


def test_what_is_put_in_is_the_same_in_both_languages() -> None:
    for english, chinese in catalogue("zh").items():
        assert fields(english) == fields(chinese), english


def fields(text: str) -> list[str]:
    """The names in braces; a text of a lens may have braces of its own, which are never filled."""
    return sorted(name for _, name, _, _ in string.Formatter().parse(text) if name is not None)


def test_no_text_stands_twice_and_none_is_empty() -> None:
    found = [english for group in groups("zh").values() for english in group]
    assert sorted({one for one in found if found.count(one) > 1}) == []
    assert all(text.strip() for text in catalogue("zh").values())


def test_chinese_is_written_with_chinese_marks() -> None:
    wrong = [
        t
        for t in catalogue("zh").values()
        for a, b in itertools.pairwise(t)
        if (chinese(a) and b in ",;:?!") or (a in ",;:?!" and chinese(b))
    ]
    assert wrong == []


def chinese(letter: str) -> bool:
    return "一" <= letter <= "鿿"


@pytest.mark.parametrize("lang", [*LANGUAGES, "xx"])
def test_what_has_no_translation_is_said_in_english(lang: str) -> None:
    assert say("no such sentence: {n}", lang, n=3) == "no such sentence: 3"
    assert say("no {such} sentence", lang) == "no {such} sentence"


def test_a_sentence_with_numbers_in_it_is_known_by_its_like() -> None:
    assert (
        say("0.5% of the map lies beyond the ends of the scale, up to 0.3.", "zh")
        == "图中有 0.5% 超出标度两端，最大达 0.3。"
    )
    model = cs.load("bundled:shapes?weights=none")
    values = [cs.integrated_gradients(model, "sample:shapes/7", steps=2), cs.lrp(model, "sample:shapes/7")]
    for note in [note.text for value in values for note in render.notes(value)]:
        if note.startswith(("Completeness", "Random", "Of the", "Biases", "0.")):
            assert any(map(chinese, say(note, "zh"))), note


@pytest.mark.parametrize(
    ("english", "chinese"),
    [
        ("star (3), at layer3", "star (3)，位于 layer3"),
        ("The input is drawn as: channel 0 of 2, in grey.", "输入的画法：2 个通道中的通道 0，以灰度显示。"),
        ("convolution 3×3, stride 2, padding 1", "3×3 卷积，步幅 2，填充 1"),
        ("Rules: relu: pass ×13, conv2d: z-plus ×4.", "规则：relu（直通）×13，conv2d（z⁺）×4。"),
        ("max(0, x) at x = −1 is 0, slope 0", "x = −1 时，max(0, x) = 0，斜率 0"),
        ("3 forward, 1 backward, 0.20 s, 22 MB", "3 次前向，1 次反向，0.20 s，22 MB"),
        ("layer1 to layer2", "layer1 至 layer2"),
        (
            "Stopped: fc[1]: stopped after 3 of 8 steps; fc[2]: stopped before it was begun.",
            "已停止：fc[1] 在 8 步中的第 3 步后停止；fc[2] 尚未开始就已停止。",
        ),
        (
            "Whole maps: from layer1: a softmax over positions is not done on windows.",
            "整幅计算：从 layer1 起，不能按窗口计算：沿位置的 softmax。",
        ),
        ("nothing is known of this or more", "nothing is known of this or more"),
    ],
)
def test_a_sentence_is_made_of_parts_that_are_said_too(english: str, chinese: str) -> None:
    assert say(english, "zh") == chinese
    assert say(english) == english


def test_a_sentence_that_is_missing_is_told_with_the_file_to_edit() -> None:
    told = missing({"What is new?": "new_lens, asks"}, "lenses")
    assert FILE in told
    assert '"What is new?"' in told
    assert missing({"Which regions made the model give this answer?": "grad_cam, asks"}, "lenses") == ""
