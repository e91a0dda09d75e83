"""The gates of a network: every product of features and a gate, in order, and over what each gate varies.

One recorded forward pass finds them, once per shape of the input; what a gate is multiplied onto says which of its
dimensions are channels and which are places.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from convscope.engine.attention.function_mode import differentiable
from convscope.engine.attention.gate_tracking import GateMode, GateProduct, GateReader
from convscope.engine.attention.sites import OWN_FORWARD, within_layers
from convscope.engine.context.chunking import in_chunks, rows_of
from convscope.engine.graph.recorder import Recorder
from convscope.engine.inputs.specs import Images
from convscope.engine.layers.feature_layout import FeatureLayout
from convscope.engine.layers.layout_reading import UnknownLayout, read_layout
from convscope.engine.network.accumulation_dtype import upcast
from convscope.engine.network.assumption_checks import companion_image, jittered
from convscope.engine.network.cache import CacheEntry
from convscope.engine.network.model import Model
from convscope.engine.network.scripted_modules import is_scripted
from convscope.engine.run.gradients import gradients_of, note_gradient_use, score
from convscope.engine.targets.target import Target
from convscope.errors import LayerError, ModelFailed, OutputError

Over = Literal["channels", "places", "channels and places"]
"""What a gate has a number of its own for."""


@dataclass(frozen=True, eq=False)
class Gate:
    """One product of features and a gate.

    Attributes:
        name: the address of its module; with ``#2`` and so on for further products of the same module.
        address: the address of its module.
        function: the function that made the gate.
        over: what it has a number of its own for.
        layout: of what it is multiplied onto.
    """

    name: str
    address: str
    function: str
    over: Over
    layout: FeatureLayout

    def arranged(self, numbers: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Numbers of the shape of the gate as (N, channels), (N, places …) or (N, channels, places …).

        Args:
            shape: of the product.
        """
        units = self.layout.units(numbers.expand(shape))
        if self.over == "places":
            return units[:, 0]
        return units.flatten(2)[:, :, 0] if self.over == "channels" and units.ndim > 2 else units


@dataclass(frozen=True)
class GatedProducts:
    """All products of a forward pass in which a tensor computed as a gate takes part.

    Attributes:
        products: by their order, the gate; None for a product that does not depend on the input on both sides.
        unread: by address, why a gate is not read.
    """

    products: tuple[tuple[str, Gate | None], ...]
    unread: dict[str, str]

    @property
    def all(self) -> tuple[Gate, ...]:
        """The gates, in the order in which they run."""
        return tuple(gate for _, gate in self.products if gate is not None)

    def named(self, addresses: Sequence[str]) -> tuple[Gate, ...]:
        """The gates in these modules, or in modules within them.

        Raises:
            LayerError: none is in one of them.
        """
        return within_layers(self.all, addresses, "has no gate")


@dataclass(frozen=True, eq=False)
class GateEvidence:
    """The numbers of one gate by image, and what the score owes to each: gate × gradient."""

    gate: Gate
    numbers: Tensor
    effects: Tensor


_GATES: CacheEntry[dict[tuple[int, ...], GatedProducts]] = CacheEntry("gates", dict)
"""The gates, by the shape of an input."""


@contextmanager
def reading_gates(module: nn.Module, reader: GateReader) -> Iterator[None]:
    """Hand every product of features and a gate to ``reader``, while the network runs inside the context."""
    with GateMode(module, reader):
        yield


def find_gates(model: Model, tensor: Tensor) -> GatedProducts:
    """The gates of the network for inputs like ``tensor`` (N, C, …)."""
    key = tuple(tensor.shape[1:])
    if key not in model.cache[_GATES]:
        model.cache[_GATES][key] = GatedProducts((), {}) if is_scripted(model.module) else _find_all(model, tensor)
    return model.cache[_GATES][key]


def why_no_gates(model: Model, tensor: Tensor) -> str:
    """Why the network has no gates that can be read, as a clause about it; empty where it has."""
    products = find_gates(model, tensor)
    if products.all:
        return ""
    scripted = model.scripted_part()
    if scripted is not None:
        return f"is scripted or traced (torch.jit) at {scripted or OWN_FORWARD!r}: open it from its source"
    reasons = "; ".join(f"what {name!r} multiplies {why}" for name, why in products.unread.items())
    return f"has none ({reasons or 'no sigmoid or softmax of its features is multiplied onto them'})"


