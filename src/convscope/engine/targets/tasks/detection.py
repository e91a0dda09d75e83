"""Detection: boxes with a label and a score, encoded as one tensor and matched between images."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from convscope.engine.network.task_recognition import LAST_RUN
from convscope.engine.targets.task_scorer import TaskScorer, references
from convscope.errors import OutputError, UnknownName
from convscope.spec.tasks import Task, task
from convscope.values import Detections

if TYPE_CHECKING:
    from convscope.engine.inputs.specs import Images
    from convscope.engine.layers.layer_trace import LayerTrace
    from convscope.engine.network.model import Model

MOST_BOXES = 300
"""How many boxes per image are kept, those with the highest scores; fewer are padded, so that all have one shape."""
EDGES = ("left", "top", "right", "bottom")
SCORE, LABEL = 4, 5
"""The columns of an encoded box after its edges in pixels of the input; the label of padding is -1."""
_SHOWN_SCORE = 0.5
"""The score from which a box counts as an answer, unless none has it."""
_TEXT = re.compile(r"box:(?P<index>[^.\s]*)(?:\.(?P<edge>\w+))?(?:\s+\(.*\))?")


def encode_boxes(boxes: Tensor, scores: Tensor, labels: Tensor) -> Tensor:
    """The boxes (K, 4) of one image with their scores and labels (K,) as (`MOST_BOXES`, 6), the highest score first."""
    order = scores.detach().argsort(descending=True, stable=True)[:MOST_BOXES]
    encoded = torch.cat([boxes[order], scores[order, None], labels[order, None].to(scores)], 1)
    padding = encoded.new_zeros(MOST_BOXES - len(encoded), 6)
    padding[:, LABEL] = -1
    return torch.cat([encoded, padding])


def overlaps(boxes: Tensor, references: Tensor) -> Tensor:
    """The intersection over union (N, K) of boxes (N, K, 4) with one box (N, 4) per image."""
    references = references[:, None]
    corners = torch.maximum(boxes[..., :2], references[..., :2]), torch.minimum(boxes[..., 2:], references[..., 2:])
    shared = (corners[1] - corners[0]).clamp(min=0).prod(-1)
    areas, others = ((b[..., 2:] - b[..., :2]).clamp(min=0).prod(-1) for b in (boxes, references))
    return shared / (areas + others - shared).clamp(min=1e-9)


@dataclass
class Box(TaskScorer):
    """The score of one box, or one of its edges; in other images that of the box that matches it best.

    The similarity of D-RISE decides which that is: the overlap (intersection over union) times the score, among boxes
    of the same label. The score is multiplied by the overlap. Where no box matches, the score is zero, and an edge
    counts as unchanged.

    Attributes:
        number: the number of the box, by falling score.
        edge: the index of an edge; None for the score.
        classes: for each image or for all the class whose best box is meant; negative for any.
    """

    model: "Model"
    number: int = 0
    edge: int | None = None
    classes: Tensor = field(default_factory=lambda: torch.tensor([-1], device="cpu"))
    _boxes: dict[int, Tensor] = field(default_factory=dict)

    def __call__(self, output: Tensor, rows: Tensor) -> Tensor:
        """The score or the edge of the box that matches in each output."""
        check_encoded(output, self.model)
        for boxes, row in zip(output, rows.tolist(), strict=True):
            if row not in self._boxes:
                self._boxes[row] = self._choose(boxes.detach(), row)
        expected = references(self._boxes, rows, output.device).to(output.dtype)
        with torch.no_grad():
            overlap = overlaps(output[..., :4], expected[:, :4])
            overlap = overlap * (output[..., LABEL] == expected[:, None, LABEL])
            best = (overlap * output[..., SCORE]).argmax(1, keepdim=True)
            overlap = overlap.gather(1, best)[:, 0]
        matched = output.gather(1, best[..., None].expand(-1, 1, output.shape[2]))[:, 0]
        if self.edge is None:
            return matched[:, SCORE] * overlap
        lost = overlap == 0
        return torch.where(lost, expected[:, self.edge] + 0 * matched[:, self.edge], matched[:, self.edge])

    def describe(self, row: int) -> str:
        """``box:3.left (cat)``, or the class whose best box is meant."""
        edge = "" if self.edge is None else f".{EDGES[self.edge]}"
        wanted = int(self.classes[row % len(self.classes)])
        if wanted >= 0:
            return self.model.label(wanted)
        label = f" ({self.model.label(int(self._boxes[row][LABEL]))})" if row in self._boxes else ""
        return f"box:{self.number}{edge}{label}"

    def index_of(self, row: int) -> int | None:
        """The class whose best box is meant."""
        wanted = int(self.classes[row % len(self.classes)])
        return wanted if wanted >= 0 else None

    def _choose(self, boxes: Tensor, row: int) -> Tensor:
        """The box of an image (6,) that is explained."""
        boxes = boxes[boxes[:, LABEL] >= 0]
        if not len(boxes):
            raise OutputError(
                f"{self.model.name} detects nothing in this image: no box has a score above its own threshold; explain "
                "another image, or a unit of a layer, as in 'backbone[3]'"
            )
        wanted = int(self.classes[row % len(self.classes)])
        if wanted >= 0:
            of_class = boxes[boxes[:, LABEL] == wanted]
            if not len(of_class):
                labels = ", ".join(self.model.label(label) for label in sorted({*boxes[:, LABEL].int().tolist()})[:8])
                raise OutputError(f"{self.model.label(wanted)!r} is not detected in this image, only {labels}")
            return of_class[0]
        if self.number >= len(boxes):
            raise OutputError(
                f"no box:{self.number}: {len(boxes)} are detected in this image, box:0 to box:{len(boxes) - 1}"
            )
        return boxes[self.number]


def check_encoded(output: Tensor, model: "Model") -> None:
    """Check that an output holds encoded boxes."""
    if output.ndim != 3 or output.shape[2] != LABEL + 1:
        raise OutputError(f"a box is a target of a detector, and {model.name} gives shape {tuple(output.shape)}")


def _recognizes(output: Any, model: "Model") -> bool:
    return not isinstance(output, Tensor) and (_is_list_of_boxes(output) or _queries(output) is not None)


def _is_list_of_boxes(output: Any) -> bool:
    """Whether this is what detectors of torchvision give: a dict with boxes and scores for each image."""
    return (
        isinstance(output, (list, tuple))
        and bool(output)
        and all(isinstance(part, Mapping) and {"boxes", "scores"} <= {*part} for part in output)
    )


def _queries(output: Any) -> tuple[Tensor, Tensor] | None:
    """The scores and boxes of a detector with queries, as DETR of transformers gives them."""
    logits, boxes = (
        output.get(name) if isinstance(output, Mapping) else getattr(output, name, None)
        for name in ("logits", "pred_boxes")
    )
    return (logits, boxes) if isinstance(logits, Tensor) and isinstance(boxes, Tensor) else None


def _encode(output: Any, model: "Model") -> Tensor | None:
    if isinstance(output, Tensor):
        encoded = output.ndim == 3 and output.shape[2] == LABEL + 1
        if not encoded:
            return None
        return torch.stack([encode_boxes(image[:, :4], image[:, SCORE], image[:, LABEL]) for image in output])
    if _is_list_of_boxes(output):
        parts = []
        for image in output:
            labels = image.get("labels", torch.zeros_like(image["scores"]))
            parts.append(encode_boxes(image["boxes"], image["scores"], labels))
        return torch.stack(parts)
    queries = _queries(output)
    return None if queries is None else _encode_queries(*queries, model)


def _encode_queries(logits: Tensor, boxes: Tensor, model: "Model") -> Tensor:
    """The boxes of queries, given as center and size in shares of the picture.

    With as many scores as classes they are those of a sigmoid; with one more, of a softmax with "no object" at the end.
    """
    config = getattr(model.module, "config", None)
    classes = len(model.labels or ()) or getattr(config, "num_labels", None) or logits.shape[-1] - 1
    probabilities = logits.sigmoid() if logits.shape[-1] == classes else logits.softmax(-1)[..., :-1]
    scores, labels = probabilities.max(-1)
    height, width = model.cache[LAST_RUN].input[-2:]
    center, size = boxes[..., :2], boxes[..., 2:]
    corners = torch.cat([center - size / 2, center + size / 2], -1) * boxes.new_tensor([width, height, width, height])
    parts = zip(corners, scores, labels, strict=True)
    return torch.stack([encode_boxes(*part) for part in parts])


def _parse(text: str, model: "Model") -> TaskScorer | None:
    match = _TEXT.fullmatch(text.strip())
    if match is None:
        return None
    number, edge = match["index"], match["edge"]
    if not number.isdecimal() or edge not in (None, *EDGES):
        raise UnknownName(f"{text!r} is no box: write box:3 for its score, or box:3.left, .top, .right or .bottom")
    return Box(model, int(number), None if edge is None else EDGES.index(edge))


def _class_scorer(indices: Tensor, model: "Model") -> Box:
    return Box(model, classes=indices)


def _predict(model: "Model", images: "Images", rows: list[int], output: Tensor, top: int) -> list[Detections]:
    check_encoded(output, model)
    own_output = model.cache[LAST_RUN].own_output
    parts = own_output if _is_list_of_boxes(own_output) else [{}] * len(output)
    return [
        _detections(model, images, row, boxes, part, top) for row, boxes, part in zip(rows, output, parts, strict=True)
    ]


def _detections(
    model: "Model", images: "Images", row: int, boxes: Tensor, part: Mapping[str, Tensor], top: int
) -> Detections:
    """What a detector gives for one image.

    Args:
        part: its own output for the image, which may hold ``masks`` (boxes, 1, height, width) and ``keypoints`` (boxes,
            points, 2 or 3).
    """
    boxes = boxes[boxes[:, LABEL] >= 0]
    total = len(boxes)
    certain = int((boxes[:, SCORE] >= _SHOWN_SCORE).sum())
    boxes = boxes[: min(top, certain or total)]
    indices = [int(label) for label in boxes[:, LABEL].tolist()]
    masks, keypoints = (_by_score(part, name, len(boxes)) for name in ("masks", "keypoints"))
    return Detections(
        labels=tuple(model.label(index) for index in indices),
        indices=tuple(indices),
        scores=tuple(boxes[:, SCORE].tolist()),
        boxes=tuple(tuple(box) for box in boxes[:, :4].tolist()),
        total=total,
        masks=None if masks is None else (masks > 0.5).reshape(len(masks), *masks.shape[-2:]).numpy(),
        keypoints=None if keypoints is None else keypoints[..., :2].float().numpy(),
        photo=images.photo(row),  # type: ignore[arg-type]
        notes={"output": model.meaning.describe()},
    )


def _by_score(part: Mapping[str, Tensor], name: str, count: int) -> Tensor | None:
    """What a detector gives under a name for its ``count`` best boxes; None where there is nothing of that name."""
    if name not in part:
        return None
    order = part["scores"].argsort(descending=True, stable=True)[:count]
    return part[name][order].detach().cpu()


def _default_layer(model: "Model", trace: "LayerTrace") -> str | None:
    """The last map of the backbone: what follows it has a branch for each size of objects."""
    for prefix in ("backbone.body", "backbone.features", "backbone"):
        inside = [
            address
            for address in trace.order
            if address.startswith(f"{prefix}.") and trace.layers[address].has_positions
        ]
        if inside:
            return inside[-1]
    return None


task(
    Task(
        name="detection",
        title="detection",
        output="for each image boxes, scores and labels (a list of dicts as in torchvision, `logits` and `pred_boxes` "
        "as in DETR, or a tensor (N, boxes, 6) of left, top, right, bottom, score, label)",
        recognizes=_recognizes,
        encode=_encode,
        targets={
            "": "the score of the box with the highest score, box:0",
            "box:3": "the score of that box, counted from 0 by falling score",
            "box:3.left": "an edge of that box in pixels: .left, .top, .right or .bottom",
            "CLASS": "the score of the best box of that class",
        },
        prefixes=("box:",),
        hint="box:0.left",
        target_label="Or type a box, an edge of it, or a class",
        default_target="the best box",
        parse=_parse,
        class_scorer=_class_scorer,
        predict=_predict,
        meaning="probabilities",
        default_layer=_default_layer,
        about_a_place=True,
    )
)
