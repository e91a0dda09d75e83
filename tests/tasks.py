"""The tasks of networks, and what one lens of each family does with each of them.

`python -m tests.tasks` writes docs/tasks.md; tests/test_tasks.py runs every cell and compares it with the page.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import convscope as cs
from convscope.catalogue import call, find
from convscope.errors import ConvScopeError
from convscope.spec import FAMILIES
from convscope.spec.tasks import TASKS, Task
from tests.dense_networks import INPUT, SIDE, detector, scene, segmenter
from tests.nets import seeded

PAGE = Path(__file__).parents[1] / "docs/tasks.md"
LENSES: Mapping[str, Mapping[str, dict[str, Any]]] = {
    "prediction": {"predict": {}},
    "structure": {"structure": {}},
    "activations": {"feature-maps": {}},
    "gradient": {"saliency": {}, "integrated-gradients": {"steps": 8}},
    "cam": {"grad-cam": {}, "hires-cam": {}, "layer-cam": {}, "cam": {}, "finer-cam": {}},
    "backward": {"lrp": {}, "deep-lift": {}, "guided-backprop": {}},
    "perturbation": {
        "occlusion": {"patch": 8, "stride": 8},
        "rise": {"samples": 16},
        "lime": {"samples": 16},
        "ablation-cam": {},
        "score-cam": {},
    },
    "learned": {"activation-maximization": {"unit": "LAYER[0]", "steps": 2, "size": SIDE}},
}
"""By family the lenses of the table and their parameters; ``LAYER`` stands for the layer of the case.

None of the networks attends; docs/attention.md is about those that do."""


def _head(last: nn.Module, outputs: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, outputs), last
    )


def _numbers(outputs: int, **options: Any) -> cs.Model:
    return cs.Model(seeded(lambda: _head(nn.Identity(), outputs), seed=2).eval(), input=INPUT, **options)


def _embedder() -> cs.Model:
    """A network whose classifier was taken off: an identity stands in its place."""
    headless = seeded(lambda: nn.Sequential(*_head(nn.Identity(), 1)[:-2], nn.Identity()), seed=2)
    return cs.Model(headless.eval(), input=INPUT)


@dataclass(frozen=True)
class Case:
    """A column of the table: a network and the target that is explained; ``task`` is what it must be recognized as."""

    name: str
    task: str
    model: cs.Model
    target: Any
    layer: str = "0"


def cases() -> tuple[Case, ...]:
    """One network for each column."""
    binary = cs.Model(seeded(lambda: _head(nn.Sigmoid(), 1), seed=2).eval(), input=INPUT)
    return (
        Case("classes", "classification", _numbers(3, labels=["ant", "bee", "cat"]), "bee"),
        Case("one output", "classification", binary, "positive"),
        Case("labels", "multilabel", _numbers(3, labels=["ant", "bee", "cat"], task="multilabel"), "bee"),
        Case("ranks", "ordinal", _numbers(2, labels=["low", "middle", "high"], task="ordinal"), "at least high"),
        Case("numbers", "regression", _numbers(2, labels=["x", "y"], task="regression", units="mm"), "y"),
        Case("embedding", "embedding", _embedder(), cs.TOP1),
        Case("segmentation", "segmentation", segmenter(), "red", "colors.first"),
        Case("detection", "detection", detector(), "box:0", "backbone.0.first"),
    )


def run(name: str, parameters: Mapping[str, Any], case: Case) -> tuple[Any, str]:
    """The value of a lens, or the message with which it refuses; anything else is raised."""
    declaration = find(name)
    arguments: dict[str, Any] = {
        key: value.replace("LAYER", case.layer) if isinstance(value, str) else value
        for key, value in parameters.items()
    }
    if declaration.takes_target:
        arguments["target"] = case.target
    images: list[Tensor] = [scene()] if "image" in declaration.inputs else []
    try:
        return call(name, case.model, *images, **arguments), ""
    except ConvScopeError as error:
        return None, str(error)


def first_clause(refusal: str) -> str:
    """The reason of a refusal, without the names of the lens and of layers and what to do instead."""
    return refusal.partition("; ")[0].partition(": use ")[0].partition(": choose ")[0].partition(" above '")[0]


def page(table: Mapping[str, Mapping[str, str]]) -> str:
    """The page, from the refusals (empty where it works) by lens and case."""
    names = [case.name for case in cases()]
    numbers: dict[str, int] = {}
    rows = []
    for family, lenses in LENSES.items():
        for index, lens in enumerate(lenses):
            cells = []
            for refusal in (table[lens][name] for name in names):
                reason = first_clause(refusal)
                if reason:
                    numbers.setdefault(reason, len(numbers) + 1)
                cells.append(f"refuses ({numbers[reason]})" if reason else "works")
            title = FAMILIES[family].partition(":")[0] if index == 0 else ""
            rows.append(f"| {title} | `{lens}` | {' | '.join(cells)} |")
    head = [f"| | | {' | '.join(names)} |", f"|---|---{'|---' * len(names)}|"]
    listed = [f"{number}. {reason}." for reason, number in numbers.items()]
    return "\n".join([*_HEAD, "", *_forms(), *_TABLE_HEAD, "", *head, *rows, "", *listed, ""])


def _forms() -> list[str]:
    """What each task recognizes, and its targets."""
    TASKS.fill()
    lines: list[str] = []
    for name in ("classification", "multilabel", "ordinal", "regression", "embedding", "segmentation", "detection"):
        task: Task = TASKS[name]
        lines += [f"### `{name}`", "", f"Output: {task.output}.", "", "| target | what is explained |", "|---|---|"]
        lines += [f"| {f'`{form}`' if form else '(none)'} | {meaning} |" for form, meaning in task.targets.items()]
        lines.append("")
    return lines


_HEAD = """# Tasks

