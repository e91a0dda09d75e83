"""What a person passed to a lens, made ready for it: pictures prepared, the target fitted, layers looked up."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from convscope.engine.data.data_set import Dataset, as_dataset
from convscope.engine.inputs.specs import ImageInput, Images, TensorInput
from convscope.engine.layers.addresses import LAST_SPATIAL, find_layers
from convscope.engine.network.model import Model, as_model
from convscope.engine.run.gradients import shared_aim
from convscope.engine.targets.target import Aim, aim_at
from convscope.spec import LensSpec
from convscope.values import KINDS

_BESIDE = ("guide", "style")
"""Second pictures: one for all, or one for each of the first."""


@dataclass
class Arguments:
    """The inputs of one call: ``arguments`` by name, as the lens gets them."""

    model: Model
    arguments: dict[str, Any] = field(default_factory=dict)
    layer_chosen: bool = False
    """Whether the layer was found by running the network, nobody having named one."""

    @property
    def images(self) -> Images | None:
        """The pictures, where the lens takes pictures."""
        return self.arguments.get("image")

    @property
    def data(self) -> Dataset | None:
        """The data set, where the lens takes one."""
        return self.arguments.get("images")

    @property
    def aim(self) -> Aim | None:
        """What is explained, where the lens takes a target."""
        return self.arguments.get("target")

    def probe(self) -> Images:
        """Prepared inputs on which the network can be run to see what its layers give."""
        if self.images is not None:
            return self.images
        if self.data is not None:
            return self.data.first()
        return Images(self.model.example(), ("an example",), True, self.model.input)

    def remarks(self) -> tuple[str, ...]:
        """What must be said of the pictures or the data set."""
        remark = self.images.remark if self.images is not None else self.data.remark if self.data is not None else ""
        return (remark,) if remark else ()

    def names(self) -> tuple[str, ...]:
        """What the record of each value calls its input."""
        if self.images is not None:
            return self.images.names
        return ("" if self.data is None else self.data.name,)

    def measured(self) -> dict[str, Any]:
        """What kind of input is looked at, and how far apart its neighbours are, as a record says it."""
        spec, data = self.model.input, self.data
        axes: int | None = None
        if self.images is not None:
            axes = len(self.images.extent)
        elif isinstance(spec, ImageInput):
            axes = 2
        elif spec.shape or data is not None:
            axes = len(spec.shape) - 1 if spec.shape else data.first().tensor.ndim - 2  # type: ignore[union-attr]
        found: dict[str, Any] = {"kind": KINDS.get(-1 if axes is None else axes, "")}
        if isinstance(spec, TensorInput) and spec.spacing and axes in (None, len(spec.spacing)):
            found["spacing"] = spec.spacing
        if isinstance(spec, TensorInput) and spec.rate and axes == 1:
            found |= {"spacing": (1 / spec.rate,), "unit": "s"}
        return found

    def said(self) -> dict[str, Any]:
        """The inputs beside the pictures as a record says them: plain words."""
        units, layers = self.arguments.get("unit"), self.arguments.get("layer")
        found: dict[str, Any] = {} if layers is None else {"layer": list(layers)}
        if units is not None:
            found["unit"] = [str(u) for u in units] if isinstance(units, (list, tuple)) else str(units)
        beside = {name: self.arguments[name] for name in _BESIDE if self.arguments.get(name) is not None}
        return found | {name: " ".join(given.names) for name, given in beside.items()}


def made_ready(declaration: LensSpec, given: Mapping[str, Any], default: Callable[[str], Any]) -> Arguments:
    """Everything but the layers, for which the network must run: nothing has been computed yet."""
    asked = Arguments(as_model(given["model"]))
    asked.arguments["model"] = asked.model
    for name in ("image", *_BESIDE):
        if name in declaration.inputs:
            asked.arguments[name] = _prepared(asked.model, given.get(name), needed=name in declaration.required)
    if "images" in declaration.inputs:
        data = given.get("images")
        missing = data is None and "images" not in declaration.required
        asked.arguments["images"] = None if missing else as_dataset(data, asked.model)
    if "unit" in declaration.inputs:
        asked.arguments["unit"] = given.get("unit", default("unit"))
    if declaration.takes_target:
        count = 1 if asked.images is None else len(asked.images)
        asked.arguments["target"] = aim_at(given.get("target", default("target")), asked.model, count)
    return asked


def look_up_layers(declaration: LensSpec, asked: Arguments, layer: Any) -> None:
    """Find the layers that were named; with the model to oneself, since it may have to run."""
    aim = asked.aim or shared_aim()
    found = find_layers(
        asked.model, layer, lambda: asked.probe().tensor, below=aim.layer if aim else None, ports=declaration.attributes
    )
    asked.arguments["layer"] = found
    asked.layer_chosen = layer == LAST_SPATIAL


def _prepared(model: Model, given: Any, *, needed: bool) -> Images | None:
    if isinstance(given, Images) or (given is None and not needed):
        return given
    return model.prepare(given)
