"""The prediction and what of it is explained: one of the best classes, or a typed target, at a layer."""

from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING

from nicegui import ui

from convscope import render
from convscope.spec.tasks import Task
from convscope.values import Detections, Prediction, Segmentation
from convscope.web.frame.page_context import PageContext
from convscope.web.page_parts.outdated import mark_current, mark_outdated
from convscope.web.page_parts.suggestions import MAX_SUGGESTIONS, mention_more
from convscope.web.panels.prediction import answer_bars, answer_picture, mark_explained
from convscope.web.requests.url_state import View

if TYPE_CHECKING:
    from convscope.engine.network.model import Model


def question_about(task: Task | None, *, is_best: bool) -> str:
    """The English heading of a page that explains one row of an answer; it asks why for the best row only."""
    question = Task.question if task is None else task.question
    return "What supports “{}”?" if question == Task.question and not is_best else question


class AnswerPanel:
    """Class bars, target and layers; ``pick_target`` and ``pick_layers`` are called when the user changes them."""

    def __init__(
        self,
        context: PageContext,
        view: View,
        pick_target: Callable[[str], None],
        pick_layers: Callable[[tuple[str, ...]], None],
    ) -> None:
        self.context, self.pick_target, self._pick_layers = context, pick_target, pick_layers
        self.prediction: render.Answer | None = None
        self._shown_prediction: render.Answer | str | None = None
        self._target_index: int | None = None
        self._shown_for: tuple[str, str] | None = None
        self._bars: dict[int, ui.html] = {}
        self._model: Model | None = None
        tr = context.tr
        with ui.element("section").classes("box"):
            with ui.element("div").classes("row-of").style("gap: 0 8px"):
                ui.label(tr("Predictions")).classes("label")
                ui.label(tr("Click one to explain it.")).classes("small")
            self.box = ui.element("div").classes("answers-box").props('aria-live="polite"')
            self._target = ui.input(tr("Or type a class, or A - B"), value=_typed(view))
            self._target.props("outlined dense stack-label clearable").mark("target")
            self._target.on("keydown.enter", lambda: pick_target(str(self._target.value or "").strip()))
            self._target.on("clear", lambda: pick_target(""))
            self._layer = ui.select(
                list(view.layer), value=list(view.layer), label=tr("Layer"), with_input=True, multiple=True,
                on_change=lambda event: self._on_layers_chosen(event.value or []),
            )  # fmt: skip
            self._layer.props("outlined dense options-dense stack-label use-chips clearable").mark("layer")
            self._layer.tooltip(tr("Several layers: their maps one after the other, with a slider."))
            self._mark_automatic(view)

    def show(
        self, prediction: render.Answer | str, view: View, target_index: int | None, with_target: render.Answer | str
    ) -> None:
        """Show a prediction or an error; the bars stay in place, with the focus, if only another class is explained.

        Args:
            target_index: the index of the class that is explained, if it is not the best one.
            with_target: the prediction with this class added, if it is not among the best.
        """
        self._shown_for, self._target_index = (view.model, view.image), target_index
        mark_current(self.box)
        is_shown = prediction is self.prediction and (target_index is None or target_index in self._bars)
        self.prediction = prediction if isinstance(prediction, render.ANSWERS) else None
        if not is_shown:
            self._shown_prediction = with_target
            self._draw(with_target)
        mark_explained(self._bars, self.explained_index(view))

    def show_target_error(self, target: str, message: str) -> None:
        """Show at the target field why its text is refused, until the target changes."""
        self._target.value = target
        self._target.error = message

    def update_fields(self, view: View) -> None:
        """Update the fields to a view; a prediction of another network or image is marked as outdated."""
        self._target.value = _typed(view)
        self._target.error = None
        self._mark_automatic(view)
        if self._shown_for not in (None, (view.model, view.image)):
            mark_outdated(self.box)

    def set_model(self, model: "Model", view: View) -> None:
        """Offer the layers and class labels of a model."""
        if model is not self._model:
            self._model = model
            self._layer.set_options(list(dict.fromkeys([*model.layers(), *view.layer])), value=list(view.layer))
            self._target.set_autocomplete([str(label) for label in model.labels or ()][:MAX_SUGGESTIONS])
            mention_more(self._target, len(model.labels or ()), self.context)
            self._name_target(model, view)

    def _name_target(self, model: "Model", view: View) -> None:
        """Say at the field of the target which targets the network has, with an example."""
        task, labels = model.task, [str(label) for label in model.labels or ()]
        text = "Or type a class, or A - B" if task is None else task.target_label
        if task is not None and "negative" in task.targets and self._has_one_output():
            text = "Or type: positive or negative"
        self._target.props["label"] = self.context.tr(text)
        sample = view.image if view.image.startswith("sample:") else "sample:shapes/7"
        example = "" if task is None else task.hint.format(label=labels[-1] if labels else 1, sample=sample)
        self._target.props["placeholder"] = example or " - ".join(labels[:2] * (len(labels) > 1))

    def _has_one_output(self) -> bool:
        return isinstance(self.prediction, Prediction) and len(self.prediction.indices) == 1

    def explained_index(self, view: View) -> int | None:
        """The index of the class that is explained, if it is known."""
        if self.prediction is None:
            return None
        default = render.explained_by_default(self.prediction)
        return self._target_index if view.target else None if default is None else default.key

    def question(self, view: View) -> str:
        """The heading of the page: why the network answered so, or what speaks for another class."""
        tr, index = self.context.tr, self.explained_index(view)
        task = self.context.services.library.task_of(view.model)
        if self.prediction is None:
            return tr(Task.default_question)
        if index is None and not view.target:
            return tr(Task.default_question if task is None else task.default_question)
        name = view.target
        if isinstance(self._shown_prediction, render.ANSWERS):
            keys = [row.key for row in render.answers(self._shown_prediction)]
            labels = dict(zip(keys, self._shown_prediction.labels, strict=True))
            name = labels.get(-1 if index is None else index, view.target)
            if isinstance(self._shown_prediction, Detections) and index in labels:
                name = tr("{label}, box {number}", label=name, number=index)
        default = render.explained_by_default(self.prediction)
        is_best = default is not None and index == default.key
        return tr(question_about(task, is_best=is_best)).format(name)

    def _draw(self, prediction: render.Answer | str) -> None:
        self.box.clear()
        self._bars = {}
        with self.box:
            if isinstance(prediction, str):
                ui.label(prediction).classes("warning")
                return
            place_target = lambda row, column: self.pick_target(f"at:{row},{column}")  # noqa: E731
            answer_picture(prediction, self.context, pick_place=place_target)
            self._bars = answer_bars(prediction, self.context, pick=self._pick)
            if not isinstance(prediction, Prediction):
                ui.label(self.context.tr(_reading_of_rows(prediction))).classes("small")
            for note in render.notes(prediction):
                ui.label(self.context.tr(note.text)).classes("warning" if note.warning else "small")

    def _pick(self, index: int) -> None:
        default = render.explained_by_default(self.prediction) if self.prediction is not None else None
        labels = list(self._model.labels or ()) if self._model else []
        rows = render.answers(self._shown_prediction) if isinstance(self._shown_prediction, render.ANSWERS) else []
        target = next(row.target for row in rows if row.key == index)
        target = labels[index] if target in labels else target  # labels take precedence over numbers
        self.pick_target("" if default is not None and index == default.key else target)

    def _on_layers_chosen(self, names: list[str]) -> None:
        order = {name: number for number, name in enumerate(self._model.layers() if self._model else ())}
        self._pick_layers(tuple(sorted(names, key=lambda name: order.get(name, len(order)))))

    def _mark_automatic(self, view: View) -> None:
        """Where no layer is chosen, the field says which one is used."""
        text = "" if view.layer else escape(self.context.tr("Automatic (last spatial)"))
        self._layer.props(f'placeholder="{text}"')


def _reading_of_rows(prediction: render.Answer) -> str:
    """What the numbers of the rows of a segmentation or of a detection are."""
    if isinstance(prediction, Segmentation):
        return "The numbers are shares of the picture, not confidences."
    return "The numbers are the scores of the boxes."


def _typed(view: View) -> str:
    """The text of the target field; empty for a class that was picked by its bar."""
    return "" if view.target.isdecimal() else view.target
