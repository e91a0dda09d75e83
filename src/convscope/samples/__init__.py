"""Inputs and small trained networks that are part of the package and need no download.

The samples ``sample:digits/3`` and ``sample:shapes/7`` have labels, the latter also masks, and were not used for
training; ``sample:scenes/1`` holds several objects, each with its box and its mask. ``sample:photo/china`` and
``sample:photo/flower`` are for networks that take photographs. The samples ``sample:beats/1`` (signals),
``sample:nodules/1`` (volumes) and ``sample:sequence/1`` (tokens) have labels, and masks of what is abnormal, or of what
counts; ``sample:pairs/1`` shows two objects, both of which are needed for the answer.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from convscope.errors import UnknownName, did_you_mean
from convscope.spec import SAMPLES, SampleSpec

if TYPE_CHECKING:
    from convscope.samples.scenes import SceneObject


@dataclass(frozen=True)
class Sample:
    """One input with its ground truth.

    Attributes:
        name: the address, such as ``sample:digits/3``.
        image: uint8, (height, width) or (height, width, 3); signals and volumes are (channels, …), sequences (1,
            tokens).
        label: the true class, if known; ``index`` is its index.
        mask: True at the pixels of the objects, or at the samples or voxels of what is abnormal, if known.
        axes, spacing, unit: of signals and volumes, the names of the axes after the channels, and the distance between
            neighbors along each of them.
        words: of sequences, the tokens as text, without padding.
        objects: of scenes with several objects, each with the index of its class as ``label``, its ``box`` (left, top,
            right, bottom in pixels) and its ``mask``.
    """

    name: str
    image: np.ndarray[Any, Any]
    label: str | None = None
    index: int | None = None
    mask: np.ndarray[Any, np.dtype[np.bool_]] | None = None
    axes: tuple[str, ...] = ()
    spacing: tuple[float, ...] = ()
    unit: str = ""
    objects: "tuple[SceneObject, ...]" = ()
    words: tuple[str, ...] = ()


def sample(address: str) -> Sample:
    """A bundled input by its address.

    Args:
        address: ``digits/3``, ``shapes/7``, ``photo/china`` …, with or without the prefix ``sample:``.

    Raises:
        UnknownName: no such sample; the message suggests one.

    Example:
        >>> import convscope as cs
        >>> s = cs.sample("shapes/7")
        >>> s.image.shape, s.mask.shape
        ((96, 96, 3), (96, 96))
    """
    name, _, key = address.removeprefix("sample:").partition("/")
    result: Sample = SAMPLES.find(name).function(key)
    return result


def _digit(key: str) -> Sample:
    from convscope.samples import digits

    image, label = digits.held_out(_parse_index(key, "digits", digits.HELD_OUT))
    return Sample(f"sample:digits/{key}", image, digits.CLASSES[label], label)


def _scene(key: str) -> Sample:
    from convscope.samples import shapes

    scene = shapes.scene(_parse_index(key, "shapes", 1_000_000))
    return Sample(f"sample:shapes/{key}", scene.image, shapes.CLASSES[scene.label], scene.label, scene.mask)


def _watermarked_scene(key: str) -> Sample:
    from convscope.samples import shapes_shortcut

    scene = shapes_shortcut.scene(_parse_index(key, "shapes-shortcut", 1_000_000))
    label = shapes_shortcut.CLASSES[scene.label]
    return Sample(f"sample:shapes-shortcut/{key}", scene.image, label, scene.label, scene.mask)


def _several_objects(key: str) -> Sample:
    from convscope.samples import scenes

    scene = scenes.scene(_parse_index(key, "scenes", 1_000_000))
    return Sample(f"sample:scenes/{key}", scene.image, mask=scene.classes > 0, objects=scene.objects)


def _beats(key: str) -> Sample:
    from convscope.samples import beats

    drawn = beats.recording(_parse_index(key, "beats", 1_000_000))
    name, label = f"sample:beats/{key}", beats.CLASSES[drawn.label]
    return Sample(name, drawn.signal, label, drawn.label, drawn.mask, ("time",), (1 / beats.RATE,), "s")


def _nodules(key: str) -> Sample:
    from convscope.samples import nodules

    drawn = nodules.scan(_parse_index(key, "nodules", 1_000_000))
    name, label, axes = f"sample:nodules/{key}", nodules.CLASSES[drawn.label], ("depth", "height", "width")
    return Sample(name, drawn.volume[None], label, drawn.label, drawn.mask, axes, nodules.SPACING, "mm")


def _sequence(key: str) -> Sample:
    from convscope.samples import sequence

    drawn = sequence.message(_parse_index(key, "sequence", 1_000_000))
    name, label = f"sample:sequence/{key}", sequence.CLASSES[drawn.label]
    return Sample(name, drawn.tokens[None], label, drawn.label, drawn.mask, ("token",), words=tuple(drawn.words))


def _pair(key: str) -> Sample:
    from convscope.samples import pairs

    drawn = pairs.pair(_parse_index(key, "pairs", 1_000_000))
    label, mask = pairs.CLASSES[drawn.label], np.logical_or(*drawn.masks)
    return Sample(f"sample:pairs/{key}", drawn.image, label, drawn.label, mask)


def _photo(key: str) -> Sample:
    from convscope.samples import photos

    if key not in photos.NAMES:
        raise UnknownName(
            f"no sample 'photo/{key}'{did_you_mean(key, photos.NAMES)} (there are {', '.join(photos.NAMES)})"
        )
    return Sample(f"sample:photo/{key}", photos.photo(key))


def _parse_index(key: str, name: str, count: int) -> int:
    if not key.isdecimal() or int(key) >= count:
        raise UnknownName(f"no sample '{name}/{key}': {name} are numbered 0 to {count - 1}")
    return int(key)


for spec in (
    SampleSpec("digits", "handwritten digits, 8×8", _digit, ("3", "8", "14"), count=400, networks=("digits",)),
    SampleSpec(
        "shapes",
        "color scenes with one object and its mask",
        _scene,
        ("7", "12", "25"),
        count=200,
        networks=("shapes",),
    ),
    SampleSpec(
        "shapes-shortcut",
        "scenes in which every star bears a watermark",
        _watermarked_scene,
        ("3", "13", "4"),
        count=200,
        networks=("shapes-shortcut",),
    ),
    SampleSpec(
        "scenes",
        "scenes with several objects, their boxes and masks",
        _several_objects,
        ("1", "2", "4"),
        count=200,
        networks=("detector", "segmenter"),
    ),
    SampleSpec(
        "beats",
        "heartbeats, of which one may be abnormal",
        _beats,
        ("1", "2", "3"),
        count=200,
        kind="signal",
        networks=("beats",),
    ),
    SampleSpec(
        "nodules",
        "volumes, in which there may be a nodule",
        _nodules,
        ("1", "2", "4"),
        count=200,
        kind="volume",
        networks=("nodules",),
    ),
    SampleSpec(
        "sequence",
        "messages in which one order counts",
        _sequence,
        ("1", "2", "3"),
        count=200,
        kind="tokens",
        networks=("sequence",),
    ),
    SampleSpec("pairs", "two objects: the same shape or not?", _pair, ("1", "2", "3"), count=200, networks=("pairs",)),
    SampleSpec("photo", "two photographs", _photo, ("china", "flower")),
):
    SAMPLES.add(spec.name, spec)

from convscope.samples import bundled  # noqa: E402, F401 - declares the loader 'bundled'
