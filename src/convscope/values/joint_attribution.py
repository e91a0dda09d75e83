"""How much each position of several inputs contributes to one score."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from convscope.errors import CannotWrite
from convscope.values.attribution import Attribution
from convscope.values.base import Value, _pack, record_from_plain
from convscope.values.facts import with_facts


@dataclass(frozen=True, kw_only=True, eq=False)
class JointAttribution(Value):
    """The attributions of the inputs of one sample to the same score, by the name of the input.

    ``value["photo"]`` is the `Attribution` of one input.

    Attributes:
        parts: the attribution of each explained input.
        one_scale: whether their numbers have one unit, so that they can be compared and share a colour scale.
        target, target_index, score: what is explained, as in an `Attribution`.
    """

    attributes = True
    arrays: ClassVar[tuple[str, ...]] = ("parts",)

    parts: Mapping[str, Attribution] = field(default_factory=dict)
    one_scale: bool = False
    target: str = ""
    target_index: int | None = None
    score: float | None = None

    def __getitem__(self, name: str) -> Attribution:
        return self.parts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.parts)

    def __len__(self) -> int:
        return len(self.parts)

    def __repr__(self) -> str:
        return f"JointAttribution({self.record.lens}: {self.target!r}, {', '.join(self.parts)})"

    def items(self) -> list[tuple[str, Attribution]]:
        """The names of the explained inputs with their attributions."""
        return list(self.parts.items())

    @property
    def signed(self) -> bool:
        """Whether a map has a sign, so that its scale is symmetric about zero."""
        return any(part.signed for part in self.parts.values())

    @property
    def layers(self) -> tuple[str, ...]:
        """The addresses of the layers at which the maps were computed."""
        return tuple(dict.fromkeys(layer for part in self.parts.values() for layer in part.layers))

    @property
    def totals(self) -> dict[str, float]:
        """The sum of the map over each input."""
        return {name: float(part.values.double().sum()) for name, part in self.parts.items()}

    def lines(self) -> list[str]:
        """The target with its score, and the range and the sum of the map over each input."""
        score = "" if self.score is None else f", score {self.score:.3g}"
        lines = [f"explains {self.target}{score}"] if self.target else []
        for name, part in self.parts.items():
            low, high = float(part.numbers.min()), float(part.numbers.max())
            lines.append(f"{name}: values {low:.3g} to {high:.3g}, sum {self.totals[name]:.3g}")
        return lines

    def manifest(self) -> dict[str, Any]:
        """All fields except the arrays, with the manifest of each part."""
        return {**super().manifest(), "parts": {name: part.manifest() for name, part in self.parts.items()}}

    @classmethod
    def writer(cls, path: Path) -> Callable[..., None]:
        """The function that writes a file of this type; those for the map of one input are that map's own.

        Raises:
            CannotWrite: the maps of several inputs cannot be written as this file type.
        """
        if any(path.name.lower().endswith(end) for end in Attribution.writers.keys() - cls.writers.keys()):
            raise CannotWrite(
                f"{path.name!r} holds the map of one input, and these are several: save one of them, "
                "value[NAME].save(…), or explain one, explain=NAME"
            )
        return super().writer(path)

    def _save_npz(self, path: Path) -> None:
        import numpy as np

        stored: dict[str, Any] = {"manifest": np.array(json.dumps(self.manifest()))}
        for name, part in self.parts.items():
            for array in part.arrays:
                stored |= _pack(f"numbers/{name}:{array}", getattr(part, array))
        with path.open("wb") as file:
            np.savez_compressed(file, **stored)

    @classmethod
    def _restore_fields(cls, stored: dict[str, Any]) -> dict[str, Any]:
        numbers: dict[str, dict[str, Any]] = {}
        longest_first = sorted(stored["parts"], key=len, reverse=True)
        for key, array in stored.pop("numbers", {}).items():
            name = next((name for name in longest_first if key.startswith(f"{name}:")), None)
            if name is None:
                raise KeyError(key)
            array_name, _, inner = key.removeprefix(f"{name}:").partition("/")
            own = numbers.setdefault(name, {})
            if inner:
                own.setdefault(array_name, {})[inner] = array
            else:
                own[array_name] = array
        parts = {}
        for name, manifest in stored["parts"].items():
            manifest = with_facts(manifest, manifest.pop("facts", {}))
            record = record_from_plain(manifest.pop("record"))
            fields = {key: value for key, value in manifest.items() if key != "kind"}
            parts[name] = Attribution(**Attribution._restore_fields({**fields, **numbers.get(name, {})}), record=record)
        return {**stored, "parts": parts}
