"""One value per image of a data set of any size, with a few images in memory at a time."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar

from convscope.engine.context.metering import progress_of_images
from convscope.engine.context.progress_bar import shown
from convscope.engine.data.data_set import Chunk, Dataset, as_dataset, is_data_set
from convscope.engine.network.model import as_model
from convscope.engine.network.torch_context import current_settings
from convscope.engine.targets.function_targets import takes_rows
from convscope.engine.targets.target import TOP1, resolve_target
from convscope.errors import OutputError
from convscope.spec import LensSpec
from convscope.values import Value

Kind = TypeVar("Kind", bound=Value)


class ValueStream(Generic[Kind]):
    """The values of a lens for a data set, in order, computed on demand.

    A folder, a list and a range can be iterated again, which computes the values again; a generator gives its values
    once.

    Attributes:
        size: the number of images, including those that cannot be read; None where it is known only at the end.
        skipped: what could not be read, name → reason; it fills while the values are computed.
    """

    def __init__(self, data: Dataset, explain: Callable[[Chunk], list[Kind]]) -> None:
        self._data, self._explain = data, explain

    def __repr__(self) -> str:
        return f"ValueStream({self._data!r})"

    @property
    def size(self) -> int | None:
        """The number of images."""
        return self._data.size

    @property
    def skipped(self) -> Mapping[str, str]:
        """What could not be read so far."""
        return self._data.skipped

    def __iter__(self) -> Iterator[Kind]:
        """The values, one after another."""
        return (value for _, value in self.indexed())

    def indexed(self) -> Iterator[tuple[int, Kind]]:
        """Each value with the index of its image in the data set."""
        done = 0
        for chunk in self._data.chunks():
            title = f"{self._data.name}, {done} of {self.size} done" if self.size else self._data.name
            with shown(title), progress_of_images(done, len(chunk), max(done + len(chunk), self.size or 0)):
                values = self._explain(chunk)
            done += len(chunk)
            yield from zip(chunk.indices, values, strict=True)


def stream_of(
    declaration: LensSpec, arguments: Mapping[str, Any], call: Callable[[dict[str, Any]], list[Value]]
) -> ValueStream[Value] | None:
    """The values of a lens that processes each image, if a data set was passed; None for images.

    Args:
        call: calls the lens with all its arguments, including the images.

    Raises:
        InputError: there is no image in the data set.
        UnknownName: there is no such target.
        OutputError: the targets are not as many as the images, or need all images at once.
    """
    if not declaration.each_image:
        return None
    model = as_model(arguments["model"])
    if not is_data_set(arguments["image"], model.input):
        return None
    data = as_dataset(arguments["image"], model)
    target = arguments.get("target", TOP1)
    targets = targets_per_image(target)
    if targets is not None and data.size is not None and len(targets) != data.size:
        raise OutputError(f"{len(targets)} targets for {data.size} images: give one each, or one for all")
    if callable(target) and takes_rows(target):
        raise OutputError(
            "a function of (output, rows) as target needs all images at once: pass them as a list, not as a data set"
        )
    if targets is None and declaration.takes_target:
        resolve_target(target, model, 1)  # so that a wrong target is refused before anything is read

    same_surroundings = current_settings(model.device.type)

    def explain(chunk: Chunk) -> list[Value]:
        own_targets = {} if targets is None else {"target": [targets[place] for place in chunk.indices]}
        with same_surroundings():
            return call({**arguments, "model": model, "image": chunk, **own_targets})

    return ValueStream(data, explain)


def targets_per_image(target: Any) -> Sequence[Any] | None:
    """The targets, if each image has its own."""
    targets = target.tolist() if getattr(target, "ndim", 0) else target
    return targets if isinstance(targets, (list, tuple)) else None
