"""How often the maps of lenses show both objects on which the answer of ``bundled:pairs`` depends.

`python -m tests.pairs_scores` writes the table in docs/attention.md; tests/test_pairs_scores.py measures it again.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

import convscope as cs
from convscope.catalogue import call
from convscope.samples import pairs

PAGE = Path(__file__).parents[1] / "docs/attention.md"
START, END = "<!-- scores -->", "<!-- /scores -->"
SCENES = range(100, 140)
MARGIN = 4
"""By how many pixels an object is enlarged: half of a patch."""
LENSES: Mapping[str, dict[str, Any]] = {
    "attention": {"heads": "mean", "within": "blocks.2"},
    "attention-rollout": {},
    "gradient-rollout": {},
    "transformer-attribution": {},
    "attention-x-gradient": {},
    "legrad": {},
    "attention-norms": {},
    "attn-lrp": {},
    "grad-cam": {},
    "layer-cam": {},
    "saliency": {},
    "integrated-gradients": {"steps": 16},
    "occlusion": {"patch": 8, "stride": 4},
    "vit-cx": {},
}
"""The lenses of the table and their parameters; of raw attention, the mean over heads of the last layer."""

UNTARGETED = ("attention", "attention-rollout", "attention-norms")
"""The lenses of the table whose maps depend on no class."""


def measure(lens: str, **options: Any) -> int:
    """In how many scenes the two strongest places of a map lie one in each object.

    Args:
        options: parameters in place of those of `LENSES`.
    """
    model = cs.load("bundled:pairs")
    scenes = [pairs.pair(seed) for seed in SCENES]
    addresses = [f"sample:pairs/{seed}" for seed in SCENES]
    target = {} if lens in UNTARGETED else {"target": [scene.label for scene in scenes]}
    values = call(lens, model, addresses, **target, **LENSES[lens] | options)
    return sum(
        shows_both(as_map(value), torch.from_numpy(scene.masks)) for value, scene in zip(values, scenes, strict=True)
    )


def as_map(value: Any) -> Tensor:
    """What speaks for the class at every pixel: of a signed map the positive part, of a gradient its size."""
    if isinstance(value, cs.AttentionMaps):
        (weights,) = value.maps.values()
        return F.interpolate(weights[None], (pairs.SIDE, pairs.SIDE), mode="bilinear")[0, 0]
    numbers: Tensor = value.values
    return numbers.abs() if value.method == "saliency" else numbers.clamp_min(0)


def shows_both(values: Tensor, masks: Tensor) -> bool:
    """Whether the strongest place lies in one object, and the strongest at a distance from it in the other.

    Single pixels are averaged over half a patch before.
    """
    smooth = F.avg_pool2d(values[None, None], MARGIN + 1, stride=1, padding=MARGIN // 2)[0, 0]
    width = 2 * MARGIN + 1
    objects = F.max_pool2d(masks[None].float(), width, stride=1, padding=MARGIN)[0] > 0
    places = list(_strongest(smooth))
    return any(bool(objects[first][places[0]] and objects[1 - first][places[1]]) for first in (0, 1))


def _strongest(values: Tensor) -> Iterator[tuple[int, int]]:
    """The strongest place, and the strongest that is a diameter of an object away from it."""
    rows, columns = (torch.arange(side) for side in values.shape)
    for _ in range(2):
        y, x = divmod(int(values.argmax()), values.shape[1])
        yield y, x
        near = (rows[:, None] - y) ** 2 + (columns[None] - x) ** 2 < 18**2
        values = values.masked_fill(near, -torch.inf)


def table() -> str:
    """The table, the best lens first."""
    counts = {lens: measure(lens) for lens in LENSES}
    ordered = sorted(counts, key=lambda lens: -counts[lens])
    rows = [f"| `{lens}` | {counts[lens]} |" for lens in ordered]
    return "\n".join([f"| | both found, of {len(SCENES)} |", "|---|---|", *rows])


def write_table() -> None:
    """Measure every lens and write the table."""
    head, rest = PAGE.read_text("utf-8").split(START)
    PAGE.write_text(f"{head}{START}\n{table()}\n{END}{rest.partition(END)[2]}", "utf-8")


if __name__ == "__main__":
    write_table()
