"""The loader of the networks in the package: ``bundled:digits`` and ``bundled:shapes``."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convscope.errors import LoadError, UnknownName, did_you_mean
from convscope.spec import loader

if TYPE_CHECKING:
    from convscope.engine.network.model import Model

NAMES = ["digits", "shapes"]
WEIGHTS = Path(__file__).parent / "weights"


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
    from convscope.samples import digits, networks, shapes

    if name not in NAMES:
        raise UnknownName(f"no bundled network {name!r}{did_you_mean(name, NAMES)} (there are {' and '.join(NAMES)})")
    if weights is not None or chosen not in (None, "none"):
        raise LoadError(f"bundled:{name} comes with its weights; the only other choice is '?weights=none' (random)")
    if name == "digits":
        module: torch.nn.Module = networks.DigitsNet()
        input_spec = ImageInput(size=32, mean=networks.DIGITS_MEAN, std=networks.DIGITS_STD, channels=1)
        labels = digits.CLASSES
    else:
        module = networks.ShapesNet()
        input_spec = ImageInput(size=96, mean=networks.SHAPES_MEAN, std=networks.SHAPES_STD)
        labels = shapes.CLASSES
    if chosen is None:
        module.load_state_dict(load_file(WEIGHTS / f"{name}.safetensors"))
    return Model(
        module.eval().to(memory_format=torch.channels_last),  # type: ignore[call-overload]
        input=input_spec,
        labels=labels,
        name=name,
        source=f"bundled:{name}" + ("?weights=none" if chosen else ""),
        caveats=RANDOM_WEIGHTS if chosen else (),
    )


def facts(name: str) -> dict[str, str]:
    """Metadata of the training of a bundled network: accuracy, seed, script, versions."""
    header = (WEIGHTS / f"{name}.safetensors").open("rb").read(100_000)
    length = int.from_bytes(header[:8], "little")
    return dict(json.loads(header[8 : 8 + length]).get("__metadata__", {}))
