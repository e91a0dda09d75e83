"""The input of networks that take sequences of tokens: whole numbers that an embedding turns into vectors."""

import itertools
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convscope.engine.inputs.grid import Grid, Sample
from convscope.engine.inputs.input_files import read_input
from convscope.engine.inputs.raw_input import RawInput
from convscope.engine.inputs.specs import TensorInput
from convscope.errors import InputError, did_you_mean
from convscope.values.facts import Fact

_ARRAY_FILES = (".npy", ".npz", ".csv")
_EMPTY = "the sequence holds no token: it is empty"
_LONGEST_NAME = 64
"""A sequence of so many tokens is written out in the name of the input."""

Ids = NDArray[np.int64]


_WHOLE_NUMBERS = re.compile(r"\s*-?\d+(\s*,\s*-?\d+)+\s*")
"""The numbers of tokens between commas, ``3,1,4``."""


@dataclass(frozen=True)
class TokenInput(TensorInput):
    """The input of a network that takes sequences of tokens, int64 (tokens,).

    A sequence is a text whose words are in the vocabulary, a list of words, a list, an array or a tensor of whole
    numbers, or a file of them (.npy, .txt with words). Lenses explain it at the output of the embedding.

    Args:
        vocabulary: the tokens in the order of their numbers, a dict ``{token: number}``, or how many there are.
        length: the number of tokens of one input; shorter sequences are padded, longer ones are cut. None accepts any.
        padding: the token that fills a shorter sequence, as a word or a number. Its embedding is the baseline of
            lenses that compare with one; without it the baseline is zero.
        unknown: the token that stands for words that are not in the vocabulary; without it they are refused.
        embedding: the address of the embedding; by default the first ``torch.nn.Embedding`` that reads the tokens.

    Example:
        >>> import convscope as cs
        >>> spec = cs.TokenInput(vocabulary=("<pad>", "good", "bad"), length=4, padding="<pad>")
        >>> spec.prepare_array(["good", "bad"]).tensor.tolist()
        [[1.0, 2.0, 0.0, 0.0]]
    """

    vocabulary: Sequence[str] | Mapping[str, int] | int = ()
    length: int | None = None
    padding: str | int | None = None
    unknown: str | int | None = None
    embedding: str | None = None

    kind: ClassVar[str] = "tokens"
    batch_ndim: ClassVar[int] = 2

    def __post_init__(self) -> None:
        object.__setattr__(self, "vocabulary", _vocabulary(self.vocabulary))
        if self.length is not None and (not isinstance(self.length, int) or self.length < 1):
            raise InputError(f"length is the number of tokens of one input, above 0, got {self.length!r}")
        for name in ("padding", "unknown"):
            given = getattr(self, name)
            if given is not None:
                object.__setattr__(self, name, self._id_of(given, name))
        if self.shape not in (None, (1, self.length)):
            raise InputError(f"shape follows from length, leave it out: got {self.shape!r}")
        object.__setattr__(self, "shape", None if self.length is None else (1, self.length))

    @property
    def size(self) -> int:
        """The number of tokens in the vocabulary."""
        if isinstance(self.vocabulary, int):
            return self.vocabulary
        return max(self.vocabulary.values()) + 1  # type: ignore[union-attr]

    def words(self, tensor: Tensor) -> tuple[str, ...]:
        """The tokens of a prepared sequence (1, tokens) as text."""
        names = {} if isinstance(self.vocabulary, int) else {i: word for word, i in self.vocabulary.items()}  # type: ignore[union-attr]
        return tuple(names.get(i, str(i)) for i in tensor.reshape(-1).round().long().tolist())

    def as_inputs(self, given: Any) -> Any:
        """A sequence in any form as an array of token numbers, several as a list of arrays; addresses as they are."""
        if isinstance(given, Tensor):
            if given.is_floating_point() and given.ndim == 3:  # prepared sequences (N, 1, tokens)
                return given
            if given.is_floating_point():
                raise InputError(f"tokens are whole numbers, got a tensor of {str(given.dtype).removeprefix('torch.')}")
            given = given.cpu().numpy()
        if isinstance(given, np.ndarray) and given.ndim == 2:
            return list(given)
        if isinstance(given, (list, tuple)) and not given:
            raise InputError(_EMPTY)
        if isinstance(given, (list, tuple)):
            if all(isinstance(token, (int, np.integer)) and not isinstance(token, bool) for token in given):
                return np.asarray(given, np.int64)
            if not isinstance(self.vocabulary, int) and all(self._knows(token) for token in given):
                return self._ids(given)
            if all(isinstance(token, (bool, float, np.floating)) for token in given):
                raise InputError(f"tokens are whole numbers or words, got a list of {type(given[0]).__name__}")
            return self._of_one_length([self.as_inputs(sequence) for sequence in given])
        return given

    def _of_one_length(self, sequences: list[Any]) -> list[Any]:
        """The sequences of one call; refused if one is empty, or their lengths differ and nothing fills them up."""
        if any(isinstance(sequence, (list, tuple)) and not sequence for sequence in sequences):
            raise InputError(_EMPTY)
        lengths = sorted({len(each) for each in sequences if isinstance(each, np.ndarray) and each.ndim == 1})
        if self.length is None and len(lengths) > 1:
            raise InputError(
                f"the batch is ragged: its sequences have {lengths[0]} to {lengths[-1]} tokens; say how long they are "
                "made, TokenInput(length=…, padding=…), or pass one at a time"
            )
        return sequences

    def address_of(self, member: Any) -> str:
        """A sequence in memory as text that `open` reads; empty for a long one."""
        known = isinstance(member, np.ndarray) and member.ndim == 1 and len(member) <= _LONGEST_NAME
        return " ".join(self.words(torch.from_numpy(member.astype(np.int64)))) if known else ""

    def _knows(self, token: Any) -> bool:
        return isinstance(token, str) and token in self.vocabulary  # type: ignore[operator]

    def open(self, address: str | Path) -> Any:
        """The tokens of a text, of a file or of a sample."""
        text = str(address)
        path = Path(text).expanduser()
        if path.suffix.lower() == ".txt" and path.is_file():
            return self._ids(path.read_text("utf-8").split())
        if text.startswith("sample:") or path.suffix.lower() in _ARRAY_FILES:
            return read_input(address)
        if path.suffix and len(text.split()) == 1 and self.unknown is None and not self._knows(text):
            raise InputError(f"no such file, and no token of the vocabulary: {text!r}")
        return self.ids_of_text(text)

    def ids_of_text(self, text: str) -> Ids:
        """The numbers of the words of a text, which is never read as the name of a file.

        Raises:
            InputError: the text is empty, or has a word that is not in the vocabulary.
        """
        words = text.split()
        if not words:
            raise InputError("the text holds no token: it is empty")
        if _WHOLE_NUMBERS.fullmatch(text):
            return np.asarray([int(number) for number in text.split(",")], np.int64)
        return self._ids(words)

    def file_extensions(self) -> tuple[str, ...]:
        """The endings of the files in a folder that are inputs."""
        return (".txt", *_ARRAY_FILES)

    def prepare_array(self, array: Any) -> Sample:
        """Prepare a sequence of token numbers or of words."""
        ids = self.as_inputs(array)
        if not isinstance(ids, np.ndarray) or ids.ndim != 1 or ids.dtype.kind not in "iu":
            raise InputError(f"a sequence of tokens is a list of words or of whole numbers, got {_describe(array)}")
        return self._prepared(ids.astype(np.int64))

    def prepare_raw(self, raw: RawInput) -> Sample:
        """Prepare the whole numbers in a file."""
        if len(raw.axes) > 1:
            raise InputError(f"{raw.title} has the axes {', '.join(raw.axes)}, this network takes tokens")
        if sum(size > 1 for size in raw.values.shape) > 1:
            raise InputError(f"{raw.title} has the shape {raw.values.shape}, and a file of tokens holds one sequence")
        numbers = raw.values.reshape(-1)
        if not np.array_equal(numbers, numbers.round()):
            raise InputError(f"{raw.title} holds numbers that are not whole, and tokens are whole numbers")
        return self._prepared(numbers.astype(np.int64))

    def prepare(self, picture: Any) -> Tensor:
        """Raise `InputError`: the network takes tokens."""
        raise InputError("this network takes tokens, and was given a picture: pass a text or a list of whole numbers")

    def level(self, brightness: float) -> Tensor:
        """Raise `InputError`: the numbers of tokens have no order, and none lies between two of them."""
        raise InputError("a sequence of tokens cannot be changed by gradient steps, as this lens does")

    def picture(self, tensor: Tensor) -> NDArray[Any]:
        """The tokens as text, (tokens,)."""
        return np.asarray(self.words(tensor))

    def _prepared(self, ids: Ids) -> Sample:
        if len(ids) == 0:
            raise InputError(_EMPTY)
        outside = np.nonzero((ids < 0) | (ids >= self.size))[0]
        if len(outside):
            raise InputError(
                f"token {ids[outside[0]]} at position {outside[0]} is not in the vocabulary of {self.size} tokens, "
                f"numbered 0 to {self.size - 1}"
            )
        remark = ""
        if self.length is not None and len(ids) != self.length:
            if len(ids) < self.length and self.padding is None:
                raise InputError(
                    f"the sequence has {len(ids)} tokens, and the network takes {self.length}: say which token fills "
                    "it up, TokenInput(padding=…)"
                )
            if len(ids) > self.length:
                remark = Fact(
                    "the sequence has {count} tokens: the network takes the first {length}",
                    count=len(ids),
                    length=self.length,
                )
            fill = np.full(max(0, self.length - len(ids)), self.padding or 0, np.int64)
            ids = np.concatenate([ids[: self.length], fill])
        return Sample(torch.from_numpy(ids.astype(np.float32))[None], Grid(), remark)

    def _ids(self, words: Sequence[Any]) -> Ids:
        return np.asarray([self._id_of(word, "token", self.unknown) for word in words], np.int64)  # type: ignore[arg-type]

    def _id_of(self, token: str | int, name: str, unknown: int | None = None) -> int:
        """The number of a token that is written as a word or as a number."""
        words = self.vocabulary
        if isinstance(token, str) and not isinstance(words, int):
            if token in words:
                return words[token]  # type: ignore[call-overload]
            if unknown is not None:
                return unknown
            raise InputError(
                f"{name} {token!r} is not in the vocabulary of {len(words)} tokens"
                f"{did_you_mean(token, words) or _some_of(words)}"
            )
        if isinstance(token, str) and not token.lstrip("-").isdecimal():
            raise InputError(f"{name} {token!r} is a word, and the vocabulary has none: pass the number of the token")
        number = int(token)
        if not 0 <= number < self.size:
            raise InputError(f"{name} {number} is not in the vocabulary of {self.size} tokens")
        return number


