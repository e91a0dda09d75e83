"""The scores of images with some of their segments shown and the others replaced by a baseline."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from convscope.engine.inputs.specs import Images
from convscope.engine.masking.masks import blend, score_perturbations
from convscope.engine.masking.segments import Segmentation
from convscope.engine.network.model import Model
from convscope.engine.targets.target import Target


def coalition_scores(
    model: Model,
    images: Images,
    target: Target,
    start: Tensor,
    segmentations: Sequence[Segmentation],
    coalitions: Sequence[Tensor],
    *,
    should_stop: Callable[[int, Tensor], bool] | None = None,
    precision: str = "float32",
    quiet: bool = False,
) -> list[Tensor]:
    """The score of each coalition of each image.

    Args:
        start: the baseline that replaces segments that are not shown, (N, C, …).
        coalitions: for each image, which segments each coalition shows, (n, segments).
        should_stop: ``(row, scores so far) -> bool``: True leaves out the remaining coalitions.
        quiet: do not report progress.
    """
    scores = [torch.zeros(len(shown), dtype=torch.float64, device="cpu") for shown in coalitions]
    labels = [segmentation.labels.flatten() for segmentation in segmentations]

    def draw(row: int, numbers: Tensor) -> tuple[Tensor, Tensor]:
        shown = coalitions[row][numbers]
        masks = shown.to(images.tensor)[:, labels[row]].view(len(shown), *images.extent)
        return blend(images.tensor[row], start[row], masks), shown

    def visit(row: int, numbers: Tensor, _shown: Tensor, new_scores: Tensor) -> None:
        scores[row][numbers] = new_scores

    counts = score_perturbations(
        model,
        images,
        target,
        [len(shown) for shown in coalitions],
        draw,
        visit,
        should_stop=None if should_stop is None else lambda row, count: should_stop(row, scores[row][:count]),
        precision=precision,
        quiet=quiet,
    )
    return [image_scores[:count] for image_scores, count in zip(scores, counts, strict=True)]
