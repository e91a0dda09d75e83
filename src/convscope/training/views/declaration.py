"""What a view of a log declares: its title, the question it answers, how to read it, and the function that draws it."""

from collections.abc import Callable
from dataclasses import dataclass

from convscope.render.rendered_picture import Picture
from convscope.training.run import TrainingLog


@dataclass(frozen=True)
class View:
    """One view.

    Attributes:
        name: its file.
        asks: the question that it answers.
        reads: how to read it.
        draw: its pictures; none where the log has no such numbers.
    """

    name: str
    title: str
    asks: str
    reads: str
    draw: Callable[[TrainingLog], list[Picture]]


def view(*, title: str, asks: str, reads: str) -> Callable[[Callable[[TrainingLog], list[Picture]]], View]:
    """Declare a view of a log."""

    def declare(draw: Callable[[TrainingLog], list[Picture]]) -> View:
        return View(draw.__name__, title, asks, reads, draw)

    return declare
