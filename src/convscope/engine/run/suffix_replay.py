"""Scores many variants of one layer's activation by running only the operations that depend on the layer.

The network's forward runs once on the image while a function mode records the result of every operation. To score
variants it runs again: an operation that does not depend on the layer returns its recorded result without computing,
and at the layer one activation becomes many under `torch.vmap`, so that the network's code still sees a batch of one
and its shape arithmetic stays valid. Recorded results are kept only where a later operation combines them with the
layer's output (the other branch of a residual sum); elsewhere an empty tensor of the same shape replaces them.

First the unchanged activation is scored, which must reproduce the network's output. Where it does not, or where the
network does something that `vmap` cannot (reads a number from a tensor, writes into an earlier result, calls scripted
functions), every variant is scored by a full forward pass with the layer's output replaced, and a note says why.
"""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from convscope.engine.context.chunking import chunk_size, chunk_size_after_layer, in_chunks
from convscope.engine.context.metering import report_progress
from convscope.engine.inputs.specs import Images
from convscope.engine.layers.layer_trace import as_feature_map, call_count, layout_of
from convscope.engine.network.accumulation_dtype import upcast
from convscope.engine.network.hooks import replace_output
from convscope.engine.network.model import Model
from convscope.engine.network.scripted_modules import unreached_message
from convscope.engine.run.gradients import read_out
from convscope.engine.targets.target import Target
from convscope.errors import LayerError, ModelFailed
from convscope.values.facts import Fact

Edit = Callable[[Tensor, Tensor], None]
"""``(maps, numbers)``: change copies of the layer's map (B, C, …), in place, into the variants ``numbers`` (B,)."""

_TOLERANCE = 1e-4
"""The largest difference between the replayed and the original output, relative to the largest number of it."""


@dataclass(frozen=True)
class VariantScores:
    """One layer's map (N, C, …), the scores of its variants (N, variants), and notes per image."""

    activation: Tensor
    scores: Tensor
    notes: list[dict[str, Any]]


def score_variants(
    model: Model, images: Images, target: Target, address: str, plan: Callable[[Tensor], tuple[int, Edit]]
) -> VariantScores:
    """Score variants of the activation at a layer, for every image; this settles the target.

    Args:
        plan: from the layer's map (1, C, …), the number of variants and the function that makes them.
    """
    activations, scores, notes = [], [], []
    for row in range(len(images)):
        replay = SuffixReplay(model, images.tensor[row : row + 1], target, row, address)
        variants, edit = plan(replay.map)
        image_scores = torch.empty(variants, dtype=torch.float64, device="cpu")

        def step(
            numbers: Tensor,
            row: int = row,
            replay: SuffixReplay = replay,
            edit: Edit = edit,
            image_scores: Tensor = image_scores,
        ) -> None:
            maps = replay.map.expand(len(numbers), *replay.map.shape[1:]).clone()
            edit(maps, numbers.to(maps.device))
            image_scores[numbers] = replay.scores(maps).cpu().double()
            report_progress(row * len(image_scores) + int(numbers[-1]) + 1, len(images) * len(image_scores))

        in_chunks(variants, replay.activation[0], step, size=replay.chunk, quiet=True)
        activations.append(upcast(replay.map))
        scores.append(image_scores)
        notes.append(
            {} if replay.why_full is None else {"recomputed": Fact("the whole network: {why}", why=replay.why_full)}
        )
    return VariantScores(torch.cat(activations), torch.stack(scores), notes)


class SuffixReplay:
    """The part of a network that depends on one layer, for one image.

    Attributes:
        activation: the layer's output, in its last call; ``map`` is the same as (1, C, …).
        chunk: how many variants run together.
        why_full: why variants need full forward passes; None where they do not.
    """

    def __init__(self, model: Model, image: Tensor, target: Target, row: int, address: str) -> None:
        self.model, self.target, self.address, self.row = model, target, address, torch.tensor([row], device="cpu")
        self.call = call_count(model, address, image)  # runs a forward pass that also determines the memory format
        self.image = model.input_copy(image)
        self.tensor = self.image.clone()  # the network may write to it
        recorder = _CallRecorder(model, self.tensor)
        with torch.no_grad(), recorder, replace_output(model.module, address, recorder.begin, call=self.call):
            output = read_out(model, self.tensor, target)
        if recorder.activation is None:
            ended = (
                " (a branch not taken)"
                if target.layer is None
                else f", which ends at the target's own layer {target.layer!r}"
            )
            raise LayerError(unreached_message(model.module, address, ended))
        self.activation = recorder.activation
        self.map = as_feature_map(model, address, image, self.activation)
        self.layout = layout_of(model, address, image)
        target.score(output, self.row)
        self.why_full = recorder.why_not(output)
        if self.why_full is None:
            self.calls = recorder.calls_without_unused_results()
            self.why_full = self._why_replay_fails(output)
        self.chunk = (
            chunk_size_after_layer(recorder.largest, image.device)
            if self.why_full is None
            else chunk_size(image[0], light=True)
        )

    def scores(self, maps: Tensor) -> Tensor:
        """The score of each of the variants ``maps`` (B, C, …) of the layer's map. The network may write to them."""
        variants = self.layout.from_map(maps, self.activation)
        outputs = self._replayed_outputs(variants) if self.why_full is None else self._full_outputs(variants)
        return self.target.score(outputs, self.row.expand(len(outputs)), clean=False)

    def _replayed_outputs(self, variants: Tensor) -> Tensor:
        def forward(variant: Tensor) -> Tensor:
            with (
                _Replayer(self.calls),
                replace_output(self.model.module, self.address, lambda _: variant, call=self.call),
            ):
                return read_out(self.model, self.tensor, self.target)

        with torch.no_grad(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="There is a performance drop")  # not every operation batches
            outputs: Tensor = torch.vmap(forward, randomness="same")(variants)
        return outputs.flatten(0, 1)

    def _full_outputs(self, variants: Tensor) -> Tensor:
        inputs = self.model.input_copy(self.image.expand(len(variants), *self.image.shape[1:]))
        joined = self.layout.from_images(variants)
        with torch.no_grad(), replace_output(self.model.module, self.address, lambda _: joined, call=self.call):
            return read_out(self.model, inputs, self.target)

    def _why_replay_fails(self, output: Tensor) -> str | None:
        """Why the unchanged activation, twice, does not reproduce the network's output; None where it does."""
        try:
            replayed = self._replayed_outputs(self.activation.expand(2, *self.activation.shape).clone())
        except (ModelFailed, RuntimeError) as error:  # vmap raises either
            return Fact("what lies above the layer cannot run for many at once ({error})", error=_first_line(error))
        allowed = _TOLERANCE * float(output.abs().max())
        if replayed.shape[1:] != output.shape[1:] or float((replayed - output).abs().max()) > allowed:
            return Fact("what lies above the layer does not give the same answer when it runs alone")
        return None


