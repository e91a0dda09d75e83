"""Preprocessing settings of images, given in the address of a model or as arguments of `load`."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from convscope.errors import LoadError
from convscope.values.facts import Fact

if TYPE_CHECKING:
    from convscope.engine.inputs.specs import InputSpec
    from convscope.engine.network.model import Model

PREPROCESSING_OPTIONS = ("size", "resize", "mean", "std")
"""The names of the preprocessing settings."""

ASSUMED_PIXELS = Fact(
    "the file does not say how images are prepared: pixels are scaled to 0 … 1, which is assumed (mean= and std= set "
    "it)"
)
"""The caveat of a model file that has no preprocessing; settings of mean or std end it."""


def assumed_size(height: int, width: int) -> Fact:
    """The caveat of a model file that leaves the size of images open; a setting of the size ends it."""
    return Fact(
        "the network takes images of any size: {height}×{width} is assumed (size= sets it)", height=height, width=width
    )


def is_assumption(caveat: str) -> bool:
    """Whether a caveat says what is assumed about images, which ends when the input is described."""
    return getattr(caveat, "template", "") in (ASSUMED_PIXELS.template, assumed_size(0, 0).template)


_MAX_NORMALIZED = 10
"""Means and standard deviations above this value are taken to be of pixels in 0 … 255 instead of 0 … 1."""


def configure_preprocessing(model: "Model", settings: Mapping[str, Any]) -> None:
    """Set the preprocessing of a model; other settings are kept, and a caveat lists those that are assumptions.

    Args:
        model: the model to configure.
        settings: ``size`` and ``resize`` in pixels, ``mean`` and ``std`` per channel, as numbers or as text.

    Raises:
        LoadError: a text is not of the required form, the model has no image specification and no size was given, or it
            takes something else than images.
    """
    from convscope.engine.inputs.specs import ImageInput

    parsed = {name: _parse(name, value) for name, value in settings.items()}
    if parsed and not takes_images(model.input):
        name = next(iter(parsed))
        remedy = f"; ?input=…&{name}=… is for signals, bands, volumes and clips" if name in ("mean", "std") else ""
        raise LoadError(
            f"{name}={_to_text(name, parsed[name])} is for images, but {model.name} takes {name_of_kind(model.input)}"
            f"{remedy}"
        )
    if parsed and not isinstance(model.input, ImageInput) and "size" not in parsed:
        raise LoadError(f"{model.name} has no preprocessing for images: set their size too, as in size=224")
    if parsed:
        if "size" in parsed and "resize" not in parsed:
            parsed["resize"] = None  # resize to the size itself: the preset would crop most of a small image
        spec = model.input if isinstance(model.input, ImageInput) else None
        model.input = replace(spec, **parsed) if spec else ImageInput(**parsed)
        if spec is None:  # nothing but what is given here says how images are prepared
            model.assumed_from = model.assumed_from or "networks that take pixels in 0 … 1"
    ended = [ASSUMED_PIXELS] if {"mean", "std"} & set(parsed) else []
    ended += [assumed_size(0, 0)] if "size" in parsed else []
    templates = {remark.template for remark in ended}
    model.caveats = tuple(caveat for caveat in model.caveats if getattr(caveat, "template", "") not in templates)
    assumed = _assumed_settings(model, parsed) if model.assumed_from else []
    if assumed:
        model.caveats += (
            Fact(
                "own weights: images are prepared as for {model} ({assumed}), which is assumed",
                model=model.assumed_from,
                assumed=assumed,
            ),
        )


def takes_images(spec: "InputSpec") -> bool:
    """Whether an input is images, or tensors of which nothing says that they are none."""
    from convscope.engine.inputs.specs import ImageInput, TensorInput

    if isinstance(spec, ImageInput):
        return True
    return type(spec) is TensorInput and spec.rate is None and len(spec.shape or (3, 1, 1)) == 3


def name_of_kind(spec: "InputSpec") -> str:
    """What a network takes, in a word such as signals, volumes or tokens."""
    from convscope.engine.inputs.specs import ImageInput

    if isinstance(spec, ImageInput):
        return "images"
    kind = spec.kind or ("signal" if spec.rate else "")
    return _NAMES_OF_KINDS.get(kind, "prepared tensors")


_NAMES_OF_KINDS = {
    "image": "bands",
    "signal": "signals",
    "tokens": "tokens",
    "vector": "numbers",
    "video": "clips",
    "volume": "volumes",
}


def format_preprocessing(settings: Mapping[str, Any]) -> dict[str, str]:
    """The settings as text for an address."""
    return {name: _to_text(name, _parse(name, value)) for name, value in settings.items()}


def _assumed_settings(model: "Model", given: Mapping[str, Any]) -> list[str]:
    """Descriptions of the settings that were not given."""
    spec: Any = model.input
    assumed: list[str] = []
    if not {"size", "resize"} & {*given}:
        shorter_side = spec.resize or min(spec.size)
        assumed += [
            Fact("shorter side to {side}", side=shorter_side),
            Fact("middle {height}×{width}", height=spec.size[0], width=spec.size[1]),
        ]
    if "mean" not in given:
        assumed.append(Fact("mean {numbers}", numbers=[f"{number:.3g}" for number in spec.mean]))
    if "std" not in given:
        assumed.append(Fact("std {numbers}", numbers=[f"{number:.3g}" for number in spec.std]))
    return assumed


def _parse(name: str, value: Any) -> Any:
    """A size as (height, width), a number of pixels, or a number per channel."""
    try:
        if name in ("mean", "std"):
            parts = value.split(",") if isinstance(value, str) else value if hasattr(value, "__iter__") else [value]
            numbers = tuple(float(part) for part in parts)
            if not numbers or not all(math.isfinite(number) for number in numbers):
                raise ValueError(value)
        elif name == "size" and isinstance(value, str):
            numbers = tuple(int(part) for part in value.lower().replace("×", "x").split("x"))
            _check_size(name, value, numbers)
        else:
            number = int(value) if isinstance(value, str) else value
            _check_size(name, value, number if isinstance(number, tuple) else (number,))
            return number
    except (TypeError, ValueError) as error:
        form = {"size": "size=224 or size=224x320 (height x width)", "resize": "resize=256"}
        form |= {"mean": "mean=0.485,0.456,0.406", "std": "std=0.229,0.224,0.225"}
        raise LoadError(f"{name}={str(value)!r} is not of the form {form[name]}") from error
    if name in ("mean", "std") and max(map(abs, numbers)) > _MAX_NORMALIZED:
        raise LoadError(
            f"{name} must be of pixels scaled to 0 … 1, got {max(numbers, key=abs):g}: divide each number by 255"
        )
    if name == "std":
        check_above_zero(name, numbers)
    return numbers


def check_above_zero(name: str, numbers: tuple[float, ...]) -> None:
    """Refuse standard deviations of an address that are zero or below it.

    Raises:
        LoadError: one is.
    """
    if min(numbers) <= 0:
        raise LoadError(f"{name} must be above zero, got {min(numbers):g}: prepared values are divided by it")


def _check_size(name: str, value: Any, sides: tuple[Any, ...]) -> None:
    """Refuse sizes that are too large for an image."""
    from convscope.engine.inputs.image_io import MAX_PIXELS, MAX_SIDE

    integers = [side for side in sides if isinstance(side, int)]
    extent = integers * 2 if len(integers) == 1 else integers
    if any(side > MAX_SIDE for side in integers) or math.prod(extent) > MAX_PIXELS:
        limit = f"{MAX_SIDE} a side or {MAX_PIXELS // 10**6} million pixels"
        raise LoadError(f"{name}={str(value)[:40]} is more than {limit}")


def _to_text(name: str, value: Any) -> str:
    numbers = value if isinstance(value, tuple) else (value,)
    return ("x" if name == "size" else ",").join(f"{number:.10g}" for number in numbers)
