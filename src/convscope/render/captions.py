"""The texts of pictures: titles, sources, costs, notes and warnings, identical in files, reports and web pages."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from convscope.render.scale import Numbers, Scale, format_number, map_values
from convscope.render.signal_axis import format_position
from convscope.values import (
    AttentionMaps,
    Attribution,
    Exemplars,
    FeatureMaps,
    GateMaps,
    JointAttribution,
    LayerAttribution,
    Pictures,
    ReceptiveField,
    Record,
    Value,
)
from convscope.values.facts import Fact, as_fact, heading
from convscope.values.formatting import format_sides

COMPLETENESS_GAP, RELATIVE_COMPLETENESS_GAP = "completeness gap", "relative completeness gap"
BASELINE_SCORE, CONSERVATION_GAP, ABSORBED_BY_BIASES = "baseline score", "conservation gap", "absorbed by biases"
"""Keys of the notes on a value that are combined into one sentence."""
LARGE_GAP = 0.1
"""The share of the score from which a gap is a warning."""
EXPLANATIONS = (Attribution, JointAttribution, LayerAttribution)
"""Kinds of values that explain a target."""
SPATIAL_VALUES = (*EXPLANATIONS, AttentionMaps, Exemplars, FeatureMaps, GateMaps, Pictures, ReceptiveField)
"""Kinds of values whose pictures show the input or maps over it, in the proportions of its pixels or voxels."""


@dataclass(frozen=True)
class Note:
    """One sentence beside a picture; a warning changes how the picture must be interpreted."""

    text: str
    warning: bool = False


def title(value: Value) -> Fact:
    """The title line: ``Grad-CAM · tabby (281) · score 17.4``."""
    parts: list[str] = [as_fact(value.record.title or value.record.lens or type(value).__name__)]
    if isinstance(value, (*EXPLANATIONS, GateMaps)):
        parts += [target(value)] if value.target else []
        parts += [Fact("score {score}", score=format_number(value.score))] if value.score is not None else []
    return Fact("{parts: · }", parts=parts)


def subject(value: Value) -> str:
    """The target and the layers of a value: ``tabby (281), at layer4``; empty for values that explain no target."""
    if not isinstance(value, EXPLANATIONS):
        return ""
    name = target(value) or Fact("independent of the target")
    return Fact("{target}, at {layers}", target=name, layers=value.layers) if value.layers else name


def target(attribution: Attribution | JointAttribution | LayerAttribution | GateMaps) -> str:
    """The name of the target, with the index of the class unless the label is the index."""
    index = attribution.target_index
    return attribution.target if index is None else class_name(attribution.target, index)


def source(value: Value, *, cost: bool = True) -> str:
    """The source of a value: layer, network, input and cost."""
    layers = value.layers if isinstance(value, EXPLANATIONS) else ()
    parts = [f"layer{'s' if len(layers) > 1 else ''} {', '.join(layers)}"] if layers else []
    parts += [str(value.record.model.get("name", "")), short_name(value.record.input)]
    parts += [str(value.record.cost)] if cost and value.record.cost.forwards else []
    return " · ".join(part for part in parts if part)


def short_name(name: str, max_length: int = 48) -> str:
    """The name of an input: a file name without its folders, shortened in the middle to ``max_length`` characters."""
    if re.match(r"'?\w+=", name):  # several inputs, photo=a.jpg table=row.csv
        name = re.sub(r"=(?!sample:)[^ ']*/", "=", name)
    else:
        name = name if name.startswith("sample:") else Path(name).name or name
    keep = (max_length - 1) // 2
    return name if len(name) <= max_length else f"{name[:keep]}…{name[-keep:]}"


def notes(value: Value, scale: Scale | None = None) -> list[Note]:
    """All notes that are needed to interpret a picture, warnings first."""
    result = [Note(sentence(caveat), warning=True) for caveat in value.record.caveats]
    if isinstance(value, Attribution):
        result += _blank_or_flat_notes(value)
    if scale is not None and scale.nonfinite:
        text = Fact("{count} numbers are NaN or infinite; they are drawn as zero.", count=scale.nonfinite)
        result.append(Note(text, warning=True))
    if scale is not None and scale.clipped:
        result.append(Note(scale.clipping_note()))
    if len(set(value.record.spacing)) > 1 and isinstance(value, SPATIAL_VALUES) and value.record.kind != "video":
        sides = format_sides(value.record.spacing)
        result.append(Note(Fact("Drawn in the proportions of its voxels, {sides}.", sides=sides)))
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
        Note(sentence(Fact("{heading}{fact}", heading=heading(key), fact=format_fact(fact))))
        for key, fact in facts.items()
        if not _is_omitted(key, fact)
    ]
    return sorted(result, key=lambda note: not note.warning)


def alt(attribution: Attribution, scale: Scale) -> str:
    """The alternative text of a map: what it is, where its peak lies, and the ends of its scale."""
    parts = {"title": title(attribution), "input": short_name(attribution.record.input) or Fact("one input")}
    if attribution.blank:
        return Fact("{title}, a heat map of {input}: blank, zero everywhere.", **parts)
    description = Fact(
        "{title}, a heat map of {input}: {peaks}. Scale from {low} to {high}.",
        peaks=_peaks(attribution, scale),
        low=format_number(-scale.limit) if scale.signed else "0",
        high=format_number(scale.limit),
        **parts,
    )
    return _with_places(description, attribution) if len(attribution.place) == 2 else description


def _with_places(description: Fact, attribution: Attribution) -> Fact:
    """The alternative text of a map of an image with the places that are marked in it."""
    place = _in_words(attribution.place)
    if attribution.guide is None:
        return Fact("{description} Marked: the chosen place {place}.", description=description, place=place)
    return Fact(
        "{description} Marked: the chosen place {place} of the second input, and its match {matches}.",
        description=description,
        place=place,
        matches=list(dict.fromkeys(map(_in_words, attribution.matches.values()))),
    )


def _in_words(place: tuple[float, ...]) -> Fact:
    """Where a place of an image lies, given as shares of its height and its width."""
    vertical, horizontal = (min(2, int(3 * share)) for share in place)
    return _PLACES[vertical][horizontal]


def _peaks(attribution: Attribution, scale: Scale) -> list[Fact]:
    """Where a map is strongest, at either end of its scale."""
    values, record = np.nan_to_num(map_values(attribution)), attribution.record
    if not scale.signed:
        return [Fact("strongest {place}", place=_peak_location(values, record))]
    low, high = map(as_fact, scale.ends)
    peaks = [Fact("strongest “{end}” {place}", end=high, place=_peak_location(values, record))]
    if float(values.min()) < 0:
        peaks.append(Fact("strongest “{end}” {place}", end=low, place=_peak_location(-values, record)))
    return peaks


def class_name(label: str, index: int) -> str:
    """The name of a class, or of a number of an output without classes, with its index unless that is the name."""
    if label == f"number {index}":
        return Fact("number {index}", index=index)
    return Fact("class {index}", index=index) if label in (str(index), f"class {index}") else f"{label} ({index})"


def _blank_or_flat_notes(attribution: Attribution) -> list[Note]:
    if attribution.blank:
        reason = attribution.notes.get("blank", Fact("every number in it is zero"))
        return [Note(Fact("This map is blank: {why}.", why=reason), warning=True)]
    values = map_values(attribution)
    if values.size > 1 and float(values.min()) == float(values.max()):
        number = format_number(float(values.flat[0]))
        return [Note(Fact("This map is flat: it is {number} everywhere.", number=number), warning=True)]
    return []


def _completeness_note(gap: float, relative: float | None, baseline: float | None) -> Note:
    share_text = "" if relative is None or not np.isfinite(relative) else f" ({abs(relative):.1%})"
    parts = {
        "gap": f"{format_number(gap)}{share_text}",
        "more": Fact("more") if gap > 0 else Fact("less"),
        "rise": Fact("the score's rise")
        if baseline is None
        else Fact("the score's rise from {baseline} at the baseline", baseline=format_number(baseline)),
    }
    if relative is None or abs(relative) <= LARGE_GAP:
        return Note(Fact("Completeness gap {gap}: the map adds up to {more} than {rise}.", **parts))
    text = Fact(
        "Completeness gap {gap}: the map adds up to {more} than {rise}; do not read it as shares of the score.", **parts
    )
    return Note(text, warning=True)


def _conservation_note(facts: dict[str, object], score: float | None) -> Note:
    """How much relevance the input and the constants received and how much was lost; removes these from ``facts``."""
    missing, absorbed, gap = (
        float(str(facts.pop(name))) for name in (COMPLETENESS_GAP, ABSORBED_BY_BIASES, CONSERVATION_GAP)
    )
    relative = float(str(facts.pop(f"relative {CONSERVATION_GAP}")))
    facts.pop(RELATIVE_COMPLETENESS_GAP)
    parts = {"absorbed": format_number(absorbed), "lost": f"{format_number(gap)} ({relative:.1%})"}
    text = (
        Fact("Biases and other constants absorbed {absorbed}; {lost} was lost in the backward pass.", **parts)
        if score is None
        else Fact(
            "Of the score {score} the input received {received}, and biases and other constants absorbed {absorbed}; "
            "{lost} was lost in the backward pass.",
            score=format_number(score),
            received=format_number(score + missing),
            **parts,
        )
    )
    return Note(text, warning=not relative <= LARGE_GAP)


def sentence(text: str) -> Fact:
    """A text as a sentence: with a capital letter at its beginning and one full stop at its end."""
    english = f"{text[:1].upper()}{text[1:].rstrip('.')}."
    return Fact("{sentence}.", sentence=as_fact(text)).with_text(english)


def format_fact(fact: object) -> str | list[Any]:
    """A value among the notes as it is filled into a sentence: a number, a text, a list, or counts by name."""
    if isinstance(fact, Mapping):
        return [Fact("{name} ×{count}", name=name, count=count) for name, count in fact.items()]
    if isinstance(fact, (list, tuple)):
        return [format_fact(item) for item in fact]
    if isinstance(fact, str):
        return fact
    return format_number(fact) if isinstance(fact, float) else str(fact)


def _is_omitted(key: str, fact: object) -> bool:
    """Whether a fact is shown elsewhere, is a table (which only the manifest contains), or is the usual case."""
    is_table = isinstance(fact, Mapping) and any(isinstance(value, Mapping) for value in fact.values())
    is_usual = key == "output" and str(fact).startswith("plain scores")  # what readers expect anyway
    return key == "blank" or is_table or is_usual


def _peak_location(values: Numbers, record: Record) -> Fact:
    """Where the largest number lies, in words."""
    peak = np.unravel_index(int(values.argmax()), values.shape)
    if values.ndim == 1:
        return Fact("at {position}", position=format_position(record, int(peak[0])))
    if values.ndim != 2:
        return Fact("at voxel ({indices})", indices=[int(index) for index in peak])
    vertical, horizontal = (min(2, 3 * int(index) // side) for index, side in zip(peak, values.shape, strict=True))
    return _PLACES[vertical][horizontal]


_PLACES = (
    (Fact("at the top left"), Fact("at the top centre"), Fact("at the top right")),
    (Fact("at the middle left"), Fact("in the centre"), Fact("at the middle right")),
    (Fact("at the bottom left"), Fact("at the bottom centre"), Fact("at the bottom right")),
)
