"""One value per image of a data set, however many images there are: a few of them are in memory at a time."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar

from convscope.engine.context.metering import as_share
from convscope.engine.context.progress_bar import shown
from convscope.engine.data.data_set import Chunk, Dataset, as_dataset, is_data_set
from convscope.engine.network.model import as_model
from convscope.engine.network.torch_context import as_now
from convscope.engine.targets.function_targets import takes_rows
from convscope.engine.targets.target import TOP1, aim_at
from convscope.errors import OutputError
from convscope.spec import LensSpec
from convscope.values import Value

Kind = TypeVar("Kind", bound=Value)


class ValueStream(Generic[Kind]):
    """What a lens gives for a data set: its values in order, computed as they are asked for.

    A folder, a list and a range can be walked through again, which computes the values again; what passes but once
    (a generator) gives its values once.

    Attributes:
        size: how many images there are, those included that cannot be read; None where that shows only at the end.
        skipped: what could not be read, name → reason; it fills as the values are asked for.
    """

    def __init__(self, data: Dataset, look: Callable[[Chunk], list[Kind]]) -> None:
        self._data, self._look = data, look

    def __repr__(self) -> str:
        return f"ValueStream({self._data!r})"

    @property
    def size(self) -> int | None:
        """How many images there are."""
        return self._data.size

    @property
    def skipped(self) -> Mapping[str, str]:
        """What could not be read so far."""
        return self._data.skipped

    def __iter__(self) -> Iterator[Kind]:
        """The values, one after the other."""
        return (value for _, value in self.placed())

    def placed(self) -> Iterator[tuple[int, Kind]]:
        """Each value with the place of its image in the data set."""
        done = 0
        for chunk in self._data.chunks():
            share = f"{self._data.name}, {done} of {self.size} done" if self.size else self._data.name
            with shown(share), as_share(done, len(chunk), max(done + len(chunk), self.size or 0)):
                values = self._look(chunk)
            done += len(chunk)
            yield from zip(chunk.places, values, strict=True)


def stream_of(
    declaration: LensSpec, given: Mapping[str, Any], look: Callable[[dict[str, Any]], list[Value]]
) -> ValueStream[Value] | None:
    """The values of a lens that looks at each image, where a data set was given; None where it is images.

    Args:
        look: calls the lens with all its arguments, the images among them.

    Raises:
        InputError: there is no image in the data set.
        UnknownName: there is no such target.
        OutputError: the targets are not as many as the images, or need all images at once.
    """
    if not declaration.each_image or not is_data_set(given["image"]):
        return None
    model = as_model(given["model"])
    data = as_dataset(given["image"], model)
    target = given.get("target", TOP1)
    each = _one_each(target)
    if each is not None and data.size is not None and len(each) != data.size:
        raise OutputError(f"{len(each)} targets for {data.size} images: give one each, or one for all")
    if callable(target) and takes_rows(target):
        raise OutputError(
            "a function of (output, rows) as target needs all images at once: pass them as a list, not as a data set"
        )
    if each is None and declaration.takes_target:
        aim_at(target, model, 1)  # refused before anything is read

    as_at_the_call = as_now(model.device.type)

    def look_at(chunk: Chunk) -> list[Value]:
        aimed = {} if each is None else {"target": [each[place] for place in chunk.places]}
        with as_at_the_call():
            return look({**given, "model": model, "image": chunk, **aimed})

    return ValueStream(data, look_at)


def _one_each(target: Any) -> Sequence[Any] | None:
    """The targets, where each image has its own."""
    several = target.tolist() if getattr(target, "ndim", 0) else target
    return several if isinstance(several, (list, tuple)) else None
