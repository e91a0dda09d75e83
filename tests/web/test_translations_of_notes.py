"""Every fact and every key of a note is translated; both are collected from the source, so that a new one is seen here.

A fact is written as ``Fact("a template with {names}", names=…)``, and its template is the key of its translation.
"""

import ast
import functools
import string
from collections.abc import Iterator
from pathlib import Path

import pytest

import convscope
import convscope as cs
from convscope import render
from convscope.render.captions import sentence
from convscope.values.facts import Fact, as_fact, heading
from convscope.web.i18n import SENTENCES, catalogue, groups, translate

SOURCE = Path(convscope.__file__).parent
WITH_NOTES = ("engine", "runtime", "lens", "loaders", "samples")
"""The packages whose values carry notes."""
SHOWN_OTHERWISE = frozenset({
    "blank", "layers", "layout", "chosen", "received", "absorbed", "lost", "image", "model", "relevance per layer",
    "completeness gap", "relative completeness gap", "baseline score",
    "conservation gap", "relative conservation gap", "absorbed by biases",
})  # fmt: skip
"""Keys that render/captions.py puts into other sentences, and tables, which only the manifest has room for."""
NAMED_ELSEWHERE = ("padding mode", "R²: ", "exact: ")
"""A setting of a convolution, and keys that fits of surrogate models return beside their numbers."""
BLANK_ARGUMENTS = ("why_blank", "otherwise")
"""The arguments that take the reason for a blank map."""
FILE = "src/convscope/web/i18n/zh.json"


@functools.cache
def modules() -> tuple[tuple[str, ast.Module], ...]:
    """The path of each module of the package, and what it says."""
    files = sorted(SOURCE.rglob("*.py"))
    return tuple((str(path.relative_to(SOURCE)), ast.parse(path.read_text("utf-8"))) for path in files)


@functools.cache
def constants() -> dict[str, str]:
    """The texts that modules give names to: ``NOTE = "…"``, or several at once."""
    texts: dict[str, str] = {}
    for _, tree in modules():
        for node in (node for node in ast.walk(tree) if isinstance(node, ast.Assign)):
            pairs = [(node.targets[0], node.value)]
            if isinstance(node.targets[0], ast.Tuple) and isinstance(node.value, ast.Tuple):
                pairs = list(zip(node.targets[0].elts, node.value.elts, strict=False))
            for target, value in pairs:
                is_text = isinstance(value, ast.Constant) and isinstance(value.value, str)
                if isinstance(target, ast.Name) and target.id.isupper() and is_text:
                    texts[target.id] = value.value  # type: ignore[attr-defined]
    return texts


@functools.cache
def templates() -> dict[str, str]:
    """Every template of a fact in the source, with its location; keys of notes are left to `note_keys`."""
    keys = {id(node) for key, _, _ in note_items() for node in ast.walk(key)}
    return {
        text: f"{path}:{node.lineno}"  # type: ignore[attr-defined]
        for path, tree in modules()
        if path != "values/facts.py"
        for node in ast.walk(tree)
        if is_fact(node) and id(node) not in keys
        for text in texts_in(node.args[0])  # type: ignore[attr-defined]
    }


def is_fact(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Fact"


def texts_in(argument: ast.expr) -> list[str]:
    """The texts that an argument can be: a constant, or either branch of a conditional expression."""
    if isinstance(argument, ast.IfExp):
        return texts_in(argument.body) + texts_in(argument.orelse)
    assert isinstance(argument, ast.Constant), (
        f"a fact with a template that is not written out: {ast.unparse(argument)}"
    )
    return [str(argument.value)]


@functools.cache
def note_items() -> tuple[tuple[ast.expr, ast.expr, str], ...]:
    """Keys and values that functions write into notes, with their location."""
    return tuple(
        (key, value, f"{path}:{key.lineno}")
        for path, tree in modules()
        if path.split("/")[0] in WITH_NOTES
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef)
        for key, value in _items_of(function)
    )


