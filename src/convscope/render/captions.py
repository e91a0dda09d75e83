"""What a picture says in words: titles, sources, costs, notes and warnings, the same on every surface."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from convscope.render.ruler import moment
from convscope.render.scale import Numbers, Scale, number, numbers
from convscope.values import (
    Attribution,
    Exemplars,
    FeatureMaps,
    LayerAttribution,
    Pictures,
    Prediction,
    ReceptiveField,
    Record,
    Value,
)
from convscope.values.formatting import sides

GAP, RELATIVE_GAP, BASELINE = "completeness gap", "relative completeness gap", "baseline score"
CONSERVATION, ABSORBED = "conservation gap", "absorbed by biases"
LARGE_GAP = 0.1
EXPLANATIONS = (Attribution, LayerAttribution)
"""Values that explain a target."""
IN_PROPORTION = (*EXPLANATIONS, Exemplars, FeatureMaps, Pictures, ReceptiveField)
"""Values whose pictures show places of the input."""


@dataclass(frozen=True)
class Note:
    """One sentence beside a picture; a warning is one that changes how the picture is read."""

    text: str
    warning: bool = False


def title(value: Value) -> str:
    """The title line: ``Grad-CAM · tabby (281) · score 17.4``."""
    parts = [value.record.title or value.record.lens or type(value).__name__]
    if isinstance(value, EXPLANATIONS):
        parts += [target(value)] if value.target else []
        parts += [f"score {number(value.score)}"] if value.score is not None else []
    return " · ".join(parts)


def subject(value: Value) -> str:
    """What a value is about: ``tabby (281), at layer4``."""
    if not isinstance(value, EXPLANATIONS):
        return ""
    where = f"at {', '.join(value.layers)}" if value.layers else ""
    return ", ".join(part for part in (target(value) or "whatever the answer", where) if part)


def target(attribution: Attribution | LayerAttribution) -> str:
    """The explained number in words, with the class's index where it says more than the label."""
    index = attribution.target_index
    return attribution.target if index is None else _class(attribution.target, index)


def source(value: Value, *, cost: bool = True) -> str:
    """Where a value comes from: layer, network, input and what it cost."""
    layers = value.layers if isinstance(value, EXPLANATIONS) else ()
    parts = [f"layer{'s' if len(layers) > 1 else ''} {', '.join(layers)}"] if layers else []
    parts += [str(value.record.model.get("name", "")), short(value.record.input)]
    parts += [str(value.record.cost)] if cost and value.record.cost.forwards else []
    return " · ".join(part for part in parts if part)


def short(name: str, most: int = 48) -> str:
    """The name of an input: a file's name without its folders, cut in the middle where it is long."""
    name = name if name.startswith("sample:") else Path(name).name or name
    keep = (most - 1) // 2
    return name if len(name) <= most else f"{name[:keep]}…{name[-keep:]}"


def notes(value: Value, scale: Scale | None = None) -> list[Note]:
    """Everything that must be known to read the picture rightly, warnings first."""
    found = [Note(sentence(caveat), warning=True) for caveat in value.record.caveats]
    if isinstance(value, Attribution):
        found += _on_emptiness(value)
    if scale is not None and scale.broken:
        found.append(Note(f"{scale.broken} numbers are NaN or infinite; they are drawn as zero.", warning=True))
    if scale is not None and scale.beyond:
        found.append(Note(scale.clipping()))
    if len(set(value.record.spacing)) > 1 and isinstance(value, IN_PROPORTION):
        found.append(Note(f"Drawn in the proportions of its voxels, {sides(value.record.spacing)}."))
    facts = dict(value.notes)
    if CONSERVATION in facts and isinstance(value, Attribution):
        found.append(_on_conservation(facts, value.score))
    if GAP in facts:
        found.append(_on_gap(facts.pop(GAP), facts.pop(RELATIVE_GAP, None), facts.pop(BASELINE, None)))
    found += [Note(sentence(f"{key}: {said(fact)}")) for key, fact in facts.items() if not _elsewhere(key, fact)]
    return sorted(found, key=lambda note: not note.warning)


def alt(attribution: Attribution, scale: Scale) -> str:
    """The map for those who cannot see it: what it is, where it peaks, and the ends of its scale."""
    what = f"{title(attribution)}, a heat map of {short(attribution.record.input) or 'one input'}"
    if attribution.blank:
        return f"{what}: blank, zero everywhere."
    values = np.nan_to_num(numbers(attribution))
    record = attribution.record
    end = f"“{scale.ends[1]}” " if scale.signed else ""
    said = [f"strongest {end}{_place(values, record)}"]
    if scale.signed and float(values.min()) < 0:
        said.append(f"strongest “{scale.ends[0]}” {_place(-values, record)}")
    low = number(-scale.limit) if scale.signed else "0"
    return f"{what}: {', '.join(said)}. Scale from {low} to {number(scale.limit)}."


