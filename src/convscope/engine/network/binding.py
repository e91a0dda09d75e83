"""How a network is called where its input is not the tensor that a lens explains.

A lens runs a network on one tensor (B, C, …). A `Binding` turns it into the call of a network that takes several
inputs, or tokens: the other inputs are those of the explained sample, and tokens are replaced by vectors at the output
of their embedding. Lenses and the rest of the engine therefore work unchanged.
"""

import inspect
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn

from convscope.engine.inputs.named_inputs import NamedInputs, PackedInput
from convscope.engine.network.token_embedding import EmbeddingCall, replaced_vectors
from convscope.errors import InputError, did_you_mean


class Binding(Protocol):
    """Calls a network for a tensor that a lens explains."""

    def run(self, module: nn.Module, tensor: Tensor) -> Any:
        """The network's own output for a batch of explained tensors."""

    def tensors(self) -> Iterator[Tensor]:
        """The tensors that are part of every call, and not computed from the explained one."""


@dataclass(frozen=True, eq=False)
class TokenNumbers(Binding):
    """A network of tokens on sequences of token numbers (B, 1, tokens), for lenses that do not explain a sample."""

    size: int

    def run(self, module: nn.Module, tensor: Tensor) -> Any:
        """The network's output for token numbers.

        Raises:
            InputError: the tensor holds other numbers, as after a gradient step.
        """
        if not bool(((tensor == tensor.round()) & (tensor >= 0) & (tensor < self.size)).all()):
            raise InputError("a sequence of tokens cannot be changed by gradient steps, as this lens does")
        return module(token_numbers(tensor))

    def tensors(self) -> Iterator[Tensor]:
        """None: nothing is held."""
        return iter(())


@dataclass(frozen=True, eq=False)
class Unbound(Binding):
    """A network of several inputs of which none is explained yet: a lens has to be given a sample."""

    names: tuple[str, ...]

    def run(self, module: nn.Module, tensor: Tensor) -> Any:
        """Raise `InputError`: the other inputs are unknown."""
        raise InputError(
            f"this network takes several inputs ({', '.join(self.names)}), and this lens gives it one: call a lens "
            f"that takes a sample, with {{{', '.join(f'{name!r}: …' for name in self.names)}}}"
        )

    def tensors(self) -> Iterator[Tensor]:
        """None: nothing is held."""
        return iter(())


@dataclass(frozen=True, eq=False)
class BoundPart:
    """One input of the sample that is explained.

    Attributes:
        own: what the network receives, a batch of one: the prepared input, or token numbers.
        embedding: for tokens, the call whose output the explained tensor replaces.
    """

    own: Tensor
    embedding: EmbeddingCall | None = None


@dataclass(frozen=True, eq=False)
class SampleBinding(Binding):
    """One sample of a network's inputs, of which one or several are explained and the others held.

    Attributes:
        parts: all inputs by name.
        explained: the names of the explained ones; several are packed into one vector by ``packed``.
        style: how the network takes its inputs, as `call_style` finds it.
    """

    parts: Mapping[str, BoundPart]
    explained: tuple[str, ...]
    style: str
    packed: PackedInput | None = None

    def run(self, module: nn.Module, tensor: Tensor) -> Any:
        """The network's output for explained tensors, each with the other inputs of the sample."""
        explained = {self.explained[0]: tensor} if self.packed is None else self.packed.unpack(tensor)
        arguments: dict[str, Tensor] = {}
        with ExitStack() as stack:
            for name, part in self.parts.items():
                own = part.own.expand(len(tensor), *part.own.shape[1:])
                if own.is_floating_point() and own.dtype != tensor.dtype:
                    own = own.to(tensor.dtype)
                arguments[name] = own
                if name in explained and part.embedding:
                    stack.enter_context(replaced_vectors(module, part.embedding, explained[name]))
                elif name in explained:
                    arguments[name] = explained[name]
            return call_network(module, arguments, self.style)

    def tensors(self) -> Iterator[Tensor]:
        """All inputs of the sample."""
        return (part.own for part in self.parts.values())


def call_network(module: nn.Module, arguments: Mapping[str, Tensor], style: str) -> Any:
    """Call a network with its inputs in the way that it takes them."""
    if style == "keyword":
        return module(**arguments)
    if style == "dict":
        return module(dict(arguments))
    if style == "tuple":
        return module(tuple(arguments.values()))
    return module(*arguments.values())


def call_style(module: nn.Module, inputs: NamedInputs, name: str) -> str:
    """How a network takes its inputs: by ``keyword``, ``positional``, or as one ``dict`` or ``tuple``.

    Raises:
        InputError: the number of inputs does not fit its forward, or some of their names do and others do not.
    """
    try:
        parameters = list(inspect.signature(module.forward).parameters.values())
    except (TypeError, ValueError):  # a compiled or scripted forward tells no parameters
        return "positional"
    kinds = inspect.Parameter
    named = {p.name for p in parameters if p.kind in (kinds.POSITIONAL_OR_KEYWORD, kinds.KEYWORD_ONLY)}
    in_order = [p for p in parameters if p.kind in (kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD)]
    required = [p for p in in_order if p.default is kinds.empty]
    if not inputs.positional and (set(inputs.names) <= named or any(p.kind is kinds.VAR_KEYWORD for p in parameters)):
        missing = [p.name for p in required if p.name not in inputs.names]
        if missing:
            raise InputError(f"{name}'s forward needs {', '.join(missing)} too: add it to inputs=")
        return "keyword"
    takes_any = any(p.kind is kinds.VAR_POSITIONAL for p in parameters)
    if len(required) == 1 and len(inputs.names) > 1 and len(in_order) == 1 and not takes_any:
        return "tuple" if inputs.positional else "dict"
    strangers = [own for own in inputs.names if own not in named]
    if not inputs.positional and not takes_any and 0 < len(strangers) < len(inputs.names):
        raise InputError(
            f"{name}'s forward has no input {strangers[0]!r}{did_you_mean(strangers[0], list(named))} "
            f"(it takes {', '.join(p.name for p in parameters)})"
        )
    if len(required) > len(inputs.names) or (len(inputs.names) > len(in_order) and not takes_any):
        taken = ", ".join(p.name for p in in_order)
        raise InputError(
            f"inputs= has {len(inputs.names)} inputs ({', '.join(inputs.names)}), and {name}'s forward takes "
            f"{len(in_order)} ({taken})"
        )
    return "positional"


def token_numbers(tensor: Tensor) -> Tensor:
    """Prepared sequences (B, 1, tokens) as the whole numbers (B, tokens) that a network takes."""
    return tensor[:, 0].round().long()
