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
    try:
        import importlib.util

        installed = importlib.util.find_spec("torchvision") is not None
        return list(library().models.list_models(module=library().models)) if installed else []
    except MissingExtra:
        return []


@loader(
    scheme="torchvision",
    title="classification networks of torchvision",
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
            f"torchvision has no classification network {name!r}{did_you_mean(name, _names())} "
            "('convscope models' lists them)"
        )
    enum = _weight_enum(name, chosen)
    if weights is not None:
        module = build_with_weights(lambda classes: _build(name, classes), weights, trust=trust)
    elif chosen == "none":
        module = _build(name, None)
    else:
        module = _pretrained(name, enum)
    labels = enum.meta["categories"]
    classes = _class_count(module)
    return Model(
        module.eval().to(memory_format=torch.channels_last),  # type: ignore[call-overload]
        input=_input(enum),
        labels=labels if classes in (None, len(labels)) else None,
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
    return ImageInput(
        size=preset.crop_size[0],
        resize=preset.resize_size[0],
        mean=preset.mean,
        std=preset.std,
        interpolation=preset.interpolation.value,
    )


def _class_count(module: "nn.Module") -> int | None:
    """The number of outputs of the last layer with weights."""
    weights: list[Any] = [m.weight for m in module.modules() if type(m).__name__ in ("Linear", "Conv2d")]
    return int(weights[-1].shape[0]) if weights else None
