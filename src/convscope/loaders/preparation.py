"""How images are prepared for a network, as a person says it: in an address, or by name when it is opened."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from convscope.errors import LoadError

if TYPE_CHECKING:
    from convscope.engine.network.model import Model

PREPARATION = ("size", "resize", "mean", "std")
"""What can be said of the preparation of images."""

_LARGEST_FRACTION = 10
"""Means and spreads are of pixels scaled to 0 … 1; larger ones are of pixels as they are stored, 0 … 255."""


def prepare_as(model: "Model", said: Mapping[str, Any]) -> None:
    """Have a model prepare its images as a person says; what nobody says stays, and where it was assumed is told.

    Args:
        said: ``size`` and ``resize`` in pixels, ``mean`` and ``std`` per channel, as numbers or as texts.

    Raises:
        LoadError: a text holds no such numbers, or the model takes no images and no size was said.
    """
    from convscope.engine.inputs.specs import ImageInput

    given = {name: _read(name, value) for name, value in said.items()}
    if given and not isinstance(model.input, ImageInput) and "size" not in given:
        raise LoadError(f"{model.name} says nothing about images: say their size too, as in size=224")
    if given:
        if "size" in given and "resize" not in given:
            given["resize"] = None  # the size itself: a preset's would cut most of a small image away
        spec = model.input if isinstance(model.input, ImageInput) else None
        model.input = replace(spec, **given) if spec else ImageInput(**given)
    assumed = _assumed(model, given) if model.assumed_from else []
    if assumed:
        model.caveats += (
            f"own weights: images are prepared as for {model.assumed_from} ({', '.join(assumed)}), which is assumed",
        )


def written(said: Mapping[str, Any]) -> dict[str, str]:
    """The same as texts, for an address."""
    return {name: _text(name, _read(name, value)) for name, value in said.items()}


def _assumed(model: "Model", given: Mapping[str, Any]) -> list[str]:
    """What nobody said, in words."""
    spec: Any = model.input
    assumed = []
    if not {"size", "resize"} & {*given}:
        short = spec.resize or min(spec.size)
        assumed.append(f"shorter side to {short}, middle {spec.size[0]}×{spec.size[1]}")
    assumed += [
        f"{name} {', '.join(f'{number:.3g}' for number in getattr(spec, name))}"
        for name in ("mean", "std")
        if name not in given
    ]
    return assumed


def _read(name: str, value: Any) -> Any:
    """A size as (height, width), a number of pixels, or a number per channel."""
    try:
        if name in ("mean", "std"):
            parts = value.split(",") if isinstance(value, str) else value if hasattr(value, "__iter__") else [value]
            numbers = tuple(float(part) for part in parts)
            if not numbers or not all(math.isfinite(number) for number in numbers):
                raise ValueError(value)
        elif name == "size" and isinstance(value, str):
            numbers = tuple(int(part) for part in value.lower().replace("×", "x").split("x"))
            _refuse_absurd(name, value, numbers)
        else:
            number = int(value) if isinstance(value, str) else value
            _refuse_absurd(name, value, number if isinstance(number, tuple) else (number,))
            return number
    except (TypeError, ValueError) as error:
        form = {"size": "size=224 or size=224x320 (height x width)", "resize": "resize=256"}
        form |= {"mean": "mean=0.485,0.456,0.406", "std": "std=0.229,0.224,0.225"}
        raise LoadError(f"{name}={str(value)!r} is not of the form {form[name]}") from error
    if name in ("mean", "std") and max(map(abs, numbers)) > _LARGEST_FRACTION:
        raise LoadError(
            f"{name} must be of pixels scaled to 0 … 1, got {max(numbers, key=abs):g}: divide each number by 255"
        )
    return numbers


def _refuse_absurd(name: str, said: Any, sides: tuple[Any, ...]) -> None:
    """Refuse what no image could be brought to."""
    from convscope.engine.inputs.image_io import MAX_PIXELS, MAX_SIDE

    whole = [side for side in sides if isinstance(side, int)]
    squared = whole * 2 if len(whole) == 1 else whole
    if any(side > MAX_SIDE for side in whole) or math.prod(squared) > MAX_PIXELS:
        most = f"{MAX_SIDE} a side or {MAX_PIXELS // 10**6} million pixels"
        raise LoadError(f"{name}={str(said)[:40]} is more than {most}")


def _text(name: str, value: Any) -> str:
    several = value if isinstance(value, tuple) else (value,)
    return ("x" if name == "size" else ",").join(f"{number:.10g}" for number in several)
