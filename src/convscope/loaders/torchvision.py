"""``torchvision:NAME``: an architecture of torchvision with pretrained, random or own weights."""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convscope.errors import MissingExtra, UnknownName, did_you_mean
from convscope.spec import loader

if TYPE_CHECKING:
    from torch import nn

    from convscope.engine.inputs.specs import ImageInput
    from convscope.engine.network.model import Model


def library() -> Any:
    """The module torchvision, even if its compiled operators do not match the build of torch."""
    from convscope.loaders.torchvision_operators import import_torchvision

    try:
        return import_torchvision()
    except ImportError as error:
        raise MissingExtra("torchvision", "models") from error


def _names() -> list[str]:
    """The networks for classification, then those for segmentation and detection."""
    return [name for task in ("classification", *_TASKS) for name in _names_of(task)]


_TASKS = ("segmentation", "detection")
"""Tasks beside classification; each has a module of torchvision.models."""


def _names_of(task: str) -> list[str]:
    try:
        import importlib.util

        if importlib.util.find_spec("torchvision") is None:
            return []
        models = library().models
        return list(models.list_models(module=getattr(models, task) if task in _TASKS else models))
    except MissingExtra:
        return []


def _task_of(name: str) -> str:
    """The task of a network, by its name."""
    return next((task for task in _TASKS if name in _names_of(task)), "classification")


@loader(
    scheme="torchvision",
    title="networks of torchvision for classification, segmentation and detection",
    example="torchvision:resnet50",
    names=_names,
    extra="models",
)
def torchvision(
    name: str, *, chosen: str | None = None, weights: str | Path | None = None, trust: bool = False
) -> "Model":
    """Open an architecture of torchvision."""
    import torch

    from convscope.engine.network.model import RANDOM_WEIGHTS, Model
    from convscope.loaders.weights import build_with_weights

    library()
    if name not in _names():
        raise UnknownName(
            f"torchvision has no network {name!r}{did_you_mean(name, _names())} ('convscope models' lists them)"
        )
    enum = _weight_enum(name, chosen)
    if weights is not None:
        module = build_with_weights(lambda classes: _build(name, classes), weights, trust=trust)
    elif chosen == "none":
        module = _build(name, None)
    else:
        module = _pretrained(name, enum)
    task, labels = _task_of(name), enum.meta["categories"]
    classes = _class_count(module, task)
    return Model(
        module.eval().to(memory_format=torch.channels_last),  # type: ignore[call-overload]
        input=_input_of_detector(module) if task == "detection" else _input(enum),
        labels=labels if classes in (None, len(labels)) else None,
        task=task if task in _TASKS else None,
        name=name,
        source=f"torchvision:{name}"
        + (f"?weights={chosen}" if chosen else "")
        + (f" with {weights}" if weights else ""),
        caveats=RANDOM_WEIGHTS if chosen == "none" and weights is None else (),
        assumed_from=str(enum).rpartition(".")[2] if weights is not None else "",
    )


def _build(name: str, classes: int | None) -> "nn.Module":
    options: dict[str, Any] = {} if classes is None else {"num_classes": classes}
    if name in ("googlenet", "inception_v3"):  # their initialization takes half a minute and warns
        options["init_weights"] = False
    if name == "googlenet":
        options["aux_logits"] = True
    if _task_of(name) in _TASKS:
        options["weights_backbone"] = None
    module: nn.Module = library().models.get_model(name, weights=None, **options)
    return module


def _pretrained(name: str, enum: Any) -> "nn.Module":
    import torch

    from convscope.loaders.download import downloading

    cached = Path(torch.hub.get_dir()) / "checkpoints" / Path(enum.url).name
    with contextlib.nullcontext() if cached.exists() else downloading(f"torchvision:{name}", enum.url):
        module: nn.Module = library().models.get_model(name, weights=enum)
    return module


def _weight_enum(name: str, chosen: str | None) -> Any:
    weights = library().models.get_model_weights(name)
    if chosen in (None, "none", "DEFAULT"):
        return weights.DEFAULT
    if chosen not in weights.__members__:
        names = list(weights.__members__)
        raise UnknownName(
            f"{name} has no weights {chosen!r}{did_you_mean(str(chosen), names)} (it has {', '.join(names)} and none)"
        )
    return weights[chosen]


def _input(enum: Any) -> "ImageInput":
    from convscope.engine.inputs.specs import ImageInput

    preset = enum.transforms()
    resize = preset.resize_size[0]
    return ImageInput(
        size=getattr(preset, "crop_size", [resize])[0],  # networks for segmentation take the whole picture
        resize=resize,
        mean=preset.mean,
        std=preset.std,
        interpolation=preset.interpolation.value,
    )


def _input_of_detector(module: Any) -> "ImageInput":
    """The whole picture in a square of the side that the detector itself scales it to; it also standardizes it."""
    from convscope.engine.inputs.specs import ImageInput

    transform = module.transform
    return ImageInput(size=transform.fixed_size or transform.min_size[-1], fit="pad")


def _class_count(module: "nn.Module", task: str = "classification") -> int | None:
    """The number of outputs of the last layer with weights; None if that is not the number of classes."""
    if task == "detection":
        return _class_count_of_detector(module)
    weights: list[Any] = [
        m.weight
        for address, m in module.named_modules()
        if type(m).__name__ in ("Linear", "Conv2d") and not address.startswith("aux_classifier")
    ]
    return int(weights[-1].shape[0]) if weights else None


def _class_count_of_detector(module: Any) -> int | None:
    """The number of classes that a detector was built for."""
    predictor = getattr(getattr(module, "roi_heads", None), "box_predictor", None)
    if predictor is not None:
        return int(predictor.cls_score.out_features)
    head = module.head.classification_head
    return int(getattr(head, "num_classes", None) or head.num_columns)
