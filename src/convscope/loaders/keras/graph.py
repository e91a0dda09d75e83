"""A Keras network as a torch module: its layers under their own names, run in the order of the graph."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from convscope.errors import LoadError
from convscope.loaders.keras.calls import Call, TensorRef, references
from convscope.loaders.keras.config import Network
from convscope.loaders.keras.masks import Mask, mask_arguments, mask_of_output


@dataclass(frozen=True)
class Step:
    """One call of a layer.

    Attributes:
        module: the address of the module.
        last_uses: tensors that no later step reads.
    """

    module: str
    layer: str
    call: Call
    last_uses: tuple[TensorRef, ...] = ()


class KerasNetwork(nn.Module):
    """A Functional or Sequential network; several outputs are returned by the names of their layers.

    Args:
        network: how layers are connected.
        modules: the translated layers by name.
        masked: whether any layer of the whole network makes or takes a mask.
        keras_major: the version of Keras that the network is of.
    """

    def __init__(
        self, network: Network, modules: Mapping[str, nn.Module], *, masked: bool = False, keras_major: int = 3
    ) -> None:
        super().__init__()
        names = module_names(modules, self)
        for name, module in modules.items():
            self.add_module(names[name], module)
        self.inputs, self.outputs = network.inputs, dict(network.outputs)
        self.steps = tuple(_with_last_uses(list(_ordered(network, names)), self.outputs))
        self._keras_major = keras_major
        self._masked_layers = network.by_name if masked else {}
        self._input_masks: tuple[Mask, ...] = ()
        self._output_masks: tuple[Mask, ...] = ()

    def forward(self, *inputs: Tensor) -> Any:
        """Run the layers; exporters of PyTorch pass all parameters of a forward on, so that masks are none of them."""
        masks, self._input_masks = self._input_masks, ()
        if len(inputs) != len(self.inputs):
            raise ValueError(f"the network takes {len(self.inputs)} inputs, got {len(inputs)}")
        values: dict[TensorRef, Any] = dict(zip(self.inputs, inputs, strict=True))
        known: dict[TensorRef, Mask] = dict(zip(self.inputs, masks, strict=False))
        for step in self.steps:
            args, kwargs = _resolved(step.call.args, values), _resolved(step.call.kwargs, values)
            if len(args) == 1 and isinstance(args[0], tuple):
                args = args[0]  # Keras passes the inputs of a layer as one list
            module = self.get_submodule(step.module)
            if self._masked_layers:
                result = self._run_masked(step, module, args, kwargs, known)
            else:
                result = module(*args, **kwargs)
            for index, member in enumerate(_members(result)):
                values[TensorRef(step.layer, step.call.number, index)] = member
            for reference in step.last_uses:
                values.pop(reference, None)
                known.pop(reference, None)
        self._output_masks = tuple(map(known.get, self.outputs.values())) if known else ()
        results = {name: values[reference] for name, reference in self.outputs.items()}
        return next(iter(results.values())) if len(results) == 1 else results

    def give_input_masks(self, masks: tuple[Mask, ...]) -> None:
        """Keep the masks of the inputs for the next run."""
        self._input_masks = masks

    def take_output_masks(self) -> tuple[Mask, ...]:
        """The masks of what the last run gave, which are then forgotten."""
        masks, self._output_masks = self._output_masks, ()
        return masks

    def _run_masked(
        self, step: Step, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], known: dict[TensorRef, Mask]
    ) -> Any:
        """Run a layer with the masks of what it reads, and add that of its output to those that are known."""
        layer = self._masked_layers[step.layer]
        masks = tuple(known.get(reference) for reference in references(step.call.args))
        stateful = len(args) > 1 or "initial_state" in kwargs
        given_masks = mask_arguments(layer, masks, stateful=stateful, keras_major=self._keras_major)
        if isinstance(module, KerasNetwork):
            named = kwargs.get("mask")
            module.give_input_masks(given_masks.get("masks", ()) if named is None else _members(named))
            result = module(*args)
            given = module.take_output_masks()
        else:
            result = module(*args, **{**given_masks, **kwargs})
            given = (mask_of_output(layer, module, args, masks),)
        for index, mask in enumerate(given):
            if mask is not None:
                known[TensorRef(step.layer, step.call.number, index)] = mask
        return result


def _members(result: Any) -> tuple[Any, ...]:
    """What a layer gives, one or several tensors."""
    if isinstance(result, dict):
        return tuple(result.values())
    return result if isinstance(result, tuple) else (result,)


def module_names(modules: Mapping[str, nn.Module], owner: nn.Module) -> dict[str, str]:
    """The name of each layer in the torch module: its own, but for dots and names that every module has."""
    names: dict[str, str] = {}
    for name in modules:
        plain = name.replace(".", "_")
        while plain in names.values() or hasattr(owner, plain):
            plain += "_"
        names[name] = plain
    return names


def _ordered(network: Network, names: Mapping[str, str]) -> Iterator[Step]:
    """All calls, each after those whose results it reads.

    Raises:
        LoadError: calls wait for each other, or read what no layer gives.
    """
    waiting = [Step(names[layer.name], layer.name, call) for layer in network.layers for call in layer.calls]
    calls = {(step.layer, step.call.number) for step in waiting} | {(ref.layer, ref.call) for ref in network.inputs}
    done = {(ref.layer, ref.call) for ref in network.inputs}
    for step in waiting:
        for reference in references((step.call.args, step.call.kwargs)):
            if (reference.layer, reference.call) not in calls:
                raise LoadError(
                    f"layer {step.layer!r} reads the output of {reference.layer!r}, which the network lacks"
                )
    for reference in network.outputs.values():
        if (reference.layer, reference.call) not in calls:
            raise LoadError(f"the network returns the output of {reference.layer!r}, which it lacks")
    while waiting:
        blocked = []
        for step in waiting:
            needed = {(ref.layer, ref.call) for ref in references((step.call.args, step.call.kwargs))}
            if needed <= done:
                done.add((step.layer, step.call.number))
                yield step
            else:
                blocked.append(step)
        if len(blocked) == len(waiting):
            raise LoadError(f"the layers of {network.name!r} wait for each other: {blocked[0].layer!r} is in a cycle")
        waiting = blocked


def _with_last_uses(steps: list[Step], outputs: Mapping[str, TensorRef]) -> Iterator[Step]:
    """The steps, each with the tensors that can be freed after it."""
    kept, last = set(outputs.values()), dict[TensorRef, int]()
    for index, step in enumerate(steps):
        for reference in references((step.call.args, step.call.kwargs)):
            last[reference] = index
    freed: dict[int, list[TensorRef]] = {}
    for reference, index in last.items():
        if reference not in kept:
            freed.setdefault(index, []).append(reference)
    for index, step in enumerate(steps):
        yield Step(step.module, step.layer, step.call, tuple(freed.get(index, ())))


def _resolved(tree: Any, values: Mapping[TensorRef, Any]) -> Any:
    """Arguments with their tensors in place."""
    if isinstance(tree, TensorRef):
        return values[tree]
    if isinstance(tree, (tuple, list)):
        return tuple(_resolved(member, values) for member in tree)
    if isinstance(tree, Mapping):
        return {name: _resolved(member, values) for name, member in tree.items()}
    return tree
