"""The texts of the workbench: every text of a page has a Chinese translation with the same placeholders.

A new lens fails here until its texts are added to ``src/convscope/web/i18n/zh.json``, as intended. Until then the page
shows them in English.
"""

import ast
import itertools
import re
import string
from collections.abc import Iterator
from pathlib import Path

import pytest

import convscope.web
from convscope.catalogue import lenses
from convscope.spec import FAMILIES, INPUT_KINDS
from convscope.spec.tasks import TASKS
from convscope.values.facts import Fact
from convscope.web.i18n import LANGUAGES, SENTENCES, catalogue, groups, translate

WEB = Path(convscope.web.__file__).parent
PACKAGE = WEB.parent
FEW_LETTERS = 5
"""Letters of a formatted string beside its values from which on it tells which texts it makes."""
FILE = "src/convscope/web/i18n/zh.json"


def missing(sentences: dict[str, str], group: str) -> str:
    """The untranslated texts, as lines to add to the file; empty if there are none."""
    lacking = {english: where for english, where in sentences.items() if english not in catalogue("zh")}
    message = "".join(f'\n  "{english}": "…",   ({where})' for english, where in lacking.items())
    return f'add to "{group}" in {FILE}:{message}' if lacking else ""


def test_questions_and_reading_lines_are_translated() -> None:
    sentences = {
        sentence: f"{spec.name}, {field}"
        for spec in lenses()
        for field in ("asks", "reads")
        if (sentence := getattr(spec, field))
    }
    assert not (message := missing(sentences, "lenses")), message


def test_limitations_are_translated() -> None:
    message = {text: spec.name for spec in lenses() for pair in spec.fails.items() for text in pair}
    assert not (lacking := missing(message, "lenses")), lacking


def test_parameter_help_is_translated() -> None:
    helps = {p.about.help: f"{spec.name}, {p.name}" for spec in lenses() for p in spec.options.values()}
    assert not (message := missing(helps, "parameters")), message


def test_form_fields_are_translated() -> None:
    """The names of parameters, their choices, and their units."""
    names = {p.name.replace("_", " "): spec.name for spec in lenses() for p in spec.options.values()}
    abouts = [(spec.name, p.about) for spec in lenses() for p in spec.options.values()]
    names |= {choice: name for name, about in abouts for choice in (*about.choices, about.unit) if choice}
    assert not (message := missing(names, "names")), message


def test_inputs_are_translated() -> None:
    """What forms call the inputs of lenses, and the hints below their fields."""
    texts = {text: kind.name for kind in INPUT_KINDS.values() for text in (kind.label, kind.hint) if text}
    assert not (message := missing(texts, "pages")), message


def test_texts_of_tasks_are_translated() -> None:
    """What forms and headings say of each task."""
    TASKS.fill()
    texts = {
        text: task.name
        for task in TASKS.values()
        for text in (task.target_label, task.default_target, task.question, task.default_question)
    }
    assert not (message := missing(texts, "pages")), message


def test_family_names_are_translated() -> None:
    assert not (message := missing({english: name for name, english in FAMILIES.items()}, "families")), message


def test_page_texts_are_translated() -> None:
    assert not (message := missing(dict(page_texts()), "pages")), message


def page_texts() -> Iterator[tuple[str, str]]:
    """Every text in ``tr("…")`` and every title in ``@page(path, "…")``, with its location."""
    for path in sorted(WEB.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            function = getattr(node.func, "id", getattr(node.func, "attr", ""))
            index = {"translate": 0, "tr": 0, "page": 1, "page_frame": 0}.get(function)
            if index is None or index >= len(node.args):
                continue
            for text in texts_in(node.args[index]):
                yield text, f"{path.relative_to(WEB.parents[2])}:{node.lineno}"


def texts_in(argument: ast.expr) -> list[str]:
    """The texts that an argument can be: a constant, or either branch of a conditional expression."""
    if isinstance(argument, ast.IfExp):
        return texts_in(argument.body) + texts_in(argument.orelse)
    return [argument.value] if isinstance(argument, ast.Constant) and isinstance(argument.value, str) else []


def test_every_entry_translates_a_text_of_the_package() -> None:
    """Entries whose English was changed or removed are of no use; ``sentences`` are patterns, which others test."""
    constants, patterns = package_texts()
    used = constants | declared_texts()
    unused = [
        english
        for group, entries in groups("zh").items()
        if group != SENTENCES
        for english in entries
        if english not in used
        and not any(pattern.fullmatch(english) for pattern in patterns)
        and not (group == "words" and any(english in constant for constant in constants))
    ]
    assert unused == [], f"remove them from {FILE}, or correct their English"


def declared_texts() -> set[str]:
    """The texts of all declarations."""
    texts = set(FAMILIES.values())
    for spec in lenses():
        texts |= {spec.title, spec.asks, spec.reads, *spec.fails, *spec.fails.values()}
        for parameter in spec.options.values():
            about = parameter.about
            texts |= {parameter.name.replace("_", " "), about.help, about.unit, *about.choices}
    return texts


def package_texts() -> tuple[set[str], list[re.Pattern[str]]]:
    """The strings in the package's source, and patterns of its formatted strings; docstrings are no texts."""
    constants, patterns = set(), []
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
                constants.add(node.value)
            elif isinstance(node, ast.JoinedStr):
                parts = [str(part.value) if isinstance(part, ast.Constant) else None for part in node.values]
                if sum(character.isalpha() for part in parts if part for character in part) >= FEW_LETTERS:
                    pattern = "".join(".*" if part is None else re.escape(part) for part in parts)
                    patterns.append(re.compile(pattern))
    return constants, patterns


def test_placeholders_are_the_same_in_both_languages() -> None:
    for english, chinese in catalogue("zh").items():
        assert fields(english) == fields(chinese), english


def fields(text: str) -> list[str]:
    """The placeholders of a text; texts of lenses may contain other braces, which are never filled."""
    return sorted(name for _, name, _, _ in string.Formatter().parse(text) if name is not None)


def test_no_text_is_duplicated_or_empty() -> None:
    keys = [english for group in groups("zh").values() for english in group]
    assert sorted({key for key in keys if keys.count(key) > 1}) == []
    assert all(text.strip() for text in catalogue("zh").values())


def test_chinese_uses_chinese_punctuation() -> None:
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
def test_untranslated_text_stays_english(lang: str) -> None:
    assert translate("no such sentence: {n}", lang, n=3) == "no such sentence: 3"
    assert translate("no {such} sentence", lang) == "no {such} sentence"


def test_text_that_looks_like_a_sentence_is_not_matched() -> None:
    """Only facts are taken apart: a text that a person wrote, such as a label, stays as it is."""
    assert translate("stopped after 3 of 8 steps", "zh") == "stopped after 3 of 8 steps"
    assert translate(Fact("stopped after {done} of {steps} steps", done=3, steps=8), "zh") == "在 8 步中的第 3 步后停止"


def test_facts_among_values_are_translated() -> None:
    title = Fact("{operation} {size}", operation=Fact("convolution"), size="3×3")
    assert translate("then {step}", "zh", step=title) == "然后：3×3 卷积"
    assert translate("then {step}", step=title) == "then convolution 3×3"
    assert translate("then {step}", "zh", step="convolution") == "然后：convolution"


def test_missing_translation_names_the_file_to_edit() -> None:
    message = missing({"What is new?": "new_lens, asks"}, "lenses")
    assert FILE in message
    assert '"What is new?"' in message
    assert missing({"Which regions made the model give this answer?": "grad_cam, asks"}, "lenses") == ""
