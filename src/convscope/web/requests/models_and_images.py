"""The assets that the server offers: the models and inputs named at start, and uploaded inputs.

Images, signals, volumes and clips are all called images here, as in links and in the API. All are named by keys that
are issued here, never by paths: ``sample:shapes/7``, ``folder:0/cat.jpg``, ``upload:3f2a…``. Other keys are refused,
except written inputs (`written_inputs`).
"""

import copy
import io
import re
import threading
from collections import Counter, OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image as Pillow

from convscope.engine.inputs.image_io import convert_mode, image_extensions, open_image, require_file
from convscope.engine.inputs.input_files import input_extensions, read_input
from convscope.engine.inputs.raw_input import RawInput
from convscope.errors import InputError, UnknownName, did_you_mean
from convscope.render.input_preview import preview_pixels
from convscope.samples.bundled import NAMES as BUNDLED
from convscope.samples.bundled import sample_of
from convscope.spec import INPUT_FORMATS, SAMPLES
from convscope.values.formatting import format_list
from convscope.web.jobs.work_queue import MAX_WORKERS_PER_OWNER
from convscope.web.jobs.workers import LONG_WORKERS
from convscope.web.requests import written_inputs
from convscope.web.requests.uploads import Upload, receive

if TYPE_CHECKING:
    from convscope.engine.inputs.specs import InputSpec
    from convscope.engine.network.model import Model
    from convscope.spec.tasks import Task

MAX_UPLOAD = 32 * 2**20
"""Bytes of one uploaded image, at most."""
MAX_UPLOADS, MAX_UPLOADED_BYTES = 64, 256 * 2**20
"""Uploads that are kept, and their bytes in total; beyond these the oldest are dropped."""
REPLICAS = MAX_WORKERS_PER_OWNER + LONG_WORKERS - 1
"""Copies of each network besides the first, enough for all jobs of one model that can run at once."""
_RANGE = re.compile(r"/(\d+)-(\d+)$")
MAX_LISTED = 2000
"""Images of a folder that are listed, at most."""


@dataclass(frozen=True)
class ImageEntry:
    """One available image: its key, its display name, and the kinds of input that it may be; empty if any."""

    key: str
    name: str
    kinds: tuple[str, ...] = ("image",)

    def fits(self, kind: str) -> bool:
        """Whether a network that takes this kind of input may take it; an empty kind is unknown."""
        return not kind or not self.kinds or kind in self.kinds


