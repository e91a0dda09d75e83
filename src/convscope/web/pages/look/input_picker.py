"""The choice of a model, and of an image from a list, by upload, or from the camera."""

from collections.abc import Callable, Mapping
from html import escape
from typing import Any

from nicegui import background_tasks, ui
from nicegui.elements.upload import Upload
from nicegui.elements.upload_files import FileUpload

from convscope.errors import ConvScopeError
from convscope.web.frame.page_context import PageContext
from convscope.web.jobs.async_wait import run_in_thread
from convscope.web.page_parts.buttons import button
from convscope.web.page_parts.model_caveats import Caveats
from convscope.web.page_parts.outdated import mark_current, mark_outdated
from convscope.web.page_parts.thumbnails import image_title, preview_uri, thumbnail_box, thumbnail_uri
from convscope.web.page_parts.written_fields import WrittenFields
from convscope.web.requests.models_and_images import MAX_UPLOAD
from convscope.web.requests.uploads import NUMBER_ENDINGS
from convscope.web.requests.url_state import View
from convscope.web.requests.written_inputs import named_keys
from convscope.web.requests.zip_uploads import grouped

INITIAL_THUMBNAILS = 48
"""Images that are listed at first; a button shows the others."""


ACCEPTED = ",".join(("image/*", *NUMBER_ENDINGS))
"""What the browser's dialog offers."""
UPLOADABLE_FILES = r"(files) => files.filter((one) => one.name.length < 1000 && !/[\x00-\x1f\\]/.test(one.name))"
"""A JavaScript filter for files whose names can be sent in an upload."""


class ImageUpload(Upload):
    """An upload field that ignores files which arrive after its page was closed, and uploads that broke off."""

    async def handle_uploads(self, files: list[FileUpload]) -> None:
        """Pass files on, unless the page is gone or none has arrived."""
        if files and not self.is_deleted:
            await super().handle_uploads(files)