@dataclass(frozen=True)
class _Call:
    """One operation of a forward pass, its result, and whether the result depends on the layer."""

    func: Any
    result: Any
    depends: bool


class _CallRecorder(TorchFunctionMode):
    """Records the result of every operation, and which of them depend on the layer."""

    def __init__(self, model: Model, tensor: Tensor) -> None:
        super().__init__()
        self.activation: Tensor | None = None
        self.calls: list[_Call] = []
        self.largest = 1
        members = [v for m in model.module.modules() for t in (m._parameters, m._buffers, vars(m)) for v in t.values()]
        own = () if model.binding is None else model.binding.tensors()
        self.known = {id(t): t for t in (tensor, *own, *_tensors(members))}  # kept alive, so that no id is reused
        self.dependent: set[int] = set()
        self.needed: dict[int, int] = {}  # independent tensors that dependent operations use, with their versions
        self.hidden = self.overwritten = self.paused = False

    def begin(self, output: Tensor) -> Tensor:
        """Record the layer's output; everything computed from what is returned depends on the layer."""
        self.paused = True
        self.activation, returned, self.largest = output.detach().clone(), output.clone(), output.numel()
        self.paused = False
        self._remember(returned, depends=True)
        return returned

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self.paused:
            return func(*args, **kwargs)
        operands = list(_tensors((args, kwargs)))
        depends = any(id(t) in self.dependent for t in operands)
        self.hidden |= any(id(t) not in self.known for t in operands)
        if depends:
            self._need(t for t in operands if id(t) not in self.dependent)
        result = func(*args, **kwargs)
        results = list(_tensors(result))
        for tensor in results:
            self._remember(tensor, depends=depends)
            self.largest = max(self.largest, tensor.numel()) if depends else self.largest
        self.calls.append(_Call(func, result, depends or not (operands or results)))  # switches are set again
        return result

    def why_not(self, output: Tensor) -> str | None:
        """Why this forward pass cannot be replayed from the layer on; None where it can."""
        if self.hidden or id(output) not in self.known:
            return Fact("parts of it are scripted or hidden, so that what they do is not seen")
        if self.overwritten or any(_version(self.known[key]) != version for key, version in self.needed.items()):
            return Fact("what comes from below the layer is written over after its use")
        return None

    def calls_without_unused_results(self) -> list[_Call]:
        """The operations, with an empty tensor of the same shape in place of each result that is not used again."""
        return [c if c.depends else _Call(c.func, self._without_unused(c.result), False) for c in self.calls]

    def _remember(self, tensor: Tensor, *, depends: bool) -> None:
        self.known[id(tensor)] = tensor
        if depends:
            self.dependent.add(id(tensor))

    def _need(self, tensors: Iterator[Tensor]) -> None:
        for tensor in tensors:
            version = _version(tensor)
            self.overwritten |= self.needed.setdefault(id(tensor), version) != version

    def _without_unused(self, result: Any) -> Any:
        if isinstance(result, Tensor):
            kept = id(result) in self.needed or result.is_quantized  # a quantized tensor cannot be replaced
            return result if kept else result.new_empty(()).expand(result.shape)
        if type(result) in (list, tuple):
            return type(result)(self._without_unused(part) for part in result)
        return result


class _Replayer(TorchFunctionMode):
    """Computes only the operations that depend on the layer; all others return their recorded results."""

    def __init__(self, calls: list[_Call]) -> None:
        super().__init__()
        self.calls = iter(calls)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        call = next(self.calls, None)
        if call is None or call.func != func:
            raise RuntimeError("the network took another way than before")
        return func(*args, **(kwargs or {})) if call.depends else call.result


def _tensors(nested: Any) -> Iterator[Tensor]:
    """All tensors in nested lists, tuples and dicts."""
    if isinstance(nested, Tensor):
        yield nested
    elif isinstance(nested, dict):
        yield from _tensors(tuple(nested.values()))
    elif isinstance(nested, (list, tuple)):
        for part in nested:
            yield from _tensors(part)


def _version(tensor: Tensor) -> int:
    """How often the tensor was written to; tensors of inference mode do not count this."""
    return -1 if tensor.is_inference() else tensor._version


def _first_line(error: BaseException) -> str:
    return str(error.__cause__ or error).strip().splitlines()[0][:120]
