"""What the callbacks of all libraries share: the recorder from the beginning to the end of a training."""

from pathlib import Path
from types import TracebackType
from typing import Any, Self

from convscope.training.recorder.recorder import Recorder, record


class HeldRecorder:
    """A recorder that begins and ends with a training; in a ``with`` statement also with one that an error ends.

    Libraries that do not tell their callbacks of errors would leave the hooks on the network until the next training.
    """

    _recorder: Recorder | None = None

    def begin(self, model: Any, folder: str | Path, **settings: Any) -> None:
        """Begin to record; an earlier training that has not ended ends.

        Args:
            settings: arguments of `record`.
        """
        self.end()
        self._recorder = record(model, folder, **settings).__enter__()

    def end(self, error: BaseException | None = None) -> None:
        """Write what is left, and take the hooks off the network."""
        recorder, self._recorder = self._recorder, None
        if recorder is not None:
            recorder.__exit__(type(error) if error else None, error, error.__traceback__ if error else None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end(error)
