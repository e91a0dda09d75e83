"""Which operation is worked out how, by the name torch gives it."""

from collections.abc import Callable

from convscope.engine.arithmetic import convolutions, norms, pointwise, pools
from convscope.engine.arithmetic.evaluate import Operation, Place, Worked
from convscope.engine.ops.operation_kinds import POINTWISE_ACTIVATIONS

Recipe = Callable[[Operation, Place], Worked]


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_AXES = ("1d", "2d", "3d")

STARTING: dict[str, Recipe] = {
    **{f"conv{n}": convolutions.convolution for n in _AXES},
    **{f"conv_transpose{n}": convolutions.transposed for n in _AXES},
    **{f"max_pool{n}": pools.max_pool for n in _AXES},
    **{f"max_pool{n}_with_indices": pools.max_pool for n in _AXES},
    **{f"avg_pool{n}": pools.average_pool for n in _AXES},
    **{f"adaptive_max_pool{n}": pools.adaptive_max_pool for n in _AXES},
    **{f"adaptive_max_pool{n}_with_indices": pools.adaptive_max_pool for n in _AXES},
    **{f"adaptive_avg_pool{n}": pools.adaptive_average_pool for n in _AXES},
    "linear": convolutions.linear,
}
"""Operations that make numbers of other places: with one of these the arithmetic begins."""

CHANNELS_FIRST = (frozenset(STARTING) - {"linear"}) | _names("batch_norm instance_norm group_norm local_response_norm")
"""Operations that take the axis behind the image for the channels."""

NORMS: dict[str, Recipe] = {
    "batch_norm": norms.batch_norm,
    "instance_norm": norms.instance_norm,
    "group_norm": norms.group_norm,
    "layer_norm": norms.layer_norm,
    "rms_norm": norms.rms_norm,
    "local_response_norm": norms.local_response_norm,
}

FOLLOWING: dict[str, Recipe] = {
    **NORMS,
    **dict.fromkeys(POINTWISE_ACTIVATIONS, pointwise.activation),
    "prelu": pointwise.prelu,
    "softmax": pointwise.softmax,
    "log_softmax": pointwise.softmax,
    **dict.fromkeys(("add", "sub", "mul", "multiply", "div"), pointwise.of_two),
}
"""Operations that make of a number another at the same place: they go on with the arithmetic, or begin it."""

RECIPES: dict[str, Recipe] = {**STARTING, **FOLLOWING}

MOVING = _names("""permute transpose t T mT swapaxes swapdims movedim moveaxis flatten unflatten reshape view squeeze
    unsqueeze view_as reshape_as""")
"""Operations that hand on the same number at another place."""
