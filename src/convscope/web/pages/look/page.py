"""Look: the prediction for an image, and what it depends on, by several lenses side by side."""

from functools import partial
from html import escape
from typing import Any

from nicegui import background_tasks, ui

from convscope import render
from convscope.catalogue import default_comparison, lenses
from convscope.errors import ConvScopeError
from convscope.spec import LensSpec
from convscope.values import Attribution, JointAttribution
from convscope.web.frame.lens_page import page_of
from convscope.web.frame.page_context import PageContext
from convscope.web.frame.page_registry import lens_in_link, page
from convscope.web.jobs.async_wait import run_in_thread
from convscope.web.page_parts.buttons import button
from convscope.web.page_parts.link_checks import lens_problems, show_link_problems
from convscope.web.page_parts.outdated import mark_current, mark_outdated
from convscope.web.pages.look.answer_panel import AnswerPanel
from convscope.web.pages.look.card_gallery import CardGallery
from convscope.web.pages.look.input_picker import InputPicker
from convscope.web.pages.look.lens_chooser import LensChooser
from convscope.web.pages.look.pinned_maps import PinnedMaps
from convscope.web.pages.look.target_check import target_error, with_target_class
from convscope.web.panels.attribution import display_controls
from convscope.web.requests.export import report_bytes
from convscope.web.requests.url_state import View

ONE_SCALE = "scale"
"""The link's parameter for one scale over all maps."""


def _lens_in_link(view: View, spec: LensSpec) -> View:
    """The view in a link to this page, which shows the prediction without a lens."""
    return view.replace(lens="", parameters={}) if spec.command == "predict" else lens_in_link(view, spec)


@page("/look", "Look", order=1, link_view=_lens_in_link)
async def build(view: View, context: PageContext) -> None:
    """Build the page."""
    LookPage(view, context).open()


def gallery_lenses() -> list[LensSpec]:
    """The lenses of the gallery: those that explain a prediction and need only a model and an image."""
    explaining = [spec for spec in lenses() if spec.attributes and "unit" not in spec.inputs]
    return [spec for spec in explaining if spec.each_image and set(spec.required) <= {"model", "image"}]


def known_lenses() -> list[str]:
    """The lenses that a link may name: those of the gallery, and those that no other page shows."""
    return [spec.command for spec in lenses() if page_of(spec).path == "/look" and spec.command != "predict"]


