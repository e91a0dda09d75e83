"""The one road from a view to a value, the same for pages and for the API."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from convscope.catalogue import call, find
from convscope.errors import ParameterError
from convscope.spec import LensSpec, Parameter
from convscope.values import Value
from convscope.web.assets import Library
from convscope.web.jobs.job import Together
from convscope.web.url_state import View

LONG_FAMILIES = ("learned", "perturbation")
"""Families of lenses that need hundreds of forwards for one image."""
MOST_NAMES, MOST_LETTERS = 1000, 10_000
"""So many layers or units one request may name, and so long its texts may be."""
AT_ONCE = ("Attribution", "LayerAttribution", "Prediction")
"""Values that are found for several images in the passes of one."""


def look(library: Library, view: View) -> Value:
    """What the view's lens gives; long work reports its progress to whoever listens.

    Raises:
        ConvScopeError: what Python and the command line would say of the same request.
    """
    given, value = asked(library, view), None
    if "model" in given:
        with library.lent(view.model) as model:
            value = call(view.lens, **{**given, "model": model})
    else:
        value = call(view.lens, **given)
    assert isinstance(value, Value)
    return _named(library, view, value)


def takes_long(view: View) -> bool:
    """Whether it keeps a worker busy for a while: it draws, covers many places, or goes through a data set."""
    spec = find(view.lens)
    return spec.family in LONG_FAMILIES or ("images" in spec.inputs and bool(view.images))


def together(library: Library, view: View) -> Together | None:
    """How a view is looked at in one go with others that differ in their image alone, where its lens can do so."""
    spec = find(view.lens)
    alone = not spec.each_image or spec.returns not in AT_ONCE or view.images or view.guide or view.style
    if alone or not view.image:
        return None

    def many(views: list[View]) -> list[Value]:
        given = asked(library, view) | {"image": [library.image(one.image) for one in views]}
        with library.lent(view.model) as model:
            values: list[Value] = call(view.lens, **{**given, "model": model})
        return [_named(library, one, value) for one, value in zip(views, values, strict=True)]

    return Together(view.but(lens=spec.name, image="").query(), view, many)


def _named(library: Library, view: View, value: Value) -> Value:
    """The value with the name of the file that was uploaded; of an opened image Python knows none."""
    name = library.name_of(view.image)
    return value.with_record(replace(value.record, input=name)) if name else value


def key_of(library: Library, view: View) -> str:
    """What tells one result from another: the view, and the content of the images it names.

    Raises:
        UnknownName: it names an image that is not there.
    """
    content = [library.fingerprint(key) for key in (view.image, view.style, view.guide) if key]
    return "\n".join([view.but(lens=find(view.lens).name).query(), *content])


def asked(library: Library, view: View) -> dict[str, Any]:
    """The arguments of the view's lens: inputs found in the library, parameters in their own kinds."""
    spec = find(view.lens)
    given: dict[str, Any] = {}
    if "model" in spec.inputs:
        given["model"] = library.model(view.model)
    for name in ("image", "style", "guide"):
        if name in spec.inputs and getattr(view, name):
            given[name] = library.image(getattr(view, name))
    if "images" in spec.inputs and (view.images or view.image):
        given["images"] = library.collection(view.images) if view.images else library.image(view.image)
    if "target" in spec.inputs and view.target:
        given["target"] = view.target
    for name in ("layer", "unit"):
        if name in spec.inputs and getattr(view, name):
            given[name] = list(getattr(view, name))
    missing = [name for name in spec.required if name not in given]
    if missing:
        raise ParameterError(
            f"{spec.command} needs {' and '.join(missing)}: name {'one' if len(missing) == 1 else 'them'}"
        )
    return given | parameters(spec, view.parameters)


def parameters(spec: LensSpec, given: Mapping[str, Any]) -> dict[str, Any]:
    """Texts as links carry them in the kinds the lens declares; what is already of a kind stays.

    Only what the lens declares is let through, and ``smooth``: under the name of an input (``image``) a file of the
    server could be named.

    Raises:
        ParameterError: the lens has no such parameter.
    """
    found = {}
    for name, value in given.items():
        if name not in spec.options:
            spec.checked({name: value})  # which refuses it and says what there is
        found[name] = _in_kind(spec.options[name], value) if isinstance(value, str) else value
    return found


def refuse_wrong_values(view: View) -> None:
    """Refuse values that the view's lens would refuse, before any work is queued for it.

    Raises:
        ParameterError: a parameter is unknown, of another kind, or beyond the limit its lens declares; or a list or a
            text is longer than anybody would write it.
    """
    spec = find(view.lens)
    for name in ("layer", "unit"):
        if (count := len(getattr(view, name))) > MOST_NAMES:
            raise ParameterError(f"{name} names {count:,}: at most {MOST_NAMES:,} can be looked at in one go")
    for name, value in view.parameters.items():
        if isinstance(value, str) and len(value) > MOST_LETTERS:
            raise ParameterError(f"{name} has {len(value):,} characters: at most {MOST_LETTERS:,} are read")
    for name, value in parameters(spec, view.parameters).items():
        spec.options[name].check(value)


def _in_kind(parameter: Parameter, text: str) -> Any:
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
        return text  # which the lens refuses in its own words
