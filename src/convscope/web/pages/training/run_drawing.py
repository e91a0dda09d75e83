"""What the page Training shows of a log: findings, the pictures of views, and pictures of the run over its steps."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from convscope.errors import ConvScopeError
from convscope.reporting.cards import data_uri
from convscope.training.checks.declaration import Finding
from convscope.training.diagnosis import diagnose
from convscope.training.report import Film, films
from convscope.training.run import TrainingLog
from convscope.training.views.catalogue import VIEWS
from convscope.training.views.declaration import View
from convscope.values.facts import Fact

SLOW = "distributions"
"""The view that takes longer than all others; it is drawn when it is asked for."""


@dataclass(frozen=True)
class Section:
    """A view with its pictures, each an address and a text alternative."""

    view: View
    pictures: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Drawing:
    """A log as it is now.

    Attributes:
        steps: the last step of each run.
        findings: what is wrong, each with the address and the text alternative of its picture.
        error: why there is nothing to show.
    """

    steps: dict[str, int] = field(default_factory=dict)
    problems: Sequence[Fact] = ()
    findings: Sequence[tuple[Finding, tuple[str, str] | None]] = ()
    sections: Sequence[Section] = ()
    films: Sequence[Film] = ()
    error: str = ""


def draw(log: TrainingLog, *, slow: bool) -> Drawing:
    """Read what was added to a log, and draw it.

    Args:
        slow: whether the view that takes longest is drawn too.
    """
    try:
        log.refresh()
        if not log.runs:
            return Drawing(problems=log.problems())
        return Drawing(
            steps={run.name: max((int(run.series(tag).steps[-1]) for tag in run.tags), default=0) for run in log},
            problems=log.problems(),
            findings=[(finding, _picture(finding)) for finding in diagnose(log=log).findings],
            sections=[section for view in VIEWS if (slow or view.name != SLOW) and (section := _section(view, log))],
            films=films(log),
        )
    except ConvScopeError as error:
        return Drawing(error=str(error))


def _picture(finding: Finding) -> tuple[str, str] | None:
    if finding.picture is None:
        return None
    picture = finding.picture()
    return data_uri(picture.png()), picture.alt


def _section(view: View, log: TrainingLog) -> Section | None:
    pictures = [(data_uri(picture.png()), picture.alt) for picture in view.draw(log)]
    return Section(view, pictures) if pictures else None
