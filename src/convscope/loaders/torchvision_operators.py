"""torchvision's operators in plain torch, for builds of torch that its compiled operators do not fit.

Its import fails without them, and with it that of timm, transformers and other libraries that import torchvision.
Every loader therefore imports torchvision here before it imports such a library. The compiled operators are used
wherever they can be loaded.
"""

import functools
import importlib
import importlib.util
import sys
from typing import Any

import torch
from torch import Tensor

from convscope.errors import LoadError

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)

_DECLARATIONS: list[Any] = []
"""Operator libraries, kept alive because their declarations end with the object."""

_NMS_BLOCK = 512
"""Boxes that are compared with all boxes kept so far in one operation; bounds the memory to this many rows."""

_ROI_ALIGN_SAMPLES = 2**24
"""Samples of feature maps (regions × channels × sampling points) that one step of `roi_align` reads."""


@functools.cache
def import_torchvision() -> Any:
    """The module torchvision, even if its compiled operators do not match the build of torch.

    Raises:
        ImportError: torchvision is not installed.
        LoadError: it cannot be imported with these operators either.
    """
    try:
        import torchvision
    except RuntimeError as error:
        if "operator torchvision::" not in str(error):
            raise
        torchvision = _import_without_operators()
    return torchvision


def prepare_torchvision() -> None:
    """Import torchvision where it is installed, before a library that imports it if it is there."""
    if importlib.util.find_spec("torchvision") is not None:
        import_torchvision()


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Non-maximum suppression: the indices of the boxes that overlap no kept box of a higher score, best first.

    Args:
        boxes: (N, 4) as x1, y1, x2, y2.
        scores: (N,); of equal scores the first comes first, as in the compiled operator on a CPU.
        iou_threshold: the intersection over union above which the box of the lower score is dropped.
    """
    order = scores.argsort(descending=True, stable=True)
    sorted_boxes = boxes[order]
    kept = order.new_empty(0)  # positions in sorted_boxes
    for start in range(0, len(order), _NMS_BLOCK):
        block = sorted_boxes[start : start + _NMS_BLOCK]
        free = ~(_overlaps(block, sorted_boxes[kept]) > iou_threshold).any(1)
        suppresses = (_overlaps(block, block) > iou_threshold).cpu().numpy()
        candidates = free.cpu().numpy()
        for position in range(len(block)):
            if candidates[position]:
                candidates[position + 1 :] &= ~suppresses[position, position + 1 :]
        kept = torch.cat([kept, start + torch.from_numpy(candidates.nonzero()[0]).to(kept.device)])
    return order[kept]


def _overlaps(boxes: Tensor, others: Tensor) -> Tensor:
    """Intersection over union of each pair, (boxes, others)."""
    top_left = torch.maximum(boxes[:, None, :2], others[None, :, :2])
    bottom_right = torch.minimum(boxes[:, None, 2:], others[None, :, 2:])
    intersections = (bottom_right - top_left).clamp(min=0).prod(2)
    areas, other_areas = ((b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1]) for b in (boxes, others))
    return intersections / (areas[:, None] + other_areas[None] - intersections)


def _import_without_operators() -> Any:
    """Import torchvision after declaring the operators that its import requires."""
    for name in [n for n in sys.modules if n.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    operators: Any = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for schema in _SCHEMAS:
        operators.define(schema)
    operators.impl("nms", nms, "CompositeExplicitAutograd")
    _DECLARATIONS.append(operators)
    try:
        import torchvision
    except (ImportError, RuntimeError) as error:
        raise LoadError(f"torchvision does not fit this build of torch: {error}") from error
    _use_plain_operators()
    print(
        "note: torchvision's compiled operators do not fit this torch; its networks work without them", file=sys.stderr
    )
    return torchvision


def _use_plain_operators() -> None:
    """Let torchvision's detectors call `nms` above and torchvision's own ``_roi_align`` in plain torch.

    They check that the compiled operators are there, and compile ``_roi_align``, which takes minutes on a CPU.
    Operators without an implementation here (deform_conv2d, roi_pool) keep their check and its message.
    """
    boxes: Any = importlib.import_module("torchvision.ops.boxes")
    roi_align: Any = importlib.import_module("torchvision.ops.roi_align")  # the package has a function of that name
    boxes._assert_has_ops = _has_no_check
    roi_align._roi_align = _in_chunks(roi_align._roi_align.__wrapped__)


def _has_no_check() -> None:
    """Stands for a check that would refuse an operator which is implemented here."""


def _in_chunks(roi_align: Any) -> Any:
    """``roi_align`` for few regions at a time, since it holds every sample that it reads in memory."""

    def chunked(input: Tensor, rois: Tensor, *settings: Any) -> Tensor:
        _, height, width, sampling_ratio, _ = settings
        points = sampling_ratio**2 if sampling_ratio > 0 else input.shape[2] * input.shape[3]
        regions = max(1, _ROI_ALIGN_SAMPLES // (input.shape[1] * height * width * points))
        return torch.cat([roi_align(input, part, *settings) for part in torch.split(rois, regions)])

    @functools.wraps(roi_align)
    def of_regions(
        input: Tensor, rois: Tensor, scale: float, height: int, width: int, sampling_ratio: int, aligned: bool
    ) -> Tensor:
        settings = (scale, height, width, sampling_ratio, aligned)
        result: Tensor = _OfRegions.apply(chunked, input, rois, *settings)  # type: ignore[no-untyped-call]
        return result

    return of_regions


class _OfRegions(torch.autograd.Function):
    """`roi_align` that keeps no samples for its backward pass, and computes that for regions with a gradient alone."""

    @staticmethod
    def forward(ctx: Any, roi_align: Any, input: Tensor, rois: Tensor, *settings: Any) -> Tensor:
        ctx.roi_align, ctx.settings = roi_align, settings
        ctx.save_for_backward(input, rois)
        result: Tensor = roi_align(input, rois, *settings)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        input, rois = ctx.saved_tensors
        differentiable, (gradient,) = torch.is_grad_enabled(), gradients
        rows = (gradient.detach() != 0).flatten(1).any(1)
        to_input = None
        if ctx.needs_input_grad[1] and bool(rows.any()):
            with torch.enable_grad():  # it is linear in the input, so that a detached one serves second derivatives too
                leaf = input.detach().requires_grad_(True)
                aligned = ctx.roi_align(leaf, rois[rows], *ctx.settings)
                (to_input,) = torch.autograd.grad(aligned, leaf, gradient[rows], create_graph=differentiable)
        return None, to_input, *[None] * (1 + len(ctx.settings))
