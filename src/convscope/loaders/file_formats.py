"""Which format a model file has: decided by its content, and by its name only where no content is recognized."""

from pathlib import Path

from convscope.errors import SAVE_AGAIN, LoadError
from convscope.loaders.weights import CUT_OFF, check_safetensors, holds_safetensors, weights_alone
from convscope.loaders.weights import EXTENSIONS as WEIGHT_EXTENSIONS
from convscope.spec import FILE_FORMATS, FileFormat
from convscope.spec.tables import HEAD_BYTES

_PICTURES = (b"\x89PNG\r\n", b"\xff\xd8\xff", b"GIF8")
"""How PNG, JPEG and GIF files begin."""
_FOLDERS = (
    "a folder of Hugging Face has a config.json that names its model_type, one of TensorFlow a saved_model.pb, "
    "one of TensorFlow.js a model.json"
)


def find_file_format(name: str) -> FileFormat | None:
    """The format of the model file or folder at a path; None for an address that is not a path.

    Raises:
        LoadError: there is no such file, its content is of no known format, or it holds weights without a network.
    """
    path = Path(name).expanduser()
    by_name = next((spec for spec in FILE_FORMATS.values() if name.lower().endswith(spec.extensions)), None)
    if not path.exists():
        if by_name is None and not name.lower().endswith(WEIGHT_EXTENSIONS):
            return None
        raise LoadError(f"no such model file: {name!r}")
    by_content = _recognized(path)
    if by_content is not None:
        return by_content
    if _is_picture(path):
        raise LoadError(
            f"{name!r} is a picture, not a model: give it as the input, and a model's file or name as the model"
        )
    _refuse_stand_ins(name, path)
    if path.is_file() and holds_safetensors(path):
        check_safetensors(path)
        raise LoadError(weights_alone(path, ".safetensors"))
    if name.lower().endswith(WEIGHT_EXTENSIONS) and path.is_file():
        raise LoadError(_damaged_weights(name, path))
    if by_name is not None:
        raise LoadError(
            f"{name!r} is not a complete file of the format that its name says ({by_name.title}); {SAVE_AGAIN}"
        )
    if path.is_dir():
        holds = "is empty" if not any(path.iterdir()) else "holds no model"
        raise LoadError(f"the folder {name!r} {holds}: {_FOLDERS}")
    known = ", ".join(sorted({ending for spec in FILE_FORMATS.values() for ending in spec.extensions}))
    raise LoadError(f"{name!r} is of no format that can be opened" + (f" ({known})" if known else ""))


def _is_picture(path: Path) -> bool:
    """Whether a file begins as a PNG, JPEG, GIF or WebP picture."""
    head = _head(path)
    return head.startswith(_PICTURES) or head[8:12] == b"WEBP"


def _refuse_stand_ins(name: str, path: Path) -> None:
    """Refuse what a download may leave in the place of a file: a pointer of Git LFS, or a web page."""
    head = _head(path)
    if head.startswith(b"version https://git-lfs"):
        raise LoadError(f"{name!r} is a pointer of Git LFS, not the file itself: fetch that with 'git lfs pull'")
    if head.lstrip()[:9].lower().startswith((b"<!doctype", b"<html")):
        raise LoadError(f"{name!r} is a web page, not a model: download the file itself, from the link on that page")


def _damaged_weights(name: str, path: Path) -> str:
    """The error message for a file that is named as weights, and is not recognized as such."""
    with path.open("rb") as file:
        head = file.read(9)
    if not head:
        return f"{name!r} is empty: {SAVE_AGAIN}"
    if head.startswith(b"PK\x03\x04"):
        return f"{name!r} cannot be opened: {CUT_OFF}; {SAVE_AGAIN}"
    return (
        f"{name!r} is not a complete file of the format that its name says, and of no other format that can be "
        f"opened: {SAVE_AGAIN}"
    )


def _recognized(path: Path) -> FileFormat | None:
    """The format whose content a file or a folder has."""
    try:
        head = _head(path)
        return next((spec for spec in FILE_FORMATS.values() if spec.recognizes(path, head)), None)
    except OSError as error:
        raise LoadError(f"{str(path)!r} cannot be read: {error.strerror or error}") from error


def _head(path: Path) -> bytes:
    """The first bytes of a file; none of a folder."""
    if not path.is_file():
        return b""
    with path.open("rb") as file:
        return file.read(HEAD_BYTES)