def _items_of(function: ast.FunctionDef) -> Iterator[tuple[ast.expr, ast.expr]]:
    is_note_function = "note" in function.name
    for node in ast.walk(function):
        written: ast.AST | None = node if is_note_function and isinstance(node, ast.Dict) else None
        if isinstance(node, ast.keyword) and node.arg == "notes":
            written = node.value
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign) and node.value is not None:
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            holder = target.value if isinstance(target, ast.Subscript) else target
            name = getattr(holder, "id", getattr(holder, "attr", ""))
            if "note" in name or is_note_function:
                if isinstance(target, ast.Subscript):
                    yield target.slice, node.value
                else:
                    written = node.value
        for table in ast.walk(written) if written is not None else ():
            if isinstance(table, ast.Dict):
                yield from ((key, value) for key, value in zip(table.keys, table.values, strict=True) if key)
            elif isinstance(table, ast.DictComp):
                yield table.key, table.value


def note_keys() -> dict[str, str]:
    """The keys of notes as the beginnings of sentences, with their location."""
    keys: dict[str, str] = {}
    for key, _, place in note_items():
        keys |= {f"{text}: ": place for text in key_texts(key) if text not in SHOWN_OTHERWISE}
    return keys


def key_texts(key: ast.expr) -> list[str]:
    """The texts that a key can be, as far as they are written out; of a fact its template."""
    if is_fact(key):
        return texts_in(key.args[0])  # type: ignore[attr-defined]
    if isinstance(key, ast.IfExp):
        return key_texts(key.body) + key_texts(key.orelse)
    if isinstance(key, ast.Name):
        return [constants()[key.id]] if key.id in constants() else []
    return [key.value] if isinstance(key, ast.Constant) and isinstance(key.value, str) else []


def missing(texts: dict[str, str]) -> str:
    """The texts without a translation, as lines to add to the file; empty if there are none."""
    lacking = {text: place for text, place in texts.items() if text not in catalogue("zh")}
    lines = "".join(f'\n  "{text}": "…",   ({place})' for text, place in lacking.items())
    return f'add to "{SENTENCES}" in {FILE}:{lines}' if lacking else ""


def test_every_template_of_a_fact_is_translated() -> None:
    written = templates()
    assert len(written) >= 150, "they are looked for where they are written"
    assert not (message := missing(written)), message


def test_every_key_of_a_note_is_translated() -> None:
    written = note_keys()
    assert len(written) >= 40, "they are looked for where they are written"
    assert not (message := missing(written)), message


def test_every_name_of_a_rule_is_translated() -> None:
    """Names of rules are counted under ``rule_log.count(operation, "name")``, or declared by the rules."""
    written = dict(rule_names())
    assert len(written) >= 20, "they are looked for where they are written"
    assert not (message := missing(written)), message


def rule_names() -> Iterator[tuple[str, str]]:
    for path, tree in modules():
        for node in ast.walk(tree) if path.startswith("engine/rules/") else ():
            if isinstance(node, ast.Call) and node.args:
                function = getattr(node.func, "attr", getattr(node.func, "id", ""))
                index = {"count": 1, "Rule": 0, "_at_rectifiers": 0}.get(function, len(node.args))
                names = constants_in(node.args[index]) if index < len(node.args) else []
                yield from ((name, f"{path}:{node.lineno}") for name in names)


def constants_in(argument: ast.expr) -> list[str]:
    """The texts that an argument can be, as far as they are written out."""
    if isinstance(argument, ast.IfExp):
        return constants_in(argument.body) + constants_in(argument.orelse)
    return [argument.value] if isinstance(argument, ast.Constant) and isinstance(argument.value, str) else []


def test_texts_in_notes_are_facts() -> None:
    """A sentence that is not a fact could not be translated."""
    values = [(value, place) for _, value, place in note_items()]
    for path, tree in modules():
        keywords = (node for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg in BLANK_ARGUMENTS)
        values += [(keyword.value, f"{path}:{keyword.value.lineno}") for keyword in keywords]
    assert len(values) >= 80, "they are looked for where they are written"
    plain = [f"{ast.unparse(value)}   ({place})" for value, place in values if is_plain_sentence(value)]
    assert not plain, "\n".join(plain)