What a network does is found by the shape and the content of its output, and said by `convscope models ADDRESS`. Where
the output does not show it, say it: `cs.Model(…, task="regression", units="mm")`, `?task=segmentation` in an address,
`--task detection` on the command line. The task decides what a prediction shows and what a target may be; every lens
that explains a target then works on it. `layer[unit]`, `A - B`, functions of the output and `cs.Region` work beside the
forms below where the output allows them. An output that no task takes is refused with its parts and their shapes;
`output=` picks one. A detector whose output is a raw tensor is adapted by a function, `output=boxes, task="detection"`,
that gives a tensor (N, boxes, 6): left, top, right, bottom, score and label. Of several outputs with a sigmoid inside
the network each is a label of its own (`multilabel`); where the sigmoid was left to the loss, say `task="multilabel"`.
Cumulative scores of ranks (CORAL: Cao, Mirjalili and Raschka 2020) look like any others: say `task="ordinal"`, with one
label more than there are outputs.

Like the top class, a region or a box is fixed by the image as it is. In perturbed images the same region is scored,
and the box that matches best: the similarity of D-RISE (Petsiuk et al. 2021), the overlap times the score among boxes
of the same label. Seg-Grad-CAM (Vinogradova et al. 2020) is `grad-cam` with a target over a region.

The map of one box lies on its object only where a method keeps positions apart. Grad-CAM averages the gradients over
the layer, so that a channel has the same weight at every object with its features, and the map of a box often peaks on
another object. LayerCAM, HiResCAM at the layer from which the boxes are read, LRP and integrated gradients weight each
position by itself. Lenses declare which they are (`local` among their claims, `place` among what fails; both are tested
on the boxes of `bundled:detector`), and `recommend` ranks lenses for detectors by it.

`compare` and Look begin with Grad-CAM, LayerCAM, saliency and integrated gradients, the page Compare with the first of
them. A lens that declares such a weakness for a task (`LensSpec.weakness_for(task)`) is left out of these defaults
(`catalogue.default_comparison`) and of reports, which say so, and can still be named: for detectors this is Grad-CAM.

## Targets
""".splitlines()

_TABLE_HEAD = """## What works

One small network for each column; a lens works, or refuses with a reason. Written by `python -m tests.tasks`;
`tests/test_tasks.py` runs every cell.
""".splitlines()


def refusals(case: Case) -> dict[str, str]:
    """The refusals of all lenses of the table on one network, empty where they work."""
    return {lens: run(lens, options, case)[1] for lenses in LENSES.values() for lens, options in lenses.items()}


def write_page() -> None:
    """Run all cells and write the page."""
    by_case = {case.name: refusals(case) for case in cases()}
    lenses = [lens for lenses in LENSES.values() for lens in lenses]
    PAGE.write_text(page({lens: {name: by_case[name][lens] for name in by_case} for lens in lenses}), "utf-8")


if __name__ == "__main__":
    torch.manual_seed(0)
    write_page()
