"""A form for a lens's parameters, generated from its declaration: number fields, selections, switches and texts."""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from nicegui import ui

from convscope.catalogue import find
from convscope.errors import ParameterError, UnknownName
from convscope.spec import LensSpec, Parameter
from convscope.values import Record
from convscope.web.i18n import translate

if TYPE_CHECKING:
    from nicegui.elements.mixins.value_element import ValueElement

OnChange = Callable[[str, Any], Any]
"""Called with the name of a parameter and its new value; ``None`` stands for the default."""


def parameter_form(spec: LensSpec, values: Mapping[str, Any], on_change: OnChange, lang: str = "en") -> None:
    """Add inputs for all parameters of a lens to the page.

    A value that the lens would refuse is refused here with the same message and not passed on.

    Args:
        values: the values that differ from the defaults.
        on_change: called for every accepted change.
    """
    with ui.element("div").classes("parameters"):
        for parameter in spec.options.values():
            _field(parameter, values.get(parameter.name, parameter.default), on_change, lang)


def _field(parameter: Parameter, value: Any, on_change: OnChange, lang: str) -> None:
    about, name = parameter.about, parameter.name

    def changed(event: Any) -> None:
        new = _parse_number(parameter, event.value)
        if value_error(parameter, new) is None:
            on_change(name, None if new == parameter.default else new)

    title = parameter_title(name, lang)
    field: ValueElement[Any]
    if parameter.kind is bool:
        field = ui.switch(title, value=str(value).lower() == "true", on_change=changed)  # links carry it as text
    elif about.choices:
        field = ui.select(
            {choice: translate(choice, lang) for choice in about.choices}, label=title,
            value=value if value in about.choices else None, on_change=changed,
        )  # fmt: skip
    elif parameter.kind in (int, float):
        validate: Callable[[Any], str | None] = lambda typed: value_error(  # noqa: E731
            parameter, _parse_number(parameter, typed)
        )
        field = ui.number(
            title, value=_initial_number(value, parameter), min=about.min, max=about.max,
            step=1 if parameter.kind is int else None, validation=validate, on_change=changed,
        )  # fmt: skip
    else:
        field = ui.input(
            title, value="" if value is None else str(value), validation=lambda typed: value_error(parameter, typed),
            on_change=changed,
        )  # fmt: skip
    if parameter.kind is not bool:
        field.props("outlined dense debounce=350 stack-label hide-bottom-space")
    if about.unit and (
        parameter.kind in (int, float) or about.joined
    ):  # shown below the field: inside, it would hide the value
        field.props["hint"] = translate(about.unit, lang)
    field.mark(f"parameter-{name}")
    with field:
        value_range = translate(" ({range})", lang, range=about.range()) if about.range() and not about.choices else ""
        anchor = 'anchor="top middle" self="bottom middle"'  # below, it would cover the field's options
        ui.tooltip(f"{translate(about.help, lang)}{value_range}").props(anchor)


def parameter_title(name: str, lang: str) -> str:
    """The title of a parameter in forms."""
    return translate(name.replace("_", " "), lang)


def parameter_text(record: Record, name: str, lang: str) -> str:
    """The value of a recorded parameter as forms show it: yes or no, a choice, a list; others unchanged."""
    value = record.parameters[name]
    try:
        parameter = find(record.lens).parameters.get(name)
    except UnknownName:
        parameter = None
    if isinstance(value, bool):
        return translate("yes" if value else "no", lang)
    if parameter is not None and parameter.about.choices:
        return translate(str(value), lang)
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def parameter_texts(record: Record, names: Iterable[str], lang: str) -> list[str]:
    """Titles and values of recorded parameters; names that the record lacks are skipped."""
    return [
        f"{parameter_title(name, lang)} {parameter_text(record, name, lang)}"
        for name in names
        if name in record.parameters
    ]


def value_error(parameter: Parameter, value: Any) -> str | None:
    """The message with which the lens would refuse a value; None if it accepts it."""
    if value is None and parameter.default is None:
        return None
    try:
        parameter.check(value)
    except ParameterError as error:
        return str(error)
    return None


def _initial_number(value: Any, parameter: Parameter) -> Any:
    """A value as the initial value of a number field; links carry it as text."""
    try:
        return None if value in (None, "") else parameter.kind(value)
    except (TypeError, ValueError):
        return None


def _parse_number(parameter: Parameter, value: Any) -> Any:
    """A number from the browser, which sends all as floats, converted to the parameter's type."""
    is_whole = parameter.kind is int and isinstance(value, float) and value.is_integer()
    return int(value) if is_whole else value
