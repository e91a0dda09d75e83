"""The number that is explained: one per image, made from the network's output or from a layer.

What people write (`TargetLike`) becomes an `Aim`, which scores a batch of outputs. The top class of an image is
settled by the first output that an aim scores, so that a lens of many passes explains one and the same class.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from convscope.engine.layers import UnitAddress, check_address, parse_unit
from convscope.errors import NotFinite, OutputError, UnknownName, did_you_mean

if TYPE_CHECKING:
    from convscope.engine.model import Model

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
        mask: True where it counts, of any size (it is brought to the output's); None counts everywhere.
    """

    label: int | str
    mask: Any = None


TargetLike = int | str | Difference | Unit | UnitAddress | Region | Callable[[Tensor], Tensor] | Sequence[int | str]
"""A class by index or label, ``"A - B"``, ``"layer[unit]"``, `TOP1`, a `Difference`, a `Unit`, a `Region`, any
function ``output -> one number per image``, or a list with one class per image."""

Scorer = Callable[[Tensor, Tensor], Tensor]
"""``(output, rows) -> scores``: one number per output, which belongs to image ``rows[i]``."""


class Aim:
    """A target fitted to a model and a batch of images.

    Attributes:
        layer: the layer whose activation is scored instead of the output, for units.
        indices: the explained class per image, where it is a class and is settled.
        scores: the score per image of the first outputs that were scored.
    """

    def __init__(self, images: int, scorer: Scorer | None, *, words: Sequence[str] = (), layer: str | None = None):
        self.images, self.layer, self.words = images, layer, list(words)
        self.indices: Tensor | None = None
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
        aim = Aim(
            len(rows), moved, words=[self.words[row] for row in rows.tolist()] if self.words else (), layer=self.layer
        )
        aim.indices = None if self.indices is None else self.indices[rows]
        return aim

    def _settle(self, output: Tensor, rows: Tensor) -> None:
        if self.indices is None:
            self.indices = torch.full((self.images,), -1, device="cpu")
        self.indices[rows] = _class_axis(output).argmax(1).cpu()

    def _class_scores(self, output: Tensor, rows: Tensor) -> Tensor:
        assert self.indices is not None
        indices = self.indices[rows]
        output = _class_axis(output)
        if int(indices.max()) >= output.shape[1]:
            raise OutputError(f"class {int(indices.max())} is out of range: the output has {output.shape[1]} classes")
        return output.gather(1, indices[:, None].to(output.device))[:, 0]


def aim_at(target: TargetLike, model: "Model", images: int) -> Aim:
    """Fit a target to a model and a number of images.

    Raises:
        UnknownName: no such label, layer or unit; the message suggests the nearest.
        OutputError: a list of classes of another length than the images.
    """
    if isinstance(target, Aim):
        return target
    if isinstance(target, str) and target != TOP1:
        target = _read(target, model)
    if isinstance(target, str):
        return Aim(images, None)
    if isinstance(target, Difference):
        return _difference(target, model, images)
    if isinstance(target, (Unit, UnitAddress)):
        return _unit(target, model, images)
    if isinstance(target, Region):
        return _region(target, model, images)
    if callable(target):
        return _function(target, images)
    return _classes(target, model, images)


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


def _classes(target: Any, model: "Model", images: int) -> Aim:
    several = target.tolist() if getattr(target, "ndim", 0) else target
    if isinstance(several, (list, tuple)):
        if len(several) != images:
            raise OutputError(f"{len(several)} targets for {images} images: give one each, or one for all")
        indices = [class_index(one, model) for one in several]
    else:
        indices = [class_index(several, model)] * images
    aim = Aim(images, None)
    aim.indices = torch.tensor(indices, device="cpu")
    return aim


def _difference(target: Difference, model: "Model", images: int) -> Aim:
    this, that = class_index(target.this, model), class_index(target.that, model)

    def scorer(output: Tensor, rows: Tensor) -> Tensor:
        output = _class_axis(output)
        _check_class(max(this, that), output)
        return output[:, this] - output[:, that]

    return Aim(images, scorer, words=[f"{model.label(this)} - {model.label(that)}"] * images)


def _unit(target: Unit | UnitAddress, model: "Model", images: int) -> Aim:
    layer = check_address(model.module, target.layer, model.name)
    address = UnitAddress(layer, target.unit, tuple(target.position))
    whole = all(isinstance(i, int) and i >= 0 for i in address.position)
    if not isinstance(target.unit, int):
        raise UnknownName(f"no unit {address}: units are numbered")
    number = target.unit

    def scorer(activation: Tensor, rows: Tensor) -> Tensor:
        if not 0 <= number < activation.shape[1]:
            raise UnknownName(f"no unit {address}: {layer!r} has units 0 to {activation.shape[1] - 1}")
        chosen = activation[:, number]
        if not address.position:
            return chosen.flatten(1).mean(1) if chosen.ndim > 1 else chosen
        inside = whole and len(address.position) == chosen.ndim - 1
        if not inside or any(p >= n for p, n in zip(address.position, chosen.shape[1:], strict=True)):
            raise UnknownName(f"no position {address}: the map of {layer!r} is {tuple(chosen.shape[1:])}")
        place: Any = (slice(None), *address.position)
        return chosen[place]

    return Aim(images, scorer, words=[str(address)] * images, layer=layer)


def _region(target: Region, model: "Model", images: int) -> Aim:
    index = class_index(target.label, model)
    mask = None if target.mask is None else _mask(target.mask)
    if mask is not None and not bool(mask.any()):
        raise OutputError("the region's mask is empty: it counts nowhere")

    def scorer(output: Tensor, rows: Tensor) -> Tensor:
        if output.ndim < 3:
            raise OutputError(f"a region needs a dense output (N, classes, …), got shape {tuple(output.shape)}")
        _check_class(index, output)
        dense = output[:, index]
        if mask is None:
            return dense.flatten(1).mean(1)
        if mask.ndim != dense.ndim - 1:
            raise OutputError(f"the region's mask has shape {tuple(mask.shape)} for maps of {tuple(dense.shape[1:])}")
        weight = torch.nn.functional.interpolate(mask[None, None].to(dense), size=dense.shape[1:], mode="area")[0]
        if not bool(weight.any()):
            raise OutputError("the region's mask is empty at the output's resolution")
        return (dense * weight).flatten(1).sum(1) / weight.sum()

    where = "" if mask is None else " within the region"
    return Aim(images, scorer, words=[f"{model.label(index)}{where}"] * images)


def _function(target: Callable[[Tensor], Tensor], images: int) -> Aim:
    word = getattr(target, "__name__", type(target).__name__)

    def scorer(output: Tensor, rows: Tensor) -> Tensor:
        try:
            found = target(output)
        except Exception as error:
            raise OutputError(f"the target {word}(output) raised {type(error).__name__}: {error}") from error
        if not isinstance(found, Tensor):
            raise OutputError(
                f"the target {word}(output) gives {type(found).__name__}, not a tensor of one number per image"
            )
        return found

    return Aim(images, scorer, words=[f"{word}(output)"] * images)


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
