"""Runs the checks on a network with images, on an explanation, on the log of a training, and on a folder of images."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convscope.engine.inputs.specs import ImageInput
from convscope.engine.network.model import as_model
from convscope.errors import ConvScopeError, InputError, UnknownName, did_you_mean
from convscope.training.checks.catalogue import CHECKS
from convscope.training.checks.declaration import Finding, Subject
from convscope.training.checks.explanation_evidence import ExplanationEvidence
from convscope.training.checks.folder_evidence import read_folder, read_folders
from convscope.training.checks.network_evidence import NetworkEvidence
from convscope.training.checks.run_evidence import evidence_of
from convscope.training.checks.shortcut import FEWEST as FEWEST_OF_SHORTCUT
from convscope.training.remedy_trials import with_trials
from convscope.training.run import TrainingLog, open_log

SEVERITIES = ("error", "warning", "note")


@dataclass(frozen=True)
class Diagnosis:
    """What the checks found.

    Attributes:
        findings: errors first, then warnings, then notes.
        checked: the names of the checks that ran.
        skipped: check → why it could not run.
    """

    findings: tuple[Finding, ...]
    checked: tuple[str, ...]
    skipped: dict[str, str]

    def lines(self) -> list[str]:
        """The findings as text: symptom, evidence, likely cause, remedy."""
        lines = []
        for finding in self.findings:
            place = f" ({finding.place})" if finding.place else ""
            lines += [f"{finding.severity}: {finding.title}{place}", f"  evidence: {finding.evidence}"]
            lines += [f"  likely cause: {finding.cause}", "  remedy:"]
            lines += [f"    {line}" for line in finding.remedy.splitlines()]
            lines += [f"  tried on a copy: {trial}" for trial in finding.trials]
        lines += [f"skipped {name}: {reason}" for name, reason in self.skipped.items()]
        count = len(self.findings)
        checks = f"{len(self.checked)} check{'s' * (len(self.checked) != 1)}"
        lines.append(f"{checks}, {count or 'no'} finding{'s' * (count != 1)}")
        return lines

    def __str__(self) -> str:
        return "\n".join(self.lines())


def diagnose(
    model: Any = None,
    images: Any = None,
    *,
    log: TrainingLog | str | Path | None = None,
    data: str | Path | None = None,
    reference: str | Path | None = None,
    explanation: Any = None,
    masks: Any = None,
    checks: Sequence[str] | None = None,
    trials: bool = False,
) -> Diagnosis:
    """Say what is wrong with a network, a training, a folder of images or an explanation, why, and how to mend it.

    Args:
        model: a network, checked together with ``images``.
        images: images for the network, with classes where they have some: a folder, a list, a data set.
        log: a log directory, or what `open_log` gave.
        data: a folder of images.
        reference: a folder of training images that ``data`` is compared with: drift, duplicates in both; with ``model``
            also by the features of the network, which then needs no ``images``.
        explanation: a map that a lens gave for one image: why is it blank, of one color, inverted or NaN? More can be
            said if the network and the image are given too, as ``model`` and ``images``, which are then not checked
            themselves.
        masks: where the objects are on ``images``: one array (height, width) for each, or a folder that has a picture
            of the same name for each, black outside the object; those of samples are known.
        checks: names of checks; by default all that apply.
        trials: whether remedies against dead, saturated and unlearnt layers are tried: a changed copy of the network is
            trained for a few steps on the ``images`` with known classes, and the symptom is measured again.

    Returns:
        The findings, each with evidence, severity, likely cause and remedy.

    Raises:
        InputError: nothing was given to check.
        UnknownName: no such check.

    Example:
        >>> import convscope as cs
        >>> diagnosis = cs.diagnose(cs.load("bundled:digits"), "sample:digits/0-31", checks=["nonfinite_values"])
        >>> print(diagnosis)
        1 check, no findings
    """
    known = {check.name for check in CHECKS}
    for name in checks or ():
        if name not in known:
            raise UnknownName(f"no check {name!r}{did_you_mean(name, known)}")
    if model is None and log is None and data is None and explanation is None:
        raise InputError("there is nothing to check: give a model with images, a log, a folder of images, or a map")
    if (model is None) != (images is None) and (images is not None or data is None):
        raise InputError("a network is checked on images: give both, as in cs.diagnose(model, 'folder')")
    if reference is not None and data is None:
        raise InputError("a folder of images is compared with the reference: give it as data=")
    evidence: list[tuple[Subject, Any]] = []
    if log is not None:
        opened = log if isinstance(log, TrainingLog) else open_log(log)
        evidence += [("run", run) for run in evidence_of(opened)]
    if explanation is not None:
        evidence.append(("explanation", ExplanationEvidence(explanation, model, images)))
    elif images is not None:
        evidence.append(("network", NetworkEvidence(model, images, masks)))
    if data is not None:
        network = None if model is None or explanation is not None else as_model(model)
        of_folder = read_folder(data, network) if reference is None else read_folders(data, reference, network)
        evidence.append(("folder", of_folder))
    return _run(evidence, checks, trials=trials)


def shortcut_statements(model: Any, images: Any) -> list[str]:
    """What a network looks at in place of the objects, in sentences; none where nothing speaks for that.

    Args:
        images: at least five of a class, and others.
    """
    if not isinstance(as_model(model).input, ImageInput):
        return []
    evidence = NetworkEvidence(model, images)
    if len(evidence.tensor) <= FEWEST_OF_SHORTCUT:
        return []
    findings = _run([("network", evidence)], ["shortcut"], trials=False).findings
    return [
        f"{finding.title[0].upper()}{finding.title[1:]} ({finding.place}): {finding.evidence}. "
        f"Likely cause: {finding.cause}."
        for finding in findings
    ]


def _run(evidence: list[tuple[Subject, Any]], names: Sequence[str] | None, *, trials: bool) -> Diagnosis:
    findings: list[Finding] = []
    checked: dict[str, None] = {}
    skipped: dict[str, str] = {}
    for subject, subject_evidence in evidence:
        of_subject: list[Finding] = []
        for check in CHECKS:
            if check.subject != subject or (names is not None and check.name not in names):
                continue
            try:
                of_subject += check.run(subject_evidence)
                checked[check.name] = None
            except ConvScopeError as error:  # a network that this check does not fit
                skipped[check.name] = str(error)
        if trials and subject == "network":
            of_subject = with_trials(of_subject, subject_evidence)
        findings += of_subject
    findings.sort(key=lambda finding: SEVERITIES.index(finding.severity))
    return Diagnosis(tuple(findings), tuple(checked), skipped)