class Library:
    """Models and images by key.

    Args:
        models: addresses of models; pages start with the first.
        folders: folders whose images are offered.
        samples: addresses of the bundled images to offer.
        allow_load: whether models with other addresses may be loaded too.
    """

    def __init__(
        self,
        models: Sequence[str],
        folders: Sequence[str | Path] = (),
        samples: Sequence[str] = (),
        *,
        allow_load: bool = False,
    ) -> None:
        self.addresses = list(models)
        self.folders = [Path(folder).expanduser().resolve() for folder in folders]
        self.samples = list(samples)
        self.allow_load = allow_load
        self._models: dict[str, list[Model]] = {}
        self._borrowed: list[Model] = []
        self._uploads: OrderedDict[str, Upload] = OrderedDict()
        self._lock, self._loading_lock = threading.Lock(), threading.Lock()
        self._folder_images = [self._list_folder(number, folder) for number, folder in enumerate(self.folders)]

    def model(self, address: str = "") -> "Model":
        """The model at an address, loaded once and shared.

        Raises:
            UnknownName: it is not one of those given at start.
        """
        from convscope.catalogue import load

        address = self.address(address)
        with self._loading_lock:  # loading may take long: a separate lock lets images be listed meanwhile
            if address not in self._models:
                model = load(address)
                self._models[address] = [model, *replicas(model)]
            return self._models[address][0]

    def address(self, requested: str = "") -> str:
        """The address if its model is offered, or that of the first model; nothing is loaded.

        Raises:
            UnknownName: it is not one of those given at start.
        """
        address = requested or self.addresses[0]
        if address not in self.addresses and not self.allow_load:
            suggestion = did_you_mean(address, self.addresses)
            known = ", ".join(self.addresses)
            raise UnknownName(f"no model {address!r} here{suggestion} (the server was started with {known})")
        return address

    def names(self, *more: str) -> dict[str, str]:
        """Display names by address, also of ``more`` addresses: without folders where that is unambiguous."""
        addresses = list(dict.fromkeys([*self.addresses, *filter(None, more)]))
        short = {address: re.sub(r"[^?=:]*/", "", address) for address in addresses}
        short_names = list(short.values())
        return {address: name if short_names.count(name) == 1 else address for address, name in short.items()}

    @contextmanager
    def borrow(self, address: str = "") -> Iterator["Model"]:
        """The model at an address for one job, or a replica of it while other jobs use the model.

        A network serves one job at a time; without replicas an attribution map would wait for a drawing to finish.
        """
        self.model(address)
        with self._lock:
            models = self._models[address or self.addresses[0]]
            model = min(models, key=self._borrowed.count)
            self._borrowed.append(model)
        try:
            yield model
        finally:
            with self._lock:
                self._borrowed.remove(model)

    def input_of(self, address: str = "") -> "InputSpec | None":
        """What the model at an address takes; None if it is not loaded yet."""
        models = self._models.get(address or self.addresses[0])
        return models[0].input if models else None

    def kind_of(self, address: str = "") -> str:
        """The kind of input that the model at an address takes; empty if it is not loaded yet, or takes any."""
        spec = self.input_of(address)
        return spec.kind if spec is not None else ""

    def task_of(self, address: str = "") -> "Task | None":
        """What the model at an address does; None if it is not loaded, or if that shows only once it has run."""
        models = self._models.get(address or self.addresses[0], [])
        return next((model.task for model in models if model.task is not None), None)

    def listed_kind(self, address: str = "") -> str:
        """The kind of the images that are listed for a model: of several inputs, that of the first that is no text."""
        specs = getattr(self.input_of(address), "specs", None)
        if not specs:
            return self.kind_of(address)
        return next((spec.kind for spec in specs.values() if not written_inputs.takes_text(spec)), "")

    def images(self, kind: str = "") -> list[ImageEntry]:
        """The available images: uploads first, then folders, then samples.

        Args:
            kind: only those that may be of this kind of input.
        """
        with self._lock:
            uploads = [
                ImageEntry(f"upload:{key}", upload.name, upload.kinds)
                for key, upload in reversed(self._uploads.items())
            ]
        listed = [image for members in self._folder_images for image in members.values()]
        samples = [ImageEntry(key, key, (_sample_kind(key),)) for key in self.samples]
        return _with_unique_names([image for image in [*uploads, *listed, *samples] if image.fits(kind)])

    def image_for(self, address: str, preferred: str = "") -> str:
        """The key of an image for a model: the preferred one, unless it is of another kind; otherwise the first.

        For a network of several inputs, one for each of them.
        """
        spec = self.input_of(address)
        preferred = preferred or self._own_sample(address or self.addresses[0])
        return self.key_of_kind("", preferred) if spec is None else written_inputs.fitting_key(self, spec, preferred)

    def _own_sample(self, address: str) -> str:
        """The first sample that a bundled network was made for; empty if it is not offered."""
        name = address.removeprefix("bundled:")
        own = f"sample:{sample_of(name)}/0" if address.startswith("bundled:") and name in BUNDLED else ""
        return own if own in self.samples else ""

    def key_of_kind(self, kind: str, preferred: str = "") -> str:
        """The key of an image of a kind: the preferred one, unless it is of another kind; otherwise the first."""
        fitting = [image.key for image in self.images(kind)]
        if preferred in fitting or (preferred and preferred not in {image.key for image in self.images()}):
            return preferred  # one that does not exist is refused where it is used
        return next((key for key in fitting if not key.startswith("upload:")), next(iter(fitting), ""))

    def image(self, key: str, *, measured: bool = False) -> Any:
        """The image for a key, as lenses accept it: a sample's address, a path, or the content of an upload.

        Args:
            measured: uploads as numbers rather than as pictures, for networks that take measurements.

        Raises:
            UnknownName: the server offers no such image.
            InputError: the file can no longer be read.
        """
        kind, _, rest = key.partition(":")
        if key in self.samples:
            return key
        if kind == "folder":
            number, _, name = rest.partition("/")
            members = (
                self._folder_images[int(number)]
                if number.isdecimal() and int(number) < len(self._folder_images)
                else {}
            )
            if key in members:
                return str(self.folders[int(number)] / name)
        if kind == "upload":
            with self._lock:
                upload = self._uploads.get(rest)
            if upload is not None:
                return upload.opened(measured=measured)
        raise UnknownName(f"no image {key!r} here: pick one that is listed, or upload it again")

    def upload_name(self, key: str) -> str:
        """The file name of an upload; empty for other images and unknown keys."""
        with self._lock:
            upload = self._uploads.get(key.removeprefix("upload:")) if key.startswith("upload:") else None
        return "" if upload is None else upload.name

    def opened(self, key: str) -> Pillow.Image | RawInput:
        """The image for a key as a picture, or as numbers if it is none.

        Raises:
            UnknownName: the server offers no such image.
            InputError: the file can no longer be read.
        """
        if key.startswith(written_inputs.TEXT) or written_inputs.named_keys(key):
            written: RawInput | Pillow.Image = written_inputs.preview(self, key)
            return written
        image = self.image(key)
        if not isinstance(image, str):
            content: Pillow.Image | RawInput = image
            return content
        if key.startswith("sample:"):
            return open_image(image) if _sample_kind(key) == "image" else read_input(image)
        return open_image(image) if image.lower().endswith(tuple(image_extensions())) else read_input(image)

    def thumbnail(self, key: str, side: int = 256) -> bytes:
        """The image for a key as a small PNG, no side longer than ``side``.

        Raises:
            UnknownName: the server offers no such image.
            InputError: the file can no longer be read.
        """
        content = self.opened(key)
        picture = Pillow.fromarray(preview_pixels(content, side)) if isinstance(content, RawInput) else content
        picture = convert_mode(picture, 1 if picture.mode in ("1", "L") else 3)
        picture.thumbnail((side, side))
        file = io.BytesIO()
        picture.save(file, "PNG")
        return file.getvalue()

    def collection(self, key: str) -> Any:
        """The images of a collection: ``folder:0``, or a range of samples such as ``sample:shapes/0-99``.

        Raises:
            UnknownName: there is no such collection.
            InputError: the range has more images than the server allows.
        """
        kind, _, rest = key.partition(":")
        if kind == "folder" and rest.isdecimal() and int(rest) < len(self.folders):
            return str(self.folders[int(rest)])
        if (match := _RANGE.search(rest)) and (count := int(match[2]) - int(match[1]) + 1) > MAX_LISTED:
            raise InputError(f"{key!r} names {count:,} images: at most {MAX_LISTED:,} of a range are allowed")
        if kind == "sample" and any(sample.startswith(f"sample:{rest.partition('/')[0]}/") for sample in self.samples):
            return key
        listed = format_list(list(self.collections()), most=6) or "none was given at start"
        raise UnknownName(f"no collection {key!r} here: {listed}")

    def collections(self, *extra: str, kind: str = "") -> dict[str, str]:
        """Display names of all collections by key; ``extra`` keys, such as other sample ranges, name themselves.

        Args:
            kind: only samples of this kind of input.
        """
        kinds = dict.fromkeys(
            sample.partition("/")[0]
            for sample in self.samples
            if not sample.startswith("sample:photo") and kind in ("", _sample_kind(sample))
        )
        folders = {f"folder:{number}": folder.name or str(folder) for number, folder in enumerate(self.folders)}
        listed = folders | {f"{kind}/0-99": f"{kind}/0-99" for kind in kinds}
        return listed | {key: key for key in extra if key and key not in listed}

    def upload(self, name: str, content: bytes) -> str:
        """Keep an uploaded image in memory and return its key.

        Raises:
            InputError: the file is too large, broken, or no image and no file of numbers.
        """
        name = (
            "".join(character for character in re.split(r"[/\\]", name)[-1] if character.isprintable())[-80:]
            or "upload"
        )
        if len(content) > MAX_UPLOAD:
            raise InputError(f"{name!r} has {len(content) / 2**20:.0f} MB, more than {MAX_UPLOAD // 2**20}: shrink it")
        upload = receive(name, content)
        key = upload.key
        with self._lock:
            self._uploads[key] = upload
            self._uploads.move_to_end(key)
            while len(self._uploads) > MAX_UPLOADS or self._uploaded_bytes() > MAX_UPLOADED_BYTES:
                self._uploads.popitem(last=False)
        return f"upload:{key}"

    def fingerprint(self, key: str) -> str:
        """A text that identifies the content of an image for cached results: it changes with the file."""
        with self._lock:
            if key.startswith("upload:") and key.removeprefix("upload:") in self._uploads:
                return key  # the key is a hash of the content: nothing needs to be decoded
        if key.startswith(written_inputs.TEXT) or written_inputs.named_keys(key):
            return written_inputs.fingerprint(self, key)
        image = self.image(key) if key else ""
        if isinstance(image, str) and not image.startswith("sample:") and image:
            state = require_file(image).stat()
            return f"{key}@{state.st_mtime_ns}+{state.st_size}"
        return key

    def _uploaded_bytes(self) -> int:
        return sum(len(upload.content) for upload in self._uploads.values())

    def _list_folder(self, number: int, folder: Path) -> dict[str, ImageEntry]:
        """The images of a folder by key; files outside of it that symbolic links lead to are skipped."""
        if not folder.is_dir():
            raise InputError(f"no such folder: {str(folder)!r}")
        images: dict[str, ImageEntry] = {}
        pictures, suffixes = tuple(Pillow.registered_extensions()), input_extensions()
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder).as_posix()
            nameable = not any(
                "\ud800" <= character <= "\udfff" for character in name
            )  # otherwise it cannot be part of a URL
            is_image = nameable and path.name.lower().endswith((*pictures, *suffixes))
            if is_image and path.is_file() and path.resolve().is_relative_to(folder):
                images[f"folder:{number}/{name}"] = ImageEntry(f"folder:{number}/{name}", name, _file_kinds(path))
            if len(images) == MAX_LISTED:
                break
        return images


