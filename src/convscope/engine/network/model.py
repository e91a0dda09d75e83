"""A network together with what it takes to feed and read it."""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from convscope.engine.context.metering import count_passes
from convscope.engine.inputs.specs import ImageInput, Images, InputSpec, TensorInput, read_images
from convscope.engine.network.cache import Entry, NetworkCache, cache_of
from convscope.engine.network.input_dtype import input_dtype
from convscope.engine.network.labels import label_names
from convscope.engine.network.locking import exclusive
from convscope.engine.network.memory_format import LayoutWatch, fastest_layout, takes_channels_last
from convscope.engine.network.module_state import module_state
from convscope.engine.network.output_meaning import SAID, Meaning, said
from convscope.engine.network.output_provenance import Watch, watchable
from convscope.engine.network.packaged import why_it_failed
from convscope.engine.network.quantized import GradientWatch, quantized_layer
from convscope.engine.network.state_guard import backward_hooks, untouched
from convscope.engine.network.tensor_contents import TensorContents
from convscope.engine.network.torch_context import put_back
from convscope.errors import ConvScopeError, InputError, ModelFailed, NoGradient, OutputError

OutputSelector = str | int | Callable[[Any], Tensor]
"""Which part of a tuple or dict output is explained: a key, an index or a function."""


RANDOM_WEIGHTS = ("random weights: the network has learned nothing",)
"""The caveat of a network without trained weights."""

_MEANINGS: Entry[dict[tuple[int, ...], Meaning]] = Entry("meanings", dict)
"""By the shape of an input, what the output's numbers are."""

_MEMORY_FORMATS: Entry[dict[tuple[int, ...], torch.memory_format]] = Entry("memory formats", dict)
"""By the shape of a batch, the memory format in which the network runs fastest."""

_QUANTIZED: Entry[tuple[str | None, ...]] = Entry("quantized", tuple)
"""The address of the first quantized layer, None where there is none; empty before it was looked for."""


