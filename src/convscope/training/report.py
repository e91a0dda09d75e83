"""One self-contained HTML file from a log: findings, curves, distributions, and pictures with a slider over steps."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from convscope import render
from convscope.reporting.cards import data_uri
from convscope.reporting.page import place_for
from convscope.training.checks.declaration import Finding
from convscope.training.diagnosis import Diagnosis
from convscope.training.picture_titles import picture_title
from convscope.training.run import TrainingLog
from convscope.training.store.event_file import Item
from convscope.training.views.catalogue import VIEWS
from convscope.values import atomic_write
from convscope.values.facts import Fact

MOST_FILMS, MOST_FRAMES = 24, 24
"""The number of tags with pictures in a report, and of pictures of each."""


@dataclass(frozen=True)
class Film:
    """The pictures of one tag over the steps."""

    title: Fact
    steps: Sequence[int]
    uris: Sequence[str]


def training_report(log: TrainingLog, out: str | Path, *, findings: Sequence[Any] | None = None) -> Path:
    """Write a log into one self-contained HTML file.

    Args:
        log: what `open_log` gave.
        out: the file, ending in ``.html``.
        findings: what the checks of a run found; None if they were not run.

    Raises:
        CannotWrite: the file cannot be written, or its name does not end in ``.html``.
    """
    path = place_for(out)
    text = page(log, findings)
    with atomic_write(path) as draft:
        draft.write_text(text, "utf-8")
    return path


def diagnosis_report(diagnosis: Diagnosis, out: str | Path, *, subject: str) -> Path:
    """Write what the checks found, with the pictures of the evidence, into one self-contained HTML file.

    Args:
        subject: what was checked: a folder, the address of a network.

    Raises:
        CannotWrite: the file cannot be written, or its name does not end in ``.html``.
    """
    path = place_for(out)
    text = _rendered(
        title=subject, brand="ConvScope doctor", lead=diagnosis.lines()[-1], folder=subject,
        problems=[f"{name} was skipped: {reason}" for name, reason in diagnosis.skipped.items()],
        findings=diagnosis.findings, nothing_found="None of the checks found anything wrong.", sections=(), films=(),
    )  # fmt: skip
    with atomic_write(path) as draft:
        draft.write_text(text, "utf-8")
    return path


def page(log: TrainingLog, findings: Sequence[Any] | None = None) -> str:
    """The text of the HTML file."""
    sections = []
    for view in VIEWS:
        pictures = [{"alt": picture.alt, "uri": data_uri(picture.png())} for picture in view.draw(log)]
        if pictures:
            sections.append({**{k: getattr(view, k) for k in ("name", "title", "asks", "reads")}, "pictures": pictures})
    return _rendered(
        title=log.folder.resolve().name, brand="ConvScope training", lead=_lead(log), folder=str(log.folder),
        problems=log.problems(), findings=findings,
        nothing_found="None of the checks of a run found anything wrong.", sections=sections, films=films(log),
    )  # fmt: skip


def _rendered(*, films: Sequence[Film], findings: Sequence[Finding] | None, **content: Any) -> str:
    template = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    pictures = [finding.picture() if finding.picture else None for finding in findings or ()]
    articles = template.from_string(_text("convscope.training", "finding.html")).render(
        findings=findings or (),
        pictures=[picture and {"alt": picture.alt, "uri": data_uri(picture.png())} for picture in pictures],
    )
    text: str = template.from_string(_text("convscope.training", "report.html")).render(
        **content,
        films=films,
        findings=findings,
        finding_articles=Markup(articles),
        frames=Markup(json.dumps([asdict(film) for film in films]).replace("</", "<\\/")),
        themes={name: asdict(theme) for name, theme in render.THEMES.items()},
        css=Markup(_text("convscope.reporting", "report.css")),
    )
    return text


def films(log: TrainingLog) -> list[Film]:
    """The tags with pictures, those with the most steps first; of each, pictures of evenly spaced steps."""
    tagged = [(run.name, tag, items) for run in log for tag, items in run.items("image").items()]
    tagged.sort(key=lambda film: -len(film[2]))
    shown = []
    for run, tag, items in tagged[:MOST_FILMS]:
        frames = [(item.step, uri) for item in _evenly(items) if (uri := _first_picture(item))]
        if frames:
            title = picture_title(tag)
            title = Fact("{picture} · {run}", picture=title, run=run) if len(log) > 1 else title
            shown.append(Film(title, [step for step, _ in frames], [uri for _, uri in frames]))
    return shown


def _evenly(items: list[Item]) -> list[Item]:
    chosen = np.unique(np.linspace(0, len(items) - 1, min(len(items), MOST_FRAMES)).round().astype(int))
    return [items[index] for index in chosen]


def _first_picture(item: Item) -> str:
    """The first picture of an item as a data URI; empty if it is in no format that a browser shows."""
    pictures = item.pictures()
    content = pictures[0] if pictures else b""
    kinds = {b"\x89PNG": "png", b"\xff\xd8": "jpeg", b"GIF8": "gif"}
    kind = next((kind for start, kind in kinds.items() if content.startswith(start)), "")
    return data_uri(content).replace("image/png", f"image/{kind}") if kind else ""


def _lead(log: TrainingLog) -> str:
    scalars = sum(len(run.tags) for run in log)
    last = max((int(run.series(tag).steps.max()) for run in log for tag in run.tags), default=0)
    runs = "1 run" if len(log) == 1 else f"{len(log)} runs"
    return f"{runs}, {scalars} series of numbers up to step {last:,}"


def _text(package: str, name: str) -> str:
    return files(package).joinpath(name).read_text("utf-8")
