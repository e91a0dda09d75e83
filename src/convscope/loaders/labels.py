"""Files with the names of classes: a name a line, or JSON."""

import json
from pathlib import Path
from typing import Any

from convscope.errors import LoadError


def read_labels(path: str | Path) -> Any:
    """The names in a file: a text file with one a line, in the order of the outputs, or JSON with a list or a mapping.

    Raises:
        LoadError: there is no such file, it is empty, or it is neither.
    """
    path = Path(path).expanduser()
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise LoadError(f"labels={str(path)!r} is no text in UTF-8: write one name a line, or JSON") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise LoadError(f"labels={str(path)!r} cannot be read ({reason}): name a file with one name a line") from error
    if not text.strip():
        raise LoadError(f"labels={str(path)!r} is empty: write one name a line, in the order of the outputs")
    if path.suffix.lower() != ".json":
        return [line.strip() for line in text.rstrip().splitlines()]
    try:
        found = json.loads(text)
    except ValueError as error:
        raise LoadError(f"labels={str(path)!r} is not JSON: {error}") from error
    if not isinstance(found, (list, dict)):
        raise LoadError(f"labels={str(path)!r} holds {type(found).__name__}: a list of names or a mapping is needed")
    if isinstance(found, dict):  # ImageNet's own file gives each index its synset beside its name
        return {key: value[-1] if isinstance(value, list) and value else value for key, value in found.items()}
    return found
