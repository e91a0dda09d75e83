from typing import Annotated, Literal

from torch import Tensor

from convscope.engine.context.chunking import in_chunks, rows_of
from convscope.engine.inputs.specs import Images
from convscope.engine.layers.addresses import FIRST_KERNELS, Layers
from convscope.engine.layers.feature_maps import Reading, read_maps
from convscope.engine.network.model import Model
from convscope.runtime.declaration import lens
from convscope.spec import Param
from convscope.values import FeatureMaps


@lens(
    family="activations",
    title="Feature maps",
    cite="yosinski2015understanding",
    asks="What does a layer compute on this image, channel by channel?",
    reads="Each map is one channel, the strongest first: bright or warm where it answers. What a channel looks for "
    "cannot be told from a single image.",
    claims={"deterministic"},
)
def feature_maps(
    model: Model,
    image: Images,
    *,
    layer: Layers = FIRST_KERNELS,
    channels: Annotated[
        int,
        Param(help="how many channels to keep, those with the largest mean magnitude; 0 keeps all", min=0, max=65536),
    ] = 32,
    scale: Annotated[
        Literal["shared", "each"], Param(help="one scale for all maps of a layer, or one for each map")
    ] = "shared",
    view: Annotated[
        Literal["mosaic", "overlay", "colours"],
        Param(help="the maps themselves, laid over the image, or all channels as one coloured picture"),
    ] = "mosaic",
    activation: Annotated[
        Literal["as it is", "before", "after"],
        Param(
            help="read the layer's own output, what its activation was given, or what the activation behind it gives"
        ),
    ] = "as it is",
) -> list[FeatureMaps]:
    """Show the activations of layers, one map a channel.

        strength_c = mean over places p of |a_c(p)|,  the largest first
        colours: the projections of a(p) − mean a on the first three principal components over places

    Args:
        model: the network.
        image: one image or several.
        layer: one or several layers, all read in one forward; the first convolution by default. Channels-last layers
            and tokens on a grid are turned into maps; a layer without places gives one number a channel.
        channels: how many channels to keep of each layer, those with the largest mean magnitude; a note says how many
            are not shown.
        scale: ``shared`` lets maps be compared, ``each`` shows the pattern of weak ones.
        view: how the maps are drawn; ``colours`` maps the first three principal components of all channels to red,
            green and blue, so that places of like colour have like activations.
        activation: where to read. ``after`` finds the activation that the layer's output goes to, directly or behind a
            norm, as a module or as a function; ``before`` gives the input of the activation that the layer ends with.

    Returns:
        Per image and layer the chosen maps, float32 at the layer's own resolution, signed and unnormalised; their
        channels; the strength of every channel of the layer.

    Raises:
        LayerError: the layer never ran, gives no maps or empty ones, or no activation follows it.
        NotFinite: a layer gives NaN or infinite numbers; the message says where in the network they begin.

    Example:
        >>> import convscope as cs
        >>> f = cs.feature_maps(cs.load("bundled:shapes"), "sample:shapes/7", channels=4)
        >>> [tuple(m.shape) for m in f.maps.values()], f.notes["shown of conv1"]
        ([(4, 48, 48)], '4 of 24 channels, those with the largest mean magnitude')

    Source: :cite:`yosinski2015understanding`.
    """
    made: list[FeatureMaps] = []

    def step(rows: Tensor) -> None:
        tensor = rows_of(image.tensor, rows)
        found = read_maps(model, tensor, layer, keep=channels, colours=view == "colours", side=activation)
        made.extend(_of_image(image, int(row), place, found, scale, view) for place, row in enumerate(rows))

    in_chunks(len(image), image.tensor[0], step, light=True)
    return made


def _of_image(images: Images, row: int, place: int, found: dict[str, Reading], scale: str, view: str) -> FeatureMaps:
    """What was read for one image of a chunk."""
    done = "kept" if view == "colours" else "shown"
    counts = {address: (one.channels.shape[1], one.strengths.shape[1]) for address, one in found.items()}
    notes = {
        f"{done} of {address}": f"{few} of {total} channels, those with the largest mean magnitude"
        for address, (few, total) in counts.items()
        if few < total
    }
    return FeatureMaps(
        maps={address: one.maps[place] for address, one in found.items()},
        channels={address: tuple(one.channels[place].tolist()) for address, one in found.items()},
        strengths={address: one.strengths[place].clone() for address, one in found.items()},
        colours={address: one.colours[place].clone() for address, one in found.items() if one.colours is not None},
        shares={address: tuple(one.shares[place].tolist()) for address, one in found.items() if one.shares is not None},
        read={address: one.where for address, one in found.items() if one.where},
        photo=images.photo(row),  # type: ignore[arg-type]
        scale=scale,
        view=view,
        notes=notes,
    )
