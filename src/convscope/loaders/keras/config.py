"""The configuration of a Keras network as plain values: its layers, how they are called, its inputs and outputs.

Keras 2 and Keras 3 write the same information in different forms; `parse_network` reads both. Nothing here knows
weights or torch, and nothing in a configuration is imported or run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from convscope.errors import LoadError
from convscope.loaders.keras.calls import Call, TensorRef, parse_call, parse_references, references

NETWORK_KINDS = ("Functional", "Model", "Sequential")
"""The class names of networks; a subclass with a configuration of the same form is read as one too."""
_MAX_DEPTH = 12
"""How deeply networks may be nested in each other."""


@dataclass(frozen=True)
class Layer:
    """One layer of a network.

    Attributes:
        kind: the name of its Keras class.
        settings: its configuration, as Keras wrote it.
        calls: where it is called; a shared layer is called several times.
        network: its own layers, if it is a network itself.
        operation: whether it is a function of ``keras.ops`` applied to tensors, not a layer.
        package: the module in which Keras 3 looks its class up; "" in Keras 2.
        built_for: the shape (batch, …) of the input that it was built for, in Keras' order, where the file says it.
    """

    name: str
    kind: str
    settings: Mapping[str, Any]
    calls: tuple[Call, ...] = ()
    network: "Network | None" = None
    operation: bool = False
    package: str = ""
    built_for: tuple[int | None, ...] | None = None


@dataclass(frozen=True)
class Network:
    """A Functional or Sequential network.

    Attributes:
        inputs: the outputs of its input layers, in the order of its arguments.
        outputs: what it returns, by the name of the layer that gives it.
    """

    name: str
    kind: str
    layers: tuple[Layer, ...]
    inputs: tuple[TensorRef, ...]
    outputs: Mapping[str, TensorRef]
    by_name: Mapping[str, Layer] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_name", {layer.name: layer for layer in self.layers})
        if len(self.by_name) < len(self.layers):
            names = [layer.name for layer in self.layers]
            repeated = next(name for name in names if names.count(name) > 1)
            raise LoadError(f"the network {self.name!r} has two layers with the name {repeated!r}")


def parse_network(config: Any, *, depth: int = 0) -> Network:
    """Read the configuration of a network, ``{"class_name": …, "config": …}``.

    Raises:
        LoadError: it is not the configuration of a Functional or Sequential network.
    """
    if depth > _MAX_DEPTH:
        raise LoadError(f"networks are nested more than {_MAX_DEPTH} times in each other")
    kind, body = _text(config, "class_name", "a network"), config.get("config")
    if isinstance(body, list):  # Keras 1 and early Keras 2: a Sequential is the list of its layers
        body = {"name": "sequential", "layers": body}
    if not is_network(config if isinstance(body, Mapping) else {}) and not (kind == "Sequential" and body):
        raise LoadError(
            f"the network is of the class {kind!r}, whose configuration does not list its layers: its code is needed, "
            "which is not in the file (save it as a Functional model, or export it to ONNX)"
        )
    name = str(body.get("name") or kind.lower())
    layers = tuple(parse_layer(layer, depth=depth) for layer in body["layers"])
    if "output_layers" not in body:
        return _sequential(name, kind, layers)
    inputs = tuple(parse_references(body.get("input_layers")))
    outputs: dict[str, TensorRef] = {}
    for reference in parse_references(body["output_layers"]):
        repeated = sum(output.layer == reference.layer for output in outputs.values())
        outputs[f"{reference.layer}_{repeated}" if repeated else reference.layer] = reference
    if not inputs or not outputs:
        raise LoadError(f"the network {name!r} has no {'output' if inputs else 'input'}")
    return Network(name, kind, _with_numbered_calls(layers, tuple(outputs.values())), inputs, outputs)


def is_network(config: Mapping[str, Any]) -> bool:
    """Whether a configuration lists layers and how they are connected."""
    body = config.get("config")
    if not isinstance(body, Mapping) or not isinstance(body.get("layers"), list):
        return False
    return "output_layers" in body or config.get("class_name") == "Sequential"


def parse_layer(config: Any, *, depth: int = 0) -> Layer:
    """Read the configuration of one layer."""
    kind = _text(config, "class_name", "a layer")
    settings = config.get("config")
    network = None
    if is_network(config) or (kind == "Sequential" and isinstance(settings, list)):
        network = parse_network(config, depth=depth + 1)
        settings = {} if isinstance(settings, list) else settings
    if not isinstance(settings, Mapping):
        raise LoadError(f"the configuration of a layer of the class {kind!r} is {type(settings).__name__}, no object")
    name = settings.get("name") or config.get("name")
    if not isinstance(name, str) or not name:
        raise LoadError(f"a layer of the class {kind!r} has no name")
    package = config.get("module") if isinstance(config.get("module"), str) else ""
    nodes = config.get("inbound_nodes") or ()
    if not isinstance(nodes, Sequence) or isinstance(nodes, str):
        raise LoadError(f"layer {name!r} ({kind}) says nothing readable about its inputs")
    calls = tuple(parse_call(node, name) for node in nodes)
    operation = package.startswith(("keras.src.ops", "keras.ops"))
    return Layer(name, kind, settings, calls, network, operation, package, _built_for(config))


def _built_for(config: Mapping[str, Any]) -> tuple[int | None, ...] | None:
    """The shape of the input that a layer was built for."""
    build = config.get("build_config")
    shape = build.get("input_shape") if isinstance(build, Mapping) else None
    if not isinstance(shape, Sequence) or not all(side is None or type(side) is int for side in shape):
        return None
    return tuple(shape)


def input_shape(layer: Layer) -> tuple[int | None, ...] | None:
    """The shape (batch, …) that a layer says its input has, in the axis order of Keras; None where it says nothing."""
    shape = layer.settings.get("batch_shape") or layer.settings.get("batch_input_shape")
    if not isinstance(shape, Sequence) or isinstance(shape, str):
        return None
    if not all(side is None or (isinstance(side, int) and 0 < side < 2**31) for side in shape):
        raise LoadError(f"layer {layer.name!r} declares the input shape {list(shape)!r}, which no tensor has")
    return tuple(shape)


def _sequential(name: str, kind: str, layers: tuple[Layer, ...]) -> Network:
    """A Sequential network as a graph: each layer reads the one before it."""
    if not layers:
        raise LoadError(f"the network {name!r} has no layers")
    if layers[0].kind != "InputLayer":
        shape = input_shape(layers[0]) or _network_input_shape(layers[0])
        names = {layer.name for layer in layers}
        own = next(n for n in ("input", *(f"input_{i}" for i in range(len(layers) + 1))) if n not in names)
        layers = (Layer(own, "InputLayer", {"batch_shape": shape}), *layers)
    chained = [layers[0]]
    for layer in layers[1:]:
        call = Call(args=(TensorRef(chained[-1].name, 0, 0),), kwargs={})
        chained.append(replace(layer, calls=(call,)))
    last = chained[-1].name
    return Network(name, kind, tuple(chained), (TensorRef(layers[0].name, 0, 0),), {last: TensorRef(last, 0, 0)})


def _network_input_shape(layer: Layer) -> tuple[int | None, ...] | None:
    """The input shape of a nested network with a single input."""
    if layer.network is None or len(layer.network.inputs) != 1:
        return None
    first = layer.network.by_name.get(layer.network.inputs[0].layer)
    return None if first is None else input_shape(first)


def _with_numbered_calls(layers: tuple[Layer, ...], outputs: tuple[TensorRef, ...]) -> tuple[Layer, ...]:
    """The layers, with the number by which other layers refer to their first call.

    A nested network has a call of its own from when it was built. Keras counts it but does not write it down, so that
    references begin at 1. Every call that is written down leads to an output, so that the last one is referred to.
    """
    highest: dict[str, int] = {}
    used = [ref for layer in layers for call in layer.calls for ref in references((call.args, call.kwargs))]
    for reference in (*used, *outputs):
        highest[reference.layer] = max(highest.get(reference.layer, 0), reference.call)
    numbered = []
    for layer in layers:
        first = max(highest.get(layer.name, 0) - (len(layer.calls) - 1), 0) if layer.calls else 0
        calls = tuple(Call(call.args, call.kwargs, first + index) for index, call in enumerate(layer.calls))
        numbered.append(replace(layer, calls=calls))
    return tuple(numbered)


def _text(config: Any, key: str, of: str) -> str:
    if not isinstance(config, Mapping) or not isinstance(config.get(key), str):
        raise LoadError(f"the configuration of {of} is no object with a {key!r}")
    return str(config[key])
