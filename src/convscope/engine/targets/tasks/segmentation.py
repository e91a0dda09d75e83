"""Segmentation: a score per class at every position, explained over a region of positions."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from convscope.engine.layers.default_layer import score_maps
from convscope.engine.network.task_recognition import LAST_RUN
from convscope.engine.targets.classes import check_class, class_index, normalize_label, with_both_sides
from convscope.engine.targets.mask_files import check_proportions, read_mask
from convscope.engine.targets.task_scorer import TaskScorer, references
from convscope.errors import OutputError, UnknownName
from convscope.spec.tasks import Task, task
from convscope.values import Segmentation

if TYPE_CHECKING:
    from convscope.engine.inputs.specs import Images
    from convscope.engine.layers.layer_trace import LayerTrace
    from convscope.engine.network.model import Model

_OUTPUT_KEYS = ("out", "logits")
"""Where torchvision and transformers keep the maps of scores."""
_BACKGROUND = ("background", "bg", "unlabeled", "unlabelled", "void", "other")
"""Labels, without underscores, of what is no object."""
NOTHING = -1
"""Stands in a map of classes for positions that belong to none."""
_TEXT = re.compile(r"(?:(?P<label>.+?)\s+)?(?:in\s+(?P<mask>\S.*)|at:(?P<position>.*)|(?P<everywhere>everywhere))")


def class_maps(output: Tensor, model: "Model") -> Tensor:
    """The scores (N, classes, …) of all classes; of a single map with two labels those of both."""
    if output.ndim < 3:
        raise OutputError(f"a region needs a dense output (N, classes, …), got shape {tuple(output.shape)}")
    model.check_labels(output.shape[1])
    return with_both_sides(output, model)


def predicted_classes(maps: Tensor, model: "Model") -> Tensor:
    """The class (…) that is predicted at every position of one image's maps (classes, …), or `NOTHING`.

    Classes exclude each other, unless there is one map, or the network ends in a sigmoid: then a class is predicted
    where its probability is above one half.
    """
    highest, classes = maps.max(0)
    kind = model.meaning.kind
    if len(maps) > 1 and kind not in ("sigmoid", "log-sigmoid", "multilabel"):
        return classes
    if kind in ("logits", "multilabel", "unknown", "value", "tanh", "mixed"):
        threshold = 0.0
    elif kind.startswith("log-"):
        threshold = math.log(0.5)
    else:
        threshold = model.meaning.scale / 2
    return torch.where(highest > threshold, classes, NOTHING)


def background_class(model: "Model", classes: int) -> int | None:
    """The class that is no object: by its label, and class 0 of several without labels."""
    if not model.labels:
        return 0 if classes > 1 else None
    names = [normalize_label(label).strip() for label in model.labels]
    return next((index for index, name in enumerate(names) if name in _BACKGROUND), None)


@dataclass
class Region:
    """The positions over which a class is scored; without any of the fields, those where it is predicted.

    Attributes:
        mask: weights in the extent of the input, from the file ``name``.
        size: the height and width of that file, where it was scaled and cropped as a picture.
        position: one position in the pixels of the input.
        everywhere: all positions.
    """

    mask: Tensor | None = None
    name: str = ""
    size: tuple[int, ...] = ()
    position: tuple[int, ...] = ()
    everywhere: bool = False

    @property
    def suffix(self) -> str:
        """The region in a text, after the class."""
        if self.mask is not None:
            return f" in {self.name}"
        if self.position:
            return f" at:{','.join(map(str, self.position))}"
        return " everywhere" if self.everywhere else ""


@dataclass
class ClassOverRegion(TaskScorer):
    """The mean score of a class over a region, which the first output of each image fixes.

    Attributes:
        indices: the class for each image, or one for all; negative for the class that covers most of the region.
    """

    indices: Tensor
    model: "Model"
    region: Region = field(default_factory=Region)
    _classes: dict[int, int] = field(default_factory=dict)
    _weights: dict[int, Tensor] = field(default_factory=dict)

    def __call__(self, output: Tensor, rows: Tensor) -> Tensor:
        """The mean score of the class over the region."""
        maps = class_maps(output, self.model)
        for row_maps, row in zip(maps, rows.tolist(), strict=True):
            if row not in self._classes:
                self._fix(row_maps.detach(), row)
        classes = [self._classes[row] for row in rows.tolist()]
        if len(set(classes)) == 1:
            chosen = maps[:, classes[0]]  # a view, where several classes are gathered
        else:
            chosen = maps[torch.arange(len(maps), device=maps.device), torch.tensor(classes, device=maps.device)]
        if self.region.everywhere:
            return chosen.flatten(1).mean(1)
        weights = references(self._weights, rows, maps.device).to(maps.dtype)
        return (chosen * weights).flatten(1).sum(1)

    def describe(self, row: int) -> str:
        """The class and the region, as in ``cat at:120,88``."""
        index = self._classes.get(row, int(self.indices[row % len(self.indices)]))
        if index < 0:
            return self.region.suffix.strip() or "the class that covers most"
        return self.model.label(index) + self.region.suffix

    def check_images(self, images: "Images") -> None:
        """Refuse a mask that was not drawn over these images."""
        check_proportions(self.region.name, self.region.size, images)

    def index_of(self, row: int) -> int | None:
        """The class, where the region is where it is predicted."""
        return self._classes.get(row) if not self.region.suffix else None

    def _fix(self, maps: Tensor, row: int) -> None:
        """Fix the class and the region of an image by its maps (classes, …)."""
        index = int(self.indices[row % len(self.indices)])
        weights = self._region_weights(maps[0], maps.shape[1:])
        if index < 0:
            index = self._class_within(predicted_classes(maps, self.model), weights, len(maps))
        check_class(index, maps[None])
        if weights is None and not self.region.everywhere:
            predicted = predicted_classes(maps, self.model)
            weights = (predicted == index).float()
            if not bool(weights.any()):
                raise OutputError(self._never_predicted(index, predicted))
        self._classes[row] = index
        if weights is not None:
            self._weights[row] = weights / weights.sum()

    def _region_weights(self, like: Tensor, extent: torch.Size) -> Tensor | None:
        """The weights of all positions, on the device of ``like``; None where a class is predicted, and for all."""
        region = self.region
        if region.mask is not None:
            mask = region.mask.to(like.device)
            if mask.ndim != len(extent):
                raise OutputError(f"the mask {region.name!r} has shape {tuple(mask.shape)} for maps of {tuple(extent)}")
            weights = interpolate(mask[None, None], size=extent, mode="area")[0, 0]
            if not bool(weights.any()):
                raise OutputError(f"the mask {region.name!r} is empty at the output's resolution")
            return weights
        if region.position:
            weights = torch.zeros_like(like, dtype=torch.float32)
            weights[self._output_position(extent)] = 1
            return weights
        return None

    def _output_position(self, extent: torch.Size) -> tuple[int, ...]:
        """The position in the output's maps of a position in the pixels of the input."""
        pixels = self.model.cache[LAST_RUN].input[1:]
        position = self.region.position
        if len(position) != len(pixels) or any(p >= n for p, n in zip(position, pixels, strict=False)):
            raise OutputError(
                f"no position at:{','.join(map(str, position))}: the input has {' × '.join(map(str, pixels))} pixels, "
                "counted from 0, the row before the column"
            )
        return tuple(p * n // size for p, n, size in zip(position, extent, pixels, strict=True))

    def _class_within(self, predicted: Tensor, weights: Tensor | None, classes: int) -> int:
        """The predicted class that covers most of a region; beside the background if another is predicted at all."""
        shares = torch.zeros(classes, device=predicted.device, dtype=torch.float32)
        covered = predicted >= 0
        region_weights = torch.ones_like(predicted, dtype=torch.float32) if weights is None else weights
        shares.index_add_(0, predicted[covered], region_weights[covered])
        background = background_class(self.model, classes)
        if background is not None and not self.region.position and float(shares.sum() - shares[background]) > 0:
            shares[background] = 0
        return int(shares.argmax())

    def _never_predicted(self, index: int, predicted: Tensor) -> str:
        label = self.model.label(index)
        classes = sorted({*predicted.flatten().tolist()})
        names = ", ".join("nothing" if c == NOTHING else self.model.label(c) for c in classes[:8])
        return (
            f"{label!r} is predicted nowhere in this image, where {self.model.name} predicts {names}: name one of "
            f"these, or a region, as in '{label} everywhere' or '{label} in mask.png'"
        )


def _recognizes(output: Any, model: "Model") -> bool:
    if not isinstance(output, Tensor):
        return _maps_in(output) is not None
    extent = model.cache[LAST_RUN].input[1:]
    dense = output.ndim > 2 and output.ndim - 2 == len(extent) and max(output.shape[2:]) > 1
    return dense and model.meaning_of_values.kind not in ("value", "tanh")


def _maps_in(output: Any) -> Tensor | None:
    """The maps of scores in a dict or an object with several outputs."""
    for key in _OUTPUT_KEYS:
        maps = output.get(key) if isinstance(output, Mapping) else getattr(output, key, None)
        if isinstance(maps, Tensor) and maps.ndim > 3:
            return maps
    return None


def _encode(output: Any, model: "Model") -> Tensor | None:
    return output if isinstance(output, Tensor) else _maps_in(output)


def _default_layer(model: "Model", trace: "LayerTrace") -> str | None:
    """The end of the backbone, where a skip starts in its middle and no later layer is on every path (LR-ASPP).

    What the network found for each class is there; the layer from which the skip starts is an early one.
    """
    scores = score_maps(model, trace)
    with_positions = [a for a in trace.order if trace.layers[a].has_positions and a not in scores]
    backbone = [address for address in with_positions if address.startswith("backbone.")]
    on_every_path = [a for a in with_positions if trace.output is not None and trace.is_on_every_path(a, trace.output)]
    ends_early = bool(on_every_path and backbone) and on_every_path[-1] in ("backbone", *backbone)
    return backbone[-1] if ends_early and backbone[-1] not in on_every_path else None


def _parse(text: str, model: "Model") -> TaskScorer | None:
    match = _TEXT.fullmatch(text.strip())
    if match is None:
        return None
    label, mask, position = match["label"], match["mask"], match["position"]
    if mask is not None and model.task is None and not Path(mask).suffix:
        return None  # words of a label, in a network of which it is not known yet that it segments
    index = -1 if label is None else _class_named(label, model)
    if mask is not None:
        weights, size = read_mask(mask, model)
        region = Region(weights, mask, size)
    elif position is not None:
        region = Region(position=_parse_position(position))
    else:
        region = Region(everywhere=True)
    return ClassOverRegion(torch.tensor([index], device="cpu"), model, region)


def _file_of(text: str) -> str:
    """The file of a mask: a name with an ending, or a path; other words after "in" may belong to a label."""
    match = _TEXT.fullmatch(text.strip())
    mask = match["mask"] if match is not None else None
    return mask if mask and (Path(mask).suffix or "/" in mask or "\\" in mask) else ""


def _class_named(label: str, model: "Model") -> int:
    """The class of a label or of a text such as "class 3", which stands for a class without a label."""
    number = label.strip().lower().removeprefix("class ")
    return class_index(number if number.isdecimal() and not model.labels else label, model)


def _parse_position(text: str) -> tuple[int, ...]:
    numbers = [part.strip() for part in text.split(",")]
    if not all(number.isdecimal() for number in numbers):
        raise UnknownName(f"at:{text} is no position: write at:ROW,COLUMN in pixels of the input, as in at:120,88")
    return tuple(map(int, numbers))


def _predict(model: "Model", images: "Images", rows: list[int], output: Tensor, top: int) -> list[Segmentation]:
    maps = class_maps(output, model)
    if not bool(torch.isfinite(maps).all()):
        raise OutputError("the scores are NaN or infinite: the network overflows on this input")
    return [_segmentation(model, images, row, row_maps, top) for row, row_maps in zip(rows, maps, strict=True)]


def _segmentation(model: "Model", images: "Images", row: int, maps: Tensor, top: int) -> Segmentation:
    predicted = predicted_classes(maps, model)
    counts = torch.bincount(predicted.flatten() + 1, minlength=len(maps) + 1)[1:].double() / predicted.numel()
    order = [index for index in counts.argsort(descending=True, stable=True).tolist() if counts[index] > 0][:top]
    background = background_class(model, len(maps))
    return Segmentation(
        labels=tuple(model.label(index) for index in order),
        indices=tuple(order),
        shares=tuple(float(counts[index]) for index in order),
        background=-1 if background is None else background,
        classes=predicted.to(torch.int16).cpu().numpy(),
        photo=images.photo(row),  # type: ignore[arg-type]
        notes={"output": model.meaning.describe()},
    )


task(
    Task(
        name="segmentation",
        title="segmentation",
        output="maps of class scores (N, classes, height, width), also under the key or name `out` or `logits`",
        recognizes=_recognizes,
        encode=_encode,
        targets={
            "": "the class that covers most beside the background, over its predicted region",
            "CLASS": "the mean score of a class over the region where it is predicted",
            "CLASS in mask.png": "the mean score over a region marked in a picture or an array (.npy)",
            "CLASS at:120,88": "the score at one position of the input: its row, then its column",
            "CLASS everywhere": "the mean score over all positions",
            "at:120,88": "the class predicted at that position (also `in mask.png` and `everywhere` without a class)",
        },
        prefixes=("at:", "everywhere", "in "),
        hint="at:120,88",
        target_label="Or type a class, or a place in the picture",
        default_target="the largest class",
        file_of=_file_of,
        parse=_parse,
        class_scorer=ClassOverRegion,
        predict=_predict,
        default_layer=_default_layer,
    )
)
