"""Operators of detectors: the choice among overlapping boxes, and features of regions."""

from typing import Any

import torch
from torch import Tensor

from convscope.loaders.onnx.operators.declaration import operator
from convscope.loaders.onnx.operators.numbers import number


def _corners(boxes: Tensor, center_point_box: int) -> Tensor:
    """Boxes as (y1, x1, y2, x2) with y1 ≤ y2 and x1 ≤ x2."""
    if center_point_box:
        x, y, width, height = boxes.unbind(-1)
        return torch.stack([y - height / 2, x - width / 2, y + height / 2, x + width / 2], -1)
    first, second = boxes[..., :2], boxes[..., 2:]
    return torch.cat([torch.minimum(first, second), torch.maximum(first, second)], -1)


def _overlap(box: Tensor, others: Tensor) -> Tensor:
    """Intersection over union of one box with others."""
    upper, lower = torch.maximum(box[:2], others[:, :2]), torch.minimum(box[2:], others[:, 2:])
    shared = (lower - upper).clamp_min(0).prod(-1)
    area = (box[2:] - box[:2]).prod()
    areas = (others[:, 2:] - others[:, :2]).prod(-1)
    return torch.nan_to_num(shared / (area + areas - shared))


@operator("NonMaxSuppression", numbers="most overlap threshold")
def non_max_suppression(
    boxes: Tensor,
    scores: Tensor,
    most: Any = None,
    overlap: Any = None,
    threshold: Any = None,
    *,
    center_point_box: int = 0,
) -> Tensor:
    """The (batch, class, box) of the boxes that are kept: those of each class that overlap no better one."""
    limit = 0 if most is None else int(number(most))
    allowed = 0.0 if overlap is None else float(number(overlap))
    kept = []
    for sample, corners in enumerate(_corners(boxes.detach(), center_point_box)):
        for label, of_class in enumerate(scores.detach()[sample]):
            candidates = of_class.argsort(descending=True, stable=True)
            if threshold is not None:
                candidates = candidates[of_class[candidates] > float(number(threshold))]
            chosen = 0
            while len(candidates) and chosen < limit:
                best, candidates = candidates[0], candidates[1:]
                kept.append([sample, label, int(best)])
                chosen += 1
                candidates = candidates[_overlap(corners[best], corners[candidates]) <= allowed]
    return torch.tensor(kept, dtype=torch.int64, device=boxes.device).reshape(-1, 3)