def _some_of(words: Collection[str]) -> str:
    """The first tokens of a vocabulary, for a message."""
    return f": its tokens are {', '.join(itertools.islice(words, 8))}{', …' if len(words) > 8 else ''}"


@dataclass(frozen=True)
class EmbeddedTokens(TensorInput):
    """The input of a network at its embedding: vectors (dimensions, tokens) for the tokens of one sequence.

    Args:
        tokens: the tokens as text.
        baseline: the vector that stands for no information, one number per dimension.
    """

    tokens: tuple[str, ...] = ()
    baseline: tuple[float, ...] = ()

    kind: ClassVar[str] = "tokens"

    def level(self, brightness: float) -> Tensor:
        """The baseline (dimensions, 1) for a brightness of 0, further along each dimension for others."""
        return torch.tensor(self.baseline, dtype=torch.float32, device="cpu")[:, None] + brightness

    def picture(self, tensor: Tensor) -> NDArray[Any]:
        """The tokens as text, (tokens,)."""
        return np.asarray(self.tokens)


def _vocabulary(given: Any) -> Mapping[str, int] | int:
    """A vocabulary as {token: number}, or the number of tokens."""
    if isinstance(given, int) and not isinstance(given, bool) and given > 0:
        return given
    if isinstance(given, Mapping):
        words = dict(given)
    elif isinstance(given, (list, tuple)):
        words = {word: index for index, word in enumerate(given)}
        if len(words) < len(given):
            raise InputError("the vocabulary holds a token twice: its tokens must differ")
    else:
        words = {}
    fits = all(isinstance(word, str) and isinstance(i, int) and i >= 0 for word, i in words.items())
    if not words or not fits:
        raise InputError(f"vocabulary is a list of tokens, a dict {{token: number}} or their number, got {given!r}")
    return words


def _describe(given: Any) -> str:
    if isinstance(given, np.ndarray):
        return f"an array of {given.dtype} of shape {given.shape}"
    return f"{type(given).__name__} {str(given)[:60]}"
