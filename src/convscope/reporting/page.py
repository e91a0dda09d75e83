"""Writes sections into one HTML file in which everything is inlined."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from convscope import render
from convscope.errors import CannotWrite, InputError
from convscope.render import attention_viewer, layer_slider
from convscope.render.input_preview import prepared_pixels
from convscope.render.layer_images import picture_png
from convscope.render.slice_viewer import embedded_library, viewer_script
from convscope.render.token_panel import tokens_of
from convscope.reporting.cards import COARSE, Card, card_of, data_uri
from convscope.reporting.sections import Section, as_section
from convscope.spec import FAMILIES
from convscope.values import Attribution, JointAttribution, Prediction, Value, atomic_write, check_writable

PREVIEW_SIDE = 520
"""The pixels that a signal or a volume is drawn wide at the head of its section."""


@dataclass(frozen=True)
class Family:
    """The cards of one family."""

    key: str
    title: str
    says: str
    cards: Sequence[Card]


@dataclass(frozen=True)
class Photo:
    """The input image of a section, embedded once and shown under every map."""

    uri: str
    width: int
    height: int
    coarse: bool
    alt: str


@dataclass(frozen=True)
class Subject:
    """What the template shows of one section."""

    anchor: str
    eyebrow: str
    whole: bool
    title: str
    model: str
    explained: str
    caveats: Sequence[str]
    photo: Photo | None
    words: str
    answers: Sequence[render.TopClass]
    answers_read: str
    families: Sequence[Family]
    refused: Sequence[tuple[str, str]]


def write_report(
    sections: Sequence[Section | Sequence[Value]], out: str | Path, *, title: str = "", statements: Sequence[str] = ()
) -> Path:
    """Write values into one self-contained HTML file.

    Args:
        sections: for each image and network a `Section`, or simply the list of its values.
        out: the file, ending in ``.html``.
        title: the heading; by default the networks' names.
        statements: sentences for the head of the file.

    Raises:
        CannotWrite: the file cannot be written, or its name does not end in ``.html``.
        InputError: no section holds a value.
    """
    path = place_for(out)
    filled = [as_section(section) for section in sections]
    if not any(section.values for section in filled):
        raise InputError("there is nothing to report: no section holds a value")
    with atomic_write(path) as draft:
        draft.write_text(page(filled, title, statements), "utf-8")
    return path


def place_for(out: str | Path) -> Path:
    """``out`` as the path of a report; raises before any computation if nothing can be written there."""
    path = check_writable(out)
    if path.suffix.lower() not in (".html", ".htm"):
        raise CannotWrite(f"a report is one HTML file: end {path.name!r} in .html")
    return path


def page(sections: Sequence[Section], title: str = "", statements: Sequence[str] = ()) -> str:
    """The text of the HTML file."""
    inputs = [section for section in sections if not _is_on_network(section)]
    subjects = []
    for index, section in enumerate(sections, 1):
        number = next((n for n, other in enumerate(inputs, 1) if other is section), 0)
        subjects.append(_subject(section, f"s{index}", _eyebrow(section, len(inputs), number)))
    values = [value for section in sections for value in section.values]
    records = [v.record for v in values if v.record.model] or [values[0].record]
    models = {str(record.model.get("source", "")): record for record in records}
    families = {family.key: family.title for subject in subjects for family in subject.families}
    text: str = _template().render(
        title=title or ", ".join(dict.fromkeys(str(r.model.get("name", "model")) for r in models.values())),
        statements=statements,
        counted=_summary(subjects, len({v.record.lens for v in values if not isinstance(v, render.ANSWERS)})),
        versions={name: version for value in values for name, version in value.record.versions.items()},
        models=list(models.values()),
        subjects=subjects,
        families={key: families[key] for key in [*FAMILIES, ""] if key in families},
        themes={name: asdict(theme) for name, theme in render.THEMES.items()},
        scales={kind: render.SCALES[signed] for kind, signed in (("signed", True), ("unsigned", False))},
        faded=render.PHOTO_WEIGHT,
        opacity=render.OPACITY,
        css=Markup(_text("report.css")),
        js=Markup(_text("report.js")),
        layered=any(card.layers for card in _cards(subjects)),
        slices=Markup(_slice_viewer()) if any(card.slices for card in _cards(subjects)) else "",
        attention=any(card.attention for card in _cards(subjects)),
        attention_style=Markup(attention_viewer.viewer_style()),
        attention_script=Markup(attention_viewer.viewer_script()),
        film=any(card.film for card in _cards(subjects)),
        slider_style=Markup(layer_slider.slider_style()),
        slider_script=Markup(layer_slider.slider_script()),
        manifests=Markup(_json([_manifest(section) for section in sections])),
    )
    return text


def _cards(subjects: Sequence[Subject]) -> list[Card]:
    return [card for subject in subjects for family in subject.families for card in family.cards]


def _slice_viewer() -> str:
    """What a page with volumes needs: NiiVue, and the script that opens it."""
    return f"{embedded_library()}\n<script>\n{viewer_script()}</script>"


def _subject(section: Section, anchor: str, eyebrow: str) -> Subject:
    prediction = next((value for value in section.values if isinstance(value, render.ANSWERS)), None)
    maps = _maps(section)
    shown = [value for value in section.values if value is not prediction or not isinstance(value, Prediction)]
    cards = [card_of(value, f"{anchor}-{index}") for index, value in enumerate(shown, 1)]
    records = [value.record for value in section.values]
    record = next((record for record in records if record.model), records[0] if records else None)
    name = render.short_name(record.input) if record else ""
    targeted = next((value for value in maps if value.target), None)
    return Subject(
        anchor=anchor,
        eyebrow=eyebrow,
        whole=_is_on_network(section),
        title=section.title or name or "input",
        model=str(record.model.get("name", "")) if record else "",
        explained="" if targeted is None else _explained(targeted),
        caveats=record.caveats if record else (),
        photo=_photo([*maps, *([prediction] if prediction else [])], name),
        words=" ".join(next(filter(None, map(tokens_of, section.values)), [])),
        answers=render.answers(prediction) if prediction else (),
        answers_read=_answers_read(prediction) if prediction else "",
        families=_by_family(cards),
        refused=tuple(section.refused.items()),
    )


def _answers_read(prediction: render.Answer) -> str:
    """How to read the predictions, and what their numbers are where these are not plain scores."""
    sentences = [note.text for note in render.notes(prediction) if note.text.startswith("Output:")]
    return " ".join([*sentences, prediction.record.adapt_wording(prediction.record.reads)])


def _photo(values: Sequence[Value], name: str) -> Photo | None:
    """The input as a picture: an image as it is, a signal as lines, the middle slice of a volume."""
    for value in values:
        pixels, png = render.photo_pixels(value), render.photo_png(value)
        if pixels is not None and png is not None:
            height, width = pixels.shape[:2]
            return Photo(data_uri(png), width, height, max(height, width) < COARSE, f"The input {name}")
    inputs = (getattr(value, "photo", None) for value in values)
    numbers = next((array for photo in inputs if photo is not None and (array := np.asarray(photo)).ndim > 1), None)
    if numbers is None:
        return None
    pixels = prepared_pixels(numbers, PREVIEW_SIDE)
    return Photo(data_uri(picture_png(pixels)), pixels.shape[1], pixels.shape[0], False, f"The input {name}")


def _by_family(cards: Sequence[Card]) -> list[Family]:
    """The cards in the order of the families, those without a known family last."""
    families = []
    for key in [*FAMILIES, ""]:
        members = [card for card in cards if card.family == key]
        title, _, says = FAMILIES.get(key, "More").partition(": ")
        if members:
            families.append(Family(key, title, says, members))
    return families


def _explained(attribution: Attribution) -> str:
    score = "" if attribution.score is None else f", score {render.format_number(attribution.score)}"
    return f"{render.target(attribution)}{score}"


def _summary(subjects: Sequence[Subject], lenses: int) -> str:
    inputs = sum(not subject.whole for subject in subjects)
    networks = len(subjects) - inputs
    parts = [f"{inputs} input{'s' * (inputs != 1)}"] if inputs or not networks else []
    parts += [f"{networks} network{'s' * (networks != 1)}"] if networks else []
    return f"{' and '.join(parts)} through {lenses} lens{'es' * (lenses != 1)}"


def _eyebrow(section: Section, inputs: int, number: int) -> str:
    """The line above a heading: which of the inputs the section shows, or that it shows the network."""
    return "Network" if _is_on_network(section) else f"Input {number} of {inputs}" if inputs > 1 else "Input"


def _is_on_network(section: Section) -> bool:
    """Whether a section describes a network and not an input."""
    return not any(isinstance(value, (*render.ANSWERS, Attribution, JointAttribution)) for value in section.values)


def _maps(section: Section) -> list[Attribution]:
    """The maps of a section, those of several inputs one by one."""
    maps: list[Attribution] = []
    for value in section.values:
        maps += (
            [value]
            if isinstance(value, Attribution)
            else value.parts.values()
            if isinstance(value, JointAttribution)
            else []
        )
    return maps


def _manifest(section: Section) -> dict[str, Any]:
    return {"title": section.title, "values": [v.manifest() for v in section.values], "refused": dict(section.refused)}


def _json(document: Any) -> str:
    """JSON for a script element: without NaN, which JSON lacks, and without anything that ends the element."""
    return json.dumps(_finite(document), ensure_ascii=False).replace("<", "\\u003c").replace("\u2028", "\\u2028")


def _finite(document: Any) -> Any:
    if isinstance(document, dict):
        return {key: _finite(value) for key, value in document.items()}
    if isinstance(document, list):
        return [_finite(value) for value in document]
    return str(document) if isinstance(document, float) and not math.isfinite(document) else document


@cache
def _template() -> Any:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_text("report.html"))


@cache
def _text(name: str) -> str:
    return files("convscope.reporting").joinpath(name).read_text("utf-8")