def _find_all(model: Model, tensor: Tensor) -> GatedProducts:
    """The gates, for a batch of two where the network accepts one."""
    image = jittered(tensor[:1])
    try:
        return _find(model, torch.cat([companion_image(image, bold=True), image]))
    except (ModelFailed, OutputError):
        return _find(model, image)


def _find(model: Model, tensor: Tensor) -> GatedProducts:
    recorder, numbers = Recorder(model.module), Counter[str]()
    products: list[tuple[str, Gate | None]] = []
    unread: dict[str, str] = {}

    def observe(product: GateProduct) -> Tensor:
        depends = all(recorder.origin(operand) is not None for operand in product.operands)
        output = product.run()
        address, gate = product.address, None
        origin = recorder.origin(output)
        if depends and origin is not None:
            numbers[address] += 1
            name = (address or OWN_FORWARD) + (f"#{numbers[address]}" if numbers[address] > 1 else "")
            try:
                layout = read_layout(tuple(output.shape), origin.dependence[:-1], origin.dependence[-1], len(tensor))
                gate = Gate(name, address, product.function, _over(product.numbers, output, layout), layout)
            except UnknownLayout as error:
                unread[name] = str(error)
        products.append((address, gate))
        return output

    laid = model.input_copy(tensor)
    recorder.start(laid)
    with torch.no_grad(), reading_gates(model.module, observe):
        model.run_recorded(laid, recorder)
    return GatedProducts(tuple(products), unread)


def _over(gate: Tensor, output: Tensor, layout: FeatureLayout) -> Over:
    """What a gate has a number of its own for, known from its shape alone."""
    numbered = torch.arange(gate.numel(), device="cpu").view(gate.shape).expand(output.shape)
    units = layout.units(numbered)[0]
    by_channel = bool((units != units[:1]).any())
    by_place = bool((units.flatten(1) != units.flatten(1)[:, :1]).any())
    return "channels and places" if by_channel and by_place else "places" if by_place else "channels"


def read_gates(
    model: Model, images: Images, target: Target, gates: Sequence[Gate], visit: Callable[[list[GateEvidence]], None]
) -> None:
    """Hand over the numbers of these gates and their effects on the score, for a chunk of images at a time."""
    note_gradient_use()

    def step(rows: Tensor) -> None:
        visit(_evidence(model, rows_of(images.tensor, rows), target, rows, gates))

    in_chunks(len(images), images.tensor[0], step)


def _evidence(model: Model, tensor: Tensor, target: Target, rows: Tensor, gates: Sequence[Gate]) -> list[GateEvidence]:
    """Numbers and effects of one chunk of prepared inputs; input ``i`` belongs to image ``rows[i]``.

    Raises:
        LayerError: the target lies before all of these gates, or the network took another way than when recorded.
    """
    expected = iter(find_gates(model, tensor).products)
    caught: list[tuple[Gate, Tensor, tuple[int, ...]]] = []

    def read(product: GateProduct) -> Tensor:
        address, gate = next(expected, (None, None))
        if address != product.address:
            raise LayerError(
                f"the network has a gate at {product.address!r}, where it had none on another image: its way depends "
                "on the image, so that its gates cannot be read"
            )
        if gate is None or gate not in gates:
            return product.run()
        numbers = differentiable(product.numbers)
        output = product.run_with(numbers)
        caught.append((gate, numbers, tuple(output.shape)))
        return output

    tensor = model.input_copy(tensor)
    with torch.no_grad():
        with reading_gates(model.module, read):
            scores = score(model, tensor, target, rows)
        if not caught:
            raise LayerError("the target lies before every gate: choose a later target")
        gradients = gradients_of(scores, [numbers for _, numbers, _ in caught], model)
    return [
        GateEvidence(gate, *(upcast(gate.arranged(t.detach(), shape)) for t in (numbers, numbers * gradient)))
        for (gate, numbers, shape), gradient in zip(caught, gradients, strict=True)
    ]
