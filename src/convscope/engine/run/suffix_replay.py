"""Many variants of one layer's activation scored by running only what lies above the layer.

The user's own forward runs once on the image while a function mode keeps what every operation gave. To score variants
it runs again: an operation that does not depend on the layer gives what it gave before, without computing, and at the
layer one activation becomes many under `torch.vmap`, so that the network's own code still sees a batch of one and all
its arithmetic on shapes holds. Of what was kept, only the tensors that meet the layer's offspring above (the other arm
of a residual sum) are needed; for the rest an empty tensor of the same shape stands in.

Before any variant is scored, the activation itself is: that must give the network's own answer. Where it does not, or
the network does what cannot be done for many at once (reads a number off a tensor, writes into what came from below,
calls scripted functions), every variant is scored by a full forward with the layer's output replaced, and it is said
why.
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
from convscope.engine.layers.trace import calls_of, layout_of, map_at
from convscope.engine.network.double_precision import unrounded
from convscope.engine.network.hooks import editing
from convscope.engine.network.model import Model
from convscope.engine.network.packaged import unreached
from convscope.engine.run.gradients import read_out
from convscope.engine.targets.target import Aim
from convscope.errors import LayerError, ModelFailed

Edit = Callable[[Tensor, Tensor], None]
"""``(maps, numbers)``: turn copies of the layer's map (B, C, …), in place, into variants ``numbers`` (B,)."""

_CLOSE = 1e-4
"""How far the answer to the unchanged activation may be from the network's own, relative to its largest number."""


@dataclass(frozen=True)
class Scored:
    """One layer's map (N, C, …), the scores of its variants (N, variants), and per image how they were found."""

    activation: Tensor
    scores: Tensor
    notes: list[dict[str, Any]]


def score_variants(
    model: Model, images: Images, aim: Aim, address: str, plan: Callable[[Tensor], tuple[int, Edit]]
) -> Scored:
    """Score variants of the activation at a layer, for every image; settles the aim.

    Args:
        plan: given the layer's map (1, C, …), how many variants there are and how they are made.
    """
    activations, scores, notes = [], [], []
    for row in range(len(images)):
        above = Above(model, images.tensor[row : row + 1], aim, row, address)
        many, edit = plan(above.map)
        found = torch.empty(many, dtype=torch.float64, device="cpu")

        def step(
            numbers: Tensor, row: int = row, above: Above = above, edit: Edit = edit, found: Tensor = found
        ) -> None:
            maps = above.map.expand(len(numbers), *above.map.shape[1:]).clone()
            edit(maps, numbers.to(maps.device))
            found[numbers] = above.scores(maps).cpu().double()
            report_progress(row * len(found) + int(numbers[-1]) + 1, len(images) * len(found))

        in_chunks(many, above.activation[0], step, size=above.chunk, quiet=True)
        activations.append(unrounded(above.map))
        scores.append(found)
        notes.append({} if above.why_whole is None else {"recomputed": f"the whole network: {above.why_whole}"})
    return Scored(torch.cat(activations), torch.stack(scores), notes)


class Above:
    """What lies above one layer of a network, for one image.

    Attributes:
        activation: what the layer gave, at its last call where it is used several times; ``map`` the same (1, C, …).
        chunk: how many variants go together.
        why_whole: why variants take full forwards, None where they need not.
    """

    def __init__(self, model: Model, image: Tensor, aim: Aim, row: int, address: str) -> None:
        self.model, self.aim, self.address, self.row = model, aim, address, torch.tensor([row], device="cpu")
        self.call = calls_of(model, address, image)  # by a forward that also shows which layout the network takes
        self.image = model.laid_out(image)
        self.tensor = self.image.clone()  # the network may write to it
        watch = _Watch(model, self.tensor)
        with torch.no_grad(), watch, editing(model.module, address, watch.begin, call=self.call):
            answer = read_out(model, self.tensor, aim)
        if watch.activation is None:
            ended = (
                " (a branch not taken)"
                if aim.layer is None
                else f", which ends at the target's own layer {aim.layer!r}"
            )
            raise LayerError(unreached(model.module, address, ended))
        self.activation = watch.activation
        self.map = map_at(model, address, image, self.activation)
        self.layout = layout_of(model, address, image)
        aim.score(answer, self.row)
        self.why_whole = watch.why_not(answer)
        if self.why_whole is None:
            self.calls = watch.calls_without_what_nobody_needs()
            self.why_whole = self._why_replaying_fails(answer)
        self.chunk = (
            chunk_size_after_layer(watch.largest, image.device)
            if self.why_whole is None
            else chunk_size(image[0], light=True)
        )

    def scores(self, maps: Tensor) -> Tensor:
        """The score of each of the variants ``maps`` (B, C, …) of the layer's map, which the network may write to."""
        variants = self.layout.from_map(maps, self.activation)
        answers = self._answers_above(variants) if self.why_whole is None else self._answers_whole(variants)
        return self.aim.score(answers, self.row.expand(len(answers)), clean=False)

    def _answers_above(self, variants: Tensor) -> Tensor:
        def forward(variant: Tensor) -> Tensor:
            again = _Again(self.calls)
            with again, editing(self.model.module, self.address, lambda _: variant, call=self.call):
                return read_out(self.model, self.tensor, self.aim)

        with torch.no_grad(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="There is a performance drop")  # one operation takes turns
            answers: Tensor = torch.vmap(forward, randomness="same")(variants)
        return answers.flatten(0, 1)

    def _answers_whole(self, variants: Tensor) -> Tensor:
        inputs = self.model.laid_out(self.image.expand(len(variants), *self.image.shape[1:]))
        together = self.layout.joined(variants)
        with torch.no_grad(), editing(self.model.module, self.address, lambda _: together, call=self.call):
            return read_out(self.model, inputs, self.aim)

    def _why_replaying_fails(self, answer: Tensor) -> str | None:
        """Whether the unchanged activation, twice, gives the network's own answer; in words why not."""
        try:
            found = self._answers_above(self.activation.expand(2, *self.activation.shape).clone())
        except (ModelFailed, RuntimeError) as error:  # what vmap refuses comes as either
            return f"what lies above the layer cannot run for many at once ({_first_line(error)})"
        allowed = _CLOSE * float(answer.abs().max())
        if found.shape[1:] != answer.shape[1:] or float((found - answer).abs().max()) > allowed:
            return "what lies above the layer does not give the same answer when it runs alone"
        return None


