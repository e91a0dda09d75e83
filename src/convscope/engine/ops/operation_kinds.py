"""The kinds of operations, by their names in torch; dunder and in-place spellings count as the same operation."""

import functools
from typing import Any, Literal

OperationKind = Literal[
    "shape", "linear", "affine", "matmul", "activation", "pointwise", "product", "ratio", "max", "batch norm",
    "norm", "softmax", "attention", "multi-head", "compound", "recurrent", "comparison", "step",
]  # fmt: skip

_NAMES: dict[OperationKind, str] = {
    # return values of their input at other positions
    "shape": """view reshape flatten unflatten permute transpose t T mT swapaxes swapdims moveaxis movedim squeeze
        unsqueeze contiguous clone to float double half bfloat16 type type_as expand expand_as view_as reshape_as chunk
        split split_with_sizes tensor_split hsplit vsplit unbind getitem setitem get narrow select index_select gather
        take_along_dim cat concat concatenate stack hstack vstack dstack flip fliplr flipud roll rot90 pad repeat
        repeat_interleave tile pixel_shuffle pixel_unshuffle channel_shuffle unfold fold dropout dropout1d dropout2d
        dropout3d alpha_dropout feature_alpha_dropout masked_fill where alias identity atleast_2d as_strided
        diagonal ravel copy fill zero cpu cuda positive slice block_diag broadcast_to max_unpool1d max_unpool2d
        max_unpool3d masked_select masked_scatter select_scatter slice_scatter
        diagonal_scatter index_fill index_copy index_put scatter""",
    # linear in the arguments that depend on the input: their gradient is the proportional rule
    "linear": """add sub subtract rsub mean sum nansum neg negative avg_pool1d avg_pool2d avg_pool3d
        adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d interpolate upsample upsample_nearest
        upsample_bilinear cumsum trapz grid_sample index_add scatter_add""",
    "affine": "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d linear",
    "matmul": "matmul bmm mm einsum mv tensordot rmatmul bilinear",
    # activation functions between layers
    "activation": """relu relu6 hardtanh leaky_relu prelu rrelu elu selu celu gelu silu mish hardswish softplus
        threshold clamp clamp_min clamp_max clip rectifier""",
    # other elementwise functions of one argument
    "pointwise": """sigmoid hardsigmoid tanh logsigmoid log_sigmoid softsign tanhshrink hardshrink softshrink exp expm1
        log log1p log2 log10 sqrt rsqrt square pow abs erf sin cos atan reciprocal sinh cosh
        elementwise""",
    "product": "mul multiply",
    "ratio": "div divide true_divide rdiv truediv rtruediv",
    "max": """max_pool1d max_pool2d max_pool3d max_pool1d_with_indices max_pool2d_with_indices
        max_pool3d_with_indices adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d
        adaptive_max_pool1d_with_indices adaptive_max_pool2d_with_indices adaptive_max_pool3d_with_indices amax amin
        max min maximum minimum fmax fmin topk sort median
        kthvalue""",
    "batch norm": "batch_norm",
    "norm": "layer_norm group_norm instance_norm rms_norm local_response_norm normalize",
    "softmax": "softmax log_softmax logsumexp",
    "attention": "scaled_dot_product_attention",
    "multi-head": "multi_head_attention_forward",
    # composed of several operations
    "compound": """addmm addbmm baddbmm addmv addcmul addcdiv lerp glu std var norm linalg_vector_norm linalg_norm
        lp_pool1d lp_pool2d lp_pool3d cosine_similarity""",
    "recurrent": "lstm gru rnn_tanh rnn_relu lstm_cell gru_cell rnn_tanh_cell rnn_relu_cell",
    # return a boolean mask
    "comparison": "gt ge lt le eq ne greater greater_equal less less_equal not_equal",
    # piecewise constant: a numeric mask
    "step": "heaviside sign sgn",
}  # fmt: skip


def _words(text: str) -> list[str]:
    return text.split()


KINDS: dict[str, OperationKind] = {name: kind for kind, names in _NAMES.items() for name in _words(names)}

GATES = {"sigmoid", "hardsigmoid", "softmax"}
"""Functions whose result weights something else: in a product they are the weight and not the signal."""

ZERO_AT_ZERO = frozenset(
    _words("relu relu6 leaky_relu prelu rrelu elu selu celu gelu silu mish hardswish tanh softsign")
)
"""Functions with f(0) = 0 for all parameters."""

RECTIFIERS = frozenset(
    _words("""relu relu6 hardtanh leaky_relu prelu rrelu elu selu celu gelu silu mish hardswish softplus threshold
    clamp clamp_min rectifier""")
)
"""Activations that pass large values and suppress small ones."""

POINTWISE_ACTIVATIONS = frozenset(
    _words("sigmoid hardsigmoid tanh logsigmoid log_sigmoid softsign tanhshrink hardshrink softshrink")
) | {name for name, kind in KINDS.items() if kind == "activation"}
"""Elementwise functions of one argument that are used between layers."""

IDENTITIES = frozenset(
    _words("dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout contiguous clone to float")
)
"""Operations that, in eval mode, return their input unchanged."""

NORMS = frozenset(_words("batch_norm instance_norm group_norm layer_norm rms_norm local_response_norm"))
"""Normalization layers."""

_ATEN = {
    "upsample_nearest1d": "interpolate", "upsample_nearest2d": "interpolate", "upsample_nearest3d": "interpolate",
    "upsample_nearest_exact1d": "interpolate", "upsample_nearest_exact2d": "interpolate",
    "upsample_nearest_exact3d": "interpolate", "upsample_linear1d": "interpolate",
    "upsample_bilinear2d": "interpolate", "upsample_bicubic2d": "interpolate", "upsample_trilinear3d": "interpolate",
    "upsample_bilinear2d_aa": "interpolate", "upsample_bicubic2d_aa": "interpolate",
    "constant_pad_nd": "pad", "reflection_pad1d": "pad", "reflection_pad2d": "pad", "reflection_pad3d": "pad",
    "replication_pad1d": "pad", "replication_pad2d": "pad", "replication_pad3d": "pad",
    "unsafe_view": "view", "to_copy": "to", "feature_dropout": "dropout2d",
}  # fmt: skip
"""Operators of ATen whose name differs from the function that calls them, by their name without underscores."""

_REFLECTED = {"radd": "add", "rmul": "mul", "rsub": "rsub", "rmatmul": "rmatmul", "rtruediv": "rdiv", "rdiv": "rdiv"}
_ALIASES = {"iadd": "add", "isub": "sub", "imul": "mul", "itruediv": "div", "idiv": "div", "ipow": "pow"}
_ALIASES |= {"iand": "and", "ior": "or", "ixor": "xor"}


@functools.cache
def operation_name(function: Any) -> tuple[str, bool]:
    """An operation's name, without leading and trailing underscores, and whether it writes to its first argument."""
    name = str(getattr(function, "__name__", function)).split(".")[0]  # torch.ops.aten.relu.default is relu
    if name.startswith("__") and name.endswith("__"):
        plain = name.strip("_")
        return _REFLECTED.get(plain) or _ALIASES.get(plain, plain), plain in _ALIASES or plain == "setitem"
    plain = name.strip("_")
    return _ATEN.get(plain, plain), name.endswith("_") and not name.startswith("_")


@functools.cache
def operation_kind(function: Any) -> OperationKind | None:
    """The kind of an operation; None for an unknown one."""
    return KINDS.get(operation_name(function)[0])
