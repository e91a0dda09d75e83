"""Which function evaluates which operation, by the name that torch gives it."""

from collections.abc import Callable

from convscope.engine.arithmetic import convolutions, norms, pointwise, pools
from convscope.engine.arithmetic.evaluation import Evaluation, ExecutedOperation, OutputIndex
from convscope.engine.ops.operation_kinds import POINTWISE_ACTIVATIONS

Evaluator = Callable[[ExecutedOperation, OutputIndex], Evaluation]


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_AXES = ("1d", "2d", "3d")

STARTING: dict[str, Evaluator] = {
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
"""Operations that combine values of several positions or channels: an evaluation starts with one of these."""

NORMS: dict[str, Evaluator] = {
    "batch_norm": norms.batch_norm,
    "instance_norm": norms.instance_norm,
    "group_norm": norms.group_norm,
    "layer_norm": norms.layer_norm,
    "rms_norm": norms.rms_norm,
    "local_response_norm": norms.local_response_norm,
}

FOLLOWING: dict[str, Evaluator] = {
    **NORMS,
    **dict.fromkeys(POINTWISE_ACTIVATIONS, pointwise.activation),
    "prelu": pointwise.prelu,
    "softmax": pointwise.softmax,
    "log_softmax": pointwise.softmax,
    **dict.fromkeys(("add", "sub", "mul", "multiply", "div"), pointwise.binary),
}
"""Operations that turn a value into another at the same index: they continue an evaluation, or start it."""

EVALUATORS: dict[str, Evaluator] = {**STARTING, **FOLLOWING}

REARRANGING = _names("""permute transpose t T mT swapaxes swapdims movedim moveaxis flatten unflatten reshape view
    squeeze unsqueeze view_as reshape_as""")
"""Operations that return the same values at other indices."""
