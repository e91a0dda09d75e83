"""Targets: the number that is explained, one per image, computed from the network's output or from a layer.

The notation for targets (`TargetLike`) is resolved to a `Target`, which scores a batch of outputs. The top class of an
image is fixed by the first output that a target scores, so that a lens of many passes explains one and the same class.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from convscope.engine.layers.addresses import UnitAddress, check_address, parse_unit, select_unit
from convscope.engine.targets.classes import (
    check_class,
    class_axis,
    class_index,
    class_scores,
    normalize_label,
    with_both_sides,
)
from convscope.engine.targets.function_targets import FunctionScorer
from convscope.engine.targets.task_scorer import TaskScorer
from convscope.errors import NotFinite, OutputError, UnknownName
from convscope.spec.tasks import TASKS, Task

if TYPE_CHECKING:
    from convscope.engine.inputs.specs import Images
    from convscope.engine.network.model import Model

TOP1: Any = "top-1"
"""The class with the highest score, for each image its own."""


@dataclass(frozen=True)
class Difference:
    """The score of the class ``this`` minus the score of the class ``that``: why the one rather than the other."""

    this: int | str
    that: int | str


@dataclass(frozen=True)
class Unit:
    """A unit of a layer, averaged over its map, as in ``Unit("layer4", 17)``; or one position of it."""

    layer: str
    unit: int
    position: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Region:
    """A class within a region of a dense output (N, classes, height, width): the mean score under ``mask``.

    Args:
        label: the class, by index or label.
        mask: True where it counts, of any size (it is brought to the output's), or one such mask per image stacked
            along a first axis; None counts everywhere.
    """

    label: int | str
    mask: Any = None


TargetLike = int | str | Difference | Unit | UnitAddress | Region | Callable[..., Tensor] | Sequence[Any]
"""A class by index or label, ``"A - B"``, ``"layer[unit]"``, a text of a task such as ``"cat in mask.png"``,
``"box:3"`` or ``"like:photo.jpg"`` (docs/tasks.md), `TOP1`, a `Difference`, a `Unit`, a `Region`, a function
``output -> one number per image`` or ``(output, rows) -> one number per image`` (``rows[i]`` is the image that
``output[i]`` belongs to, for references of its own), or a list with one of these per image. In a list a tuple
``(class, row, column)`` is a class at one position of a dense output."""

Scorer = Callable[[Tensor, Tensor], Tensor]
"""``(output, rows) -> scores``: one number per output, which belongs to image ``rows[i]``."""


class Target:
    """A target resolved for a model and a batch of images.

    Attributes:
        layer: the layer whose activation is scored instead of the output, for units.
        descriptions: a description per image; empty for classes, which have labels.
        indices: the class per image, where the target is a class; -1 where it is not fixed yet.
        scores: the score per image, from the outputs of the unmodified images.
        parts: the target of each image, where targets of several kinds were given in a list.
        task_scorer: what scores the outputs of the network's task, where a class is not a column of its output.
    """

    def __init__(
        self,
        images: int,
        scorer: Scorer | None,
        *,
        descriptions: Sequence[str] = (),
        layer: str | None = None,
        as_classes: Callable[[Tensor], Tensor] | None = None,
        parts: Sequence["Target"] = (),
        model: "Model | None" = None,
    ) -> None:
        self.images, self.layer, self.descriptions, self.parts = images, layer, list(descriptions), list(parts)
        self.indices: Tensor | None = None
        self.task_scorer = scorer if isinstance(scorer, TaskScorer) else None
        self._model = model
        self._as_classes = as_classes or class_axis
        self.scores: list[float | None] = [None] * images
        self._scorer = scorer

    def score(self, output: Tensor, rows: Tensor | None = None, *, clean: bool = True) -> Tensor:
        """One number per output, in float32, or float64 for a float64 network.

        Args:
            rows: the index of the image that each output belongs to.
            clean: whether these are the outputs of the unmodified images, whose scores are stored.
        """
        rows = torch.arange(len(output), device="cpu") if rows is None else rows
        self._follow_task()
        if self._scorer is None and (self.indices is None or bool((self.indices[rows] < 0).any())):
            self._fix_top_class(output, rows)
        scores = (self._scorer or self._score_classes)(output, rows)
        if scores.shape != (len(output),):
            shape = tuple(scores.shape)
            raise OutputError(f"a target gives one number per image, got shape {shape} for {len(output)} images")
        if not bool(torch.isfinite(scores).all()):
            raise NotFinite("the score is NaN or infinite: nothing can be explained")
        if clean:
            for row, value in zip(rows.tolist(), scores.tolist(), strict=True):
                self.scores[row] = value
        return scores if scores.dtype == torch.float64 else scores.float()

    def for_copies(self, rows: Tensor) -> "Target":
        """The same target for a batch of copies, where copy i is of image ``rows[i]``."""
        self._follow_task()
        scorer = self._scorer
        scorer_of_copies: Scorer | None = (
            None if scorer is None else lambda output, copies: scorer(output, rows[copies])
        )
        if self.task_scorer is not None:
            scorer_of_copies = self.task_scorer.for_copies(rows)
        descriptions, parts = (
            [values[row] for row in rows.tolist()] if values else [] for values in (self.descriptions, self.parts)
        )
        target = Target(
            len(rows),
            scorer_of_copies,
            descriptions=descriptions,
            layer=self.layer,
            as_classes=self._as_classes,
            parts=parts,
            model=self._model,
        )
        target.indices = None if self.indices is None else self.indices[rows]
        return target

    def check_images(self, images: "Images") -> None:
        """Refuse images that the target was not made for, such as a mask of other proportions."""
        if self.task_scorer is not None:
            self.task_scorer.check_images(images)
        for part in self.parts:
            part.check_images(images)

    @property
    def is_class(self) -> bool:
        """Whether the target of every image is a class, named or the top one."""
        return self._scorer is None

    def index_of(self, row: int) -> int | None:
        """The class of one image, where the target is a class."""
        if self.parts:
            return self.parts[row].index_of(0)
        if self.task_scorer is not None:
            return self.task_scorer.index_of(row)
        return None if self.indices is None else int(self.indices[row])

    def _follow_task(self) -> None:
        """Let the task of the network score a class, where a class is not a column of its output (a map, boxes)."""
        if self._scorer is not None or self._model is None or self._model.task is None:
            return
        class_scorer = self._model.task.class_scorer
        indices = torch.full((self.images,), -1, device="cpu") if self.indices is None else self.indices
        self.task_scorer = None if class_scorer is None else class_scorer(indices, self._model)
        if self.task_scorer is not None:
            self._scorer, self.indices = self.task_scorer, None

    def _fix_top_class(self, output: Tensor, rows: Tensor) -> None:
        if self.indices is None:
            self.indices = torch.full((self.images,), -1, device="cpu")
        best = self._as_classes(output).argmax(1).cpu()
        self.indices[rows] = torch.where(self.indices[rows] < 0, best, self.indices[rows])

    def _score_classes(self, output: Tensor, rows: Tensor) -> Tensor:
        assert self.indices is not None
        indices = self.indices[rows]
        output = self._as_classes(output)
        if int(indices.max()) >= output.shape[1]:
            raise OutputError(f"class {int(indices.max())} is out of range: the output has {output.shape[1]} classes")
        return output.gather(1, indices[:, None].to(output.device))[:, 0]


def resolve_target(target: Any, model: "Model", images: int) -> Target:
    """Resolve a target (`TargetLike`) for a model and a number of images.

    Raises:
        UnknownName: no such label, layer or unit; the message suggests the nearest.
        OutputError: a list of another length than the images, or one whose targets are read at different layers.
    """
    if isinstance(target, Target):
        return target
    if isinstance(target, str) and target != TOP1:
        target = _parse(target, model)
    if isinstance(target, str):
        return _class_target(None, model, images)
    if isinstance(target, Difference):
        return _difference_target(target, model, images)
    if isinstance(target, (Unit, UnitAddress)):
        return _unit_target(target, model, images)
    if isinstance(target, Region):
        return _region_target(target, model, images)
    if isinstance(target, _PositionedClass):
        return _positioned_class_target(target, model, images)
    if isinstance(target, TaskScorer):
        return Target(images, target)
    if callable(target):
        scorer = FunctionScorer(target, images)
        return Target(images, scorer, descriptions=[scorer.signature] * images)
    per_image = target.tolist() if getattr(target, "ndim", 0) else target
    if isinstance(per_image, (list, tuple)):
        return _target_per_image(per_image, model, images)
    return _class_target(class_index(per_image, model), model, images)


def describe(target: Target, row: int, model: "Model") -> str:
    """A description of the target of one image."""
    if target.parts:
        return describe(target.parts[row], 0, model)
    if target.task_scorer is not None:
        return target.task_scorer.describe(row)
    if target.descriptions:
        return target.descriptions[row]
    return model.label(int(target.indices[row])) if target.indices is not None else TOP1


def _parse(text: str, model: "Model") -> TargetLike:
    """Parse a text: as a label, in a form of the task, as ``A - B``, ``layer[unit]``, or as the index of a class."""
    if model.labels and normalize_label(text) in {normalize_label(label) for label in model.labels}:
        return class_index(text, model)
    of_task = _parse_for_task(text, model)
    if of_task is not None:
        return of_task
    if " - " in text:
        this, that = text.split(" - ", 1)
        return Difference(this.strip(), that.strip())
    unit = parse_unit(text)
    if unit is not None:
        return unit
    return class_index(text, model)


def _parse_for_task(text: str, model: "Model") -> TargetLike | None:
    """The target that a text describes in a form of the network's task, or of any task before that is known."""
    if model.task is not None:
        parsed: TargetLike | None = model.task.parse(text, model)
        if parsed is None:
            _refuse_form_of_another_task(text, model, model.task)
        return parsed
    TASKS.fill()
    return next((target for task in TASKS.values() if (target := task.parse(text, model)) is not None), None)


def _refuse_form_of_another_task(text: str, model: "Model", task: Task) -> None:
    """Raise `UnknownName` for a text that only another task has."""
    TASKS.fill()
    other = next((other for other in TASKS.values() if other is not task and text.startswith(other.prefixes)), None)
    if other is not None:
        forms = ", ".join(form for form in task.targets if form)
        raise UnknownName(
            f"{text!r} is a target of {other.title}, and the task of {model.name} is {task.title}: its targets are "
            f"{forms}"
        )


def _class_target(index: int | None, model: "Model", images: int) -> Target:
    """One class for all images, or the top class of each."""
    target = Target(images, None, as_classes=functools.partial(class_scores, model=model), model=model)
    target.indices = None if index is None else torch.full((images,), index, device="cpu")
    return target


def _target_per_image(targets: Sequence[Any], model: "Model", images: int) -> Target:
    """A separate target for each image."""
    if len(targets) != images:
        raise OutputError(f"{len(targets)} targets for {images} images: give one each, or one for all")
    parts = [
        resolve_target(_PositionedClass(*target) if isinstance(target, (list, tuple)) else target, model, 1)
        for target in targets
    ]
    layers = {part.layer for part in parts}
    if len(layers) > 1:
        names = " and ".join(sorted("the output" if layer is None else f"layer {layer!r}" for layer in layers))
        raise OutputError(f"the targets of one call are read at one layer, these at {names}: make a call for each")
    if all(part.is_class for part in parts):
        target = _class_target(-1, model, images)
        target.indices = torch.tensor(
            [-1 if (index := part.index_of(0)) is None else index for part in parts], device="cpu"
        )
        return target

    def scorer(output: Tensor, rows: Tensor) -> Tensor:
        scores, all_rows = [], []
        for row in dict.fromkeys(rows.tolist()):
            own_rows = (rows == row).nonzero()[:, 0]
            scores.append(parts[row].score(output[own_rows.to(output.device)], torch.zeros_like(own_rows), clean=False))
            all_rows.append(own_rows)
        return torch.cat(scores)[torch.cat(all_rows).argsort().to(output.device)]

    return Target(images, scorer, layer=layers.pop(), parts=parts)


def _difference_target(target: Difference, model: "Model", images: int) -> Target:
    this, that = class_index(target.this, model), class_index(target.that, model)

    def scorer(output: Tensor, rows: Tensor) -> Tensor:
        output = class_scores(output, model)
        check_class(max(this, that), output)
        return output[:, this] - output[:, that]

    return Target(images, scorer, descriptions=[f"{model.label(this)} - {model.label(that)}"] * images)


def _unit_target(target: Unit | UnitAddress, model: "Model", images: int) -> Target:
    layer = check_address(model.module, target.layer, model.name, ports=True)
    address = UnitAddress(layer, target.unit, tuple(target.position))
    if not isinstance(target.unit, int):
        raise UnknownName(f"no unit {address}: units are numbered")

    def scorer(activation: Tensor, rows: Tensor) -> Tensor:
        unit_values = select_unit(activation, address)
        return unit_values.flatten(1).mean(1) if unit_values.ndim > 1 else unit_values

    return Target(images, scorer, descriptions=[str(address)] * images, layer=layer)


def _region_target(target: Region, model: "Model", images: int) -> Target:
    index = class_index(target.label, model)
    mask = None if target.mask is None else _as_mask(target.mask)
    if mask is not None and not bool(mask.any()):
        raise OutputError("the region's mask is empty: it counts nowhere")

    def scorer(output: Tensor, rows: Tensor) -> Tensor:
        class_map = _class_map(output, index, model, "a region")
        if mask is None:
            return class_map.flatten(1).mean(1)
        weight = _resize_mask(mask, class_map, images)
        sums = weight.flatten(1).sum(1)
        if not bool((sums > 0).all()):
            raise OutputError("the region's mask is empty at the output's resolution")
        weight, sums = (tensor.expand(images, *tensor.shape[1:])[rows.to(tensor.device)] for tensor in (weight, sums))
        return (class_map * weight).flatten(1).sum(1) / sums

    suffix = "" if mask is None else " within the region"
    return Target(images, scorer, descriptions=[f"{model.label(index)}{suffix}"] * images)


def _resize_mask(mask: Tensor, class_map: Tensor, images: int) -> Tensor:
    """A mask for all images (1, …) or one per image (N, …), resized to the output's resolution."""
    shape, extent = tuple(mask.shape), class_map.shape[1:]
    if mask.ndim == len(extent):
        mask = mask[None]
    elif mask.ndim != class_map.ndim or len(mask) != images:
        raise OutputError(
            f"the region's mask has shape {shape} for maps of {tuple(extent)}: give one mask for all, or one for each "
            f"of the {images} images"
        )
    return torch.nn.functional.interpolate(mask[:, None].to(class_map), size=extent, mode="area")[:, 0]


def _class_map(output: Tensor, index: int, model: "Model", kind: str) -> Tensor:
    """The map of one class (N, …) in a dense output."""
    if output.ndim < 3:
        raise OutputError(f"{kind} needs a dense output (N, classes, …), got shape {tuple(output.shape)}")
    model.check_labels(output.shape[1])
    output = with_both_sides(output, model)
    check_class(index, output)
    return output[:, index]


class _PositionedClass:
    """A class at one position of a dense output, written as a tuple in a list of targets."""

    def __init__(self, *values: Any) -> None:
        if not values or not all(hasattr(p, "__index__") and int(p) >= 0 for p in values[1:]):
            raise UnknownName(f"a tuple in a list of targets is (class, row, column, …), got {values}")
        self.label, self.position = values[0], tuple(int(p) for p in values[1:])


def _positioned_class_target(target: _PositionedClass, model: "Model", images: int) -> Target:
    index, position = class_index(target.label, model), target.position
    if not position:
        return _class_target(index, model, images)

    def scorer(output: Tensor, rows: Tensor) -> Tensor:
        class_map = _class_map(output, index, model, f"a class at position {position}")
        if len(position) != class_map.ndim - 1 or any(
            p >= n for p, n in zip(position, class_map.shape[1:], strict=True)
        ):
            raise OutputError(f"no position {position}: the output's map is {tuple(class_map.shape[1:])}")
        at_position: Any = (slice(None), *position)
        return class_map[at_position]

    return Target(images, scorer, descriptions=[f"{model.label(index)} at {', '.join(map(str, position))}"] * images)


def _as_mask(values: Any) -> Tensor:
    try:
        mask = torch.as_tensor(values, device=None if isinstance(values, Tensor) else "cpu").float()
    except (TypeError, ValueError, RuntimeError) as error:
        raise OutputError(f"a region's mask is an array of True and False, got {type(values).__name__}") from error
    if not bool(torch.isfinite(mask).all()) or bool((mask < 0).any()):
        raise OutputError("a region's mask is made of True and False or of weights, got NaN or numbers below zero")
    return mask
