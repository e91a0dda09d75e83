"""Download buttons for a value, one for each file format."""

from functools import partial

from nicegui import ui

from convscope.values import Value
from convscope.web.frame.page_context import PageContext
from convscope.web.page_parts.buttons import button
from convscope.web.requests.export import file_bytes, file_name, file_suffixes

LABELS = {".png": "Picture", ".npz": "Numbers", ".json": "Manifest", ".gif": "Animation", ".nii.gz": "Volume"}


def download_buttons(value: Value, context: PageContext) -> None:
    """Add the download buttons; files are written on demand, pictures in the theme of the page."""
    with ui.element("div").classes("row-of downloads"):
        for suffix in file_suffixes(value):
            options = {"theme": "dark" if context.dark else "light"} if suffix == ".png" else {}
            make_file = partial(file_bytes, value, suffix, **options)
            label = f"{context.tr(LABELS[suffix])} {suffix}"
            button(label, partial(context.download, make_file, file_name(value, suffix))).mark(f"get{suffix}")
