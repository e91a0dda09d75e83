"""The arguments of a call, prepared for the lens: images loaded, the target fitted to the model, layers resolved."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from convscope.engine.data.data_set import Dataset, as_dataset
from convscope.engine.inputs.specs import ImageInput, Images, TensorInput
from convscope.engine.layers.addresses import LAST_SPATIAL, resolve_layers
from convscope.engine.network.model import Model, as_model
from convscope.engine.run.gradients import shared_aim
from convscope.engine.targets.target import Target, resolve_target
from convscope.spec import InputKind, LensSpec, inputs_with
from convscope.values import INPUT_KINDS

_LONGEST_LIST = 64
"""The longest list of addresses that a record repeats."""


@dataclass
class Arguments:
    """The inputs of one call: ``arguments`` by name, as the lens receives them."""

    model: Model
    arguments: dict[str, Any] = field(default_factory=dict)
    data_address: str | list[str] | None = None
    """How to name the data set again: a folder, a collection or a short list of addresses."""
    layer_chosen: bool = False
    """Whether the layer was chosen by running the network, because the caller named none."""
    written: dict[str, Any] = field(default_factory=dict)
    """What the caller wrote for inputs that their kind prepares, by name."""

    @property
    def images(self) -> Images | None:
        """The images, where the lens takes images."""
        return self.arguments.get("image")

    @property
    def data(self) -> Dataset | None:
        """The data set, where the lens takes one."""
        return self.arguments.get("images")

    @property
    def target(self) -> Target | None:
        """What is explained, where the lens takes a target."""
        return self.arguments.get("target")

    def probe(self) -> Images:
        """Prepared inputs on which the network can be run to learn about its layers."""
        if self.images is not None:
            return self.images
        if self.data is not None:
            return self.data.first()
        return Images(self.model.example(), ("an example",), True, self.model.input)

    def remarks(self) -> tuple[str, ...]:
        """What every value must say about the images or the data set."""
        remark = self.images.remark if self.images is not None else self.data.remark if self.data is not None else ""
        return (remark,) if remark else ()

    def names(self) -> tuple[str, ...]:
        """The name of the input in the record of each value."""
        if self.images is not None:
            return self.images.names
        return ("" if self.data is None else self.data.name,)

    def grid_facts(self) -> tuple[dict[str, Any], ...]:
        """The fields of the record of each value that say where its input lies in time or space."""
        grids = () if self.images is None else self.images.grids
        return tuple(grid.facts() for grid in grids) or ({},) * len(self.names())

    def input_facts(self) -> dict[str, Any]:
        """The fields of a record that describe the input: its kind, and the distance between neighboring samples."""
        spec, data = self.model.input, self.data
        axes: int | None = None
        if self.images is not None:
            axes = len(self.images.extent)
        elif isinstance(spec, ImageInput):
            axes = 2
        elif spec.shape or data is not None:
            axes = len(spec.shape) - 1 if spec.shape else data.first().tensor.ndim - 2  # type: ignore[union-attr]
        facts: dict[str, Any] = {"kind": spec.kind or INPUT_KINDS.get(-1 if axes is None else axes, "")}
        if isinstance(spec, TensorInput) and spec.spacing and axes in (None, len(spec.spacing)):
            facts["spacing"] = spec.spacing
        if isinstance(spec, TensorInput) and spec.rate and axes == 1:
            facts |= {"spacing": (1 / spec.rate,), "unit": "s"}
        return facts

    def recorded_inputs(self) -> dict[str, Any]:
        """The inputs other than the images as a record stores them, in plain text."""
        units, layers = self.arguments.get("unit"), self.arguments.get("layer")
        recorded: dict[str, Any] = {} if layers is None else {"layer": list(layers)}
        if units is not None:
            recorded["unit"] = [str(u) for u in units] if isinstance(units, (list, tuple)) else str(units)
        second_images = {
            name: self.arguments[name] for name in inputs_with("second image") if self.arguments.get(name) is not None
        }
        recorded |= {name: " ".join(images.names) for name, images in second_images.items()}
        return recorded | self.written | ({} if self.data_address is None else {"images": self.data_address})


def prepare_arguments(declaration: LensSpec, arguments: Mapping[str, Any], default: Callable[[str], Any]) -> Arguments:
    """Prepare all arguments except the layers, for which the network may have to run. Nothing is computed yet."""
    model = as_model(arguments["model"])
    prepared = Arguments(model, {"model": model})
    for name in inputs_with("image", "second image"):
        if name in declaration.inputs:
            prepared.arguments[name] = _images(model, arguments.get(name), needed=name in declaration.required)
    if "images" in declaration.inputs:
        data = arguments.get("images")
        missing = data is None and "images" not in declaration.required
        prepared.arguments["images"] = None if missing else as_dataset(data, model)
        prepared.data_address = _address(data)
    for kind in declaration.input_kinds:
        if kind.content == "address" and kind.name != "layer":
            argument = arguments[kind.name] if kind.name in arguments else default(kind.name)
            prepared.arguments[kind.name] = _address_input(kind, argument, prepared, given=kind.name in arguments)
    return prepared


def _address_input(kind: InputKind, argument: Any, prepared: Arguments, *, given: bool) -> Any:
    """What the lens receives for a text: a target, units as they are written, or what the kind of input makes of it."""
    if kind.name == "target":
        target = resolve_target(argument, prepared.model, 1 if prepared.images is None else len(prepared.images))
        if prepared.images is not None:
            target.check_images(prepared.images)
        return target
    if kind.prepare is None or not given:
        return argument
    prepared.written[kind.name] = argument if isinstance(argument, (str, list)) else str(argument)
    return kind.prepare(argument, prepared.model)


def _address(data: Any) -> str | list[str] | None:
    """The addresses of a data set, where it was passed as such; None for objects in memory and for long lists."""
    if isinstance(data, (str, PurePath)):
        return str(data)
    if isinstance(data, Images) and all(map(_names_a_file_or_sample, data.names)):
        return list(data.names)
    addressed = isinstance(data, (list, tuple)) and all(isinstance(item, (str, PurePath)) for item in data)
    return [str(item) for item in data] if addressed and len(data) <= _LONGEST_LIST else None


def _names_a_file_or_sample(name: str) -> bool:
    return name.startswith("sample:") or PurePath(name).suffix != ""


def set_layers(declaration: LensSpec, prepared: Arguments, layer: Any) -> None:
    """Find the layers that were named; the caller holds the model, because it may have to run."""
    target = prepared.target or shared_aim()
    below = target.layer if target else None
    probe = lambda: prepared.probe().tensor  # noqa: E731
    prepared.arguments["layer"] = resolve_layers(
        prepared.model, layer, probe, below=below, ports=declaration.attributes
    )
    prepared.layer_chosen = layer == LAST_SPATIAL


def _images(model: Model, argument: Any, *, needed: bool) -> Images | None:
    if isinstance(argument, Images) or (argument is None and not needed):
        return argument
    return model.prepare(argument)
