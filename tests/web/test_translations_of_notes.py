"""Every note on a value is translated; the notes are collected from the source, so that a new one is found here."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import convscope
from convscope.render.captions import sentence
from convscope.web.i18n import translate

SOURCE = Path(convscope.__file__).parent
MADE_IN = [
    path
    for part in ("engine", "runtime", "lens", "loaders", "samples")
    for path in sorted((SOURCE / part).rglob("*.py"))
]
SAID_OTHERWISE = {
    "blank", "layers", "layout", "chosen", "completeness gap", "relative completeness gap", "baseline score",
    "conservation gap", "relative conservation gap", "absorbed by biases", "relevance per layer",
    "received", "absorbed", "lost", "model", "image",
}  # fmt: skip
"""Keys that render/captions.py turns into other sentences, and tables, which only the manifest has room for."""
FILLED = {
    "place": "3, 4 of 7×7",
    "left out": "fc: what these give is not made of one part per image",
    "averaged over": "8 mirrored and shifted views",
    "call": "'body' runs 7 times in one forward: what is shown is its last call",
}
"""Examples for keys whose texts are composed elsewhere."""
BLANK_ARGUMENTS = ("why_blank", "otherwise")
"""The arguments that take the reason for a blank map."""


class Texts:
    """The texts that expressions of one module can have; ``7`` stands for values in f-strings."""

    def __init__(self, tree: ast.Module) -> None:
        named = [
            node for node in ast.walk(tree) if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        ]
        self.named = {node.targets[0].id: node.value for node in named}  # type: ignore[attr-defined]

    def of(self, node: ast.expr | None, depth: int = 0) -> list[str]:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return [node.value]
        if isinstance(node, ast.Name) and node.id in self.named and depth < 4:
            return self.of(self.named[node.id], depth + 1)
        if isinstance(node, ast.IfExp):
            return self.of(node.body, depth) + self.of(node.orelse, depth)
        if isinstance(node, ast.JoinedStr):
            parts = [self._part(part, depth) for part in node.values]
            return ["".join(parts)]
        return ["7"]

    def _part(self, part: ast.expr, depth: int) -> str:
        if isinstance(part, ast.FormattedValue):
            constant = isinstance(part.value, ast.Name) and part.value.id.isupper()
            return self.of(part.value, depth + 1)[0] if constant else "7"
        return self.of(part, depth)[0]


def notes() -> Iterator[tuple[str, str]]:
    """Every note as a sentence, and its location in the source."""
    for path in MADE_IN:
        tree = ast.parse(path.read_text("utf-8"))
        texts = Texts(tree)
        for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
            for key, value, line in _pairs(function):
                for name in texts.of(key):
                    if name not in SAID_OTHERWISE and name != "7":
                        for text in texts.of(value):
                            filled = FILLED.get(name, text) if " " not in text or name == "averaged over" else text
                            yield sentence(f"{name}: {filled}"), f"{path.relative_to(SOURCE)}:{line}"


def _pairs(function: ast.FunctionDef) -> Iterator[tuple[ast.expr, ast.expr, int]]:
    """Keys and values that a function writes into notes."""
    is_note_function = "note" in function.name
    for node in ast.walk(function):
        written: ast.AST | None = node if is_note_function and isinstance(node, ast.Dict) else None
        if isinstance(node, ast.keyword) and node.arg == "notes":
            written = node.value
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        for target in targets:
            holder = target.value if isinstance(target, ast.Subscript) else target
            name = getattr(holder, "id", getattr(holder, "attr", ""))
            if not (re.search("note", name) or is_note_function):
                continue
            if isinstance(target, ast.Subscript):
                yield target.slice, node.value, node.lineno  # type: ignore[attr-defined]
            elif node.value is not None:  # type: ignore[attr-defined]
                written = node.value  # type: ignore[attr-defined]
        for table in ast.walk(written) if written is not None else ():
            if isinstance(table, ast.Dict):
                yield from ((k, v, table.lineno) for k, v in zip(table.keys, table.values, strict=True) if k)


def reasons() -> Iterator[tuple[str, str]]:
    """Every reason for a blank map, as the sentence that contains it."""
    for path in MADE_IN:
        tree = ast.parse(path.read_text("utf-8"))
        texts = Texts(tree)
        for value in _blank_reasons(tree, path.name):
            for text in texts.of(value):
                if " " in text and not re.search(r"7 zero|\w7", text):  # which are listed below, with their values
                    yield f"This map is blank: {text}.", path.name


def _blank_reasons(tree: ast.Module, file: str) -> Iterator[ast.expr | None]:
    """What is passed as the reason for a blank map, and what the names in it are assigned or return."""
    passed = [k.value for k in ast.walk(tree) if isinstance(k, ast.keyword) and k.arg in BLANK_ARGUMENTS]
    names = {name.id for value in passed for name in ast.walk(value) if isinstance(name, ast.Name)}
    yield from passed
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id in names:
            yield node.value
        elif isinstance(node, ast.FunctionDef) and (node.name in names or file == "zero_maps.py"):
            yield from (statement.value for statement in ast.walk(node) if isinstance(statement, ast.Return))


CAVEATS = [
    "Random weights: the network has learned nothing.",
    "The network ran under torch.autocast (bfloat16), which was on around the call.",
    "Own weights: images are prepared as for resnet18 (shorter side to 256, middle 224×224, mean 0.485, 0.456, "
    "0.406, std 0.229, 0.224, 0.225), which is assumed.",
    "The tensor holds numbers from 0 to 255, and images prepared for this model lie between -2.1 and 2.6: it seems not "
    "to be prepared (pixels in an array are prepared for you).",
]
MADE_OF_PARTS = [
    "Batch: the images of a batch influence each other in this network: each is therefore run alone here, and in a "
    "batch the network's output is different.",
    "Batch: the network takes no batch of two images: each is run alone.",
    *(
        "Backward: the network's backward pass is not the derivative of its forward: along one direction it gives "
        f"{text} (gradient reversal, straight-through or another backward of its own); maps that use gradients show "
        "the former."
        for text in (
            "-1.00 times the true slope",
            "a slope where the network's output hardly changes",
            "a slope where the network's output changes in steps and has none",
        )
    ),
    "Call: 'conv' runs 3 times in one forward, 'fc' runs 2 times in one forward: what is shown is its last call.",
    "Stopped: stopped after 3 of 8 steps; the best picture so far is shown.",
    "This map is blank: the gradient is zero everywhere although the score changes with the output of layer 'conv': "
    "'detach' in layer 'fc', what runs under torch.no_grad inside its own forward and 2 more passes no gradient; "
    "lenses that need no gradient, such as occlusion or rise, show what it depends on.",
    *(
        f"This map is blank: {why}."
        for why in (
            "the input is zero, though the gradient there is not",
            "every activation of layer 'conv' is zero, though the gradient there is not",
            "the gradient at layer 'conv' is not zero, but what this method makes of it is",
            "the gradient is zero everywhere although the score changes with the input: the path to it leads through "
            "Mine, Other, whose backward pass is the network's own; lenses that need no gradient, such as occlusion or "
            "rise, show what it depends on",
        )
    ),
    "This map is blank: the gradient is zero everywhere, and the score stays the same when noise is added to the "
    "input.",
]
"""Notes with their values filled in."""


def _in_english(text: str) -> str:
    """The English words left in the translation of a sentence; all words if it has none."""
    translated = translate(text, "zh")
    if not re.search("[一-鿿]", translated):
        return translated
    return " ".join(re.findall(r"[A-Za-z'-]+(?: [A-Za-z'-]+){2,}", translated))


@pytest.mark.parametrize(("written", "least"), [(notes, 50), (reasons, 15)])
def test_every_note_in_the_source_is_translated(written: object, least: int) -> None:
    sources = dict(written())  # type: ignore[operator]
    assert len(sources) >= least, "they are looked for where they are written"
    lacking = {text: where for text, where in sources.items() if _in_english(text)}
    assert not lacking, "\n".join(f"{text}   ({where})" for text, where in lacking.items())


@pytest.mark.parametrize("text", [*CAVEATS, *MADE_OF_PARTS])
def test_parts_of_notes_are_translated(text: str) -> None:
    assert _in_english(text) == "", translate(text, "zh")