class Model:
    """A network, how it wants its input, and the names of its answers.

    Args:
        module: the network; any ``torch.nn.Module``, on any device, in any floating-point precision.
        input: an `ImageInput`, or a `TensorInput` for signals and volumes; without one the model takes prepared
            tensors (N, C, …) only.
        labels: one name per class, as a list, ``{index: name}`` or ``{name: index}``; without them classes are called
            by their number. One output with two labels tells two classes apart: the second is its positive side.
        output: for networks that return a tuple or a dict, which part is meant: a key, an index or a function. Of a
            network that returns a plain tensor a word of ``meaning`` says what it is.
        meaning: what the output's numbers are, where that should not be read from the operation that made them:
            ``logits``, ``multilabel`` (scores of labels that do not exclude each other), ``probabilities`` (or
            ``softmax``, ``sigmoid``), ``log-probabilities``, ``tanh`` or ``value`` (no classes at all).
        source: where it came from, as an address; it is written beside every result.
        name: what to call it; by default the class of the module.
        caveats: what every picture made with it must say, such as "random weights".
        layouts: how outputs of layers lie, by address, where that cannot be found out by running the network:
            ``{"encoder": "N T C"}`` (`engine/layers/described_layout.py` says how it is written).
        assumed_from: whose preparation of images ``input`` is, where these weights may have been trained with another.

    Example:
        >>> import torch, convscope as cs
        >>> net = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.Flatten(), torch.nn.LazyLinear(2))
        >>> model = cs.Model(net, input=cs.ImageInput(size=8, channels=1), labels=["no", "yes"])
        >>> model
        Model(Sequential, 1×8×8 input, 2 labels)
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        input: InputSpec | None = None,
        labels: Sequence[str] | Mapping[Any, Any] | None = None,
        output: OutputSelector | None = None,
        meaning: str | None = None,
        source: str | None = None,
        name: str | None = None,
        caveats: Sequence[str] = (),
        layouts: Mapping[str, str] | None = None,
        assumed_from: str = "",
    ) -> None:
        if not isinstance(module, nn.Module):
            program = "; an exported program's is program.module()" if hasattr(module, "graph_module") else ""
            raise InputError(f"a model is built from a torch.nn.Module, got {type(module).__name__}{program}")
        if input is not None and not isinstance(input, (ImageInput, TensorInput)):
            raise InputError(f"input must be an ImageInput or a TensorInput, got {type(input).__name__}")
        self.module = getattr(module, "_orig_mod", module)  # a compiled network hides its layers: look at its source
        self.input: InputSpec = input if input is not None else TensorInput()
        self.labels = label_names(labels)
        self.output = output
        self._told = None if meaning is None else said(meaning)
        self._gives_tensor = False
        self.name = name or type(self.module).__name__
        self.source = source or f"python:{type(self.module).__module__}.{type(self.module).__qualname__}"
        self.caveats = tuple(caveats)
        self.assumed_from = assumed_from
        self.labels_from = ""
        self.layouts = dict(layouts or {})
        self.cache = NetworkCache()
        self.gradient_watch: GradientWatch | None = None
        self.layout_watch: LayoutWatch | None = None
        self._contents: TensorContents | None = None

    def __repr__(self) -> str:
        shape = (self.input.channels, *self.input.size) if isinstance(self.input, ImageInput) else self.input.shape  # type: ignore[misc]
        taken = "×".join(str(n) for n in shape) + " input" if shape else "prepared tensors"
        return f"Model({self.name}, {taken}, {len(self.labels or ())} labels)"

    @property
    def device(self) -> torch.device:
        """Where the network lives; the CPU for one without parameters and buffers."""
        return self._some_tensor().device

    @property
    def dtype(self) -> torch.dtype:
        """The precision in which the network takes its input."""
        return input_dtype(self.module) or torch.float32

    def to(self, device: str | torch.device) -> "Model":
        """Move the network and give the model back."""
        self.module.to(device)
        return self

    def scripted(self) -> str | None:
        """The address of the first part that is traced or scripted (torch.jit) and so hidden; None if none is."""
        return next((a for a, m in self.module.named_modules() if isinstance(m, torch.jit.ScriptModule)), None)

    def quantized_part(self) -> str | None:
        """The address of the first part that computes with integers; None where none does."""
        if not self.cache[_QUANTIZED]:
            self.cache[_QUANTIZED] = (quantized_layer(self.module),)
        return self.cache[_QUANTIZED][0]

    def require_gradient(self) -> None:
        """Refuse to take a gradient where the last forward led it into an operation on integers, which passes none.

        Raises:
            NoGradient: the numbers whose gradient is wanted were quantised in the network.
        """
        lost_at = None if self.gradient_watch is None else self.gradient_watch.lost_at
        if lost_at is not None:
            where = f"layer {lost_at!r} of {self.name}" if lost_at else self.name
            raise NoGradient(
                f"{where} is quantised (it computes with int8 numbers) and passes no gradient: use a lens that needs "
                "none (occlusion, rise, eigen-cam, score-cam), or explain the network as it was before it was quantised"
            )

    def layers(self) -> list[str]:
        """All layer addresses."""
        return [address for address, _ in self.module.named_modules() if address]

    def label(self, index: int) -> str:
        """The name of a class."""
        return self.labels[index] if self.labels and index < len(self.labels) else f"class {index}"

    def prepare(self, image: Any) -> Images:
        """Turn paths, pictures, arrays or tensors into a prepared batch on this model's device."""
        if isinstance(image, Images):
            return image
        own = self._own_tensor()
        if own is None and isinstance(image, Tensor):  # nothing to go by but the input itself
            return read_images(image, self.input, device=image.device, dtype=image.dtype)
        device = self.device

        def read(dtype: torch.dtype) -> Images:
            return read_images(image, self.input, device=device, dtype=dtype)

        return read(input_dtype(self.module, lambda dtype: self._takes(read(dtype).tensor)) or torch.float32)

    def _takes(self, tensor: Tensor) -> bool:
        """Whether the network runs on the first input, or on all of them together."""
        with self.untouched(), torch.no_grad():
            for inputs in (tensor[:1], tensor):
                try:
                    self.run_plainly(inputs.clone())
                except ModelFailed:
                    continue
                return True
        return False

    def example(self) -> Tensor:
        """One prepared input (1, C, …) of the size the network wants, for looking at what its layers give.

        Raises:
            InputError: nothing says what an input looks like.
        """
        spec = self.input
        shape = (spec.channels, *spec.size) if isinstance(spec, ImageInput) else spec.shape  # type: ignore[misc]
        if shape is None:
            raise InputError(
                f"nothing says what an input of {self.name} looks like: pass an image, or say it with "
                "input=cs.ImageInput(size=…) or input=cs.TensorInput(shape=…)"
            )
        drawn = torch.randn(
            1, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float32, device="cpu"
        )  # lively, so that no branch is dead
        drawn = drawn.to(self.device)
        return drawn.to(input_dtype(self.module, lambda dtype: self._takes(drawn.to(dtype))) or torch.float32)

    def run(self, tensor: Tensor) -> Tensor:
        """One forward of a prepared batch; the selected output as a tensor whose first axis is the batch.

        The first forward of inputs of a shape is watched for what the output means.
        """
        key = tuple(tensor.shape[1:])
        if key in self.cache[_MEANINGS] or not watchable():
            return self._selected(self.run_plainly(tensor), len(tensor))
        output, self.cache[_MEANINGS][key] = self._run_watched(tensor)
        self._check_labels_of(output)
        return output

    def run_recorded(self, tensor: Tensor, recorder: AbstractContextManager[Any]) -> Tensor:
        """One forward under a recorder of operations, which is watched for what the output means as well."""
        watch = Watch(self.module)
        with watch, recorder:
            output = self._selected(self.run_plainly(tensor), len(tensor), check=False)
        self.cache[_MEANINGS].setdefault(tuple(tensor.shape[1:]), watch.meaning_of(output))
        self._check_labels_of(output)
        return output

    def _run_watched(self, tensor: Tensor) -> tuple[Tensor, Meaning]:
        """One forward and what its output means; unknown for a network that runs only where nobody watches."""
        watch, version = Watch(self.module), -1 if tensor.is_inference() else tensor._version
        try:
            with watch:
                output = self._selected(self.run_plainly(tensor), len(tensor), check=False)
        except ModelFailed:
            if version < 0 or tensor._version != version:  # it wrote to its input, and can only be run once
                raise
            return self._selected(self.run_plainly(tensor), len(tensor), check=False), Meaning("unknown")
        return output, watch.meaning_of(output)

    @property
    def meaning(self) -> Meaning:
        """What the output's numbers are: as the model was told, else as read in a forward; scores until one has run."""
        read = next(reversed(self.cache[_MEANINGS].values()), Meaning())
        word = self._meaning_word if self._gives_tensor else ""
        told = self._told or (said(word) if word else None)
        if told is None or (told.kind == "multilabel" and read.kind in ("sigmoid", "log-sigmoid")):
            return read
        return told

    @property
    def _meaning_word(self) -> str:
        """What was passed as ``output``, where it names a meaning and not a part."""
        return self.output if isinstance(self.output, str) and self.output in SAID else ""

    def meaning_for(self, tensor: Tensor) -> Meaning:
        """What the output's numbers are for inputs like ``tensor``; runs one of them where none has been run."""
        if tuple(tensor.shape[1:]) not in self.cache[_MEANINGS]:
            with torch.no_grad():
                self.run(self.laid_out(tensor[:1]))
        return self.meaning

    def adopt_meanings(self, model: "Model") -> None:
        """Take over what is known of the output of another model with the same architecture."""
        known = model.cache[_MEANINGS]
        self.cache[_MEANINGS].update(known)

    def check_labels(self, outputs: int) -> None:
        """Refuse labels that are not as many as the outputs, once these are known.

        Raises:
            OutputError: so many labels cannot name so many outputs.
        """
        names = len(self.labels or ())
        two_sides = outputs == 1 and names == 2 and self.meaning.kind != "value"
        if names and names != outputs and not two_sides:
            plural = "s" if outputs != 1 else ""
            if self.labels_from:
                raise OutputError(
                    f"labels={self.labels_from!r} has {names} name{'s' * (names != 1)} for the {outputs} "
                    f"output{plural} of {self.name}: give one name per output, in their order"
                )
            raise OutputError(
                f"{self.name} was given {names} label{'s' * (names != 1)} for {outputs} output{plural}: give one name "
                "per output" + (", or two for an output that tells two classes apart" if outputs == 1 else "")
            )

    def run_plainly(self, tensor: Tensor) -> Any:
        """One forward of a prepared batch; whatever the network gives."""
        count_passes(forwards=len(tensor))
        watched = nullcontext() if self._contents is None else self._contents.first_forward()
        with self._failing_by_name(tensor), put_back(), watched, self.layout_watch or nullcontext():
            if self.quantized_part() is None:
                return self.module(tensor)
            with GradientWatch(self.module) as self.gradient_watch:
                return self.module(tensor)

    @contextmanager
    def _failing_by_name(self, tensor: Tensor) -> Iterator[None]:
        """What the network raises on an input is the network's failure."""
        try:
            yield
        except ConvScopeError:
            raise
        except Exception as error:
            shape = tuple(tensor.shape)
            said = why_it_failed(self.module, error)
            raise ModelFailed(f"{self.name} raised {type(error).__name__} on input {shape}: {said}") from error

    @contextmanager
    def on_the_way_back(self) -> Iterator[None]:
        """While gradients are taken: what a hook of the network raises is the network's failure, as in its forward."""
        try:
            yield
        except ConvScopeError:
            raise
        except Exception as error:
            raise ModelFailed(f"{self.name} raised {type(error).__name__} on the way back: {error}") from error

    def laid_out(self, tensor: Tensor) -> Tensor:
        """A copy of ``tensor``, which the network may write to, in the memory layout in which it runs fastest."""
        shape = tuple(tensor.shape)
        if shape not in self.cache[_MEMORY_FORMATS]:
            self.cache[_MEMORY_FORMATS][shape] = self._layout_for(tensor)
        return tensor.detach().clone(memory_format=self.cache[_MEMORY_FORMATS][shape])

    def _layout_for(self, tensor: Tensor) -> torch.memory_format:
        fastest = fastest_layout(self.module, tensor)
        if fastest is torch.channels_last and not self.takes_channels_last(tensor):
            return torch.contiguous_format
        return fastest

    def takes_channels_last(self, tensor: Tensor) -> bool:
        """Whether the network accepts and computes the same where inputs like ``tensor`` lie channels-last."""
        with self.untouched(), self._failing_by_name(tensor):
            return takes_channels_last(self.module, tensor)

    @contextmanager
    def untouched(self, *, frozen: bool = True) -> Iterator[None]:
        """Have the network to oneself, in eval mode and (mostly) frozen; it comes back exactly as it was.

        Other threads wait, whichever network they run, as long as it shares a module or a tensor with this one.
        """
        with exclusive(lambda: module_state([self.module])) as (state, inside_already):
            if inside_already:  # a lens that calls a lens, on the same network or on a part of it
                yield
                return
            with untouched(self._present_modules(), frozen=frozen, state=state) as self._contents:
                try:
                    yield
                finally:
                    self._contents = None

    def _present_modules(self) -> tuple[nn.Module, ...]:
        """The network's modules; when they changed, what was found by running it is forgotten."""
        modules = tuple(self.module.modules())
        self.cache.forget_outdated(modules, backward_hooks(modules))
        return modules

    def __getstate__(self) -> dict[str, Any]:
        """What is found by running is not carried into another process."""
        left = ("cache", "_contents", "gradient_watch", "layout_watch")
        return {name: value for name, value in vars(self).items() if name not in left}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, cache=NetworkCache(), _contents=None, gradient_watch=None, layout_watch=None)

    def described(self) -> dict[str, Any]:
        """What a record says of this model."""
        spec = self.input
        taken = {k: v for k, v in vars(spec).items() if v is not None}
        return {"name": self.name, "source": self.source, "input": {"kind": type(spec).__name__, **taken}}

    def _selected(self, output: Any, batch: int, *, check: bool = True) -> Tensor:
        self._gives_tensor = isinstance(output, Tensor)
        if self.output is not None and not (self._gives_tensor and self._meaning_word):
            output = _select(output, self.output, self.name)
        if not isinstance(output, Tensor):
            raise OutputError(_say_what_is_inside(output, self.name))
        if output.ndim == 0 or len(output) != batch or 0 in output.shape:
            raise OutputError(
                f"{self.name} gave an output of shape {tuple(output.shape)} for {batch} images: "
                "its first axis must be the batch, and no axis empty"
            )
        selected: Tensor = output[:, None] if output.ndim == 1 else output
        if check:
            self._check_labels_of(selected)
        return selected

    def _check_labels_of(self, output: Tensor) -> None:
        """Refuse labels of another number than the outputs, where there is one row of scores per image."""
        if self.labels is not None and math.prod(output.shape[2:]) == 1:
            self.check_labels(output.shape[1])

    def _own_tensor(self) -> Tensor | None:
        tensors = itertools.chain(self.module.parameters(), self.module.buffers())
        return next((t for t in tensors if t.is_floating_point()), None)

    def _some_tensor(self) -> Tensor:
        own = self._own_tensor()
        return torch.empty(0, dtype=torch.float32, device="cpu") if own is None else own


