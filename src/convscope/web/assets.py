"""What the server may show: the models and images it was given at start, and what people upload.

Everything is named by a key that was handed out here, never by a path: ``sample:shapes/7``, ``folder:0/cat.jpg``,
``upload:3f2a…``. A key that was not handed out names nothing.
"""

import copy
import hashlib
import io
import re
import threading
from collections import Counter, OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image as Pillow

from convscope.engine.inputs.image_io import decoded, existing_file, in_mode, open_picture
from convscope.errors import InputError, UnknownName, did_you_mean
from convscope.web.jobs.line import OF_ONE
from convscope.web.jobs.workers import LONG

if TYPE_CHECKING:
    from convscope.engine.network.model import Model

MAX_UPLOAD = 32 * 2**20
"""Bytes of one uploaded image."""
KEPT_UPLOADS, KEPT_BYTES = 64, 256 * 2**20
"""Uploads beyond this number, or these bytes, push out the oldest."""
UPLOADED = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
"""Kinds of files that are taken from others: none whose decoder is a program of its own."""
TWINS = OF_ONE + LONG - 1
"""Copies of each network beside the first, so that as many of its jobs as may go on at once do not meet."""
_RANGE = re.compile(r"/(\d+)-(\d+)$")
LISTED = 2000
"""So many images of a folder are listed."""


@dataclass(frozen=True)
class Shown:
    """One image that can be picked: its key and what to call it."""

    key: str
    name: str


