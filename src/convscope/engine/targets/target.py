"""The number that is explained: one per image, made from the network's output or from a layer.

What people write (`TargetLike`) becomes an `Aim`, which scores a batch of outputs. The top class of an image is
settled by the first output that an aim scores, so that a lens of many passes explains one and the same class.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from convscope.engine.layers.addresses import UnitAddress, check_address, parse_unit, unit_of
from convscope.engine.network.output_meaning import both_sides
from convscope.engine.targets.function_targets import FunctionScorer
from convscope.errors import NotFinite, OutputError, UnknownName, did_you_mean

if TYPE_CHECKING:
    from convscope.engine.network.model import Model

TOP1: Any = "top-1"
"""The class with the highest score, each image its own."""


@dataclass(frozen=True)
class Difference:
    """Why ``this`` rather than ``that``: the score of one class minus the score of another."""

    this: int | str
    that: int | str


@dataclass(frozen=True)
class Unit:
    """A unit of a layer, averaged over its map: ``Unit("layer4", 17)``, or one position of it."""

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
"""A class by index or label, ``"A - B"``, ``"layer[unit]"``, `TOP1`, a `Difference`, a `Unit`, a `Region`, a function
``output -> one number per image`` or ``(output, rows) -> one number per image`` (``rows[i]`` is the image that
``output[i]`` belongs to, for references of its own), or a list with one of these per image. In a list a tuple
``(class, row, column)`` is one place of a dense output."""

Scorer = Callable[[Tensor, Tensor], Tensor]
"""``(output, rows) -> scores``: one number per output, which belongs to image ``rows[i]``."""


class Aim:
    """A target fitted to a model and a batch of images.

    Attributes:
        layer: the layer whose activation is scored instead of the output, for units.
        indices: the explained class per image, where it is a class and is settled; -1 where it is not settled yet.
        scores: the score per image of the first outputs that were scored.
        parts: the aim of each image, where targets of several kinds were given in a list.
    """

    def __init__(
        self,
        images: int,
        scorer: Scorer | None,
        *,
        words: Sequence[str] = (),
        layer: str | None = None,
        as_classes: Callable[[Tensor], Tensor] | None = None,
        parts: Sequence["Aim"] = (),
    ):
        self.images, self.layer, self.words, self.parts = images, layer, list(words), list(parts)
        self.indices: Tensor | None = None
        self._as_classes = as_classes or _class_axis
        self.scores: list[float | None] = [None] * images
        self._scorer = scorer

    def score(self, output: Tensor, rows: Tensor | None = None, *, clean: bool = True) -> Tensor:
        """One number per output, in float32 or a float64 network's own; ``rows`` says whose image each output is.

        Args:
            clean: whether these are the outputs of the images as they are, whose scores are worth keeping.
        """
        rows = torch.arange(len(output), device="cpu") if rows is None else rows
        if self._scorer is None and (self.indices is None or bool((self.indices[rows] < 0).any())):
            self._settle(output, rows)
        scores = (self._scorer or self._class_scores)(output, rows)
        if scores.shape != (len(output),):
            shape = tuple(scores.shape)
            raise OutputError(f"a target gives one number per image, got shape {shape} for {len(output)} images")
        if not bool(torch.isfinite(scores).all()):
            raise NotFinite("the score is NaN or infinite: nothing can be explained")
        if clean:
            for row, value in zip(rows.tolist(), scores.tolist(), strict=True):
                self.scores[row] = value
        return scores if scores.dtype == torch.float64 else scores.float()

    def for_copies(self, rows: Tensor) -> "Aim":
        """The same aim for a batch of copies, of image ``rows[i]`` each."""
        scorer = self._scorer
        moved = None if scorer is None else lambda output, copies: scorer(output, rows[copies])
        words, parts = ([own[row] for row in rows.tolist()] if own else [] for own in (self.words, self.parts))
        aim = Aim(len(rows), moved, words=words, layer=self.layer, as_classes=self._as_classes, parts=parts)
        aim.indices = None if self.indices is None else self.indices[rows]
        return aim

    @property
    def is_class(self) -> bool:
        """Whether what is explained is a class for every image, named or the top one."""
        return self._scorer is None

    def index_of(self, row: int) -> int | None:
        """The explained class of one image, where it is a class."""
        if self.parts:
            return self.parts[row].index_of(0)
        return None if self.indices is None else int(self.indices[row])

    def _settle(self, output: Tensor, rows: Tensor) -> None:
        if self.indices is None:
            self.indices = torch.full((self.images,), -1, device="cpu")
        best = self._as_classes(output).argmax(1).cpu()
        self.indices[rows] = torch.where(self.indices[rows] < 0, best, self.indices[rows])

    def _class_scores(self, output: Tensor, rows: Tensor) -> Tensor:
        assert self.indices is not None
        indices = self.indices[rows]
        output = self._as_classes(output)
        if int(indices.max()) >= output.shape[1]:
            raise OutputError(f"class {int(indices.max())} is out of range: the output has {output.shape[1]} classes")
        return output.gather(1, indices[:, None].to(output.device))[:, 0]


def aim_at(target: Any, model: "Model", images: int) -> Aim:
    """Fit a target (`TargetLike`) to a model and a number of images.

    Raises:
        UnknownName: no such label, layer or unit; the message suggests the nearest.
        OutputError: a list of another length than the images, or one that reads the network at several places.
    """
    if isinstance(target, Aim):
        return target
    if isinstance(target, str) and target != TOP1:
        target = _read(target, model)
    if isinstance(target, str):
        return _of_class(None, model, images)
    if isinstance(target, Difference):
        return _difference(target, model, images)
    if isinstance(target, (Unit, UnitAddress)):
        return _unit(target, model, images)
    if isinstance(target, Region):
        return _region(target, model, images)
    if isinstance(target, _Place):
        return _place(target, model, images)
    if callable(target):
        scorer = FunctionScorer(target, images)
        return Aim(images, scorer, words=[scorer.word] * images)
    several = target.tolist() if getattr(target, "ndim", 0) else target
    if isinstance(several, (list, tuple)):
        return _each(several, model, images)
    return _of_class(class_index(several, model), model, images)


def class_index(label: int | str, model: "Model") -> int:
    """The class of that index or label.

    Raises:
        UnknownName: no such label, or several of that name.
    """
    if not isinstance(label, str):
        try:
            index = label.__index__()
        except (AttributeError, TypeError):
            raise UnknownName(f"a class is an index or a label, got {label!r}") from None
        if isinstance(label, bool) or index < 0 or (model.labels and index >= len(model.labels)):
            known = f"0 to {len(model.labels) - 1}" if model.labels else "0 or more"
            raise UnknownName(f"class index {label!r} is out of range: {model.name} has classes {known}")
        return index
    if label.strip().isdecimal() and label not in (model.labels or ()):
        return class_index(int(label), model)
    if model.labels is None:
        raise UnknownName(f"{model.name} has no labels: name the class {label!r} by its index")
    wanted = _folded(label)
    found = [i for i, known in enumerate(model.labels) if _folded(known) == wanted]
    if len(found) == 1:
        return found[0]
    if found:
        raise UnknownName(f"label {label!r} is ambiguous: classes {' and '.join(map(str, found))}; use the index")
    raise UnknownName(f"no label {label!r} in {model.name}{did_you_mean(label, model.labels, most=3)}")


def describe(aim: Aim, row: int, model: "Model") -> str:
    """The target of one image in words."""
    if aim.parts:
        return describe(aim.parts[row], 0, model)
    if aim.words:
        return aim.words[row]
    return model.label(int(aim.indices[row])) if aim.indices is not None else TOP1


def _read(text: str, model: "Model") -> TargetLike:
    """What a text means: a label first of all, then ``A - B``, then ``layer[unit]``."""
    if model.labels and _folded(text) in {_folded(label) for label in model.labels}:
        return class_index(text, model)
    if " - " in text:
        this, that = text.split(" - ", 1)
        return Difference(this.strip(), that.strip())
    unit = parse_unit(text)
    if unit is not None:
        return unit
    return class_index(text, model)


def classes_of(output: Tensor, model: "Model") -> Tensor:
    """The score of every class (N, classes); of one output with two labels the score of either, which are opposites."""
    return sides_of(_class_axis(output), model)


def sides_of(output: Tensor, model: "Model") -> Tensor:
    """An output (N, classes, …); a single one with two labels as the scores of both."""
    if output.shape[1] == 1 and len(model.labels or ()) == 2:
        return both_sides(output, model.meaning)
    return output


def _of_class(index: int | None, model: "Model", images: int) -> Aim:
    """One class for all images, or each one's top class."""
    aim = Aim(images, None, as_classes=functools.partial(classes_of, model=model))
    aim.indices = None if index is None else torch.full((images,), index, device="cpu")
    return aim


