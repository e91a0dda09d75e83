"""How a view becomes a request and the request a value: the one code path for pages and for the API."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from convscope.catalogue import find
from convscope.errors import ParameterError
from convscope.request import Opener, Request
from convscope.spec import INPUT_KINDS, InputKind, LensSpec, Parameter, inputs_with
from convscope.values import Value
from convscope.web.jobs.job import BatchSpec
from convscope.web.requests.models_and_images import Library
from convscope.web.requests.target_files import refuse_files
from convscope.web.requests.url_state import View
from convscope.web.requests.written_inputs import opened_input

if TYPE_CHECKING:
    from convscope.engine.network.model import Model

MAX_NAMES, MAX_TEXT_LENGTH = 1000, 10_000
"""Layers or units that one request may name, and characters that each of its texts may have."""


class LibraryOpener(Opener):
    """Finds models and images by the keys that the server issued, never by paths."""

    def __init__(self, library: Library) -> None:
        self._library = library

    def model(self, address: str, options: Mapping[str, Any]) -> AbstractContextManager["Model"]:
        """The model or a replica of it, for the time of one call."""
        return self._library.borrow(address)

    def image(self, kind: InputKind, address: Any, model: Any) -> Any:
        """The image of a key, or the images of several."""
        spec = getattr(model, "input", None)
        if isinstance(address, tuple):
            return [opened_input(self._library, key, spec) for key in address]
        return opened_input(self._library, address, spec)

    def data(self, kind: InputKind, address: Any, model: Any) -> Any:
        """The images of a collection; a tuple names a single image in place of one."""
        if not isinstance(address, tuple):
            return self._library.collection(address)
        (key,) = address
        return opened_input(self._library, key, getattr(model, "input", None))


def request_of(library: Library, view: View) -> Request:
    """The request that a view makes; where a lens takes a collection and the view names none, its image serves as one.

    Raises:
        UnknownName: there is no such lens.
        ParameterError: the lens has no such parameter.
    """
    spec = find(view.lens)
    inputs: dict[str, Any] = {kind.name: view.input(kind.name) for kind in spec.input_kinds}
    for kind in spec.input_kinds:
        if kind.content == "network":
            inputs[kind.name] = inputs[kind.name] or library.addresses[0]
        elif kind.content == "data set" and view.image:
            inputs[kind.name] = inputs[kind.name] or (view.image,)
    given = {name: address for name, address in inputs.items() if address}
    return Request(spec.name, given, parse_parameters(spec, view.parameters))


def run_lens(library: Library, view: View) -> Value:
    """The value of the view's lens; long work reports its progress to the job that runs it.

    Raises:
        ConvScopeError: with the message that Python and the command line give for the same request.
    """
    value = request_of(library, view).run(LibraryOpener(library))
    assert isinstance(value, Value)
    return _with_upload_name(library, view, value)


def is_long_running(view: View) -> bool:
    """Whether it occupies a worker for long: it draws, perturbs the image many times, or goes through a data set."""
    spec = find(view.lens)
    return spec.many_passes or any(view.input(k.name) for k in spec.input_kinds if k.content == "data set")


def batch_spec(library: Library, view: View) -> BatchSpec | None:
    """How a view is run as one batch with views that differ in the image only; None if its lens cannot do so."""
    spec = find(view.lens)
    beside = inputs_with("data set", "second image")
    alone = not spec.each_image or not spec.returns.is_batched or any(map(view.input, beside))
    if alone or not view.image:
        return None
    request = request_of(library, view)

    def run_batch(views: list[View]) -> list[Value]:
        images = tuple(member.image for member in views)
        values: list[Value] = request.with_inputs(image=images).run(LibraryOpener(library))
        return [_with_upload_name(library, member, value) for member, value in zip(views, values, strict=True)]

    return BatchSpec(request.with_inputs(image=()).key, view, run_batch)


def _with_upload_name(library: Library, view: View, value: Value) -> Value:
    """The value with the file name of an uploaded image in its record; an opened image has no name."""
    name = library.upload_name(view.image)
    return value.with_record(replace(value.record, input=name)) if name else value


def cache_key(library: Library, view: View) -> str:
    """What identifies a result: the request, and the contents of the images it names.

    Raises:
        UnknownName: it names an unknown lens, parameter or image.
    """
    keys = [view.input(name) for name in inputs_with("image", "second image")]
    return "\n".join([request_of(library, view).key, *(library.fingerprint(key) for key in keys if key)])


def parse_parameters(spec: LensSpec, values: Mapping[str, Any]) -> dict[str, Any]:
    """Texts as links carry them, converted to the types that the lens declares; other values stay as they are.

    Only parameters that the lens declares, and ``smooth``, are let through: under the name of an input (``image``) a
    request could name a file of the server.

    Raises:
        ParameterError: the lens has no such parameter.
    """
    parsed = {}
    for name, value in values.items():
        if name not in spec.options:
            spec.checked({name: value})  # raises, and lists the known parameters
        parsed[name] = _parse(spec.options[name], value) if isinstance(value, str) else value
    return parsed


def check_parameter_values(view: View) -> None:
    """Refuse values that the view's lens would refuse, before any work is queued.

    Raises:
        ParameterError: a parameter is unknown, has the wrong type, or exceeds a limit of its lens; or a list or a text
            is longer than any reasonable request.
    """
    spec = find(view.lens)
    refuse_files(view.target)
    for name in (kind.name for kind in INPUT_KINDS.values() if kind.several):
        if (count := len(view.input(name))) > MAX_NAMES:
            raise ParameterError(f"{name} names {count:,}: at most {MAX_NAMES:,} are allowed in one request")
    for name, value in view.parameters.items():
        if isinstance(value, str) and len(value) > MAX_TEXT_LENGTH:
            raise ParameterError(f"{name} has {len(value):,} characters: at most {MAX_TEXT_LENGTH:,} are allowed")
    for name, value in parse_parameters(spec, view.parameters).items():
        spec.options[name].check(value)


def _parse(parameter: Parameter, text: str) -> Any:
    if parameter.about.choices or parameter.kind is str:
        return text
    if parameter.kind is bool:
        if text.lower() in ("true", "false"):
            return text.lower() == "true"
        raise ParameterError(f"{parameter.name} must be true or false, got {text!r}")
    if text in ("", "None"):
        return None
    try:
        return parameter.kind(text)
    except ValueError:
        return text  # the lens refuses it with its own message
