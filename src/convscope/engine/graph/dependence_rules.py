"""The dependence of an operation's outputs on input positions, from that of the tensors it reads.

The outputs of an operation without a rule are taken to depend on everything its inputs depend on. That is an upper
bound, and the notes name the operation.
"""

from collections.abc import Hashable, Mapping
from typing import Any

from torch import Tensor

from convscope.engine.graph import dependence, rearranging_rules, reduction_rules, window_rules
from convscope.engine.graph.aten_operations import COPIES, VIEWS, base_name, is_pointwise, kind
from convscope.engine.graph.dependence import Dependence
from convscope.engine.graph.dependence_cache import DependenceCache, identity
from convscope.engine.graph.observed_call import DependenceLookup, DependenceRule, ObservedCall
from convscope.engine.graph.rearranging_rules import elementwise, rearranging
from convscope.engine.graph.reduction_rules import UPPER_BOUNDS

_RULES: dict[str, DependenceRule] = {**rearranging_rules.RULES, **window_rules.RULES, **reduction_rules.RULES}
_BY_KIND: dict[str, DependenceRule] = {**window_rules.BY_KIND, **reduction_rules.BY_KIND}

_Results = tuple[list[tuple[Dependence, ...]], bool]

_CACHE = DependenceCache[_Results]()

_READ_NO_VALUES = frozenset({
    "convolution", "max_pool2d_with_indices", "max_pool3d_with_indices", "avg_pool2d", "avg_pool3d",
    "_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "adaptive_max_pool2d", "mm", "addmm", "bmm", "baddbmm", "mean",
    "sum", "amax", "amin", "_softmax", "native_batch_norm", "_native_batch_norm_legit_no_training",
    "native_layer_norm", "native_group_norm", "cat", "stack", "clone", "relu", "relu_", "add", "add_", "mul", "sub",
    "div", "gelu", "silu", "sigmoid", "tanh", "hardtanh", "hardtanh_", "exp", "constant_pad_nd",
}) | (VIEWS - {"as_strided", "as_strided_"})  # fmt: skip
"""Frequent operations whose rules read no values and no memory layout of tensors."""


def output_dependences(call: ObservedCall) -> _Results:
    """The dependence of each output of an operation, and whether it is exact rather than an upper bound."""
    if base_name(call.func) not in _READ_NO_VALUES:
        return _computed_dependences(call)
    shapes = tuple(tuple(output.shape) for output in call.outputs)
    key = (call.func, _frozen((call.args, call.kwargs), call.dependence_of), shapes)
    results = _CACHE.get(key)
    if results is None:
        results = _computed_dependences(call)
        read = (axis for axes in call.input_dependences() for axis in axes)
        _CACHE.put(key, read, results, (axis for axes in results[0] for axis in axes))
    return results


def _frozen(argument: Any, dependence_of: DependenceLookup) -> Hashable:
    """An argument as part of a key: tensors by their shape and dependence."""
    if isinstance(argument, Tensor):
        return Tensor, tuple(argument.shape), identity(dependence_of(argument))
    if isinstance(argument, Mapping):
        return tuple((name, _frozen(value, dependence_of)) for name, value in argument.items())
    if isinstance(argument, (tuple, list)):
        return tuple(_frozen(item, dependence_of) for item in argument)
    return type(argument), argument


def _computed_dependences(call: ObservedCall) -> _Results:
    inputs = call.input_dependences()
    empty = call.outputs[0].numel() == 0
    rule = None if empty else _rule_for(call.func)
    try:
        results = rule(call) if rule is not None else None
    except (RuntimeError, TypeError, ValueError, LookupError):  # arguments that the rule does not expect
        results = None
    outputs = call.outputs
    if results is not None and len(results) == len(outputs) and all(map(_matches_shape, results, outputs)):
        exact = base_name(call.func) not in UPPER_BOUNDS or not any(axis.mixes_positions for axis in results[0][:-1])
        return list(results), exact
    return [
        tuple(dependence.fully_mixed(axis, output.ndim) for axis in zip(*inputs, strict=True))
        for output in call.outputs
    ], empty


def _matches_shape(axes: tuple[Dependence, ...], output: Tensor) -> bool:
    """Whether the dependence can be broadcast to the shape of a tensor."""
    return all(
        tensor.ndim == output.ndim and all(n in (1, size) for n, size in zip(tensor.shape, output.shape, strict=True))
        for axis in axes
        for tensor in (axis.low, axis.high, axis.position)
    )


def _rule_for(func: Any) -> DependenceRule | None:
    name = base_name(func)
    rule = _RULES.get(name) or _RULES.get(name.removesuffix("_"))
    if rule is not None:
        return rule
    if kind(func) in _BY_KIND:
        return _BY_KIND[kind(func)]
    if is_pointwise(func):
        return elementwise
    return rearranging if name in VIEWS or name in COPIES or name.startswith("reflection_pad") else None