def _each(targets: Sequence[Any], model: "Model", images: int) -> Aim:
    """A target of its own for each image."""
    if len(targets) != images:
        raise OutputError(f"{len(targets)} targets for {images} images: give one each, or one for all")
    parts = [aim_at(_Place(*one) if isinstance(one, (list, tuple)) else one, model, 1) for one in targets]
    layers = {part.layer for part in parts}
    if len(layers) > 1:
        where = " and ".join(sorted("the output" if layer is None else f"layer {layer!r}" for layer in layers))
        raise OutputError(f"the targets of one call are read at one place, these at {where}: make a call for each")
    if all(part.is_class for part in parts):
        aim = _of_class(-1, model, images)
        aim.indices = torch.tensor(
            [-1 if (index := part.index_of(0)) is None else index for part in parts], device="cpu"
        )
        return aim

    def scorer(output: Tensor, rows: Tensor) -> Tensor:
        scores, places = [], []
        for row in dict.fromkeys(rows.tolist()):
            own = (rows == row).nonzero()[:, 0]
            scores.append(parts[row].score(output[own.to(output.device)], torch.zeros_like(own), clean=False))
            places.append(own)
        return torch.cat(scores)[torch.cat(places).argsort().to(output.device)]

    return Aim(images, scorer, layer=layers.pop(), parts=parts)