class Library:
    """Models and images by key.

    Args:
        models: addresses; the first is where pages begin.
        folders: folders whose images may be shown.
        samples: bundled images to offer.
        allow_load: whether other addresses may be opened too.
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
        self._lent: list[Model] = []
        self._uploads: OrderedDict[str, tuple[str, bytes]] = OrderedDict()
        self._lock, self._opening = threading.Lock(), threading.Lock()
        self._listed = [self._members(number, folder) for number, folder in enumerate(self.folders)]

    def model(self, address: str = "") -> "Model":
        """The model at an address, opened once and shared.

        Raises:
            UnknownName: it is not one of those given at start.
        """
        from convscope.catalogue import load

        address = self.address(address)
        with self._opening:  # which may take long: images are listed in the meantime
            if address not in self._models:
                opened = load(address)
                self._models[address] = [opened, *twins(opened)]
            return self._models[address][0]

    def address(self, given: str = "") -> str:
        """The address of a model that may be shown: the one given, or the first; nothing is opened.

        Raises:
            UnknownName: it is not one of those given at start.
        """
        address = given or self.addresses[0]
        if address not in self.addresses and not self.allow_load:
            near = did_you_mean(address, self.addresses)
            known = ", ".join(self.addresses)
            raise UnknownName(f"no model {address!r} here{near} (the server was started with {known})")
        return address

    def names(self, *more: str) -> dict[str, str]:
        """What to call each model, and ``more`` of them, by address: without folders where that is clear."""
        addresses = list(dict.fromkeys([*self.addresses, *filter(None, more)]))
        short = {address: re.sub(r"[^?=:]*/", "", address) for address in addresses}
        plain = list(short.values())
        return {address: name if plain.count(name) == 1 else address for address, name in short.items()}

    @contextmanager
    def lent(self, address: str = "") -> Iterator["Model"]:
        """The model at an address for one piece of work: a twin of it where others are at work with it.

        A network is one job's at a time; without twins a map would wait until a drawing is finished.
        """
        self.model(address)
        with self._lock:
            models = self._models[address or self.addresses[0]]
            model = min(models, key=self._lent.count)
            self._lent.append(model)
        try:
            yield model
        finally:
            with self._lock:
                self._lent.remove(model)

    def images(self) -> list[Shown]:
        """Everything that can be picked: uploads first, then folders, then samples."""
        with self._lock:
            uploads = [Shown(f"upload:{key}", name) for key, (name, _) in reversed(self._uploads.items())]
        listed = [shown for members in self._listed for shown in members.values()]
        return _told_apart([*uploads, *listed, *(Shown(key, key) for key in self.samples)])

    def image(self, key: str) -> Any:
        """The image behind a key, as lenses take it: a sample's address, a path, or an opened upload.

        Raises:
            UnknownName: no such key was handed out.
            InputError: the file can no longer be read.
        """
        kind, _, rest = key.partition(":")
        if key in self.samples:
            return key
        if kind == "folder":
            number, _, name = rest.partition("/")
            members = self._listed[int(number)] if number.isdecimal() and int(number) < len(self._listed) else {}
            if key in members:
                return str(self.folders[int(number)] / name)
        if kind == "upload":
            with self._lock:
                found = self._uploads.get(rest)
            if found is not None:
                return _opened(*found)
        raise UnknownName(f"no image {key!r} here: pick one that is listed, or upload it again")

    def name_of(self, key: str) -> str:
        """What an upload's file is called; empty for what is named by its key or was never uploaded."""
        with self._lock:
            return self._uploads.get(key.removeprefix("upload:"), ("", b""))[0] if key.startswith("upload:") else ""

    def thumbnail(self, key: str, side: int = 256) -> bytes:
        """The image behind a key as a small PNG, no side longer than ``side``.

        Raises:
            UnknownName: no such key was handed out.
            InputError: the file can no longer be read.
        """
        found = self.image(key)
        picture = open_picture(found) if isinstance(found, str) else found
        picture = in_mode(picture, 1 if picture.mode in ("1", "L") else 3)
        picture.thumbnail((side, side))
        stored = io.BytesIO()
        picture.save(stored, "PNG")
        return stored.getvalue()

    def collection(self, key: str) -> Any:
        """Many images behind one key: ``folder:0``, or a range of samples such as ``sample:shapes/0-99``.

        Raises:
            UnknownName: there is no such collection.
            InputError: the range holds more images than a server goes through.
        """
        kind, _, rest = key.partition(":")
        if kind == "folder" and rest.isdecimal() and int(rest) < len(self.folders):
            return str(self.folders[int(rest)])
        if (found := _RANGE.search(rest)) and (count := int(found[2]) - int(found[1]) + 1) > LISTED:
            raise InputError(f"{key!r} names {count:,} images: a server goes through {LISTED:,} of a range at most")
        if kind == "sample" and any(one.startswith(f"sample:{rest.partition('/')[0]}/") for one in self.samples):
            return key
        raise UnknownName(f"no collection {key!r} here: {', '.join(self.collections()) or 'none was given at start'}")

    def collections(self, *further: str) -> dict[str, str]:
        """What to call each collection, by key; ``further`` ones, such as other ranges of samples, by their keys."""
        kinds = dict.fromkeys(one.partition("/")[0] for one in self.samples if not one.startswith("sample:photo"))
        folders = {f"folder:{number}": folder.name or str(folder) for number, folder in enumerate(self.folders)}
        listed = folders | {f"{kind}/0-99": f"{kind}/0-99" for kind in kinds}
        return listed | {key: key for key in further if key and key not in listed}

    def upload(self, name: str, content: bytes) -> str:
        """Keep an uploaded image in memory; its key.

        Raises:
            InputError: it is too large, broken, or no image.
        """
        name = "".join(one for one in re.split(r"[/\\]", name)[-1] if one.isprintable())[-80:] or "upload"
        if len(content) > MAX_UPLOAD:
            raise InputError(f"{name!r} has {len(content) / 2**20:.0f} MB, more than {MAX_UPLOAD // 2**20}: shrink it")
        in_mode(_opened(name, content).crop((0, 0, 2, 2)), 3)  # which says so where its numbers are none of a picture
        key = hashlib.sha256(content).hexdigest()[:24]
        with self._lock:
            self._uploads[key] = (name, content)
            self._uploads.move_to_end(key)
            while len(self._uploads) > KEPT_UPLOADS or self._kept_bytes() > KEPT_BYTES:
                self._uploads.popitem(last=False)
        return f"upload:{key}"

    def fingerprint(self, key: str) -> str:
        """What tells the content behind a key from another, for results that are kept: it changes with the file."""
        with self._lock:
            if key.startswith("upload:") and key.removeprefix("upload:") in self._uploads:
                return key  # which was made of its content: nothing needs to be decoded
        found = self.image(key) if key else ""
        if isinstance(found, str) and not found.startswith("sample:") and found:
            state = existing_file(found).stat()
            return f"{key}@{state.st_mtime_ns}+{state.st_size}"
        return key

    def _kept_bytes(self) -> int:
        return sum(len(content) for _, content in self._uploads.values())

    def _members(self, number: int, folder: Path) -> dict[str, Shown]:
        """The images of a folder by key; none that a link leads to outside of it."""
        if not folder.is_dir():
            raise InputError(f"no such folder: {str(folder)!r}")
        found: dict[str, Shown] = {}
        endings = Pillow.registered_extensions()
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder).as_posix()
            nameable = not any("\ud800" <= letter <= "\udfff" for letter in name)  # else no link can carry it
            known = nameable and path.suffix.lower() in endings
            if known and path.is_file() and path.resolve().is_relative_to(folder):
                found[f"folder:{number}/{name}"] = Shown(f"folder:{number}/{name}", name)
            if len(found) == LISTED:
                break
        return found


def _told_apart(images: list[Shown]) -> list[Shown]:
    """Images of which no two have the same name: those that share one carry a part of their key besides."""
    count = Counter(one.name for one in images)
    return [Shown(one.key, f"{one.name} ({_mark(one.key)})") if count[one.name] > 1 else one for one in images]


def _mark(key: str) -> str:
    """The part of a key that tells images of one name apart: the number of the folder, or the end of an upload's."""
    kind, _, rest = key.partition(":")
    return rest[-6:] if kind == "upload" else f"{kind} {rest.partition('/')[0]}"


def twins(model: "Model", count: int = TWINS) -> list["Model"]:
    """Models that compute the same from the same weights in memory, each with a network of its own to work with."""
    found: list[Model] = []
    try:
        for _ in range(count):
            shared: dict[int, Any] = {
                id(one): type(one)(one.detach(), one.requires_grad) for one in model.module.parameters()
            }
            found.append(copy.deepcopy(model, shared))
    except Exception:  # a network that cannot be copied is shared, and its jobs wait for each other
        return []
    return found


def _opened(name: str, content: bytes) -> Pillow.Image:
    """An upload as a picture, refused before it is decoded where it is too large."""
    if not content:
        raise InputError(f"{name!r} is empty (0 bytes)")
    return decoded(io.BytesIO(content), name, kinds=UPLOADED)
