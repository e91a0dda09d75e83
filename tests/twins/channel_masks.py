"""The channels of a layer enlarged to masks of the input, and the check of maps that need many passes."""

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F

from tests.marks import all_but
from tests.twins.binding import lens_of
from tests.twins.slow import TOLERANCE, relative_error
from tests.twins.subjects import Subject

NETS = all_but(("shapes",), ("plain", "residual", "flatten", "signal", "volume", "digits", "shapes"))


MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}


def masks(maps: Tensor, extent: tuple[int, ...]) -> list[Tensor | None]:
    """Each map (C, …) enlarged and scaled to 0 … 1; None for a constant one."""
    large = [enlarged(m, extent) for m in maps]
    return [
        (m - m.min()) / (m.max() - m.min()) if s.min() < s.max() else None for m, s in zip(large, maps, strict=True)
    ]


def enlarged(small: Tensor, extent: tuple[int, ...]) -> Tensor:
    return F.interpolate(small[None, None], size=tuple(extent), mode=MODES[len(extent)], align_corners=False)[0, 0]


def assert_recomputed_maps_equal(twin: Callable, subject: Subject, **parameters: object) -> None:
    """The lens's map is that of its twin, which gets the network: at both layers of a small one, else at the last."""
    for layer in subject.layers if "Net" in subject.model.name else subject.layers[-1:]:
        attributions = subject.explained(lens_of(twin), layer=layer, **parameters)
        for attribution, slow in zip(attributions, subject.slow, strict=True):
            assert "recomputed" not in attribution.notes
            assert relative_error(attribution.layer_values[layer], twin(slow, layer, **parameters)) < TOLERANCE
