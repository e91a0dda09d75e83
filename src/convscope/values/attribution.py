"""How much each position of an input contributes to a score."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from convscope.errors import CannotWrite
from convscope.values.backends import get_renderer
from convscope.values.base import Cost, Value

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Attribution(Value):
    """How much each position of one input contributes to the target, as raw signed numbers.

    Attributes:
        values: float32 with the spatial shape of the input (height, width): the map, signed and unnormalized.
        layer_values: layer address → float32 map at the resolution of that layer (CAM methods).
        channels: float32 (channels, height, width): the map before its channels were reduced, if there is one.
        uncertainty: float32 maps of the uncertainty of the values, if the lens measures it: ``"spread"`` (standard
            deviation over samples), ``"band"`` (half-width of the 95 % confidence interval), ``"sign agreement"``
            (share of samples with the same sign as the value).
        photo: the input as displayed.
        signed: whether negative numbers mean evidence against the target; unsigned maps are never negative.
        target: a description of the explained score; ``target_index`` is the class, if it is one.
        score: the explained score as the network returns it: the logit, unless the network itself ends in a softmax
            or sigmoid; then it is the probability, and ``notes["output"]`` says so.
        layers: the addresses of the layers at which the map was computed.
        layer_regions: layer address → along each axis of the input, start and end (exclusive) of the part that the map
            of the layer covers; layers that cover the whole input are left out.
        place: the place that was chosen, if the map compares all places with one, as a share of the input's extent
            along each axis.
        guide: a second input as displayed, in which the place lies; None if it lies in the same input.
        matches: layer address → the place of the input most like that of the guide, as shares too.
        notes: facts measured along the way, such as ``"completeness gap"``; ``"output"`` says how the output of the
            network was interpreted.
    """

    is_map = attributes = is_batched = True
    writers: ClassVar[Mapping[str, str]] = {
        **Value.writers,
        ".gif": "_save_gif",
        ".mp4": "_save_mp4",
        ".nii.gz": "_save_nifti",
        ".nii": "_save_nifti",
    }
    arrays: ClassVar[tuple[str, ...]] = ("values", "layer_values", "channels", "uncertainty", "photo", "guide")

    values: Tensor
    layer_values: Mapping[str, Tensor] = field(default_factory=dict)
    channels: Tensor | None = None
    uncertainty: Mapping[str, Tensor] = field(default_factory=dict)
    photo: np.ndarray[Any, Any] | None = None
    signed: bool = True
    target: str = ""
    target_index: int | None = None
    score: float | None = None
    layers: tuple[str, ...] = ()
    layer_regions: Mapping[str, tuple[tuple[int, int], ...]] = field(default_factory=dict)
    place: tuple[float, ...] = ()
    guide: np.ndarray[Any, Any] | None = None
    matches: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    @property
    def method(self) -> str:
        """The name of the lens that computed this map, as on the command line."""
        return self.record.lens

    @property
    def cost(self) -> Cost:
        """The cost of this map."""
        return self.record.cost

    @property
    def numbers(self) -> Tensor:
        """The numbers of the map; of a table or a vector, whose single value is their sum, those of its features."""
        return self.values if self.values.ndim or self.channels is None else self.channels

    @property
    def blank(self) -> bool:
        """Whether the map is zero everywhere."""
        return not bool(self.numbers.any())

    @property
    def has_film(self) -> bool:
        """Whether it holds maps over an image at several layers, which a .gif shows one after the other."""
        return self.values.ndim == 2 and sum(layer.ndim == 2 for layer in self.layer_values.values()) > 1

    def lines(self) -> list[str]:
        """The target with its score, the layers, and the range of the values."""
        score = "" if self.score is None else f", score {self.score:.3g}"
        lines = [f"explains {self.target}{score}"] if self.target else []
        lines += [f"at layer {', '.join(self.layers)}"] if self.layers else []
        return [*lines, f"values {float(self.numbers.min()):.3g} to {float(self.numbers.max()):.3g}"]

    def _save_nifti(self, path: Path) -> None:
        from convscope.values.nifti import write_nifti

        write_nifti(self.values, self.record, path)

    def _save_gif(self, path: Path) -> None:
        if self.record.kind != "video" and not self.has_film:
            raise CannotWrite(
                "a .gif shows the frames of a clip or the maps of several layers, and this is neither: name several "
                "layers with layer=, or write a .png"
            )
        path.write_bytes(get_renderer().animated_gif(self))

    def _save_mp4(self, path: Path) -> None:
        if self.record.kind != "video":
            raise CannotWrite("an .mp4 shows the frames of a clip, and this is no map of one: write a .png")
        path.write_bytes(get_renderer().film(self))

    @classmethod
    def _restore_fields(cls, stored: dict[str, Any]) -> dict[str, Any]:
        import torch

        for name in ("values", "channels"):
            if stored.get(name) is not None:
                stored[name] = torch.from_numpy(stored[name])
        for name in ("layer_values", "uncertainty"):
            stored[name] = {key: torch.from_numpy(array) for key, array in stored.get(name, {}).items()}
        matches = {layer: tuple(place) for layer, place in stored.get("matches", {}).items()}
        sequences = {name: tuple(stored.get(name, ())) for name in ("layers", "place")}
        regions = {layer: tuple(map(tuple, region)) for layer, region in stored.get("layer_regions", {}).items()}
        return {**stored, **sequences, "matches": matches, "layer_regions": regions}

    def __repr__(self) -> str:
        low, high = float(self.values.min()), float(self.values.max())
        shape = "×".join(str(side) for side in self.values.shape)
        return f"Attribution({self.method}: {self.target!r}, {shape}, {low:.3g} … {high:.3g})"