def _with_unique_names(images: list[ImageEntry]) -> list[ImageEntry]:
    """The images with unique names: those that share a name get a part of their key appended."""
    count = Counter(image.name for image in images)
    return [
        replace(image, name=f"{image.name} ({_disambiguation(image.key)})") if count[image.name] > 1 else image
        for image in images
    ]


def _disambiguation(key: str) -> str:
    """The part of a key that distinguishes images of one name: the folder's number, or the end of an upload's key."""
    kind, _, rest = key.partition(":")
    return rest[-6:] if kind == "upload" else f"{kind} {rest.partition('/')[0]}"


def replicas(model: "Model", count: int = REPLICAS) -> list["Model"]:
    """Copies of a model that share its weights in memory, each with modules of its own."""
    copies: list[Model] = []
    try:
        for _ in range(count):
            shared: dict[int, Any] = {
                id(parameter): type(parameter)(parameter.detach(), parameter.requires_grad)
                for parameter in model.module.parameters()
            }
            copies.append(copy.deepcopy(model, shared))
    except Exception:  # a network that cannot be copied is shared, and its jobs run one after another
        return []
    return copies


def _sample_kind(key: str) -> str:
    """The kind of input of a sample."""
    return SAMPLES.find(key.removeprefix("sample:").partition("/")[0]).kind


def _file_kinds(path: Path) -> tuple[str, ...]:
    """The kinds of input that a file may be, by its ending."""
    name = path.name.lower()
    return next((format.kinds for format in INPUT_FORMATS.values() if name.endswith(format.extensions)), ("image",))
