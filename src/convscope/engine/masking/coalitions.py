"""Images with some of their parts shown and the rest replaced by a baseline, and their scores."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from convscope.engine.inputs.specs import Images
from convscope.engine.masking.masks import blended, each_score
from convscope.engine.masking.segments import Cut
from convscope.engine.network.model import Model
from convscope.engine.targets.target import Aim


def coalition_scores(
    model: Model,
    images: Images,
    aim: Aim,
    start: Tensor,
    cuts: Sequence[Cut],
    coalitions: Sequence[Tensor],
    *,
    enough: Callable[[int, Tensor], bool] | None = None,
    precision: str = "float32",
    quiet: bool = False,
) -> list[Tensor]:
    """The score of each coalition of each image.

    Args:
        start: what takes the place of parts that are not shown, (N, C, …).
        coalitions: for each image, which parts each coalition shows, (n, parts).
        enough: ``(row, scores so far) -> bool``: whether the rest may be left out.
        quiet: do not report progress.
    """
    scores = [torch.zeros(len(on), dtype=torch.float64, device="cpu") for on in coalitions]
    places = [cut.labels.flatten() for cut in cuts]

    def draw(row: int, numbers: Tensor) -> tuple[Tensor, Tensor]:
        on = coalitions[row][numbers]
        masks = on.to(images.tensor)[:, places[row]].view(len(on), *images.extent)
        return blended(images.tensor[row], start[row], masks), on

    def visit(row: int, numbers: Tensor, _on: Tensor, found: Tensor) -> None:
        scores[row][numbers] = found

    used = each_score(
        model,
        images,
        aim,
        [len(on) for on in coalitions],
        draw,
        visit,
        enough=None if enough is None else lambda row, seen: enough(row, scores[row][:seen]),
        precision=precision,
        quiet=quiet,
    )
    return [found[:n] for found, n in zip(scores, used, strict=True)]