def _difference(target: Difference, model: "Model", images: int) -> Aim:
    this, that = class_index(target.this, model), class_index(target.that, model)

    def scorer(output: Tensor, rows: Tensor) -> Tensor:
        output = classes_of(output, model)
        _check_class(max(this, that), output)
        return output[:, this] - output[:, that]

    return Aim(images, scorer, words=[f"{model.label(this)} - {model.label(that)}"] * images)


def _unit(target: Unit | UnitAddress, model: "Model", images: int) -> Aim:
    layer = check_address(model.module, target.layer, model.name, ports=True)
    address = UnitAddress(layer, target.unit, tuple(target.position))
    if not isinstance(target.unit, int):
        raise UnknownName(f"no unit {address}: units are numbered")

    def scorer(activation: Tensor, rows: Tensor) -> Tensor:
        chosen = unit_of(activation, address)
        return chosen.flatten(1).mean(1) if chosen.ndim > 1 else chosen

    return Aim(images, scorer, words=[str(address)] * images, layer=layer)


def _region(target: Region, model: "Model", images: int) -> Aim:
    index = class_index(target.label, model)
    mask = None if target.mask is None else _mask(target.mask)
    if mask is not None and not bool(mask.any()):
        raise OutputError("the region's mask is empty: it counts nowhere")

    def scorer(output: Tensor, rows: Tensor) -> Tensor:
        dense = _dense(output, index, model, "a region")
        if mask is None:
            return dense.flatten(1).mean(1)
        weight = _weights_of(mask, dense, images)
        sums = weight.flatten(1).sum(1)
        if not bool((sums > 0).all()):
            raise OutputError("the region's mask is empty at the output's resolution")
        weight, sums = (each.expand(images, *each.shape[1:])[rows.to(each.device)] for each in (weight, sums))
        return (dense * weight).flatten(1).sum(1) / sums

    where = "" if mask is None else " within the region"
    return Aim(images, scorer, words=[f"{model.label(index)}{where}"] * images)


