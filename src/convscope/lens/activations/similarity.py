from dataclasses import replace
from typing import Annotated

import torch
from torch import Tensor
from torch.nn import functional as F

from convscope.engine.inputs.specs import Images
from convscope.engine.layers.addresses import LAST_SPATIAL, Layers
from convscope.engine.network.model import Model
from convscope.engine.run.gradients import layer_evidence
from convscope.errors import ParameterError
from convscope.runtime.declaration import lens
from convscope.runtime.layer_maps import maps_to_values
from convscope.spec import Param
from convscope.values import Attribution
from convscope.values.facts import Fact


@lens(
    family="activations",
    title="Feature similarity",
    cite="amir2021deep",
    asks="Which places does this layer describe like a chosen place, in the same image or in another?",
    reads="Warm regions have features that point the same way as those of the place, cool regions the opposite way. "
    "Alike for the layer need not mean alike for the answer.",
    claims={"deterministic"},
    fails={"class-sensitive": "uses activations only", "completeness": "not a decomposition of any score"},
)
def similarity(
    model: Model,
    image: Images,
    *,
    guide: Images | None = None,
    layer: Layers = LAST_SPATIAL,
    place: Annotated[
        str,
        Param(
            help="row and column of the place, in pixels of the prepared input, as '120x88'; empty: the middle",
            joined="x",
            min=0,
            max=65535,
        ),
    ] = "",
) -> list[Attribution]:
    """Compare the features of one place with those of all places, by the cosine of the angle between them.

        map(p) = f(q) · f(p) / (‖f(q)‖ ‖f(p)‖)

    f(p) are the channels of the layer at position p. With a guide, the place q lies in the guide, and the map shows
    where in the image it is matched.

    Args:
        model: the network, with convolutions or with tokens.
        image: one image or several.
        guide: a second image in which the place lies.
        layer: one layer or several, whose maps are each divided by their peak and averaged; the last layer with spatial
            extent by default.
        place: the place q; the position of the layer in which it lies is taken.

    Returns:
        A map from -1 to 1 at the layer's resolution, enlarged bilinearly; its picture marks the place, and with a guide
        the guide with the place and the match in the image. The notes state where the match lies, and whether it is
        matched back to the place.

    Raises:
        UnknownName: no such layer.
        LayerError: the layer never runs or has no spatial extent.
        ParameterError: the place lies outside the input.

    Differs from the paper: the outputs of any layer are compared, where the paper has keys of attention.

    Example:
        >>> import convscope as cs
        >>> s = cs.similarity(cs.load("bundled:shapes"), "sample:shapes/7", place="20x30")
        >>> tuple(s.values.shape), float(s.layer_values["layer3"].max().round(decimals=3))
        ((96, 96), 1.0)

    Source: :cite:`amir2021deep`, section 3; matches that are matched back are its best buddies.
    """
    other = image if guide is None else guide
    position = _position(place, other.extent)
    evidence = layer_evidence(model, image, None, layer)
    second = evidence if guide is None else layer_evidence(model, guide, None, layer)
    maps: dict[str, Tensor] = {}
    notes: list[dict[str, str]] = [{"place": _described(position)} for _ in range(len(image))]
    matches: list[dict[str, tuple[float, ...]]] = [{} for _ in range(len(image))]
    for address in layer:
        features = F.normalize(evidence[address].activation.flatten(2), dim=1)
        searched = second[address].activation
        cell = _cell(position, other.extent, tuple(searched.shape[2:]))
        queries = F.normalize(searched.flatten(2), dim=1).expand(len(features), -1, -1)
        alike = torch.einsum("nc,ncp->np", queries[:, :, cell], features)
        maps[address] = alike.view(len(alike), *evidence[address].activation.shape[2:])
        if guide is not None:
            grid = tuple(maps[address].shape[1:])
            for row, best in enumerate(alike.argmax(1).tolist()):
                back = int((features[row, :, best] @ queries[row]).argmax())
                match = _center(best, grid, image.extent)
                matches[row][address] = _shares(match, image.extent)
                notes[row][Fact("match at {layer}", layer=address)] = _match(
                    match, float(alike[row, best]), back == cell
                )
    values = maps_to_values(model, image, None, maps, notes=notes)
    return [
        replace(
            value,
            place=_shares(position, other.extent),
            guide=None if guide is None else guide.photo(min(row, len(guide) - 1)),  # type: ignore[arg-type]
            matches=matches[row],
        )
        for row, value in enumerate(values)
    ]


def _position(place: str, extent: tuple[int, ...]) -> tuple[int, ...]:
    """The place by its index along each axis of the input."""
    if not place:
        return tuple(length // 2 for length in extent)
    position = tuple(int(part) for part in place.lower().replace("×", "x").split("x"))
    if len(position) != len(extent) or any(p >= length for p, length in zip(position, extent, strict=True)):
        size = "×".join(map(str, extent))
        raise ParameterError(f"place must lie in the prepared input of {size}, counted from 0, got {place!r}")
    return position


def _cell(position: tuple[int, ...], extent: tuple[int, ...], grid: tuple[int, ...]) -> int:
    """The number of the layer's position in which a place of the input lies."""
    number = 0
    for p, length, size in zip(position, extent, grid[-len(extent) :], strict=True):
        number = number * size + min(size - 1, p * size // length)
    return number


def _match(match: tuple[int, ...], cosine: float, is_matched_back: bool) -> Fact:
    """Where one image has the most similar features, and whether these are matched back to the place."""
    parts = {"place": _described(match), "cosine": f"{cosine:.2f}"}
    if is_matched_back:
        return Fact("{place}, cosine {cosine}, which is matched back", **parts)
    return Fact("{place}, cosine {cosine}, which is matched to another place", **parts)


def _center(cell: int, grid: tuple[int, ...], extent: tuple[int, ...]) -> tuple[int, ...]:
    """The middle of a position of the layer as a place of the input."""
    place = []
    for size, length in zip(reversed(grid[-len(extent) :]), reversed(extent), strict=True):
        place.append(int((cell % size + 0.5) * length / size))
        cell //= size
    return tuple(reversed(place))


def _described(place: tuple[int, ...]) -> str:
    return "x".join(map(str, place))


def _shares(place: tuple[int, ...], extent: tuple[int, ...]) -> tuple[float, ...]:
    """The middle of a place as a share of the extent along each axis."""
    return tuple((p + 0.5) / length for p, length in zip(place, extent, strict=True))
