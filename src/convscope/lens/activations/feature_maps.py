from typing import Annotated, Any, Literal

from torch import Tensor

from convscope.engine.context.chunking import in_chunks, rows_of
from convscope.engine.inputs.specs import Images
from convscope.engine.layers.addresses import FIRST_CONVOLUTION, Layers
from convscope.engine.layers.feature_maps import MapReading, read_maps, require_memory_of_maps, series_as_maps
from convscope.engine.layers.recurrent_gates import GateReading, read_gates
from convscope.engine.network.model import Model
from convscope.runtime.declaration import lens
from convscope.spec import Param
from convscope.values import FeatureMaps
from convscope.values.facts import Fact


@lens(
    family="activations",
    title="Feature maps",
    cite="yosinski2015understanding",
    asks="What does a layer compute on this image, channel by channel?",
    reads="Each map is one channel, the strongest first: bright or warm where it is active. A single image does not "
    "show what a channel responds to in general.",
    claims={"deterministic"},
)
def feature_maps(
    model: Model,
    image: Images,
    *,
    layer: Layers = FIRST_CONVOLUTION,
    channels: Annotated[
        int,
        Param(help="how many channels to keep, those with the largest mean magnitude; 0 keeps all", min=0, max=65536),
    ] = 32,
    scale: Annotated[
        Literal["shared", "each"], Param(help="one colour scale for all maps of a layer, or one for each map")
    ] = "shared",
    view: Annotated[
        Literal["mosaic", "overlay", "colours"],
        Param(help="the maps themselves, overlaid on the image, or all channels combined into one colour image"),
    ] = "mosaic",
    activation: Annotated[
        Literal["as it is", "before", "after"],
        Param(
            help="read the layer's output as it is, before its activation function, or after the activation function "
            "that follows it"
        ),
    ] = "as it is",
    gates: Annotated[
        bool,
        Param(help="also show every gate and state of recurrent layers (LSTM, GRU) at each step, from their weights"),
    ] = False,
) -> list[FeatureMaps]:
    """Show the activations of layers, with one map per channel.

        strength_c = mean over positions p of |a_c(p)|,  the largest first
        colours: the projections of a(p) − mean a on the first three principal components over positions

    Args:
        model: the network.
        image: one image or several.
        layer: one or several layers, all read in one forward pass; the first convolution by default, or in a network
            without any the first recurrent layer. Channels-last layers and tokens on a grid are converted to maps; a
            layer without spatial axes has one number per channel.
        channels: how many channels to keep of each layer, those with the largest mean magnitude; a note says how many
            are not shown.
        scale: ``shared`` makes maps comparable, ``each`` makes the pattern of weak maps visible.
        view: how the maps are drawn; ``colours`` maps the first three principal components of all channels to red,
            green and blue, so that positions of similar colour have similar activations.
        activation: where to read. ``after`` gives the output of the activation function that follows the layer,
            directly or after a normalisation, as a module or as a function; ``before`` gives the input of the
            activation function that the layer ends with.
        gates: also give the gates and states of ``torch.nn.LSTM``, ``GRU`` and ``RNN`` at each step, for every stacked
            layer and direction. They are recomputed in double precision from the weights and compared with the
            layer's own output; the notes state the difference. Other layers have none.

    Returns:
        Per image and layer the selected maps, float32 at the layer's own resolution, signed and unnormalised; their
        channels; the strength of every channel of the layer.

    Raises:
        LayerError: the layer never ran, its output is empty or not a map, or no activation function follows it.
        NotFinite: a layer's output is NaN or infinite; the message says where in the network this begins.
        TooLittleMemory: the maps that are kept do not fit into memory.

    Example:
        >>> import convscope as cs
        >>> f = cs.feature_maps(cs.load("bundled:shapes"), "sample:shapes/7", channels=4)
        >>> [tuple(m.shape) for m in f.maps.values()], f.notes["shown of conv1"]
        ([(4, 48, 48)], '4 of 24 channels, those with the largest mean magnitude')

    Source: :cite:`yosinski2015understanding`.
    """
    results: list[FeatureMaps] = []

    def step(rows: Tensor) -> None:
        tensor = rows_of(image.tensor, rows)
        readings = read_maps(model, tensor, layer, keep=channels, colours=view == "colours", side=activation)
        gate_readings = read_gates(model, tensor, layer) if gates else {}
        for address, reading in gate_readings.items():
            readings |= series_as_maps(address, reading.series, keep=channels)
        results.extend(
            _of_image(image, int(row), index, readings, gate_readings, scale, view) for index, row in enumerate(rows)
        )

    require_memory_of_maps(model, image.tensor, layer, keep=channels)
    in_chunks(len(image), image.tensor[0], step, light=True)
    return results


def _of_image(
    images: Images,
    row: int,
    index: int,
    readings: dict[str, MapReading],
    gate_readings: dict[str, GateReading],
    scale: str,
    view: str,
) -> FeatureMaps:
    """The maps of one image, at this index of a chunk."""
    counts = {address: (r.channels.shape[1], r.strengths.shape[1]) for address, r in readings.items()}
    notes: dict[str, Any] = {}
    for address, (few, total) in counts.items():
        left_out = Fact("{few} of {total} channels, those with the largest mean magnitude", few=few, total=total)
        if few < total and view == "colours":
            notes[Fact("kept of {layer}", layer=address)] = left_out
        elif few < total:
            notes[Fact("shown of {layer}", layer=address)] = left_out
    for address, gate_reading in gate_readings.items():
        notes[Fact("gates of {layer}", layer=address)] = Fact(
            "recomputed from the weights; the states differ from the layer's own by {difference} at most",
            difference=f"{float(gate_reading.differences[index]):.1g}",
        )
    return FeatureMaps(
        maps={address: r.maps[index] for address, r in readings.items()},
        channels={address: tuple(r.channels[index].tolist()) for address, r in readings.items()},
        strengths={address: r.strengths[index].clone() for address, r in readings.items()},
        colours={address: r.colours[index].clone() for address, r in readings.items() if r.colours is not None},
        shares={address: tuple(r.shares[index].tolist()) for address, r in readings.items() if r.shares is not None},
        read={address: r.where for address, r in readings.items() if r.where},
        photo=images.photo(row),  # type: ignore[arg-type]
        scale=scale,
        view=view,
        notes=notes,
    )
