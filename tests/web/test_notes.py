"""Every note on a value is said in Chinese: the notes are looked up in the source, so that a new one is missed here."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import convscope
from convscope.render.captions import sentence
from convscope.web.i18n import say

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
}
"""What is said under keys whose texts are put together elsewhere."""
WHY = re.compile("why|otherwise|none|WHY|SAME_SCORE|NOT_WORTH_IT|NO_WINNER")
"""What holds the reason of a blank map is called."""
HOLDS = re.compile("note|said|found")
"""What holds notes is called."""


class Texts:
    """The texts that expressions of one module may be; what is put into them is ``7``."""

    def __init__(self, tree: ast.Module) -> None:
        named = [one for one in ast.walk(tree) if isinstance(one, ast.Assign) and isinstance(one.targets[0], ast.Name)]
        self.named = {one.targets[0].id: one.value for one in named}  # type: ignore[attr-defined]

    def of(self, one: ast.expr | None, depth: int = 0) -> list[str]:
        if isinstance(one, ast.Constant) and isinstance(one.value, str):
            return [one.value]
        if isinstance(one, ast.Name) and one.id in self.named and depth < 4:
            return self.of(self.named[one.id], depth + 1)
        if isinstance(one, ast.IfExp):
            return self.of(one.body, depth) + self.of(one.orelse, depth)
        if isinstance(one, ast.JoinedStr):
            parts = [self._part(part, depth) for part in one.values]
            return ["".join(parts)]
        return ["7"]

    def _part(self, part: ast.expr, depth: int) -> str:
        if isinstance(part, ast.FormattedValue):
            constant = isinstance(part.value, ast.Name) and part.value.id.isupper()
            return self.of(part.value, depth + 1)[0] if constant else "7"
        return self.of(part, depth)[0]


def notes() -> Iterator[tuple[str, str]]:
    """Every note as a sentence, and where it is written."""
    for path in MADE_IN:
        tree = ast.parse(path.read_text("utf-8"))
        texts = Texts(tree)
        for function in (one for one in ast.walk(tree) if isinstance(one, ast.FunctionDef)):
            for key, value, line in _pairs(function):
                for name in texts.of(key):
                    if name not in SAID_OTHERWISE and name != "7":
                        for text in texts.of(value):
                            filled = FILLED.get(name, text) if " " not in text or name == "averaged over" else text
                            yield sentence(f"{name}: {filled}"), f"{path.relative_to(SOURCE)}:{line}"


def _pairs(function: ast.FunctionDef) -> Iterator[tuple[ast.expr, ast.expr, int]]:
    """Keys and values of what a function writes into notes."""
    whole = "note" in function.name
    for one in ast.walk(function):
        written: ast.AST | None = one if whole and isinstance(one, ast.Dict) else None
        if isinstance(one, ast.keyword) and one.arg == "notes":
            written = one.value
        targets = one.targets if isinstance(one, ast.Assign) else [one.target] if isinstance(one, ast.AnnAssign) else []
        for target in targets:
            held = target.value if isinstance(target, ast.Subscript) else target
            name = getattr(held, "id", getattr(held, "attr", ""))
            if not (re.search("note", name) or (whole and HOLDS.search(name))):
                continue
            if isinstance(target, ast.Subscript):
                yield target.slice, one.value, one.lineno  # type: ignore[attr-defined]
            elif one.value is not None:  # type: ignore[attr-defined]
                written = one.value  # type: ignore[attr-defined]
        for table in ast.walk(written) if written is not None else ():
            if isinstance(table, ast.Dict):
                yield from ((k, v, table.lineno) for k, v in zip(table.keys, table.values, strict=True) if k)


def reasons() -> Iterator[tuple[str, str]]:
    """Every reason of a blank map, as the sentence in which it is said."""
    for path in MADE_IN:
        tree = ast.parse(path.read_text("utf-8"))
        texts = Texts(tree)
        for one in ast.walk(tree):
            found = None
            if isinstance(one, ast.keyword) and one.arg in ("why_blank", "otherwise"):
                found = one.value
            elif isinstance(one, ast.Assign) and isinstance(one.targets[0], ast.Name):
                found = one.value if WHY.fullmatch(one.targets[0].id) and path.parent.parent.name == "lens" else None
            elif isinstance(one, ast.Return) and path.name == "blank.py":
                found = one.value
            for text in texts.of(found):
                if " " in text and not re.search(r"7 zero|\w7", text):  # which stand below, with what is put in
                    yield f"This map is blank: {text}.", path.name


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
    "batch the network answers otherwise.",
    "Batch: the network takes no batch of two images: each is run alone.",
    *(
        "Backward: the network's backward pass is not the derivative of its forward: along one direction it gives "
        f"{what} (gradient reversal, straight-through or another backward of its own); maps that use gradients show "
        "the former."
        for what in (
            "-1.00 times the real slope",
            "a slope where the network's answer hardly changes",
            "a slope where the network's answer changes in steps and has none",
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
"""Notes as they are said, with what is put into them."""


def _in_english(text: str) -> str:
    """What is left of English in the Chinese of a sentence; all of it where there is no Chinese."""
    said = say(text, "zh")
    if not re.search("[一-鿿]", said):
        return said
    return " ".join(re.findall(r"[A-Za-z'-]+(?: [A-Za-z'-]+){2,}", said))


@pytest.mark.parametrize(("written", "least"), [(notes, 50), (reasons, 15)])
def test_every_note_in_the_source_is_said_in_chinese(written: object, least: int) -> None:
    found = dict(written())  # type: ignore[operator]
    assert len(found) >= least, "they are looked for where they are written"
    lacking = {text: where for text, where in found.items() if _in_english(text)}
    assert not lacking, "\n".join(f"{text}   ({where})" for text, where in lacking.items())


@pytest.mark.parametrize("text", [*CAVEATS, *MADE_OF_PARTS])
def test_what_is_put_into_a_note_is_said_in_chinese_too(text: str) -> None:
    assert _in_english(text) == "", say(text, "zh")