class LookPage:
    """One open page: the choice of inputs and lenses, and the views that the cards show.

    Attributes:
        view: the state of the page as the link carries it.
    """

    def __init__(self, view: View, context: PageContext) -> None:
        self.context, self.library = context, context.services.library
        show_link_problems(self._link_problems(view))
        self._by_default = not _named(view)
        self.view = self._complete(view)
        self._turn = self._target_turn = 0
        with ui.element("div").classes("look"):
            with ui.element("aside").classes("side").props(f'aria-label="{context.tr("Model and image")}"'):
                self.inputs = InputPicker(context, self.view, self.pick_model, self.pick_image, self._on_upload)
                self.answer = AnswerPanel(context, self.view, self.pick_target, self.pick_layers)
            with ui.element("div").classes("main-part"):
                choices = gallery_lenses()
                self._draw_head(choices)
                self.gallery = CardGallery(context, self, choices, one_scale=self._one_scale)
                self.pins = PinnedMaps(context, self._on_pins_changed)
        background_tasks.create(self.pins.restore(self.view.pinned))

    def _complete(self, view: View) -> View:
        """The view with defaults for lenses, model and image, so that its link is complete."""
        view = _with_prefixed_parameters(view)
        model = view.model or self.library.addresses[0]
        return view.replace(
            lens=",".join(_named(view) or default_comparison(self.library.task_of(model))),
            model=model,
            image=view.image or self.library.image_for(model),
        )

    def _link_problems(self, view: View) -> list[str]:
        """What the link names that does not exist here; errors of a card are shown on the card."""
        known = known_lenses()
        parameters = _with_prefixed_parameters(view).parameters
        unknown = [name for name in parameters if name != ONE_SCALE and name.partition(".")[0] not in known]
        messages = [
            self.context.tr("No lens on this page has the link's parameter {}.").format(name) for name in unknown
        ]
        return lens_problems(view, [*known, "predict"], self.context) + messages

    @property
    def names(self) -> list[str]:
        """The chosen lenses, in order."""
        return [name for name in self.view.lens.split(",") if name]

    def _draw_head(self, choices: list[LensSpec]) -> None:
        tr = self.context.tr
        self.title = ui.html(escape(self.answer.question(self.view)), sanitize=False, tag="h1")
        self.chooser = LensChooser(self.context, choices, self.choose)
        with ui.element("div").classes("row-of tools").props(f'role="group" aria-label="{tr("Display")}"'):
            self.chooser.draw_button()
            ui.html(display_controls(self.context), sanitize=False).classes("row-of")
            self.scale_button = button(tr("One scale"), self._toggle_scale)
            hint = tr("All maps on one scale, to compare magnitudes where the values have the same unit")
            self.scale_button.props(f'title="{escape(hint)}"')
            self._mark_scale()
            button(tr("Report"), self._download_report, style="end").props(
                f'title="{escape(tr("Everything shown here in one HTML file"))}"'
            )
        self.chooser.draw()

    # -- the choice ---------------------------------------------------------------------------------------------

    def pick_image(self, key: str) -> None:
        """Show another image and explain its best class."""
        self._change(image=key, target="")

    def pick_model(self, address: str) -> None:
        """Use another model, and another image if it takes another kind; the target and layer are reset."""
        image = self.library.image_for(address, self.view.image)
        lens = ",".join(default_comparison(self.library.task_of(address))) if self._by_default else self.view.lens
        self._change(model=address, image=image, target="", layer=(), lens=lens)
        background_tasks.create(self.inputs.show_images_for(address))

    def pick_layers(self, layers: tuple[str, ...]) -> None:
        """Use other layers."""
        if set(layers) != set(self.view.layer):
            self._change(layer=layers)

    def pick_target(self, target: str) -> None:
        """Explain another target; if the network lacks it, an error is shown and the target stays."""
        self._target_turn += 1
        background_tasks.create(self._pick_target(target, self._target_turn, self._turn))

    async def _pick_target(self, target: str, target_turn: int, turn: int) -> None:
        error = await target_error(self.context, self.view.replace(target=target)) if target else ""
        if self.context.client.is_deleted or (target_turn, turn) != (self._target_turn, self._turn):
            return  # something else was typed or picked meanwhile
        if error:
            self.answer.show_target_error(target, error)
        elif target != self.view.target:
            self._change(target=target)
        else:
            self.answer.update_fields(self.view)

    def choose(self, names: list[str]) -> None:
        """Show these lenses; those that were not shown before are run."""
        self._by_default = False
        self._show_lenses(names)

    def _show_lenses(self, names: list[str]) -> None:
        before = frozenset(self.gallery.names)
        self._set_view(lens=",".join(names))
        self.chooser.mark(names)
        if self._image_error() is None:
            self.gallery.lay_out(self.names)
            self.gallery.run(except_for=before)

    def set_lens_parameters(self, lens: str, parameters: dict[str, Any]) -> None:
        """Write the parameters of a lens into the link."""
        prefix = f"{lens}."
        others = {name: value for name, value in self.view.parameters.items() if not name.startswith(prefix)}
        self._set_view(parameters=others | {f"{prefix}{name}": value for name, value in parameters.items()})

    def set_input(self, name: str, value: Any) -> None:
        """Use another input in all lenses that have it."""
        self._change(**{name: value})

    def lens_parameters(self, lens: str) -> dict[str, Any]:
        """The parameters that the link has for a lens, where they are written ``LENS.NAME``."""
        prefix = f"{lens}."
        parameters = self.view.parameters
        return {name.removeprefix(prefix): value for name, value in parameters.items() if name.startswith(prefix)}

    def pin_map(self, view: View, value: Attribution | JointAttribution) -> None:
        """Keep a map at the bottom of the page."""
        self.pins.add(view, value)

    def _on_pins_changed(self, queries: tuple[str, ...]) -> None:
        self._set_view(pinned=queries)

    def _on_upload(self, started: bool) -> None:
        """An upload has started, which makes the results outdated; or it has failed."""
        if not started:
            self.begin(by_user=False)
            return
        mark_outdated(self.title, self.answer.box)
        self.gallery.mark_outdated()

    def _set_view(self, *, by_user: bool = True, **changes: Any) -> None:
        self.view = self.view.replace(**changes)
        self.context.update_url(self.view, by_user=by_user)

    def _change(self, **changes: Any) -> None:
        self.view = self.view.replace(**changes)
        self.begin()

    # -- the results --------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Show what the link names."""
        if not self.view.target:
            self.begin(by_user=False)
            return
        if self._image_error() is None:
            self.gallery.lay_out(self.names)
        background_tasks.create(self._open(self.view.target))

    async def _open(self, target: str) -> None:
        """Show what the link names; a target that the network lacks is refused, and the best class is explained."""
        error = await target_error(self.context, self.view)
        if self.context.client.is_deleted or self._turn:
            return  # something else was picked meanwhile
        if error:
            self.view = self.view.replace(target="")
        self.begin(by_user=False)
        if error:
            self.answer.show_target_error(target, error)

    def begin(self, *, by_user: bool = True) -> None:
        """Compute everything for the current view; jobs for the previous one are no longer watched."""
        self._turn += 1
        self.context.update_url(self.view, by_user=by_user)
        self.inputs.mark(self.view.image)
        self.inputs.caveats.show([self.view.model])
        self.answer.update_fields(self.view)
        if self.view.image:
            mark_outdated(self.title)
        self.chooser.mark(self.names)
        awaits_task = self._by_default and self.library.task_of(self.view.model) is None
        background_tasks.create(self._predict(self._turn, then_run_lenses=awaits_task))
        error = self._image_error()
        if error is not None:
            self.gallery.show_no_image(error)
            return
        self.gallery.lay_out(self.names)
        if awaits_task:
            self.gallery.mark_outdated()
        else:
            self.gallery.run()

    def _run_for_task(self) -> None:
        """Run the lenses that suit the task, which was unknown before the prediction, or those chosen meanwhile."""
        if self._by_default:
            self._set_view(by_user=False, lens=",".join(default_comparison(self.library.task_of(self.view.model))))
            self.chooser.mark(self.names)
            self.gallery.lay_out(self.names)
        self.gallery.run()

    def _image_error(self) -> str | None:
        """Why the image cannot be used, empty if none is chosen; None if it can be used."""
        if not self.view.image:
            return ""
        try:
            self.library.fingerprint(self.view.image)
        except (ConvScopeError, OSError) as error:
            return str(error)
        return None

    def lens_view(self, spec: LensSpec) -> View:
        """The view of a lens, with those inputs that it uses."""
        view = self.view
        inputs = {kind.name: view.input(kind.name) for kind in spec.input_kinds}
        return View(**{"model": view.model, "image": view.image, **inputs})

    async def _predict(self, turn: int, *, then_run_lenses: bool) -> None:
        """Show the image, the prediction, and the layers and classes that can be chosen.

        Args:
            then_run_lenses: whether the choice of lenses depends on a task that only the prediction shows.
        """
        view = self.view
        if view.image:
            prediction = await self._prediction_for(view)
            with_target: render.Answer | str = prediction
            target_index: int | None = None
            if isinstance(prediction, render.ANSWERS) and view.target:
                with_target, target_index = await with_target_class(self.context, prediction, view)
            if turn == self._turn and not self.context.client.is_deleted:
                self.answer.show(prediction, view, target_index, with_target)
                self.title.set_content(escape(self.answer.question(view)))
                mark_current(self.title)
                if then_run_lenses and self._image_error() is None:
                    self._run_for_task()
        try:
            model = await run_in_thread(self.library.model, view.model)
        except ConvScopeError:
            return  # the error is shown with the prediction
        if turn == self._turn and not self.context.client.is_deleted:
            self.answer.set_model(model, view)
            self.inputs.written.show(model.input, view.image)

    async def _prediction_for(self, view: View) -> render.Answer | str:
        try:
            job = self.context.services.submit(View(lens="predict", model=view.model, image=view.image))
            await self.inputs.show_preview(view.image)
            await self.context.wait(job)
        except (ConvScopeError, OSError) as error:
            return str(error)
        return job.value if isinstance(job.value, render.ANSWERS) else job.error or self.context.tr("Stopped.")

    # -- one scale, one report ----------------------------------------------------------------------------------

    @property
    def _one_scale(self) -> bool:
        return ONE_SCALE in self.view.parameters

    def _toggle_scale(self) -> None:
        turn_on = not self._one_scale
        others = {name: value for name, value in self.view.parameters.items() if name != ONE_SCALE}
        self.view = self.view.replace(parameters=others | ({ONE_SCALE: "one"} if turn_on else {}))
        self._mark_scale()
        self.context.update_url(self.view)
        self.gallery.set_one_scale(turn_on)

    def _mark_scale(self) -> None:
        self.scale_button.props(f"aria-pressed={'true' if self._one_scale else 'false'}")

    async def _download_report(self) -> None:
        prediction = self.answer.prediction
        values = [*([prediction] if prediction is not None else []), *self.gallery.values]
        if not self.gallery.cards or not values:
            self.context.show_error(self.context.tr("There is nothing to report yet: choose an image and a lens."))
            return
        await self.context.download(partial(report_bytes, values, self.gallery.errors), "convscope-report.html")


def _named(view: View) -> list[str]:
    """The lenses that a link names and this page shows, in order."""
    known = known_lenses()
    return list(dict.fromkeys(name for name in view.lens.replace("_", "-").split(",") if name in known))


def _with_prefixed_parameters(view: View) -> View:
    """The view with the parameters of a single lens written as on this page: ``LENS.NAME``."""
    lens = view.lens.replace("_", "-")
    if not lens or "," in lens:
        return view
    names = {name: name if "." in name or name == ONE_SCALE else f"{lens}.{name}" for name in view.parameters}
    return view.replace(parameters={names[name]: value for name, value in view.parameters.items()})
