from typing import Annotated, Any, Literal

import numpy as np
from torch import Tensor

from convscope.engine.data.data_set import Dataset
from convscope.engine.graph import recorded
from convscope.engine.inputs.specs import Photo
from convscope.engine.layers.addresses import UnitAddress, units_of
from convscope.engine.layers.default_layer import default_layer
from convscope.engine.layers.receptive_fields import fields_of
from convscope.engine.layers.trace import layout_of
from convscope.engine.network.model import Model
from convscope.engine.statistics.top_k import Contest, contest, opened
from convscope.errors import ParameterError
from convscope.runtime.declaration import lens
from convscope.spec import Param
from convscope.values import Excited, Exemplar, Exemplars
from convscope.values.formatting import listed


@lens(
    family="activations",
    title="Top inputs",
    cite="zeiler2014visualizing",
    asks="Which of my inputs excite this unit most, and what in them does it see?",
    reads="Each row shows the inputs that excite one unit most, cut to what its best position can see; what they have "
    "in common is a guess at what the unit looks for, and it is only as varied as the data.",
    claims={"deterministic"},
)
def top_inputs(
    model: Model,
    images: Dataset,
    *,
    unit: Any = None,
    k: Annotated[int, Param(help="inputs per unit", min=1, max=100)] = 9,
    by: Annotated[
        Literal["max", "mean"], Param(help="what an input counts for: the unit's best position, or the mean of its map")
    ] = "max",
    show: Annotated[int, Param(help="units to show where a whole layer was asked for", min=1, max=100)] = 12,
) -> Exemplars:
    """Find the inputs of a data set that excite a unit most, each cropped to the receptive field of the best position.

        top_k over x of max_p A_u(x)[p]

    One pass over the data serves all units of all layers asked for; what is kept does not grow with the data. The
    forward ends at the last of these layers.

    Args:
        model: the network.
        images: a folder, a list, a torch data set.
        unit: ``layer4[12]``, several of these, or ``layer4`` for all units of a layer, of which those with the largest
            values are shown; by default all units of the last layer with spatial extent.
        k: inputs per unit.
        by: ``max`` takes the unit's best position, ``mean`` the mean over its map.
        show: how many units of a whole layer are shown; ``values`` and ``places`` have all.

    Returns:
        For each unit the best inputs with their values, their position in the unit's map, and the box of the input that
        this position can see, its theoretical receptive field cut at the borders.

    Raises:
        UnknownName: no such layer or unit.
        LayerError: the layer is not reached, or gives no units.
        InputError: there is no image, or none that can be read.

    Example:
        >>> import convscope as cs
        >>> top = cs.top_inputs(cs.load("bundled:shapes"), "sample:shapes/0-31", unit="layer2[5]", k=3)
        >>> [e.value for e in top["layer2[5]"]] == sorted((e.value for e in top["layer2[5]"]), reverse=True)
        True

    Source: :cite:`zeiler2014visualizing`, section 4.
    """
    asked = units_of(model, default_layer(model, images.first().tensor) if unit is None else unit)
    if any(one.position for one in asked):
        raise ParameterError(f"unit names a unit, not a position of it, got {next(o for o in asked if o.position)}")
    held = contest(model, images, asked, k, by=by)
    shown = _shown(held, asked, show)
    places = {place for one in shown for place in held.best[one.layer].places[:, one.unit].tolist()}
    tensors = opened(held, images, places)
    best = held.best
    return Exemplars(
        units=tuple(_excited(model, images, held, shown, tensors)),
        images=held.images,
        values={layer: one.values.cpu() for layer, one in best.items()},
        places={layer: one.places.cpu() for layer, one in best.items()},
        names={str(place): name for place, name in sorted(held.names.items())},
        photos={str(place): _photo(model, tensor) for place, tensor in sorted(tensors.items())},
        notes={**images.notes(), **_notes(held, asked, shown, k)},
    )


def _shown(held: Contest, asked: tuple[UnitAddress, ...], show: int) -> list[UnitAddress]:
    """The units asked for by number, and of whole layers those with the largest values."""
    named = [one for one in asked if one.unit is not None]
    found = []
    for layer in dict.fromkeys(one.layer for one in asked if one.unit is None):
        order = held.best[layer].values[0].argsort(descending=True, stable=True).tolist()
        found += [UnitAddress(layer, unit) for unit in order[:show]]
    return list(dict.fromkeys([*named, *found]))


def _excited(
    model: Model, images: Dataset, held: Contest, shown: list[UnitAddress], tensors: dict[int, Tensor]
) -> list[Excited]:
    boxes = _boxes(model, held, shown, next(iter(tensors.values()))[None])
    made = []
    for one in shown:
        best = held.best[one.layer]
        exemplars = [
            Exemplar(
                value=value,
                place=place,
                name=held.names[place],
                label=_label(model, held.labels[place]),
                position=_position(position, held.grids[one.layer]),
                box=boxes.get((one.layer, position), ()),
            )
            for value, place, position in zip(
                *(part[:, one.unit].tolist() for part in (best.values, best.places, best.positions)), strict=True
            )
        ]
        made.append(Excited(unit=str(one), exemplars=tuple(exemplars)))
    return made


def _boxes(
    model: Model, held: Contest, shown: list[UnitAddress], tensor: Tensor
) -> dict[tuple[str, int], tuple[tuple[int, int], ...]]:
    """What each winning position can see, looked up once for all units of a layer."""
    found: dict[tuple[str, int], tuple[tuple[int, int], ...]] = {}
    if held.by == "mean":
        return found
    graph = recorded(model, tensor)
    for layer in dict.fromkeys(one.layer for one in shown):
        units = [one.unit for one in shown if one.layer == layer]
        winning = held.best[layer].positions[:, units].reshape(-1).tolist()
        positions = sorted({position for position in winning if position >= 0})
        if positions:
            boxes = fields_of(graph, layer, layout_of(model, layer, tensor), positions)
            found |= {(layer, position): box for position, box in zip(positions, boxes, strict=True)}
    return found


def _position(flat: int, grid: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(one) for one in np.unravel_index(flat, grid)) if flat >= 0 else ()


def _label(model: Model, label: int | str | None) -> str | None:
    return model.label(label) if isinstance(label, int) else label


def _photo(model: Model, tensor: Tensor) -> np.ndarray[Any, Any]:
    return np.asarray(Photo(tensor, model.input))


def _notes(held: Contest, asked: tuple[UnitAddress, ...], shown: list[UnitAddress], k: int) -> dict[str, object]:
    found: dict[str, object] = {}
    if held.images < k:
        found["few images"] = f"{k} inputs a unit were asked for, there are {held.images}"
    for layer in dict.fromkeys(one.layer for one in asked if one.unit is None):
        of, units = held.best[layer].values.shape[1], sum(one.layer == layer for one in shown)
        if units < of:
            found[f"shown of {layer}"] = f"{units} of {of} units, those with the largest values; the numbers have all"
    silent = [str(one) for one in shown if float(held.best[one.layer].values[0, one.unit]) <= 0]
    if silent:
        found["never above zero"] = listed(silent, 8)
    return found
