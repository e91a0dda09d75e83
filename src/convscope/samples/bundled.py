"""The loader of the networks in the package: ``bundled:digits``, ``bundled:shapes``, ``bundled:beats`` and others."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convscope.errors import LoadError, UnknownName, did_you_mean
from convscope.spec import SAMPLES, loader

if TYPE_CHECKING:
    from torch import nn

    from convscope.engine.inputs.specs import InputSpec
    from convscope.engine.network.model import Model

WEIGHTS = Path(__file__).parent / "weights"


@dataclass(frozen=True)
class _Bundled:
    """A bundled network without its weights."""

    module: "nn.Module"
    input: "InputSpec"
    labels: tuple[str, ...]


def _digits() -> _Bundled:
    from convscope.engine.inputs.specs import ImageInput
    from convscope.samples import digits, networks

    spec = ImageInput(size=32, mean=networks.DIGITS_MEAN, std=networks.DIGITS_STD, channels=1)
    return _Bundled(networks.DigitsNet(), spec, digits.CLASSES)


def _shapes() -> _Bundled:
    from convscope.engine.inputs.specs import ImageInput
    from convscope.samples import networks, shapes

    spec = ImageInput(size=96, mean=networks.SHAPES_MEAN, std=networks.SHAPES_STD)
    return _Bundled(networks.ShapesNet(), spec, shapes.CLASSES)


def _detector() -> _Bundled:
    from convscope.samples import scene_networks, scenes

    return _Bundled(scene_networks.DetectorNet(), _scenes_input(), scenes.CLASSES)


def _segmenter() -> _Bundled:
    from convscope.samples import scene_networks, scenes

    return _Bundled(scene_networks.SegmenterNet(), _scenes_input(), ("background", *scenes.CLASSES))


def _scenes_input() -> "InputSpec":
    from convscope.engine.inputs.specs import ImageInput
    from convscope.samples import scene_networks, scenes

    return ImageInput(size=scenes.SIZE, mean=scene_networks.SCENES_MEAN, std=scene_networks.SCENES_STD)


def _beats() -> _Bundled:
    from convscope.engine.inputs.measured_inputs import SignalInput
    from convscope.samples import beats, networks

    shape = (1, beats.LENGTH)
    spec = SignalInput(shape=shape, rate=beats.RATE, mean=networks.BEATS_MEAN, std=networks.BEATS_STD, keep="start")
    return _Bundled(networks.BeatsNet(), spec, beats.CLASSES)


def _nodules() -> _Bundled:
    from convscope.engine.inputs.measured_inputs import VolumeInput
    from convscope.samples import networks, nodules

    mean, std = networks.NODULES_MEAN, networks.NODULES_STD
    spec = VolumeInput(shape=(1, *nodules.SHAPE), spacing=nodules.SPACING, mean=mean, std=std)
    return _Bundled(networks.NodulesNet(), spec, nodules.CLASSES)


def _sequence() -> _Bundled:
    from convscope.engine.inputs.token_input import TokenInput
    from convscope.samples import networks, sequence

    spec = TokenInput(vocabulary=sequence.VOCABULARY, length=sequence.LENGTH, padding=sequence.PADDING)
    return _Bundled(networks.SequenceNet(len(sequence.VOCABULARY)), spec, sequence.CLASSES)


def _pairs() -> _Bundled:
    from convscope.engine.inputs.specs import ImageInput
    from convscope.samples import attention_network, pairs

    mean, std = attention_network.PAIRS_MEAN, attention_network.PAIRS_STD
    spec = ImageInput(size=pairs.SIDE, mean=mean, std=std, channels=1)
    return _Bundled(attention_network.PairsNet(), spec, pairs.CLASSES)


_NETWORKS: dict[str, Callable[[], _Bundled]] = {
    "digits": _digits,
    "shapes": _shapes,
    "shapes-shortcut": _shapes,
    "detector": _detector,
    "segmenter": _segmenter,
    "beats": _beats,
    "nodules": _nodules,
    "sequence": _sequence,
    "pairs": _pairs,
}
NAMES = [*_NETWORKS]


@loader(
    scheme="bundled",
    title="small trained networks that are part of ConvScope",
    example="bundled:shapes",
    names=lambda: NAMES,
)
def bundled(name: str, *, chosen: str | None = None, weights: Any = None, trust: bool = False) -> "Model":
    """Open a bundled network; its weights are in the package."""
    import torch
    from safetensors.torch import load_file

    from convscope.engine.inputs.specs import ImageInput
    from convscope.engine.network.model import RANDOM_WEIGHTS, Model

    if name not in NAMES:
        raise UnknownName(f"no bundled network {name!r}{did_you_mean(name, NAMES)} (there are {', '.join(NAMES)})")
    if weights is not None or chosen not in (None, "none"):
        raise LoadError(f"bundled:{name} comes with its weights; the only other choice is '?weights=none' (random)")
    network = _NETWORKS[name]()
    if chosen is None:
        network.module.load_state_dict(load_file(WEIGHTS / f"{name}.safetensors"))
    module = network.module.eval()
    if isinstance(network.input, ImageInput):
        module = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Model(
        module,
        input=network.input,
        labels=network.labels,
        name=name,
        source=f"bundled:{name}" + ("?weights=none" if chosen else ""),
        caveats=RANDOM_WEIGHTS if chosen else (),
    )


def sample_of(network: str) -> str:
    """The name of the samples on which a bundled network was trained."""
    return next(spec.name for spec in SAMPLES.values() if network in spec.networks)


def facts(name: str) -> dict[str, str]:
    """Metadata of the training of a bundled network: accuracy, seed, script, versions."""
    header = (WEIGHTS / f"{name}.safetensors").open("rb").read(100_000)
    length = int.from_bytes(header[:8], "little")
    return dict(json.loads(header[8 : 8 + length]).get("__metadata__", {}))