def as_model(given: Any) -> Model:
    """``given`` as a `Model`; a bare module becomes one that takes prepared tensors."""
    if isinstance(given, Model):
        return given
    if isinstance(given, nn.Module):
        model = Model(given)
        model.cache = cache_of(model.module)
        return model
    raise InputError(f"a model comes from cs.load(…) or cs.Model(module, …), got {type(given).__name__}")


def _select(output: Any, selector: OutputSelector, name: str) -> Any:
    if callable(selector):
        try:
            return selector(output)
        except Exception as error:
            raise OutputError(
                f"output={selector!r} raised {type(error).__name__}: {error}; {_inside(output)}"
            ) from error
    try:
        if isinstance(selector, str) and not isinstance(output, Mapping):
            return getattr(output, selector)
        return output[selector]
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise OutputError(f"{name}'s output has no part {selector!r}; {_inside(output)}") from error


def _say_what_is_inside(output: Any, name: str) -> str:
    remedy = "say which part is meant: Model(…, output=…) takes a key, an index or a function"
    return f"{name} gives {type(output).__name__}, not a tensor; {_inside(output)}; {remedy}"


def _inside(output: Any) -> str:
    if isinstance(output, Mapping):
        return f"it has the keys {', '.join(repr(key) for key in output)}"
    named = getattr(output, "_fields", None) or list(getattr(output, "__dataclass_fields__", ()))
    if named:
        return f"it has the parts {', '.join(named)}"
    if isinstance(output, (tuple, list)):
        return f"it has {len(output)} parts"
    return f"it is a {type(output).__name__}"
