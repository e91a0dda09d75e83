"""How a view becomes a value: the one code path for pages and for the API."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from convscope.catalogue import call, find
from convscope.errors import ParameterError
from convscope.spec import INPUT_KINDS, LensSpec, Parameter, inputs_with
from convscope.values import Value
from convscope.web.jobs.job import BatchSpec
from convscope.web.requests.models_and_images import Library
from convscope.web.requests.url_state import View

MAX_NAMES, MAX_TEXT_LENGTH = 1000, 10_000
"""Layers or units that one request may name, and characters that each of its texts may have."""


def run_lens(library: Library, view: View) -> Value:
    """The value of the view's lens; long work reports its progress to the job that runs it.

    Raises:
        ConvScopeError: with the message that Python and the command line give for the same request.
    """
    arguments, value = lens_arguments(library, view), None
    if "model" in arguments:
        with library.borrow(view.model) as model:
            value = call(view.lens, **{**arguments, "model": model})
    else:
        value = call(view.lens, **arguments)
    assert isinstance(value, Value)
    return _with_upload_name(library, view, value)


def is_long_running(view: View) -> bool:
    """Whether it occupies a worker for long: it draws, perturbs the image many times, or goes through a data set."""
    spec = find(view.lens)
    return spec.many_passes or ("images" in spec.inputs and bool(view.images))


def batch_spec(library: Library, view: View) -> BatchSpec | None:
    """How a view is run as one batch with views that differ in the image only; None if its lens cannot do so."""
    spec = find(view.lens)
    alone = not spec.each_image or not spec.returns.is_batched or view.images or view.guide or view.style
    if alone or not view.image:
        return None

    def run_batch(views: list[View]) -> list[Value]:
        arguments = lens_arguments(library, view) | {"image": [library.image(member.image) for member in views]}
        with library.borrow(view.model) as model:
            values: list[Value] = call(view.lens, **{**arguments, "model": model})
        return [_with_upload_name(library, member, value) for member, value in zip(views, values, strict=True)]

    return BatchSpec(view.replace(lens=spec.name, image="").query(), view, run_batch)


def _with_upload_name(library: Library, view: View, value: Value) -> Value:
    """The value with the file name of an uploaded image in its record; an opened image has no name."""
    name = library.upload_name(view.image)
    return value.with_record(replace(value.record, input=name)) if name else value


def cache_key(library: Library, view: View) -> str:
    """What identifies a result: the view, and the contents of the images it names.

    Raises:
        UnknownName: it names an unknown image.
    """
    fingerprints = [library.fingerprint(key) for key in (view.image, view.style, view.guide) if key]
    return "\n".join([view.replace(lens=find(view.lens).name).query(), *fingerprints])


def lens_arguments(library: Library, view: View) -> dict[str, Any]:
    """The arguments of the view's lens: its inputs from the library, its parameters converted to their types."""
    spec = find(view.lens)
    arguments: dict[str, Any] = {}
    if "model" in spec.inputs:
        arguments["model"] = library.model(view.model)
    for name in inputs_with("image", "second image"):
        if name in spec.inputs and getattr(view, name):
            arguments[name] = library.image(getattr(view, name))
    if "images" in spec.inputs and (view.images or view.image):
        arguments["images"] = library.collection(view.images) if view.images else library.image(view.image)
    for name in inputs_with("address"):
        if name in spec.inputs and (address := getattr(view, name)):
            arguments[name] = list(address) if INPUT_KINDS[name].several else address
    missing = [name for name in spec.required if name not in arguments]
    if missing:
        raise ParameterError(
            f"{spec.command} needs {' and '.join(missing)}: name {'one' if len(missing) == 1 else 'them'}"
        )
    return arguments | parse_parameters(spec, view.parameters)


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
    for name in (kind.name for kind in INPUT_KINDS.values() if kind.several):
        if (count := len(getattr(view, name))) > MAX_NAMES:
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
