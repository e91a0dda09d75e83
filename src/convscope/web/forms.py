"""A lens's parameters as a form, made from its declaration: a kind of number, a choice, a switch, a text."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from nicegui import ui

from convscope.errors import ParameterError
from convscope.spec import LensSpec, Parameter
from convscope.web.texts import say

if TYPE_CHECKING:
    from nicegui.elements.mixins.value_element import ValueElement

Changed = Callable[[str, Any], Any]
"""Told the name of a parameter and its new value; ``None`` where it goes back to its default."""


def parameter_form(spec: LensSpec, given: Mapping[str, Any], on_change: Changed, lang: str = "en") -> None:
    """Make inputs for all parameters of a lens where the page is being built.

    A value that the lens would refuse is refused here in the same words and not passed on.

    Args:
        given: the values that differ from the defaults.
        on_change: told of every accepted change.
    """
    with ui.element("div").classes("parameters"):
        for parameter in spec.parameters.values():
            _field(parameter, given.get(parameter.name, parameter.default), on_change, lang)


def _field(parameter: Parameter, value: Any, on_change: Changed, lang: str) -> None:
    about, name = parameter.about, parameter.name

    def changed(event: Any) -> None:
        new = _number(parameter, event.value)
        if refusal(parameter, new) is None:
            on_change(name, None if new == parameter.default else new)

    title = name.replace("_", " ")
    made: ValueElement[Any]
    if parameter.kind is bool:
        made = ui.switch(title, value=str(value).lower() == "true", on_change=changed)  # links carry it as a text
    elif about.choices:
        made = ui.select(
            list(about.choices), label=title, value=value if value in about.choices else None, on_change=changed
        )
    elif parameter.kind in (int, float):
        check: Callable[[Any], str | None] = lambda typed: refusal(parameter, _number(parameter, typed))  # noqa: E731
        made = ui.number(
            title, value=_plain(value, parameter), min=about.min, max=about.max, suffix=about.unit or None,
            step=1 if parameter.kind is int else None, validation=check, on_change=changed,
        )  # fmt: skip
    else:
        made = ui.input(title, value="" if value is None else str(value), on_change=changed)
    if parameter.kind is not bool:
        made.props("outlined dense debounce=350 stack-label hide-bottom-space")
    made.mark(f"parameter-{name}")
    with made:
        span = f" ({about.range()})" if about.range() and not about.choices else ""
        ui.tooltip(f"{say(about.help, lang)}{span}")


def refusal(parameter: Parameter, value: Any) -> str | None:
    """The sentence in which the lens would refuse a value; nothing where it takes it."""
    if value is None and parameter.default is None:
        return None
    try:
        parameter.check(value)
    except ParameterError as error:
        return str(error)
    return None


def _plain(value: Any, parameter: Parameter) -> Any:
    """A value as a field of numbers shows it; texts come from links."""
    try:
        return None if value in (None, "") else parameter.kind(value)
    except (TypeError, ValueError):
        return None


def _number(parameter: Parameter, value: Any) -> Any:
    """What a browser sends as the kind of the parameter: its numbers are all of one kind."""
    whole = parameter.kind is int and isinstance(value, float) and value.is_integer()
    return int(value) if whole else value
