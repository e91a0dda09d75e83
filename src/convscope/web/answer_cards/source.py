"""What is looked at: a model, and an image out of a list, of one's own, or from the camera."""

from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Any

from nicegui import background_tasks, ui

from convscope.errors import ConvScopeError
from convscope.web.assets import MAX_UPLOAD
from convscope.web.buttons import button
from convscope.web.caveats import Caveats
from convscope.web.jobs.waiting import aside
from convscope.web.pictures import called, portrait, thumbnail, thumbs
from convscope.web.stale import fresh, stale
from convscope.web.url_state import View

if TYPE_CHECKING:
    from convscope.web.page_layout import Place

THUMBS = 48
"""So many images are shown to pick from at first; the rest when they are asked for."""


SENDABLE = r"(files) => files.filter((one) => one.name.length < 1000 && !/[\x00-\x1f\\]/.test(one.name))"
"""Files whose names survive the way a browser sends them."""


class Source:
    """Model and image; ``pick_model`` and ``pick_image`` are told of another one.

    Args:
        uploading: told that an image is on its way here, and with False that it did not come.
    """

    def __init__(
        self,
        place: "Place",
        view: View,
        pick_model: Callable[[str], None],
        pick_image: Callable[[str], None],
        uploading: Callable[[bool], None],
    ) -> None:
        self.uploading = uploading
        self.place, self.library, self.pick_image = place, place.bench.library, pick_image
        self.image = view.image
        self._thumbs: dict[str, ui.html] = {}
        say = place.say
        with ui.element("section").classes("box"):
            models = ui.select(
                self.library.names(view.model), value=view.model, label=say("Model"),
                on_change=lambda event: pick_model(event.value), with_input=self.library.allow_load,
                new_value_mode="add-unique" if self.library.allow_load else None,
            )  # fmt: skip
            models.props("outlined dense options-dense stack-label").mark("model")
            self.caveats = Caveats(place)
            self._portrait = ui.html("", sanitize=False).classes("portrait-box")
            self._list = thumbs(self.library).props(f'role="group" aria-label="{say("Images")}"')
            with ui.element("div").classes("sources"):
                self._draw_upload()
                ui.html(escape(say("Camera")), sanitize=False, tag="button").classes("button").props(
                    "type=button data-camera"
                )
        background_tasks.create(self.list_images(THUMBS))

    def mark(self, image: str) -> None:
        """Show which image is looked at now; the portrait of another is stale."""
        if image != self.image:
            stale(self._portrait)
        self.image = image
        for key, thumb in self._thumbs.items():
            thumb.props(f"aria-pressed={'true' if key == image else 'false'}")

    async def portray(self, image: str) -> None:
        """Show an image large.

        Raises:
            ConvScopeError: it cannot be read.
        """
        try:
            drawn = await aside(portrait, self.library, image)
        except ConvScopeError:
            if image == self.image:
                self._portrait.set_content("")
            raise
        if image != self.image:
            return  # another was picked meanwhile
        fresh(self._portrait)
        self._portrait.set_content(f'<img class="portrait" src="{drawn}" alt="{escape(called(self.library, image))}">')

    async def list_images(self, most: int | None) -> None:
        """Show what can be picked."""
        listed = self.library.images()
        found = await aside(self._thumbnails, [(one.key, one.name) for one in listed[:most]])
        if self.place.client.is_deleted:
            return
        self._list.clear()
        with self._list:
            self._thumbs = {key: self._thumb(key, name, address) for key, name, address in found}
            if more := len(listed) - len(listed[:most]):
                button(f"+{more}", lambda: self.list_images(None), style="thumb", name=self.place.say("All images"))
        self.mark(self.image)

    def _thumb(self, key: str, name: str, address: str) -> ui.html:
        made = ui.html(f'<img src="{address}" alt="">', sanitize=False, tag="button").classes("thumb")
        made.props("type=button").props.update({"title": name, "aria-label": name})  # whatever letters it has
        made.on("click", lambda: self.pick_image(key))
        return made

    def _thumbnails(self, images: list[tuple[str, str]]) -> list[tuple[str, str, str]]:
        found = []
        for key, name in images:
            try:
                found.append((key, name, thumbnail(self.library, key)))
            except (ConvScopeError, OSError):
                continue  # a broken file among many is not worth a word here
        return found

    def _draw_upload(self) -> None:
        place, say = self.place, self.place.say
        why = say("This file is too large, is no image, or has a name that cannot be sent.")
        upload = ui.upload(
            on_upload=self._uploaded, max_file_size=MAX_UPLOAD, auto_upload=True,
            on_rejected=lambda: place.complain(why),
        )  # fmt: skip
        upload.on("uploading", self._on_its_way)
        upload.on("failed", lambda: self._not_sent(upload))
        upload.classes("drop").props('accept="image/*" flat').props[":filter"] = SENDABLE
        text = f"<strong>{escape(say('Choose an image'))}</strong> {escape(say('or drop one here'))}"
        opening = '<button type="button" class="drop-say" @click="props.pickFiles">'
        upload.add_slot("header", f"<div>{opening}{text}</button><q-uploader-add-trigger /></div>")

    def _on_its_way(self) -> None:
        """An upload has begun: the portrait is that of an earlier image from now on."""
        stale(self._portrait)
        self.uploading(True)

    def _not_sent(self, upload: ui.upload) -> None:
        """The browser could not hand a file over; it is not tried again with the next one."""
        upload.reset()
        self.uploading(False)
        self.place.complain(self.place.say("This file could not be sent. Give it a shorter name, or try again."))

    async def _uploaded(self, event: Any) -> None:
        content = await event.file.read()
        try:
            key = await aside(self.library.upload, event.file.name, content)
        except ConvScopeError as error:
            self.uploading(False)
            self.place.complain(str(error))
            return
        self.pick_image(key)
        await self.list_images(THUMBS)
