"""Files with the names of classes: one name per line, or JSON."""

import json
from pathlib import Path
from typing import Any

from convscope.errors import LoadError


def read_labels(path: str | Path) -> Any:
    """The class names in a text file with one name per line, in the order of the outputs, or in a JSON list or object.

    Raises:
        LoadError: the file does not exist, is empty, or is neither of these.
    """
    path = Path(path).expanduser()
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise LoadError(f"labels={str(path)!r} is not UTF-8 text: write one name per line, or JSON") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise LoadError(
            f"labels={str(path)!r} cannot be read ({reason}): pass a file with one name per line"
        ) from error
    if not text.strip():
        raise LoadError(f"labels={str(path)!r} is empty: write one name per line, in the order of the outputs")
    if path.suffix.lower() != ".json":
        return [line.strip() for line in text.rstrip().splitlines()]
    try:
        names = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise LoadError(f"labels={str(path)!r} is not JSON: {error}") from error
    if not isinstance(names, (list, dict)):
        raise LoadError(f"labels={str(path)!r} holds {type(names).__name__}: a list of names or an object is required")
    if isinstance(names, dict):
        return {key: _name(value) for key, value in names.items()}
    return [_name(value) for value in names]


def _name(entry: Any) -> Any:
    """The name in the entry of a class: the text itself, the last of [synset, name], or the field of that name."""
    if isinstance(entry, list) and entry:
        return entry[-1]
    return entry.get("name", entry) if isinstance(entry, dict) else entry