class InputPicker:
    """The choice of model and image; ``pick_model`` and ``pick_image`` are called when the user changes them.

    Args:
        on_upload: called with True when an upload starts, and with False when it fails.
    """

    def __init__(
        self,
        context: PageContext,
        view: View,
        pick_model: Callable[[str], None],
        pick_image: Callable[[str], None],
        on_upload: Callable[[bool], None],
    ) -> None:
        self.on_upload = on_upload
        self.context, self.library, self.pick_image = context, context.services.library, pick_image
        self.image, self.model = view.image, view.model
        self._thumbnail_buttons: dict[str, ui.html] = {}
        tr = context.tr
        with ui.element("section").classes("box"):
            models = ui.select(
                self.library.names(view.model), value=view.model, label=tr("Model"),
                on_change=lambda event: pick_model(event.value), with_input=self.library.allow_load,
                new_value_mode="add-unique" if self.library.allow_load else None,
            )  # fmt: skip
            models.props("outlined dense options-dense stack-label").mark("model")
            self.caveats = Caveats(context)
            self._preview = ui.html("", sanitize=False).classes("portrait-box")
            self._list = thumbnail_box(self.library, self.library.listed_kind(view.model)).props(
                f'role="group" aria-label="{tr("Images")}"'
            )
            self.written = WrittenFields(context, pick_image)
            with ui.element("div").classes("sources"):
                self._draw_upload()
                self._camera = ui.html(escape(tr("Camera")), sanitize=False, tag="button").classes("button")
                self._camera.props("type=button data-camera")
                self._show_camera()
        background_tasks.create(self.list_images(INITIAL_THUMBNAILS))

    def mark(self, image: str) -> None:
        """Mark the chosen image; the preview of another one becomes outdated."""
        if image != self.image:
            mark_outdated(self._preview)
        self.image = image
        for key, thumb in self._thumbnail_buttons.items():
            is_chosen = key == image or key in named_keys(image).values()
            thumb.props(f"aria-pressed={'true' if is_chosen else 'false'}")

    async def show_preview(self, image: str) -> None:
        """Show a large preview of an image.

        Raises:
            ConvScopeError: the image cannot be read.
        """
        try:
            uri = await run_in_thread(preview_uri, self.library, image)
        except ConvScopeError:
            if image == self.image:
                self._preview.set_content("")
            raise
        if image != self.image:
            return  # another image was picked meanwhile
        mark_current(self._preview)
        self._preview.set_content(
            f'<img class="portrait" src="{uri}" alt="{escape(image_title(self.library, image))}">'
        )

    async def show_images_for(self, model: str) -> None:
        """List the images for another model."""
        self.model = model
        self._show_camera()
        await self.list_images(INITIAL_THUMBNAILS)

    def _show_camera(self) -> None:
        """Offer the camera only where the network takes a picture."""
        self._camera.set_visibility(self.library.listed_kind(self.model) in ("", "image"))

    async def list_images(self, limit: int | None) -> None:
        """List the available images that the model may take."""
        listed = self.library.images(self.library.listed_kind(self.model))
        thumbnails = await run_in_thread(self._load_thumbnails, [(image.key, image.name) for image in listed[:limit]])
        if self.context.client.is_deleted:
            return
        self._list.clear()
        with self._list:
            self._thumbnail_buttons = {key: self._thumbnail_button(key, name, uri) for key, name, uri in thumbnails}
            if more := len(listed) - len(listed[:limit]):
                button(f"+{more}", lambda: self.list_images(None), style="thumb", name=self.context.tr("All images"))
        self.mark(self.image)

    def _thumbnail_button(self, key: str, name: str, uri: str) -> ui.html:
        element = ui.html(f'<img src="{uri}" alt="">', sanitize=False, tag="button").classes("thumb")
        # set without parsing, since names may contain any character
        element.props("type=button").props.update({"title": name, "aria-label": name})
        element.on("click", lambda: self.pick_image(self.written.replaced(key)))
        return element

    def _load_thumbnails(self, images: list[tuple[str, str]]) -> list[tuple[str, str, str]]:
        thumbnails = []
        for key, name in images:
            try:
                thumbnails.append((key, name, thumbnail_uri(self.library, key)))
            except (ConvScopeError, OSError):
                continue  # a broken file is left out
        return thumbnails

    def _draw_upload(self) -> None:
        context, tr = self.context, self.context.tr
        rejected = tr("This file is too large, or has a name that cannot be sent.")
        upload = ImageUpload(
            multiple=True, on_multi_upload=self._on_upload, auto_upload=True,
            max_file_size=MAX_UPLOAD, max_total_size=MAX_UPLOAD, on_rejected=lambda: context.show_error(rejected),
        )  # fmt: skip
        upload.on("uploading", self._on_upload_started)
        upload.on("failed", lambda: self._on_upload_failed(upload))
        upload.classes("drop").props(f'accept="{ACCEPTED}" flat').props[":filter"] = UPLOADABLE_FILES
        text = f"<strong>{escape(tr('Choose a file'))}</strong> {escape(tr('or drop one here'))}"
        tag_open = '<button type="button" class="drop-say" @click="props.pickFiles">'
        upload.add_slot("header", f"<div>{tag_open}{text}</button><q-uploader-add-trigger /></div>")

    def _on_upload_started(self) -> None:
        """An upload has started: the preview becomes outdated."""
        mark_outdated(self._preview)
        self.on_upload(True)

    def _on_upload_failed(self, upload: ui.upload) -> None:
        """An upload has failed; it is not retried with the next file."""
        upload.reset()
        self.on_upload(False)
        self.context.show_error(self.context.tr("This file could not be sent. Give it a shorter name, or try again."))

    def _upload(self, files: Mapping[str, bytes]) -> str:
        """Keep files that were chosen together, several slices as one volume; the key of the last is given."""
        return [self.library.upload(name, content) for name, content in grouped(files).items()][-1]

    async def _on_upload(self, event: Any) -> None:
        files = {file.name: await file.read() for file in event.files}
        try:
            key = await run_in_thread(self._upload, files)
        except ConvScopeError as error:
            self.on_upload(False)
            self.context.show_error(str(error))
            return
        if self.context.client.is_deleted:
            return
        self.pick_image(self.written.replaced(key))
        await self.list_images(INITIAL_THUMBNAILS)