def _weights_of(mask: Tensor, dense: Tensor, images: int) -> Tensor:
    """A mask for all images (1, …) or one for each (N, …), at the output's resolution."""
    shape, extent = tuple(mask.shape), dense.shape[1:]
    if mask.ndim == len(extent):
        mask = mask[None]
    elif mask.ndim != dense.ndim or len(mask) != images:
        raise OutputError(
            f"the region's mask has shape {shape} for maps of {tuple(extent)}: give one mask for all, or one for each "
            f"of the {images} images"
        )
    return torch.nn.functional.interpolate(mask[:, None].to(dense), size=extent, mode="area")[:, 0]


def _dense(output: Tensor, index: int, model: "Model", what: str) -> Tensor:
    """The map of one class (N, …) in a dense output."""
    if output.ndim < 3:
        raise OutputError(f"{what} needs a dense output (N, classes, …), got shape {tuple(output.shape)}")
    model.check_labels(output.shape[1])
    output = sides_of(output, model)
    _check_class(index, output)
    return output[:, index]


class _Place:
    """A class at one position of a dense output, written as a tuple in a list of targets."""

    def __init__(self, *written: Any) -> None:
        if not written or not all(hasattr(p, "__index__") and int(p) >= 0 for p in written[1:]):
            raise UnknownName(f"a tuple in a list of targets is (class, row, column, …), got {written}")
        self.label, self.position = written[0], tuple(int(p) for p in written[1:])


def _place(target: _Place, model: "Model", images: int) -> Aim:
    index, at = class_index(target.label, model), target.position
    if not at:
        return _of_class(index, model, images)

    def scorer(output: Tensor, rows: Tensor) -> Tensor:
        dense = _dense(output, index, model, f"a class at position {at}")
        if len(at) != dense.ndim - 1 or any(p >= n for p, n in zip(at, dense.shape[1:], strict=True)):
            raise OutputError(f"no position {at}: the output's map is {tuple(dense.shape[1:])}")
        everywhere: Any = (slice(None), *at)
        return dense[everywhere]

    return Aim(images, scorer, words=[f"{model.label(index)} at {', '.join(map(str, at))}"] * images)


def _mask(given: Any) -> Tensor:
    try:
        mask = torch.as_tensor(given, device=None if isinstance(given, Tensor) else "cpu").float()
    except (TypeError, ValueError, RuntimeError) as error:
        raise OutputError(f"a region's mask is an array of True and False, got {type(given).__name__}") from error
    if not bool(torch.isfinite(mask).all()) or bool((mask < 0).any()):
        raise OutputError("a region's mask is made of True and False or of weights, got NaN or numbers below zero")
    return mask


def _class_axis(output: Tensor) -> Tensor:
    """The output as (N, classes); trailing axes of size one are dropped, larger ones need a `Region`."""
    if output.ndim > 2 and max(output.shape[2:]) == 1:
        output = output.flatten(1)
    if output.ndim == 2 and output.shape[1] == 0:
        raise OutputError(f"the output has shape {tuple(output.shape)}: there are no classes in it")
    if output.ndim != 2:
        raise OutputError(
            f"the output has shape {tuple(output.shape)}: a class needs a place, use cs.Region(label, mask)"
        )
    return output


def _check_class(index: int, output: Tensor) -> None:
    if index >= output.shape[1]:
        raise OutputError(f"class {index} is out of range: the output has {output.shape[1]} classes")


def _folded(label: str) -> str:
    return " ".join(label.lower().replace("_", " ").split())
