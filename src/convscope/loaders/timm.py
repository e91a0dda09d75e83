"""``timm:NAME``: an architecture of timm with pretrained, random or own weights."""

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convscope.errors import MissingExtra, UnknownName, did_you_mean
from convscope.spec import loader

if TYPE_CHECKING:
    from torch import nn

    from convscope.engine.inputs.specs import ImageInput
    from convscope.engine.network.model import Model


def library() -> Any:
    """The module timm; torchvision, which it imports, is made importable first."""
    if importlib.util.find_spec("timm") is None:
        raise MissingExtra("timm", "models")
    from convscope.loaders.torchvision import library as torchvision

    torchvision()
    import timm

    return timm


def _names() -> list[str]:
    return list(library().list_models()) if importlib.util.find_spec("timm") else []


@loader(scheme="timm", title="networks of timm", example="timm:convnext_tiny", names=_names, extra="models")
def timm(name: str, *, chosen: str | None = None, weights: str | Path | None = None, trust: bool = False) -> "Model":
    """Open an architecture of timm; ``timm:resnet18.a1_in1k`` selects weights by their tag."""
    import torch

    from convscope.engine.network.model import RANDOM_WEIGHTS, Model
    from convscope.loaders.weights import build_with_weights

    if chosen not in (None, "none"):
        raise UnknownName(f"timm names weights in the architecture: timm:{name.split('.')[0]}.{chosen}")
    if not library().is_model(name) or not _has_tag(name):
        raise UnknownName(
            f"timm has no network {name!r}{did_you_mean(name.split('.')[0], _names())} ('convscope models' lists them)"
        )
    if weights is not None:
        module = build_with_weights(lambda classes: _build(name, classes), weights, trust=trust)
    else:
        module = _build(name, None) if chosen == "none" else _pretrained(name)
    return Model(
        module.eval().to(memory_format=torch.channels_last),  # type: ignore[call-overload]
        input=_input(module),
        labels=_labels(module),
        name=name,
        source=f"timm:{name}" + (f"?weights={chosen}" if chosen else "") + (f" with {weights}" if weights else ""),
        caveats=RANDOM_WEIGHTS if chosen == "none" and weights is None else (),
        assumed_from=_preset(module, name) if weights is not None else "",
    )


def _build(name: str, classes: int | None) -> "nn.Module":
    options: dict[str, Any] = {} if classes is None else {"num_classes": classes}
    module: nn.Module = library().create_model(name, pretrained=False, **options)
    return module


def _has_tag(name: str) -> bool:
    base, _, tag = name.partition(".")
    return not tag or name in library().list_pretrained(f"{base}.*")


def _pretrained(name: str) -> "nn.Module":
    from huggingface_hub import constants

    from convscope.loaders.download import downloading, is_reachable

    config = library().get_pretrained_cfg(name)
    if config is None or not config.has_weights:
        raise UnknownName(f"timm has no weights for {name!r}: use random weights with 'timm:{name}?weights=none'")
    url = config.url or constants.ENDPOINT
    if _is_cached(config) and not is_reachable(url):
        previous, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
        try:
            cached: nn.Module = library().create_model(name, pretrained=True)
        finally:
            constants.HF_HUB_OFFLINE = previous
        return cached
    with downloading(f"timm:{name}", url):
        downloaded: nn.Module = library().create_model(name, pretrained=True)
    return downloaded


def _is_cached(config: Any) -> bool:
    """Whether the weights are in the local cache."""
    from huggingface_hub import try_to_load_from_cache

    names = ("model.safetensors", "pytorch_model.bin")
    return bool(config.hf_hub_id) and any(isinstance(try_to_load_from_cache(config.hf_hub_id, n), str) for n in names)


def _input(module: "nn.Module") -> "ImageInput":
    from convscope.engine.inputs.specs import ImageInput

    config = library().data.resolve_model_data_config(module)
    height, width = config["input_size"][1:]
    return ImageInput(
        size=(height, width),
        resize=int(min(height, width) / config["crop_pct"]),
        mean=config["mean"],
        std=config["std"],
        channels=config["input_size"][0],
        fit={"squash": "stretch", "border": "pad"}.get(config["crop_mode"], "crop"),  # type: ignore[arg-type]
        interpolation=config["interpolation"]
        if config["interpolation"] in ("bilinear", "bicubic", "nearest", "lanczos")
        else "bicubic",
    )


def _preset(module: "nn.Module", name: str) -> str:
    """The name of the weights whose preprocessing timm uses for an architecture."""
    tag = getattr(getattr(module, "pretrained_cfg", None), "tag", "") or ""
    return f"{name.partition('.')[0]}.{tag}" if tag else name


def _labels(module: "nn.Module") -> list[str] | None:
    """The names of the ImageNet classes, if the network was trained on them."""
    data = library().data
    subset = data.infer_imagenet_subset(module)
    return list(data.ImageNetInfo(subset).label_descriptions()) if subset else None
