"""What the model answers, and what of it is explained: one of its best classes, or what a person types; and where."""

from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING

from nicegui import ui

from convscope import render
from convscope.values import Prediction
from convscope.web.panels.prediction import bars, mark
from convscope.web.stale import fresh, stale
from convscope.web.suggestions import MOST, tell_of_more
from convscope.web.url_state import View

if TYPE_CHECKING:
    from convscope.engine.network.model import Model
    from convscope.web.page_layout import Place


class Answer:
    """Bars, target and layer; ``pick_target`` and ``pick_layer`` are told of another one."""

    def __init__(
        self, place: "Place", view: View, pick_target: Callable[[str], None], pick_layer: Callable[[str], None]
    ) -> None:
        self.place, self.pick_target = place, pick_target
        self.prediction: Prediction | None = None
        self._drawn: Prediction | str | None = None
        self._asked: int | None = None
        self._shown: tuple[str, str] | None = None
        self._bars: dict[int, ui.html] = {}
        self._model: Model | None = None
        say = place.say
        with ui.element("section").classes("box"):
            with ui.element("div").classes("row-of").style("gap: 0 8px"):
                ui.label(say("Answers")).classes("label")
                ui.label(say("Click one to explain it.")).classes("small")
            self.box = ui.element("div").classes("answers-box").props('aria-live="polite"')
            self._target = ui.input(say("Or type a class, or A - B"), value=_typed(view))
            self._target.props("outlined dense stack-label clearable").mark("target")
            self._target.on("keydown.enter", lambda: pick_target(str(self._target.value or "").strip()))
            self._target.on("clear", lambda: pick_target(""))
            self._layer = ui.select(
                self._layers([], view), value=_layer(view), label=say("Layer"), with_input=True,
                on_change=lambda event: pick_layer(event.value or ""),
            )  # fmt: skip
            self._layer.props("outlined dense options-dense stack-label").mark("layer")

    def show(self, found: Prediction | str, view: View, asked: int | None, more: Prediction | str) -> None:
        """Show an answer, or why there is none; the focus stays where only another class is explained.

        Args:
            asked: the number of the class that is explained, where another than the best is asked for.
            more: the answer with this class, where it is not among the best.
        """
        self._shown, self._asked = (view.model, view.image), asked
        fresh(self.box)
        there = found is self.prediction and (asked is None or asked in self._bars)
        self.prediction = found if isinstance(found, Prediction) else None
        if not there:
            self._drawn = more
            self._draw(more)
        mark(self._bars, self.explained(view))

    def refuse(self, target: str, why: str) -> None:
        """Say at the field why what stands there is not explained, until something else is typed or picked."""
        self._target.value = target
        self._target.error = why

    def follow(self, view: View) -> None:
        """Have the field say what is explained; answers of another network or image are shown to be stale."""
        self._target.value = _typed(view)
        self._target.error = None
        if self._shown not in (None, (view.model, view.image)):
            stale(self.box)

    def offer(self, model: "Model", view: View) -> None:
        """Offer the layers and labels of a model."""
        if model is not self._model:
            self._model = model
            self._layer.set_options(self._layers(model.layers(), view), value=_layer(view))
            self._target.set_autocomplete([str(one) for one in model.labels or ()][:MOST])
            tell_of_more(self._target, len(model.labels or ()), self.place)
            if len(model.labels or ()) > 1:
                self._target.props(f'placeholder="{escape(" - ".join(list(model.labels or ())[:2]))}"')

    def explained(self, view: View) -> int | None:
        """The number of the class that is explained, where it is known."""
        if self.prediction is None:
            return None
        return self._asked if view.target else self.prediction.indices[0]

    def question(self, view: View) -> str:
        """What the page asks: why this answer, or what speaks for another."""
        say, explained = self.place.say, self.explained(view)
        if self.prediction is None:
            return say("Why did it answer that?")
        name = view.target
        if isinstance(self._drawn, Prediction):
            answers = dict(zip(self._drawn.indices, self._drawn.labels, strict=True))
            name = answers.get(-1 if explained is None else explained, view.target)
        top = explained == self.prediction.indices[0]
        return (say("Why did it answer “{}”?") if top else say("What speaks for “{}”?")).format(name)

    def _draw(self, found: Prediction | str) -> None:
        self.box.clear()
        self._bars = {}
        with self.box:
            if isinstance(found, str):
                ui.label(found).classes("warning")
                return
            self._bars = bars(found, self.place, pick=self._pick)
            for note in render.notes(found):
                ui.label(self.place.say(note.text)).classes("warning" if note.warning else "small")

    def _pick(self, index: int) -> None:
        top = self.prediction.indices[0] if self.prediction else -1
        labels = list(self._model.labels or ()) if self._model else []
        named = str(index) if str(index) not in labels else labels[index]  # a label is read before a number
        self.pick_target("" if index == top else named)

    def _layers(self, names: list[str], view: View) -> dict[str, str]:
        chosen = {name: name for name in view.layer[:1]}
        return {"": self.place.say("Automatic (last spatial)"), **{name: name for name in names}, **chosen}


def _typed(view: View) -> str:
    """What stands in the field for other targets; a class that was picked is marked among the answers."""
    return "" if view.target.isdecimal() else view.target


def _layer(view: View) -> str:
    return view.layer[0] if view.layer else ""
