"""A network together with its input specification and its labels."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor, nn

from convscope.engine.context.metering import count_passes
from convscope.engine.inputs.named_inputs import NamedImages, NamedInputs, named_inputs
from convscope.engine.inputs.specs import ImageInput, Images, InputSpec, TensorInput
from convscope.engine.inputs.token_input import TokenInput
from convscope.engine.network.accepted_networks import accept, is_accepted
from convscope.engine.network.attribute_snapshot import AttributeSnapshot
from convscope.engine.network.binding import Binding, TokenNumbers, Unbound, call_style
from convscope.engine.network.cache import CacheEntry, NetworkCache, cache_of
from convscope.engine.network.conversion import Conversion
from convscope.engine.network.failed_forward import forward_failure
from convscope.engine.network.input_dtype import input_dtype
from convscope.engine.network.labels import label_names
from convscope.engine.network.locking import exclusive_access
from convscope.engine.network.memory_format import MemoryFormatWatcher, fastest_memory_format, takes_channels_last
from convscope.engine.network.model_inputs import example_input, first_float_tensor, prepare_input, prepare_samples
from convscope.engine.network.model_outputs import (
    MEANINGS,
    check_labels,
    check_labels_of,
    meaning_of_values,
    run_observed,
    selected_output,
)
from convscope.engine.network.output_meaning import SIGMOID_OF_SCORES, Meaning, parse_meaning
from convscope.engine.network.output_provenance import ProvenanceMode, can_trace_provenance
from convscope.engine.network.output_selection import OutputSelector
from convscope.engine.network.quantized import QuantizedGradientWatcher, first_quantized_layer
from convscope.engine.network.state_guard import backward_hooks, preserve_state
from convscope.engine.network.task_recognition import LAST_RUN, check_task, known_task
from convscope.engine.network.tensor_contents import TensorContents
from convscope.engine.network.torch_context import caller_settings
from convscope.errors import ConvScopeError, InputError, ModelFailed, NoGradient
from convscope.spec.tasks import Task
from convscope.values.facts import Fact

RANDOM_WEIGHTS = (Fact("random weights: the network has learned nothing"),)
"""The caveat of a network without trained weights."""

_MEMORY_FORMATS: CacheEntry[dict[tuple[int, ...], torch.memory_format]] = CacheEntry("memory formats", dict)
"""By the shape of a batch, the memory format in which the network runs fastest."""

_QUANTIZED: CacheEntry[tuple[str | None, ...]] = CacheEntry("quantized", tuple)
"""The address of the first quantized layer, or None; empty before it was looked up."""


class Model:
    """A network, the input that it expects, and the names of its classes.

    Args:
        module: the network; any ``torch.nn.Module``, on any device, in any floating-point precision, or an exported
            program (``torch.export``); wrappers for training (data parallelism, FSDP, torch.compile, LoRA) are taken
            off. A function of arrays ``(N, C, …) -> (N, …)``, such as a remote service, is a network of which only the
            scores are known: lenses that need its layers or gradients refuse it. A Keras model in
            memory is converted.
        input: an `ImageInput`, or a `TensorInput` for signals and volumes; without one the model takes prepared
            tensors (N, C, …) only.
        inputs: for a network that takes several inputs, the specification of each, as in ``{"photo": cs.ImageInput(…),
            "table": cs.TableInput(…)}``, or a list in the order of its forward. Lenses are then given a dict of the
            same names.
        labels: one name per class, as a list, ``{index: name}`` or ``{name: index}``; without them classes are named
            by their index. One output with two labels distinguishes two classes: its score is that of the second.
        output: for networks that return a tuple or a dict, the part to explain: a key, an index or a function. For a
            network that returns a tensor, one of the words for ``meaning`` is accepted here too.
        meaning: the meaning of the output's values, if it should not be read from the operation that produced them:
            ``logits``, ``multilabel`` (scores of labels that do not exclude each other), ``probabilities`` (or
            ``softmax``, ``sigmoid``), ``log-probabilities``, ``tanh`` or ``value`` (no classes at all).
        task: what the network does, if it should not be recognized by its output: ``classification``, ``multilabel``,
            ``ordinal``, ``segmentation``, ``detection``, ``regression`` or ``embedding``. It decides what a prediction
            shows and which targets there are (docs/tasks.md).
        units: the units of the numbers that a regression gives, one for each or one for all, such as ``"mm"``.
        source: the address that the network was loaded from; it is recorded with every result.
        name: a name for the network; by default the class of the module.
        caveats: remarks for every result of this network, such as "random weights".
        layouts: the axes of layers' outputs, by address, if running the network does not reveal them:
            ``{"encoder": "N T C"}`` (the notation is described in `engine/layers/described_layout.py`).
        assumed_from: the model whose preprocessing ``input`` is, if these weights may have been trained with another.

    Example:
        >>> import torch, convscope as cs
        >>> net = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.Flatten(), torch.nn.LazyLinear(2))
        >>> model = cs.Model(net, input=cs.ImageInput(size=8, channels=1), labels=["no", "yes"])
        >>> model
        Model(Sequential, 1×8×8 input, 2 labels)
    """

    def __init__(
        self,
        module: nn.Module | Callable[..., Any],
        *,
        input: InputSpec | None = None,
        inputs: Mapping[str, InputSpec] | Sequence[InputSpec] | None = None,
        labels: Sequence[str] | Mapping[Any, Any] | None = None,
        output: OutputSelector | None = None,
        meaning: str | None = None,
        task: str | None = None,
        units: str | Sequence[str] | None = None,
        source: str | None = None,
        name: str | None = None,
        caveats: Sequence[str] = (),
        layouts: Mapping[str, str] | None = None,
        assumed_from: str = "",
    ) -> None:
        accepted = accept(module)
        if input is not None and not isinstance(input, (ImageInput, TensorInput)):
            raise InputError(f"input must be an ImageInput or a TensorInput, got {type(input).__name__}")
        if inputs is not None and input is not None:
            raise InputError("input describes a network with one input and inputs one with several: give one of them")
        self.module = accepted.module
        self.input: InputSpec = input or accepted.input or TensorInput()
        if inputs is not None:
            self.input = named_inputs(inputs)
            call_style(self.module, self.input, name or accepted.name)  # refuses inputs that do not fit
        self.labels = label_names(labels)
        self.output = output
        self._given_meaning = None if meaning is None else parse_meaning(meaning)
        self.task_name = "" if task is None else check_task(task)
        self.units = (units,) if isinstance(units, str) else tuple(units or ())
        self.returns_tensor = False
        self.name = name or accepted.name
        self._binding: Binding | None = None
        self.source = source or accepted.source
        self.caveats = (*accepted.caveats, *caveats)
        self.assumed_from = assumed_from
        self.labels_from = ""
        self.layouts = dict(layouts or {})
        self.conversion: Conversion | None = None
        self.cache = NetworkCache()
        self.quantized_gradient_watcher: QuantizedGradientWatcher | None = None
        self.memory_format_watcher: MemoryFormatWatcher | None = None
        self._contents: TensorContents | None = None
        self._attributes: AttributeSnapshot | None = None
        if accepted.check is not None:
            accepted.check(self)

    @property
    def binding(self) -> Binding | None:
        """How the network is called with the tensor that a lens explains; None where it takes this tensor as it is."""
        if self._binding is None and isinstance(self.input, NamedInputs):
            return Unbound(self.input.names)
        if self._binding is None and isinstance(self.input, TokenInput):
            return TokenNumbers(self.input.size)
        return self._binding

    def bound(self, binding: Binding, input: InputSpec, cache: NetworkCache) -> "Model":
        """The same network as one that takes the tensor which ``binding`` turns into its inputs."""
        model = copy.copy(self)
        vars(model).update(_binding=binding, input=input, cache=cache)
        return model

    def __repr__(self) -> str:
        if isinstance(self.input, NamedInputs):
            return f"Model({self.name}, inputs {', '.join(self.input.names)}, {len(self.labels or ())} labels)"
        shape = (self.input.channels, *self.input.size) if isinstance(self.input, ImageInput) else self.input.shape  # type: ignore[misc]
        accepted = "×".join(str(n) for n in shape) + " input" if shape else "prepared tensors"
        return f"Model({self.name}, {accepted}, {len(self.labels or ())} labels)"

    @property
    def device(self) -> torch.device:
        """The device of the network; the CPU for a network without parameters and buffers."""
        tensor = first_float_tensor(self)
        return torch.device("cpu") if tensor is None else tensor.device

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the network's input."""
        return input_dtype(self.module) or torch.float32

    def to(self, device: str | torch.device) -> "Model":
        """Move the network to a device and return the model."""
        self.module.to(device)
        return self

    def scripted_part(self) -> str | None:
        """The address of the first traced or scripted module (torch.jit), whose operations are hidden; None if none."""
        return next((a for a, m in self.module.named_modules() if isinstance(m, torch.jit.ScriptModule)), None)

    def quantized_part(self) -> str | None:
        """The address of the first module that computes with integers; None if none does."""
        if not self.cache[_QUANTIZED]:
            self.cache[_QUANTIZED] = (first_quantized_layer(self.module),)
        return self.cache[_QUANTIZED][0]

    def require_gradient(self) -> None:
        """Refuse to compute a gradient through a quantized operation of the last forward, which has none.

        Raises:
            NoGradient: the tensor whose gradient is requested was quantised in the network.
        """
        lost_at = None if self.quantized_gradient_watcher is None else self.quantized_gradient_watcher.lost_at
        if lost_at is not None:
            where = f"layer {lost_at!r} of {self.name}" if lost_at else self.name
            raise NoGradient(
                f"{where} is quantised (it computes with int8 numbers) and passes no gradient: use a lens that needs "
                "none (occlusion, rise, eigen-cam, score-cam), or explain the network before quantisation"
            )

    def layers(self) -> list[str]:
        """All layer addresses."""
        return [address for address, _ in self.module.named_modules() if address]

    def label(self, index: int) -> str:
        """The name of a class."""
        return self.labels[index] if self.labels and index < len(self.labels) else f"class {index}"

    def unit_of(self, index: int) -> str:
        """The unit of a number that a regression gives; empty if there is none."""
        return self.units[index] if index < len(self.units) else self.units[0] if len(self.units) == 1 else ""

    def prepare(self, image: Any) -> Images:
        """Turn paths, pictures, arrays or tensors into a prepared batch on this model's device."""
        return prepare_input(self, image)

    def prepare_samples(self, given: Any) -> NamedImages:
        """Turn samples of several inputs into prepared batches by name on this model's device.

        Raises:
            InputError: the number or the names of the inputs do not fit, or there are more of one than of another.
        """
        return prepare_samples(self, given)

    def example(self) -> Tensor:
        """One random prepared input (1, C, …) of the size that the network expects, for inspecting its layers.

        Raises:
            InputError: the size of an input is unknown.
        """
        return example_input(self)

    def run(self, tensor: Tensor) -> Tensor:
        """One forward of a prepared batch; the selected output as a tensor whose first axis is the batch.

        The first forward for each input shape is observed to determine the meaning of the output.
        """
        key = tuple(tensor.shape[1:])
        if key in self.cache[MEANINGS] or not can_trace_provenance():
            return selected_output(self, self.run_module(tensor), len(tensor))
        output, self.cache[MEANINGS][key] = run_observed(self, tensor)
        check_labels_of(self, output)
        return output

    def run_recorded(self, tensor: Tensor, recorder: AbstractContextManager[Any]) -> Tensor:
        """One forward under a recorder of operations, which also determines the meaning of the output."""
        provenance = ProvenanceMode(self.module)
        with provenance, recorder:
            output = selected_output(self, self.run_module(tensor), len(tensor), check=False)
        self.cache[MEANINGS].setdefault(tuple(tensor.shape[1:]), provenance.meaning_of(output))
        check_labels_of(self, output)
        return output

    @property
    def task(self) -> Task | None:
        """What the network does: as specified for the model, else by the last output; None if there is none yet."""
        return known_task(self)

    def task_for(self, tensor: Tensor) -> Task:
        """What the network does with inputs like ``tensor``; runs one of them if none has been run yet."""
        if self.task is None:
            with self.preserve_state(), torch.no_grad():
                self.run(self.input_copy(tensor[:1]))
        assert self.task is not None, "every output that can be run has a task"
        return self.task

    @property
    def meaning(self) -> Meaning:
        """The meaning of the output: as specified for the model, by its task, else as observed; by default scores."""
        task, observed = self.task if self._given_meaning is None else None, self.meaning_of_values
        if task is None or task.meaning in ("", observed.kind):
            return observed
        if task.meaning in SIGMOID_OF_SCORES and observed.kind not in ("logits", "unknown"):
            return observed
        return Meaning(task.meaning, given_by_user=bool(self.task_name))

    @property
    def meaning_of_values(self) -> Meaning:
        """The meaning of the output as specified for the model or as observed in a forward, whatever its task is."""
        return meaning_of_values(self, self._given_meaning)

    def meaning_for(self, tensor: Tensor) -> Meaning:
        """The meaning of the output for inputs like ``tensor``; runs one of them if none has been run yet."""
        if tuple(tensor.shape[1:]) not in self.cache[MEANINGS]:
            with torch.no_grad():
                self.run(self.input_copy(tensor[:1]))
        return self.meaning

    def copy_meanings_from(self, model: "Model") -> None:
        """Copy the known meanings of the output of another model with the same architecture."""
        meanings = model.cache[MEANINGS]
        self.cache[MEANINGS].update(meanings)
        self.cache[LAST_RUN] = replace(model.cache[LAST_RUN])

    def check_labels(self, outputs: int) -> None:
        """Check that there are as many labels as outputs.

        Raises:
            OutputError: the number of labels does not fit the number of outputs.
        """
        check_labels(self, outputs)

    def run_module(self, tensor: Tensor) -> Any:
        """One forward of a prepared batch; the module's own output, of any type."""
        count_passes(forwards=len(tensor))
        self.cache[LAST_RUN].input = tuple(tensor.shape[1:])
        watching_writes = nullcontext() if self._contents is None else self._contents.first_forward()
        watching_format = self.memory_format_watcher or nullcontext()
        with self.wrap_forward_errors(tuple(tensor.shape)), caller_settings(), watching_writes, watching_format:
            if self.quantized_part() is None:
                return self._call(tensor)
            with QuantizedGradientWatcher(self.module) as self.quantized_gradient_watcher:
                return self._call(tensor)

    def _call(self, tensor: Tensor) -> Any:
        return self.module(tensor) if self.binding is None else self.binding.run(self.module, tensor)

    @contextmanager
    def wrap_forward_errors(self, shape: tuple[int, ...]) -> Iterator[None]:
        """Raise an exception of the network's forward on an input of this shape as `ModelFailed`."""
        try:
            yield
        except ConvScopeError:
            raise
        except Exception as error:
            raise forward_failure(self, shape, error) from error

    @contextmanager
    def wrap_backward_errors(self) -> Iterator[None]:
        """Raise an exception of the network's backward pass, such as one of its hooks', as `ModelFailed`."""
        try:
            yield
        except ConvScopeError:
            raise
        except Exception as error:
            raise ModelFailed(f"{self.name} raised {type(error).__name__} in the backward pass: {error}") from error

    def input_copy(self, tensor: Tensor) -> Tensor:
        """A copy of ``tensor`` that the network may write to, in the memory format in which it runs fastest."""
        shape = tuple(tensor.shape)
        if shape not in self.cache[_MEMORY_FORMATS]:
            self.cache[_MEMORY_FORMATS][shape] = self._memory_format_for(tensor)
        return tensor.detach().clone(memory_format=self.cache[_MEMORY_FORMATS][shape])

    def _memory_format_for(self, tensor: Tensor) -> torch.memory_format:
        if self.binding is not None:
            return torch.contiguous_format
        fastest = fastest_memory_format(self.module, tensor)
        if fastest is torch.channels_last and not self.takes_channels_last(tensor):
            return torch.contiguous_format
        return fastest

    def takes_channels_last(self, tensor: Tensor) -> bool:
        """Whether the network accepts channels-last inputs like ``tensor`` and computes the same for them."""
        if self.binding is not None:
            return False
        with self.preserve_state(), self.wrap_forward_errors(tuple(tensor.shape)):
            return takes_channels_last(self.module, tensor)

    @contextmanager
    def preserve_state(self, *, frozen: bool = True) -> Iterator[None]:
        """Exclusive access to the network, in eval mode and by default frozen; its state is restored exactly on exit.

        Other threads wait if the network that they run shares a module or a tensor with this one.
        """
        with exclusive_access(self._attributes_now) as (attributes, already_held):
            if already_held:  # a lens that calls a lens, on the same network or on a part of it
                yield
                return
            # Kept for the next call, except where it might keep large tensors alive that the network drops until then.
            self._attributes = attributes if attributes.state.is_registered() else None
            # Facts that were found by running other modules, or with other backward hooks, are outdated.
            self.cache.forget_outdated(attributes.modules, backward_hooks(attributes.modules))
            with preserve_state(attributes.modules, frozen=frozen, attributes=attributes) as self._contents:
                try:
                    yield
                finally:
                    self._contents = None

    def _attributes_now(self) -> AttributeSnapshot:
        """The attributes of the network: those of the last call, if nothing has changed since."""
        known = self._attributes
        return known if known is not None and known.is_current(self.module) else AttributeSnapshot([self.module])

    def __getstate__(self) -> dict[str, Any]:
        """All attributes but the cache and the state of a run."""
        transient = ("cache", "_contents", "_attributes", "quantized_gradient_watcher", "memory_format_watcher")
        return {name: value for name, value in vars(self).items() if name not in transient}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(
            state,
            cache=NetworkCache(),
            _contents=None,
            _attributes=None,
            quantized_gradient_watcher=None,
            memory_format_watcher=None,
        )

    def description(self) -> dict[str, Any]:
        """The entry for this model in the record of a value."""
        spec = self.input
        settings = {field.name: getattr(spec, field.name) for field in fields(spec) if field.repr}
        settings = {name: value for name, value in settings.items() if value is not None}
        described = {"name": self.name, "source": self.source, "input": {"kind": type(spec).__name__, **settings}}
        task = self.task
        if task is not None and (self.task_name or task.name != "classification"):
            described["task"] = task.name
        return described if self.conversion is None else {**described, "conversion": vars(self.conversion)}


def as_model(model_or_module: Any) -> Model:
    """A `Model` as it is; a bare module becomes one that takes prepared tensors."""
    if isinstance(model_or_module, Model):
        return model_or_module
    if not is_accepted(model_or_module):
        raise InputError(f"a model comes from cs.load(…) or cs.Model(module, …), got {type(model_or_module).__name__}")
    model = Model(model_or_module)
    if model.module is model_or_module:
        model.cache = cache_of(model.module)
    return model
