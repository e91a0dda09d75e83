"""The meaning of a network's output values: scores, probabilities, log-probabilities, or plain values.

It is read from the operation that produced the output (`output_provenance`) or specified by the user. It is a property
of the network and never inferred from the output values of single images.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from convscope.errors import InputError, did_you_mean
from convscope.values.facts import Fact

MEANING_WORDS: Mapping[str, str] = {
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
"""The words that users may write for a meaning, and the kind that each stands for."""

_DESCRIPTIONS: Mapping[str, Fact] = {
    "logits": Fact("plain scores (no softmax or sigmoid at the end of the network)"),
    "multilabel": Fact("scores of labels that do not exclude each other"),
    "cumulative": Fact("cumulative scores: output k says whether the rank is above k"),
    "probabilities": Fact("probabilities"),
    "softmax": Fact("probabilities (softmax inside the network)"),
    "sigmoid": Fact("probabilities (sigmoid inside the network)"),
    "log-softmax": Fact("log-probabilities (log-softmax inside the network)"),
    "log-sigmoid": Fact("log-probabilities (log-sigmoid inside the network)"),
    "tanh": Fact("values between -1 and 1 (tanh inside the network)"),
    "mixed": Fact("values of several kinds (some through a softmax, sigmoid or tanh)"),
    "value": Fact("values, not scores of classes"),
    "unknown": Fact(
        "scores (the operation that produced them could not be determined: set it with cs.Model(…, meaning=…))"
    ),
}
SIGMOID_OF_SCORES = ("multilabel", "cumulative")
"""Scores of which the sigmoid of each is a probability; their tasks leave probabilities as they are."""
_PROBABILITIES = {"probabilities", "softmax", "sigmoid"}
_LOG_PROBABILITIES = {"log-softmax", "log-sigmoid"}


@dataclass(frozen=True)
class Meaning:
    """The meaning of a network's output.

    Attributes:
        kind: one of ``logits``, ``multilabel``, ``cumulative`` (of ranks), ``probabilities``, ``softmax``,
            ``sigmoid``, ``log-softmax``, ``log-sigmoid``, ``tanh``, ``mixed``, ``value`` and ``unknown``.
        scale: the factor by which the network multiplies probabilities: 100 for per cent.
        given_by_user: whether the user specified it.
    """

    kind: str = "logits"
    scale: float = 1.0
    given_by_user: bool = False

    def describe(self, *, score: bool = False) -> Fact:
        """The meaning in words; with ``score`` also what it makes of an explained score."""
        meaning = _DESCRIPTIONS[self.kind]
        if self.scale != 1:
            meaning = Fact("{meaning}, multiplied by {scale}", meaning=meaning, scale=f"{self.scale:g}")
        if self.given_by_user:
            meaning = Fact("{meaning}, as specified for the model", meaning=meaning)
        if not score or self.kind in ("logits", *SIGMOID_OF_SCORES, "value", "unknown"):
            return meaning
        explained = _SCORE.get(self.kind, Fact("that value"))
        return Fact("{meaning}: the score is {explained}", meaning=meaning, explained=explained)


_SCORE = dict.fromkeys(_PROBABILITIES, Fact("the probability, not the logit")) | dict.fromkeys(
    _LOG_PROBABILITIES, Fact("the logarithm of the probability")
)


def parse_meaning(word: str) -> Meaning:
    """The meaning that a user's word stands for.

    Raises:
        InputError: no such meaning.
    """
    if not isinstance(word, str) or word not in MEANING_WORDS:
        suggestion = did_you_mean(word, MEANING_WORDS) if isinstance(word, str) else ""
        raise InputError(f"meaning must be one of {', '.join(MEANING_WORDS)}, got {word!r}{suggestion}")
    return Meaning(MEANING_WORDS[word], given_by_user=True)


def two_class_scores(output: Tensor, meaning: Meaning) -> Tensor:
    """The scores (N, 2) of the two classes of a single output (N, 1), which is the score of the second class.

    The first class has the opposite score: minus a score, or one minus a probability.
    """
    if meaning.kind in _PROBABILITIES:
        first = meaning.scale - output
    elif meaning.kind in _LOG_PROBABILITIES:
        first = torch.log1p(-output.exp().clamp_max(1 - torch.finfo(output.dtype).eps))
    else:
        first = -output
    return torch.cat([first, output], 1)


def log_probabilities(output: Tensor, meaning: Meaning) -> Tensor | None:
    """The logarithms of a network's probabilities; None if its output holds scores or values."""
    if meaning.kind in _PROBABILITIES:
        return (output / meaning.scale).clamp_min(1e-12).log()
    return output if meaning.kind in _LOG_PROBABILITIES else None


def class_confidences(output: Tensor, meaning: Meaning, labels: int) -> Tensor | None:
    """The confidence in each class (N, classes); None for plain values, which have none.

    Args:
        output: the network's output (N, outputs).
        labels: the number of the model's labels: a single output with two labels distinguishes two classes, and a
            single score without labels is a value, unless the user specified another meaning.
    """
    output = output.float()
    single = output.shape[1] == 1
    two_classes = single and labels == 2
    if meaning.kind in _PROBABILITIES:
        confidences = output / meaning.scale
    elif meaning.kind in _LOG_PROBABILITIES:
        confidences = output.exp()
    elif meaning.kind in SIGMOID_OF_SCORES or (
        meaning.kind == "logits" and single and (two_classes or meaning.given_by_user)
    ):
        confidences = output.sigmoid()
    elif meaning.kind == "logits" and not single:
        confidences = output.softmax(1)
    else:
        return None
    return torch.cat([1 - confidences, confidences], 1) if two_classes else confidences