@dataclass(frozen=True)
class _Call:
    """One operation of a forward: what it gave, and whether that hangs on the watched layer."""

    func: Any
    out: Any
    above: bool


class _Watch(TorchFunctionMode):
    """Keeps what every operation gave, and knows which hang on the watched layer."""

    def __init__(self, model: Model, tensor: Tensor) -> None:
        super().__init__()
        self.activation: Tensor | None = None
        self.calls: list[_Call] = []
        self.largest = 1
        held = [v for m in model.module.modules() for t in (m._parameters, m._buffers, vars(m)) for v in t.values()]
        self.known = {id(t): t for t in (tensor, *_tensors(held))}  # kept alive, so that an id stays that tensor's
        self.above: set[int] = set()
        self.needed: dict[int, int] = {}  # of those from below, what meets operations above, and in which version
        self.unseen = self.rewritten = self.aside = False

    def begin(self, output: Tensor) -> Tensor:
        """Note the watched layer's output; everything made of what is handed on lies above."""
        self.aside = True
        self.activation, handed_on, self.largest = output.detach().clone(), output.clone(), output.numel()
        self.aside = False
        self._know(handed_on, above=True)
        return handed_on

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self.aside:
            return func(*args, **kwargs)
        given = list(_tensors((args, kwargs)))
        above = any(id(t) in self.above for t in given)
        self.unseen |= any(id(t) not in self.known for t in given)
        if above:
            self._need(t for t in given if id(t) not in self.above)
        out = func(*args, **kwargs)
        made = list(_tensors(out))
        for tensor in made:
            self._know(tensor, above=above)
            self.largest = max(self.largest, tensor.numel()) if above else self.largest
        self.calls.append(_Call(func, out, above or not (given or made)))  # a switch without tensors is thrown again
        return out

    def why_not(self, answer: Tensor) -> str | None:
        """Why this forward cannot be run again from the layer up; None where it can."""
        if self.unseen or id(answer) not in self.known:
            return "parts of it are scripted or hidden, so that what they do is not seen"
        if self.rewritten or any(_version(self.known[key]) != seen for key, seen in self.needed.items()):
            return "what comes from below the layer is written over after its use"
        return None

    def calls_without_what_nobody_needs(self) -> list[_Call]:
        """The operations, with a stand-in of the same shape for each tensor from below that stays below."""
        return [c if c.above else _Call(c.func, self._spared(c.out), False) for c in self.calls]

    def _know(self, tensor: Tensor, *, above: bool) -> None:
        self.known[id(tensor)] = tensor
        if above:
            self.above.add(id(tensor))

    def _need(self, tensors: Iterator[Tensor]) -> None:
        for tensor in tensors:
            version = _version(tensor)
            self.rewritten |= self.needed.setdefault(id(tensor), version) != version

    def _spared(self, out: Any) -> Any:
        if isinstance(out, Tensor):
            kept = id(out) in self.needed or out.is_quantized  # of quantised numbers no stand-in can be made
            return out if kept else out.new_empty(()).expand(out.shape)
        if type(out) in (list, tuple):
            return type(out)(self._spared(each) for each in out)
        return out


class _Again(TorchFunctionMode):
    """Runs a forward again: what hangs on the watched layer is computed, all else is remembered."""

    def __init__(self, calls: list[_Call]) -> None:
        super().__init__()
        self.calls = iter(calls)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        call = next(self.calls, None)
        if call is None or call.func != func:
            raise RuntimeError("the network took another way than before")
        return func(*args, **(kwargs or {})) if call.above else call.out


def _tensors(things: Any) -> Iterator[Tensor]:
    """All tensors in nested lists, tuples and dicts."""
    if isinstance(things, Tensor):
        yield things
    elif isinstance(things, dict):
        yield from _tensors(tuple(things.values()))
    elif isinstance(things, (list, tuple)):
        for thing in things:
            yield from _tensors(thing)


def _version(tensor: Tensor) -> int:
    """How often the tensor was written to; one made in inference mode does not count that."""
    return -1 if tensor.is_inference() else tensor._version


def _first_line(error: BaseException) -> str:
    return str(error.__cause__ or error).strip().splitlines()[0][:120]
