from typing import Annotated

from convscope.engine.context.metering import report_progress
from convscope.engine.graph import record_graph, structure_of
from convscope.engine.inputs.specs import Images
from convscope.engine.network.model import Model
from convscope.runtime.declaration import lens
from convscope.spec import Param
from convscope.values import Structure


@lens(
    family="structure",
    title="Structure",
    cite="araujo2019computing",
    asks="What does this network consist of, how much does each layer cost, and how large is its receptive field?",
    reads="Follow the arrows from the input at the top; the bar is a node's share of all FLOPs, the receptive field is "
    "the number of input pixels that one output depends on. None of this shows what the network has learned.",
    needs={"layers"},
    claims={"deterministic"},
)
def structure(
    model: Model,
    image: Images | None = None,
    *,
    depth: Annotated[
        int,
        Param(
            help="levels of modules to show; 0 shows 3 in the table and as many as are readable in the picture",
            min=0,
            max=32,
        ),
    ] = 0,
) -> Structure:
    """Run the network once and record every operation that is executed, module by module.

    Functions, operators, reused modules, residual sums, concatenations and the products of attention are all recorded.
    An operation of kernel k, dilation d, stride s and padding p maps a receptive field of size r, jump j and first
    centre c to

        r' = r + d (k − 1) j,    j' = s j,    c' = c + (d (k − 1) / 2 − p) j

    Where branches join, the receptive field is the union of theirs. A multiply-add counts as two FLOPs.

    Args:
        model: the network.
        image: the input to run it on; of several images, the first. By default an example of the model's input size.
        depth: how many levels of modules to show; 0 shows three in the table and as many as are readable in the
            picture. It does not affect the numbers in the value.

    Returns:
        ``parameters`` (shared ones once) and ``flops`` of the whole network; per operation and per module the output's
        shape, parameters, FLOPs, size of results in bytes, theoretical receptive field (None is the whole input),
        stride and centre of the first field along each axis; and for each operation the operations it reads from.

    Raises:
        InputError: the input size is unknown, or the network takes several inputs.
        ModelFailed: the network raised an exception.

    Example:
        >>> import convscope as cs
        >>> s = cs.structure(cs.load("bundled:digits"))
        >>> s.parameters, s.flops, s.module("features").field
        (33194, 16811264, (20, 20))

    Source: :cite:`araujo2019computing`, equations 1 to 5.
    """
    tensor = model.example() if image is None else image.tensor
    graph = record_graph(model, tensor)
    report_progress(1, 1)
    return structure_of(model, graph, depth=depth)