def is_plain_sentence(value: ast.expr) -> bool:
    """Whether an expression is, or may be, a text of several words that is no fact."""
    if isinstance(value, ast.IfExp):
        return is_plain_sentence(value.body) or is_plain_sentence(value.orelse)
    return isinstance(value, ast.JoinedStr) or (
        isinstance(value, ast.Constant) and isinstance(value.value, str) and " " in value.value
    )


def test_no_sentence_is_left_over() -> None:
    """The group of sentences holds what facts and notes can say, and no text that nothing says any more."""
    used = {*templates(), *note_keys(), *dict(rule_names()), *NAMED_ELSEWHERE}
    assert sorted(set(groups("zh")[SENTENCES]) - used) == []


def test_separators_of_lists_are_translated() -> None:
    """A placeholder with a separator has one in both languages, and no other format is used."""
    for template in templates():
        english, chinese = separators(template), separators(catalogue("zh").get(template, template))
        assert english.keys() == chinese.keys(), template
        for name in english:
            assert bool(english[name]) == bool(chinese[name]), template


def separators(template: str) -> dict[str, str]:
    """What stands between the items of each placeholder of a template; empty for the usual comma."""
    return {name: spec or "" for _, name, spec, _ in string.Formatter().parse(template) if name is not None}


MADE_OF_PARTS = [
    (
        Fact(
            "{layer}: {why}",
            layer="layer3",
            why=Fact("the same image scored {first} and {second}", first="1", second="2"),
        ),
        "layer3：同一张图像得分为 1 和 2",
    ),
    (
        sentence(Fact("random weights: the network has learned nothing")),
        "随机权重：这个网络什么也没有学到。",
    ),
    (
        sentence(
            Fact(
                "{heading}{fact}",
                heading=heading("stopped"),
                fact=Fact(
                    "{parts:; }",
                    parts=[
                        Fact(
                            "{pictures}: {text}",
                            pictures=["fc[1]", "fc[4]"],
                            text=Fact("stopped after {done} of {steps} steps", done=3, steps=8),
                        ),
                        Fact("{pictures}: {text}", pictures=["fc[2]"], text=Fact("stopped before it started")),
                    ],
                ),
            )
        ),
        "已停止：fc[1]，fc[4]：在 8 步中的第 3 步后停止；fc[2]：尚未开始就已停止。",
    ),
    (
        sentence(
            Fact(
                "{heading}{fact}",
                heading=heading("rules"),
                fact=[
                    Fact(
                        "{name} ×{count}",
                        name=Fact("{operation}: {rule}", operation="relu", rule=as_fact("pass")),
                        count=13,
                    )
                ],
            )
        ),
        "规则：relu（直通）×13。",
    ),
    (
        Fact(
            "from {layer}: {why}",
            layer="layer1",
            why=Fact("{operation} is not supported on windows", operation=Fact("a softmax over positions")),
        ),
        "从 layer1 起，不能按窗口计算：沿位置的 softmax",
    ),
    (
        Fact(
            "{layers}: weights packed as {dtypes: and }, counted",
            layers=["fc", "conv"],
            dtypes=["int8", "uint8"],
        ),
        "fc，conv：权重以 int8 和 uint8 形式打包，已计入",
    ),
    (Fact("no such template: {n}", n=3), "no such template: 3"),
    (Fact("layer {layer}", layer="the input"), "层 the input"),
]
"""Facts made of facts and lists; a parameter that is no fact stays as it is, even if there is a translation of it."""


@pytest.mark.parametrize(("fact", "chinese"), MADE_OF_PARTS, ids=lambda part: str(part)[:40])
def test_parts_of_facts_are_translated(fact: Fact, chinese: str) -> None:
    assert translate(fact, "zh") == chinese
    assert translate(fact) == translate(fact, "xx") == str(fact)


def test_notes_of_a_loaded_value_are_translated(tmp_path: Path) -> None:
    model = cs.load("bundled:shapes?weights=none")
    value = cs.lrp(model, "sample:shapes/7")
    path = value.save(tmp_path / "map.npz")
    notes = [translate(note.text, "zh") for note in render.notes(value)]
    assert [translate(note.text, "zh") for note in render.notes(cs.Attribution.load(path))] == notes
    assert any("随机权重" in note for note in notes)
    assert any("z⁺" in note or "γ" in note for note in notes)
