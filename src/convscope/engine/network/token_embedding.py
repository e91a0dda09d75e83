"""The call of an embedding that reads the tokens of an input, and what replaces its output.

A layer may be called several times, as by two sequences that share an embedding; each input has a call of its own.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from convscope.errors import InputError


@dataclass(frozen=True)
class EmbeddingCall:
    """The call of a module that turns the numbers of tokens into vectors: the address of the module, and which call."""

    address: str
    call: int = 1


@dataclass(frozen=True, eq=False)
class _ObservedCall:
    at: EmbeddingCall
    read: list[Tensor]
    """Its first argument, or where all are named each of them."""
    vectors: Tensor


def embedding_calls(
    module: nn.Module,
    run: Callable[[], object],
    numbers: Mapping[str, Tensor],
    chosen: Mapping[str, str | None],
) -> dict[str, tuple[EmbeddingCall, Tensor]]:
    """For each input of tokens the call that reads it, and its output; inputs that none reads are left out.

    Args:
        run: runs the network once.
        numbers: the token numbers of each input, as the network receives them.
        chosen: the addresses that the caller names; by default any ``torch.nn.Embedding`` may read the tokens.
    """
    named = set(chosen.values())
    calls: list[_ObservedCall] = []

    def hook_for(address: str) -> Any:
        count = 0

        def hook(_module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            nonlocal count
            count += 1
            read = [given.detach().clone() for given in args[:1] or kwargs.values() if isinstance(given, Tensor)]
            if read and isinstance(output, Tensor):
                calls.append(_ObservedCall(EmbeddingCall(address, count), read, output.detach().clone()))

        return hook

    candidates = {a: m for a, m in module.named_modules() if a in named or isinstance(m, nn.Embedding)}
    handles = [layer.register_forward_hook(hook_for(a), with_kwargs=True) for a, layer in candidates.items()]
    try:
        with torch.no_grad():
            run()
    finally:
        for handle in handles:
            handle.remove()
    result: dict[str, tuple[EmbeddingCall, Tensor]] = {}
    for name, own in numbers.items():
        reading = next((call for call in calls if _reads(call, own, chosen[name])), None)
        if reading is not None:
            calls.remove(reading)  # equal sequences are read by different calls
            result[name] = reading.at, reading.vectors
    return result


def _reads(call: _ObservedCall, numbers: Tensor, chosen: str | None) -> bool:
    named = chosen in (None, call.at.address)
    return named and any(read.shape == numbers.shape and bool((read == numbers).all()) for read in call.read)


def check_embedding(
    call: tuple[EmbeddingCall, Tensor] | None, numbers: Tensor, network: str, chosen: str | None
) -> tuple[EmbeddingCall, Tensor]:
    """The call that reads an input, and its vectors (1, tokens, dimensions).

    Raises:
        InputError: no embedding reads the tokens, or its output is not one vector per token.
    """
    if call is None:
        given = f"the layer {chosen!r} does not read" if chosen else "no torch.nn.Embedding reads"
        raise InputError(f"{given} the tokens in {network}: name the layer that does, cs.TokenInput(embedding=…)")
    at, vectors = call
    if vectors.ndim != 3 or vectors.shape[:2] != numbers.shape or not vectors.is_floating_point():
        raise InputError(f"the embedding {at.address!r} gives {tuple(vectors.shape)}, not one vector for each token")
    return call


@contextmanager
def replaced_vectors(module: nn.Module, at: EmbeddingCall, explained: Tensor) -> Iterator[None]:
    """Give ``explained`` (B, dimensions, tokens) in place of the vectors, to all other hooks of the layer too."""
    calls = 0

    def hook(_module: nn.Module, _inputs: Any, _output: Any) -> Tensor | None:
        nonlocal calls
        calls += 1
        return explained.transpose(1, 2) if calls == at.call else None

    handle = module.get_submodule(at.address).register_forward_hook(hook, prepend=True)
    try:
        yield
    finally:
        handle.remove()