@dataclass(frozen=True)
class Answer:
    """One of the best classes: its name, its number in words (``93.1%`` or a value), and its share, if it has one."""

    name: str
    said: str
    share: float | None


def answers(prediction: Prediction) -> list[Answer]:
    """The best classes with their confidence, or their values where there is none: ``tabby (281)``, ``93.1%``."""
    shares = prediction.confidences or [None] * len(prediction.labels)
    named = zip(prediction.labels, prediction.indices, prediction.said(), shares, strict=True)
    return [Answer(_class(label, index), said, share) for label, index, said, share in named]


def alt_of_prediction(prediction: Prediction) -> str:
    """A prediction for those who cannot see its bars."""
    said = ", ".join(f"{one.name} {one.said}" for one in answers(prediction))
    return f"{title(prediction)} for {short(prediction.record.input) or 'one input'}: {said}."


def _class(label: str, index: int) -> str:
    return f"class {index}" if label in (str(index), f"class {index}") else f"{label} ({index})"


def _on_emptiness(attribution: Attribution) -> list[Note]:
    if attribution.blank:
        why = str(attribution.notes.get("blank", "every number in it is zero"))
        return [Note(f"This map is blank: {why}.", warning=True)]
    values = numbers(attribution)
    if values.size > 1 and float(values.min()) == float(values.max()):
        return [Note(f"This map is flat: it is {number(float(values.flat[0]))} everywhere.", warning=True)]
    return []


def _on_gap(gap: float, relative: float | None, baseline: float | None) -> Note:
    share = "" if relative is None or not np.isfinite(relative) else f" ({abs(relative):.1%})"
    start = "the score's rise" + ("" if baseline is None else f" from {number(baseline)} at the baseline")
    large = relative is not None and not abs(relative) <= LARGE_GAP
    advice = "; do not read it as shares of the score" if large else ""
    more = "more" if gap > 0 else "less"
    return Note(
        f"Completeness gap {number(gap)}{share}: the map adds up to {more} than {start}{advice}.", warning=large
    )


def _on_conservation(facts: dict[str, object], score: float | None) -> Note:
    """Where relevance went: to the input, to constants, or nowhere; what is said is taken out of the facts."""
    missing, absorbed, gap = (float(str(facts.pop(name))) for name in (GAP, ABSORBED, CONSERVATION))
    relative = float(str(facts.pop(f"relative {CONSERVATION}")))
    facts.pop(RELATIVE_GAP)
    whole = "" if score is None else f"Of the score {number(score)} the input received {number(score + missing)}, and "
    lost = f"{number(gap)} ({relative:.1%}) was lost on the way."
    text = f"{whole}biases and other constants absorbed {number(absorbed)}; {lost}"
    return Note(text[:1].upper() + text[1:], warning=not relative <= LARGE_GAP)


def sentence(text: str) -> str:
    """A text as a sentence: a capital at its head, one full stop at its end."""
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def said(fact: object) -> str:
    """A fact among the notes, for people: a number, a text, or how often something was counted."""
    if isinstance(fact, Mapping):
        return ", ".join(f"{key} ×{count}" for key, count in fact.items())
    if isinstance(fact, (list, tuple)):
        return ", ".join(said(one) for one in fact)
    return number(fact) if isinstance(fact, float) else str(fact)


def _elsewhere(key: str, fact: object) -> bool:
    """Whether a fact is said in another place, or is a table that only the manifest has room for."""
    table = isinstance(fact, Mapping) and any(isinstance(value, Mapping) for value in fact.values())
    plain = key == "output" and str(fact).startswith("plain scores")  # as people expect them
    return key == "blank" or table or plain


def _place(values: Numbers, record: Record) -> str:
    """Where the largest number lies, in the words people use for places."""
    peak = np.unravel_index(int(values.argmax()), values.shape)
    if values.ndim == 1:
        return f"at {moment(record, int(peak[0]))}"
    if values.ndim != 2:
        return f"at voxel ({', '.join(str(int(p)) for p in peak)})"
    down, across = (min(2, 3 * int(p) // side) for p, side in zip(peak, values.shape, strict=True))
    row, column = ("top", "middle", "bottom")[down], ("left", "centre", "right")[across]
    return "in the centre" if (down, across) == (1, 1) else f"at the {row} {column}"
