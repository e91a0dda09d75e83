"""A lens's parameters as a form, made from its declaration: a kind of number, a choice, a switch, a text."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from nicegui import ui

from convscope.catalogue import find
from convscope.errors import ParameterError, UnknownName
from convscope.spec import LensSpec, Parameter
from convscope.values import Record
from convscope.web.i18n import say

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
        for parameter in spec.options.values():
            _field(parameter, given.get(parameter.name, parameter.default), on_change, lang)


def _field(parameter: Parameter, value: Any, on_change: Changed, lang: str) -> None:
    about, name = parameter.about, parameter.name

    def changed(event: Any) -> None:
        new = _number(parameter, event.value)
        if refusal(parameter, new) is None:
            on_change(name, None if new == parameter.default else new)

    title = in_words(name, lang)
    made: ValueElement[Any]
    if parameter.kind is bool:
        made = ui.switch(title, value=str(value).lower() == "true", on_change=changed)  # links carry it as a text
    elif about.choices:
        made = ui.select(
            {one: say(one, lang) for one in about.choices}, label=title,
            value=value if value in about.choices else None, on_change=changed,
        )  # fmt: skip
    elif parameter.kind in (int, float):
        check: Callable[[Any], str | None] = lambda typed: refusal(parameter, _number(parameter, typed))  # noqa: E731
        made = ui.number(
            title, value=_plain(value, parameter), min=about.min, max=about.max,
            step=1 if parameter.kind is int else None, validation=check, on_change=changed,
        )  # fmt: skip
    else:
        made = ui.input(
            title, value="" if value is None else str(value), validation=lambda typed: refusal(parameter, typed),
            on_change=changed,
        )  # fmt: skip
    if parameter.kind is not bool:
        made.props("outlined dense debounce=350 stack-label hide-bottom-space")
    if about.unit and (
        parameter.kind in (int, float) or about.joined
    ):  # below the field: within it, it would hide the value
        made.props["hint"] = say(about.unit, lang)
    made.mark(f"parameter-{name}")
    with made:
        span = say(" ({range})", lang, range=about.range()) if about.range() and not about.choices else ""
        above = 'anchor="top middle" self="bottom middle"'  # below, it would lie over what a field offers
        ui.tooltip(f"{say(about.help, lang)}{span}").props(above)


def in_words(name: str, lang: str) -> str:
    """What a form calls a parameter."""
    return say(name.replace("_", " "), lang)


def said_of(record: Record, name: str, lang: str) -> str:
    """A parameter of a run as its form says it: yes or no, a choice, several of something; the rest as given."""
    given = record.parameters[name]
    try:
        known = find(record.lens).parameters.get(name)
    except UnknownName:
        known = None
    if isinstance(given, bool):
        return say("yes" if given else "no", lang)
    if known is not None and known.about.choices:
        return say(str(given), lang)
    return ", ".join(map(str, given)) if isinstance(given, (list, tuple)) else str(given)


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
