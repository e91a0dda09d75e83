from typing import Annotated, Any, Literal

import numpy as np
from torch import Tensor

from convscope.engine.data.data_set import Dataset
from convscope.engine.graph import record_graph
from convscope.engine.inputs.specs import Photo
from convscope.engine.layers.addresses import UnitAddress, resolve_units
from convscope.engine.layers.default_layer import default_layer
from convscope.engine.layers.receptive_fields import receptive_boxes
from convscope.engine.layers.trace import layout_of
from convscope.engine.network.model import Model
from convscope.engine.statistics.top_k import TopInputs, find_top_inputs, reload_inputs
from convscope.errors import ParameterError
from convscope.runtime.declaration import lens
from convscope.spec import Param
from convscope.values import Exemplar, Exemplars, UnitExemplars
from convscope.values.facts import Fact
from convscope.values.formatting import format_list


@lens(
    family="activations",
    title="Top inputs",
    cite="zeiler2014visualizing",
    asks="Which inputs activate this unit most, and which part of them?",
    reads="Each row shows the inputs that activate one unit most, cropped to the receptive field of its strongest "
    "position. What they have in common suggests what the unit responds to, but depends on the data set.",
    claims={"deterministic"},
)
def top_inputs(
    model: Model,
    images: Dataset,
    *,
    unit: Any = None,
    k: Annotated[int, Param(help="number of inputs per unit", min=1, max=100)] = 9,
    by: Annotated[
        Literal["max", "mean"], Param(help="rank inputs by the unit's largest activation, or by the mean over its map")
    ] = "max",
    show: Annotated[int, Param(help="number of units to show if a whole layer is given", min=1, max=100)] = 12,
) -> Exemplars:
    """Find the inputs of a data set that activate a unit most, cropped to the strongest position's receptive field.

        top_k over x of max_p A_u(x)[p]

    All units of all requested layers are ranked in one pass over the data; memory does not grow with the data. The
    forward pass stops at the last of these layers.

    Args:
        model: the network.
        images: a folder, a list, a torch data set.
        unit: ``layer4[12]``, several of these, or ``layer4`` for all units of a layer, of which those with the largest
            values are shown; by default all units of the last layer with spatial extent.
        k: number of inputs per unit.
        by: ``max`` ranks by the unit's strongest position, ``mean`` by the mean over its map.
        show: how many units of a whole layer are shown; ``values`` and ``places`` contain all.

    Returns:
        For each unit the top inputs with their values, the position in the unit's map, and the box of the input that
        this position depends on: its theoretical receptive field, clipped at the borders.

    Raises:
        UnknownName: no such layer or unit.
        LayerError: the layer is not reached, or its output has no units.
        InputError: there is no image, or none can be read.

    Example:
        >>> import convscope as cs
        >>> top = cs.top_inputs(cs.load("bundled:shapes"), "sample:shapes/0-31", unit="layer2[5]", k=3)
        >>> [e.value for e in top["layer2[5]"]] == sorted((e.value for e in top["layer2[5]"]), reverse=True)
        True

    Source: :cite:`zeiler2014visualizing`, section 4.
    """
    requested = resolve_units(model, default_layer(model, images.first().tensor) if unit is None else unit)
    if any(address.position for address in requested):
        raise ParameterError(f"unit names a unit, not a position of it, got {next(a for a in requested if a.position)}")
    ranking = find_top_inputs(model, images, requested, k, by=by)
    shown = _shown_units(ranking, requested, show)
    indices = {index for address in shown for index in ranking.best[address.layer].places[:, address.unit].tolist()}
    tensors = reload_inputs(ranking, images, indices)
    best = ranking.best
    return Exemplars(
        units=tuple(_exemplars(model, ranking, shown, tensors)),
        images=ranking.images,
        values={layer: top.values.cpu() for layer, top in best.items()},
        places={layer: top.places.cpu() for layer, top in best.items()},
        names={str(index): name for index, name in sorted(ranking.names.items())},
        photos={str(index): _photo(model, tensor) for index, tensor in sorted(tensors.items())},
        notes={**images.notes(), **_notes(ranking, requested, shown, k)},
    )


