from typing import Annotated

from convscope.engine.context.metering import report_progress
from convscope.engine.graph import recorded, structure_of
from convscope.engine.inputs.specs import Images
from convscope.engine.network.model import Model
from convscope.runtime.declaration import lens
from convscope.spec import Param
from convscope.values import Structure


@lens(
    family="structure",
    title="Structure",
    cite="araujo2019computing",
    asks="What is this network built of, what does each layer cost, and how far does it see?",
    reads="Follow the arrows from the input at the top; the bar is a node's share of all FLOPs, the field how many "
    "input pixels one output can see. None of it says what the network has learned.",
    claims={"deterministic"},
)
def structure(
    model: Model,
    image: Images | None = None,
    *,
    depth: Annotated[
        int, Param(help="levels of modules to show; 0 is 3 in the table, as many as stay readable drawn", min=0, max=32)
    ] = 0,
) -> Structure:
    """Run the network once and write down every operation that really ran, module by module.

    Functions, operators, reused modules, residual sums, concatenations and the products of attention are seen alike.
    A window of kernel k, dilation d, stride s and padding p turns a field of size r, jump j and first centre c into

        r' = r + d (k − 1) j,    j' = s j,    c' = c + (d (k − 1) / 2 − p) j

    Branches that meet have the union of their fields. FLOPs count a multiply-add as two.

    Args:
        model: the network.
        image: what to run it on; an example of the size the model wants by default. Of several, the first.
        depth: how many levels of modules to show, 0 for the usual three in the table and as many as stay readable in
            the picture; the numbers in the value are not folded.

    Returns:
        ``parameters`` (shared ones once) and ``flops`` of the whole network; per operation and per module the output's
        shape, parameters, FLOPs, bytes of results, theoretical receptive field (None is the whole input), stride and
        centre of the first field along each axis; the operations with the operations they read from.

    Raises:
        InputError: nothing says how large an input is, or the network takes several.
        ModelFailed: the network itself raised.

    Example:
        >>> import convscope as cs
        >>> s = cs.structure(cs.load("bundled:digits"))
        >>> s.parameters, s.flops, s.module("features").field
        (33194, 16811264, (20, 20))

    Source: :cite:`araujo2019computing`, equations 1 to 5.
    """
    tensor = model.example() if image is None else image.tensor
    graph = recorded(model, tensor)
    report_progress(1, 1)
    return structure_of(model, graph, depth=depth)
