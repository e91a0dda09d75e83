"""The texts of pictures: titles, sources, costs, notes and warnings, identical in files, reports and web pages."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from convscope.render.scale import Numbers, Scale, format_number, map_values
from convscope.render.signal_axis import format_position
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
from convscope.values.formatting import format_sides

COMPLETENESS_GAP, RELATIVE_COMPLETENESS_GAP = "completeness gap", "relative completeness gap"
BASELINE_SCORE, CONSERVATION_GAP, ABSORBED_BY_BIASES = "baseline score", "conservation gap", "absorbed by biases"
"""Keys of the notes on a value that are combined into one sentence."""
LARGE_GAP = 0.1
"""The share of the score from which a gap is a warning."""
EXPLANATIONS = (Attribution, LayerAttribution)
"""Kinds of values that explain a target."""
SPATIAL_VALUES = (*EXPLANATIONS, Exemplars, FeatureMaps, Pictures, ReceptiveField)
"""Kinds of values whose pictures show the input or maps over it, in the proportions of its pixels or voxels."""


@dataclass(frozen=True)
class Note:
    """One sentence beside a picture; a warning changes how the picture must be interpreted."""

    text: str
    warning: bool = False


def title(value: Value) -> str:
    """The title line: ``Grad-CAM · tabby (281) · score 17.4``."""
    parts = [value.record.title or value.record.lens or type(value).__name__]
    if isinstance(value, EXPLANATIONS):
        parts += [target(value)] if value.target else []
        parts += [f"score {format_number(value.score)}"] if value.score is not None else []
    return " · ".join(parts)


def subject(value: Value) -> str:
    """The target and the layers of a value: ``tabby (281), at layer4``."""
    if not isinstance(value, EXPLANATIONS):
        return ""
    layers = f"at {', '.join(value.layers)}" if value.layers else ""
    return ", ".join(part for part in (target(value) or "independent of the target", layers) if part)


def target(attribution: Attribution | LayerAttribution) -> str:
    """The name of the target, with the index of the class unless the label is the index."""
    index = attribution.target_index
    return attribution.target if index is None else _class_name(attribution.target, index)


def source(value: Value, *, cost: bool = True) -> str:
    """The source of a value: layer, network, input and cost."""
    layers = value.layers if isinstance(value, EXPLANATIONS) else ()
    parts = [f"layer{'s' if len(layers) > 1 else ''} {', '.join(layers)}"] if layers else []
    parts += [str(value.record.model.get("name", "")), short_name(value.record.input)]
    parts += [str(value.record.cost)] if cost and value.record.cost.forwards else []
    return " · ".join(part for part in parts if part)


def short_name(name: str, max_length: int = 48) -> str:
    """The name of an input: a file name without its folders, shortened in the middle to ``max_length`` characters."""
    name = name if name.startswith("sample:") else Path(name).name or name
    keep = (max_length - 1) // 2
    return name if len(name) <= max_length else f"{name[:keep]}…{name[-keep:]}"


def notes(value: Value, scale: Scale | None = None) -> list[Note]:
    """All notes that are needed to interpret a picture, warnings first."""
    result = [Note(sentence(caveat), warning=True) for caveat in value.record.caveats]
    if isinstance(value, Attribution):
        result += _blank_or_flat_notes(value)
    if scale is not None and scale.nonfinite:
        result.append(Note(f"{scale.nonfinite} numbers are NaN or infinite; they are drawn as zero.", warning=True))
    if scale is not None and scale.clipped:
        result.append(Note(scale.clipping_note()))
    if len(set(value.record.spacing)) > 1 and isinstance(value, SPATIAL_VALUES):
        result.append(Note(f"Drawn in the proportions of its voxels, {format_sides(value.record.spacing)}."))
    facts = dict(value.notes)
    if CONSERVATION_GAP in facts and isinstance(value, Attribution):
        result.append(_conservation_note(facts, value.score))
    if COMPLETENESS_GAP in facts:
        result.append(
            _completeness_note(
                facts.pop(COMPLETENESS_GAP), facts.pop(RELATIVE_COMPLETENESS_GAP, None), facts.pop(BASELINE_SCORE, None)
            )
        )
    result += [
        Note(sentence(f"{key}: {format_fact(fact)}")) for key, fact in facts.items() if not _is_omitted(key, fact)
    ]
    return sorted(result, key=lambda note: not note.warning)


def alt(attribution: Attribution, scale: Scale) -> str:
    """The alternative text of a map: what it is, where its peak lies, and the ends of its scale."""
    subject_text = f"{title(attribution)}, a heat map of {short_name(attribution.record.input) or 'one input'}"
    if attribution.blank:
        return f"{subject_text}: blank, zero everywhere."
    values = np.nan_to_num(map_values(attribution))
    record = attribution.record
    label = f"“{scale.ends[1]}” " if scale.signed else ""
    peaks = [f"strongest {label}{_peak_location(values, record)}"]
    if scale.signed and float(values.min()) < 0:
        peaks.append(f"strongest “{scale.ends[0]}” {_peak_location(-values, record)}")
    low = format_number(-scale.limit) if scale.signed else "0"
    return f"{subject_text}: {', '.join(peaks)}. Scale from {low} to {format_number(scale.limit)}."


@dataclass(frozen=True)
class TopClass:
    """One of the top classes.

    Attributes:
        name: its label with its index.
        value_text: its confidence (``93.1%``), or its output value if there is no confidence.
        share: its confidence from 0 to 1, if there is one.
    """

    name: str
    value_text: str
    share: float | None


def top_classes(prediction: Prediction) -> list[TopClass]:
    """The top classes with their confidences, or with their output values if there are none."""
    shares = prediction.confidences or [None] * len(prediction.labels)
    rows = zip(prediction.labels, prediction.indices, prediction.formatted_scores(), shares, strict=True)
    return [TopClass(_class_name(label, index), text, share) for label, index, text, share in rows]


def alt_of_prediction(prediction: Prediction) -> str:
    """The alternative text of a prediction."""
    classes = ", ".join(f"{top_class.name} {top_class.value_text}" for top_class in top_classes(prediction))
    return f"{title(prediction)} for {short_name(prediction.record.input) or 'one input'}: {classes}."


def _class_name(label: str, index: int) -> str:
    return f"class {index}" if label in (str(index), f"class {index}") else f"{label} ({index})"


def _blank_or_flat_notes(attribution: Attribution) -> list[Note]:
    if attribution.blank:
        reason = str(attribution.notes.get("blank", "every number in it is zero"))
        return [Note(f"This map is blank: {reason}.", warning=True)]
    values = map_values(attribution)
    if values.size > 1 and float(values.min()) == float(values.max()):
        return [Note(f"This map is flat: it is {format_number(float(values.flat[0]))} everywhere.", warning=True)]
    return []


def _completeness_note(gap: float, relative: float | None, baseline: float | None) -> Note:
    share_text = "" if relative is None or not np.isfinite(relative) else f" ({abs(relative):.1%})"
    rise = "the score's rise" + ("" if baseline is None else f" from {format_number(baseline)} at the baseline")
    large = relative is not None and not abs(relative) <= LARGE_GAP
    advice = "; do not read it as shares of the score" if large else ""
    direction = "more" if gap > 0 else "less"
    text = f"Completeness gap {format_number(gap)}{share_text}: the map adds up to {direction} than {rise}{advice}."
    return Note(text, warning=large)


def _conservation_note(facts: dict[str, object], score: float | None) -> Note:
    """How much relevance the input and the constants received and how much was lost; removes these from ``facts``."""
    missing, absorbed, gap = (
        float(str(facts.pop(name))) for name in (COMPLETENESS_GAP, ABSORBED_BY_BIASES, CONSERVATION_GAP)
    )
    relative = float(str(facts.pop(f"relative {CONSERVATION_GAP}")))
    facts.pop(RELATIVE_COMPLETENESS_GAP)
    received = (
        ""
        if score is None
        else f"Of the score {format_number(score)} the input received {format_number(score + missing)}, and "
    )
    lost = f"{format_number(gap)} ({relative:.1%}) was lost in the backward pass."
    text = f"{received}biases and other constants absorbed {format_number(absorbed)}; {lost}"
    return Note(text[:1].upper() + text[1:], warning=not relative <= LARGE_GAP)


def sentence(text: str) -> str:
    """A text as a sentence: with a capital letter at its beginning and one full stop at its end."""
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def format_fact(fact: object) -> str:
    """A value among the notes as text: a number, a text, a list, or counts by name."""
    if isinstance(fact, Mapping):
        return ", ".join(f"{key} ×{count}" for key, count in fact.items())
    if isinstance(fact, (list, tuple)):
        return ", ".join(format_fact(item) for item in fact)
    return format_number(fact) if isinstance(fact, float) else str(fact)


def _is_omitted(key: str, fact: object) -> bool:
    """Whether a fact is shown elsewhere, is a table (which only the manifest contains), or is the usual case."""
    is_table = isinstance(fact, Mapping) and any(isinstance(value, Mapping) for value in fact.values())
    is_usual = key == "output" and str(fact).startswith("plain scores")  # what readers expect anyway
    return key == "blank" or is_table or is_usual


def _peak_location(values: Numbers, record: Record) -> str:
    """Where the largest number lies, in words."""
    peak = np.unravel_index(int(values.argmax()), values.shape)
    if values.ndim == 1:
        return f"at {format_position(record, int(peak[0]))}"
    if values.ndim != 2:
        return f"at voxel ({', '.join(str(int(index)) for index in peak)})"
    vertical, horizontal = (min(2, 3 * int(index) // side) for index, side in zip(peak, values.shape, strict=True))
    row, column = ("top", "middle", "bottom")[vertical], ("left", "centre", "right")[horizontal]
    return "in the centre" if (vertical, horizontal) == (1, 1) else f"at the {row} {column}"
