"""Generated messages with ground truth: words among which one order counts, the one after the word "now".

A message is a function of its seed. Other orders stand in it too, so that a network has to find the word "now" and
keep what follows it; these two words are the mask. Seeds below `FIRST_TRAINING_SEED` are for samples and evaluation;
seeds from there on are for training.
"""

from dataclasses import dataclass

import numpy as np
from numpy.random import PCG64, Generator
from numpy.typing import NDArray

CLASSES = ("stop", "left", "right", "wait")
PADDING, MARKER = "<pad>", "now"
_FILLERS = ("the", "road", "ahead", "is", "clear", "and", "we", "drive", "past", "a", "bridge", "soon")
VOCABULARY = (PADDING, MARKER, *CLASSES, *_FILLERS)
LENGTH = 20
_SHORTEST = 12
_DISTRACTORS = 3
"""At most this many orders stand in a message beside the one that counts."""
FIRST_TRAINING_SEED = 1_000_000


@dataclass(frozen=True, eq=False)
class Message:
    """The numbers of the words int64 (20,), padded at the end, the class index, and the mask (20,) of what counts."""

    tokens: NDArray[np.int64]
    label: int
    mask: NDArray[np.bool_]

    @property
    def words(self) -> list[str]:
        """The words, without padding."""
        return [VOCABULARY[token] for token in self.tokens if token]


def message(seed: int) -> Message:
    """Draw the message of a seed; its class is `CLASSES[seed % 4]`, so consecutive seeds are balanced."""
    rng = Generator(PCG64(seed))
    label = seed % len(CLASSES)
    length = int(rng.integers(_SHORTEST, LENGTH + 1))
    words = rng.choice(_FILLERS, length).tolist()
    marker = int(rng.integers(0, length - 1))
    elsewhere = [index for index in range(length) if index not in (marker, marker + 1)]
    for index in rng.choice(elsewhere, int(rng.integers(0, _DISTRACTORS + 1)), replace=False).tolist():
        words[index] = CLASSES[int(rng.integers(len(CLASSES)))]
    words[marker : marker + 2] = [MARKER, CLASSES[label]]
    tokens = np.zeros(LENGTH, np.int64)
    tokens[:length] = [VOCABULARY.index(word) for word in words]
    mask = np.zeros(LENGTH, np.bool_)
    mask[marker : marker + 2] = True
    return Message(tokens, label, mask)