def _shown_units(ranking: TopInputs, requested: tuple[UnitAddress, ...], show: int) -> list[UnitAddress]:
    """The units requested by index, and of whole layers those with the largest values."""
    by_index = [address for address in requested if address.unit is not None]
    largest = []
    for layer in dict.fromkeys(address.layer for address in requested if address.unit is None):
        order = ranking.best[layer].values[0].argsort(descending=True, stable=True).tolist()
        largest += [UnitAddress(layer, unit) for unit in order[:show]]
    return list(dict.fromkeys([*by_index, *largest]))


def _exemplars(
    model: Model, ranking: TopInputs, shown: list[UnitAddress], tensors: dict[int, Tensor]
) -> list[UnitExemplars]:
    boxes = _receptive_fields(model, ranking, shown, next(iter(tensors.values()))[None])
    units = []
    for address in shown:
        best = ranking.best[address.layer]
        exemplars = [
            Exemplar(
                value=value,
                place=index,
                name=ranking.names[index],
                label=_label(model, ranking.labels[index]),
                position=_position(position, ranking.grids[address.layer]),
                box=boxes.get((address.layer, position), ()),
            )
            for value, index, position in zip(
                *(column[:, address.unit].tolist() for column in (best.values, best.places, best.positions)),
                strict=True,
            )
        ]
        units.append(UnitExemplars(unit=str(address), exemplars=tuple(exemplars)))
    return units


def _receptive_fields(
    model: Model, ranking: TopInputs, shown: list[UnitAddress], tensor: Tensor
) -> dict[tuple[str, int], tuple[tuple[int, int], ...]]:
    """The receptive field of each strongest position, by layer and position; computed once per layer."""
    fields: dict[tuple[str, int], tuple[tuple[int, int], ...]] = {}
    if ranking.by == "mean":
        return fields
    graph = record_graph(model, tensor)
    for layer in dict.fromkeys(address.layer for address in shown):
        units = [address.unit for address in shown if address.layer == layer]
        strongest = ranking.best[layer].positions[:, units].reshape(-1).tolist()
        positions = sorted({position for position in strongest if position >= 0})
        if positions:
            boxes = receptive_boxes(graph, layer, layout_of(model, layer, tensor), positions)
            fields |= {(layer, position): box for position, box in zip(positions, boxes, strict=True)}
    return fields


def _position(flat: int, grid: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(index) for index in np.unravel_index(flat, grid)) if flat >= 0 else ()


def _label(model: Model, label: int | str | None) -> str | None:
    return model.label(label) if isinstance(label, int) else label


def _photo(model: Model, tensor: Tensor) -> np.ndarray[Any, Any]:
    return np.asarray(Photo(tensor, model.input))


def _notes(
    ranking: TopInputs, requested: tuple[UnitAddress, ...], shown: list[UnitAddress], k: int
) -> dict[str, object]:
    notes: dict[str, object] = {}
    if ranking.images < k:
        notes["few images"] = Fact(
            "{requested} inputs per unit were requested, but there are only {images}",
            requested=k,
            images=ranking.images,
        )
    for layer in dict.fromkeys(address.layer for address in requested if address.unit is None):
        total, units = ranking.best[layer].values.shape[1], sum(address.layer == layer for address in shown)
        if units < total:
            notes[Fact("shown of {layer}", layer=layer)] = Fact(
                "{units} of {total} units, those with the largest values; the arrays contain all units",
                units=units,
                total=total,
            )
    inactive = [str(a) for a in shown if float(ranking.best[a.layer].values[0, a.unit]) <= 0]
    if inactive:
        notes["never above zero"] = format_list(inactive, 8)
    return notes
