"""Finds the batch size that takes the least time per input, while the inputs are processed anyway.

The best size depends on the network and on the machine: on a CPU squeezenet1_1 is fastest with eight or sixteen images
of 224×224, resnet50 with four. Every run of a network begins with the same sizes, whether they are timed or not, and
what was found is kept, so that the same call gives the same bits again.
"""

from collections.abc import Iterator

_ROUNDS = 2
"""How often each size is timed: the first batch of a size is slower, so the least time counts."""
_GAIN = 0.95
"""The share of the usual size's time below which another size is taken: smaller differences may be noise."""
_SHARE = 0.25
"""The largest share of a run that may be spent on sizes that are only tried."""


class BatchSearch:
    """The usual batch size, half of it and twice of it, with the least time per input that each took.

    Args:
        usual: the size that is used unless another is faster.
        most: no size is larger.
    """

    def __init__(self, usual: int, most: int) -> None:
        self.usual = usual
        sizes = dict.fromkeys(size for size in (usual, usual // 2, 2 * usual) if 1 <= size <= most)
        self.trials = tuple(sizes) * _ROUNDS
        self.best: int | None = None
        self._seconds: dict[int, float] = {}
        self._timed: list[int] = []

    def pays_off(self, total: int) -> bool:
        """Whether ``total`` inputs are enough to try several sizes."""
        return sum(self.trials) <= _SHARE * total

    def sizes(self) -> Iterator[int]:
        """The sizes of the batches of one run: each size that is tried, then the best one."""
        yield from self.trials
        while True:
            yield self.best or self.usual

    def record(self, size: int, seconds: float) -> None:
        """Take in how long one batch of this size took."""
        if self.best is not None or size not in self.trials:
            return
        self._timed.append(size)
        self._seconds[size] = min(seconds / size, self._seconds.get(size, float("inf")))
        if all(self._timed.count(trial) >= _ROUNDS for trial in self.trials):
            fastest = min(self._seconds, key=lambda size: self._seconds[size])
            is_faster = self._seconds[fastest] < _GAIN * self._seconds[self.usual]
            self.best = fastest if is_faster else self.usual
