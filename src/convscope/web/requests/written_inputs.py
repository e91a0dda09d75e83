"""Inputs that are written into a key: the text of a sequence, the row of a table, and several inputs by name.

``text:we drive past now``, ``text:71,9.5,1``, ``photo=sample:shapes/7 table=text:71,9.5,1``. A text is read as words or
numbers and never as the name of a file, and each input of several has a key of its own.
"""

from typing import TYPE_CHECKING, Any

from convscope.engine.inputs.named_inputs import NamedInputs, write_inputs, written_inputs
from convscope.engine.inputs.raw_input import RawInput
from convscope.engine.inputs.table_input import TableInput
from convscope.engine.inputs.token_input import TokenInput
from convscope.errors import InputError

if TYPE_CHECKING:
    from convscope.web.requests.models_and_images import Library

TEXT = "text:"
"""The beginning of the key of a text."""
_ISSUED = (TEXT, "sample:", "folder:", "upload:")
_FIRST_WORDS = 4
"""Words of the vocabulary that are offered as the first text of a network."""


def named_keys(key: str) -> dict[str, str]:
    """The keys of several inputs by name; empty for the key of one, and for an address, ``net.py?weights=none``."""
    keys = {} if key.startswith(_ISSUED) else written_inputs(key)
    return keys if any(own.startswith(_ISSUED) for own in keys.values()) else {}


def text_of(key: str) -> str:
    """The text that a key holds; empty for others."""
    return key.removeprefix(TEXT) if key.startswith(TEXT) else ""


def takes_text(spec: Any) -> bool:
    """Whether an input can be written as a text: the row of a table, or a sequence of tokens."""
    return isinstance(spec, (TableInput, TokenInput))


def takes_numbers(spec: Any) -> bool:
    """Whether an input is read from files of numbers with named axes, and not from pictures."""
    return bool(getattr(spec, "axes", ()))


def opened_input(library: "Library", key: str, spec: Any) -> Any:
    """The input for a key, as a network with this specification accepts it.

    Raises:
        UnknownName: the server offers no such image.
        InputError: a text cannot be read, or inputs are not named as the network takes them.
    """
    if isinstance(spec, NamedInputs):
        return _inputs_by_name(library, key, spec)
    if named_keys(key):
        raise InputError(f"{key!r} names several inputs, and this network takes one: give the key of one")
    if not key.startswith(TEXT):
        return library.image(key, measured=takes_numbers(spec))
    if isinstance(spec, TokenInput):
        return spec.ids_of_text(text_of(key))
    if isinstance(spec, TableInput):
        return spec.row_of_text(text_of(key))
    raise InputError(f"{key!r} is a text, which this network does not take: choose a file or a sample")


def fitting_key(library: "Library", spec: Any, preferred: str) -> str:
    """The key of an input for a network: the preferred one if it is of the right kind, otherwise one to start with."""
    if isinstance(spec, NamedInputs):
        parts, specs = named_keys(preferred), dict(spec.specs or {})
        if parts.keys() == specs.keys():
            return preferred
        keys = {name: fitting_key(library, own, parts.get(name, preferred)) for name, own in specs.items()}
        return write_inputs(keys) if all(keys.values()) else ""
    if named_keys(preferred):
        preferred = next((key for key in named_keys(preferred).values() if not key.startswith(TEXT)), "")
    if preferred.startswith(TEXT):
        return preferred if _reads(spec, preferred) else fitting_key(library, spec, "")
    key = library.key_of_kind(spec.kind, preferred)
    return key or (f"{TEXT}{_first_text(spec)}" if takes_text(spec) else "")


def fingerprint(library: "Library", key: str) -> str:
    """A text that identifies the contents of written inputs: it changes with the files that they name."""
    parts = named_keys(key)
    return write_inputs({name: library.fingerprint(own) for name, own in parts.items()}) if parts else key


def preview(library: "Library", key: str) -> Any:
    """What is shown of written inputs: a text as its words, of several the first that is a picture or a file."""
    parts = named_keys(key)
    if parts:
        return library.opened(
            next((own for own in parts.values() if not own.startswith(TEXT)), next(iter(parts.values())))
        )
    import numpy as np

    words = tuple(text_of(key).split())
    return RawInput(np.zeros((1, max(1, len(words))), np.float32), title=repr(text_of(key)), words=words or ("",))


def _inputs_by_name(library: "Library", key: str, spec: NamedInputs) -> dict[str, Any]:
    specs, parts = dict(spec.specs or {}), named_keys(key)
    if not parts:
        example = " ".join(f"{name}={'text:…' if takes_text(own) else 'KEY'}" for name, own in specs.items())
        raise InputError(f"this network takes several inputs: name the key of each, {example}")
    spec.samples(parts)  # raises where their names do not fit
    return {name: opened_input(library, own, specs[name]) for name, own in parts.items()}


def _reads(spec: Any, key: str) -> bool:
    """Whether a text is one that a network reads."""
    if not takes_text(spec):
        return False
    try:
        opened_input(None, key, spec)  # type: ignore[arg-type]
    except InputError:
        return False
    return True


def _first_text(spec: Any) -> str:
    """A text to start with: the mean row of a table, or the first words of a vocabulary."""
    if isinstance(spec, TableInput):
        return ",".join(f"{number:g}" for number in spec.mean_row())
    words = [str(n) for n in range(spec.size)] if isinstance(spec.vocabulary, int) else list(spec.vocabulary)
    own = [word for number, word in enumerate(words) if number != spec.padding and " " not in word]
    return " ".join((own or words)[:_FIRST_WORDS])
