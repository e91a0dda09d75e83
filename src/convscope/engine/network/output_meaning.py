"""What the numbers mean that a network gives: scores, probabilities, their logarithms, or plain values.

It is read from the operation that made them (`provenance`), or said by the person who built the model. It is one thing
for a network, never read off the numbers of single images.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from convscope.errors import InputError, did_you_mean

SAID: Mapping[str, str] = {
    "logits": "logits",
    "scores": "logits",
    "multilabel": "multilabel",
    "probabilities": "probabilities",
    "softmax": "softmax",
    "sigmoid": "sigmoid",
    "log-probabilities": "log-softmax",
    "log-softmax": "log-softmax",
    "tanh": "tanh",
    "value": "value",
    "values": "value",
    "regression": "value",
}
"""What a person may say an output is, and the kind that is."""

_WORDS: Mapping[str, str] = {
    "logits": "plain scores (no softmax or sigmoid at the end of the network)",
    "multilabel": "scores of labels that do not exclude each other",
    "probabilities": "probabilities",
    "softmax": "probabilities (softmax inside the network)",
    "sigmoid": "probabilities (sigmoid inside the network)",
    "log-softmax": "log-probabilities (log-softmax inside the network)",
    "log-sigmoid": "log-probabilities (log-sigmoid inside the network)",
    "tanh": "values between -1 and 1 (tanh inside the network)",
    "mixed": "values of several kinds (some through a softmax, sigmoid or tanh)",
    "value": "values, not scores of classes",
    "unknown": "scores (which operation made them could not be seen: cs.Model(…, meaning=…) says it)",
}
_PROBABLE = {"probabilities", "softmax", "sigmoid"}
_LOGARITHMS = {"log-softmax", "log-sigmoid"}


@dataclass(frozen=True)
class Meaning:
    """What a network's output is.

    Attributes:
        kind: one of ``logits``, ``multilabel``, ``probabilities``, ``softmax``, ``sigmoid``, ``log-softmax``,
            ``log-sigmoid``, ``tanh``, ``mixed``, ``value`` and ``unknown``.
        scale: what probabilities were multiplied by inside the network: 100 where it gives per cent.
        told: whether a person said so.
    """

    kind: str = "logits"
    scale: float = 1.0
    told: bool = False

    def words(self, *, score: bool = False) -> str:
        """The meaning in words; with ``score`` also what that makes of an explained score."""
        scaled = f", multiplied by {self.scale:g}" if self.scale != 1 else ""
        told = ", as the model was told" if self.told else ""
        plain = self.kind in ("logits", "multilabel", "value", "unknown")
        means = "" if plain or not score else f": the score is {_SCORE.get(self.kind, 'that value')}"
        return f"{_WORDS[self.kind]}{scaled}{told}{means}"


_SCORE = dict.fromkeys(_PROBABLE, "the probability, not the value before it") | dict.fromkeys(
    _LOGARITHMS, "the logarithm of the probability"
)


def said(word: str) -> Meaning:
    """The meaning that a person names.

    Raises:
        InputError: no such meaning.
    """
    if not isinstance(word, str) or word not in SAID:
        near = did_you_mean(word, SAID) if isinstance(word, str) else ""
        raise InputError(f"meaning must be one of {', '.join(SAID)}, got {word!r}{near}")
    return Meaning(SAID[word], told=True)


def both_sides(output: Tensor, meaning: Meaning) -> Tensor:
    """The scores of the two labels of a single output (N, 1), as (N, 2): the second label is its positive side.

    The first label's score is the opposite one: minus a score, the rest of a probability.
    """
    if meaning.kind in _PROBABLE:
        first = meaning.scale - output
    elif meaning.kind in _LOGARITHMS:
        first = torch.log1p(-output.exp().clamp_max(1 - torch.finfo(output.dtype).eps))
    else:
        first = -output
    return torch.cat([first, output], 1)


def log_probabilities(output: Tensor, meaning: Meaning) -> Tensor | None:
    """The logarithms of the probabilities that a network gives; None where it gives scores or values."""
    if meaning.kind in _PROBABLE:
        return (output / meaning.scale).clamp_min(1e-12).log()
    return output if meaning.kind in _LOGARITHMS else None


def shares(output: Tensor, meaning: Meaning, labels: int) -> Tensor | None:
    """The confidence in each class (N, classes), where one is known: None for plain values.

    Args:
        output: what the network gave (N, outputs).
        labels: how many labels the model has: a single output with two of them tells two classes apart, and a single
            score without is a value, unless the model was told otherwise.
    """
    output = output.float()
    single = output.shape[1] == 1
    two = single and labels == 2
    if meaning.kind in _PROBABLE:
        found = output / meaning.scale
    elif meaning.kind in _LOGARITHMS:
        found = output.exp()
    elif meaning.kind == "multilabel" or (meaning.kind == "logits" and single and (two or meaning.told)):
        found = output.sigmoid()
    elif meaning.kind == "logits" and not single:
        found = output.softmax(1)
    else:
        return None
    return torch.cat([1 - found, found], 1) if two else found
