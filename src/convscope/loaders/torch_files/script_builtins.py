"""The built-in functions of TorchScript that do not compute with tensors, in Python.

The scripts' own interpreter copies lists between languages; here a list that a script appends to is one Python list.
"""

import math
import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def _item(value: Any) -> Any:
    return value.item() if isinstance(value, Tensor) else value


def _set_item(container: Any, key: Any, value: Any) -> Any:
    container[key] = value
    return container


def _append(container: list[Any], value: Any) -> list[Any]:
    container.append(value)
    return container


def _extend(container: list[Any], values: list[Any]) -> None:
    container.extend(values)


def _insert(container: list[Any], index: int, value: Any) -> None:
    container.insert(index, value)


def _pop(container: Any, *key: Any) -> Any:
    return container.pop(*key)


def _delete(container: Any, key: Any) -> None:
    del container[key]


def _clear(container: Any) -> None:
    container.clear()


def _reverse(container: list[Any]) -> None:
    container.reverse()


def _slice(values: Any, start: int | None = None, end: int | None = None, step: int = 1) -> Any:
    return values[start:end:step]


def _sorted(values: list[Any], reverse: bool = False) -> list[Any]:
    return sorted(values, reverse=reverse)


def _sort(values: list[Any], reverse: bool = False) -> None:
    values.sort(reverse=reverse)


def _format(template: str, *values: Any) -> str:
    """The template with each ``{}`` replaced, as TorchScript does: no other field is known to it."""
    parts = template.split("{}")
    filled = [part + str(value) for part, value in zip(parts, values, strict=False)]
    return "".join([*filled, *parts[len(filled) :]])


def _range_length(start: int, stop: int, step: int) -> int:
    return len(range(start, stop, step))


def _derive_index(index: int, start: int, step: int) -> int:
    return start + index * step


def _unwrap_optional(value: Any) -> Any:
    if value is None:
        raise RuntimeError("the network's script unwraps a value that is None")
    return value


def _nothing(*_: Any, **__: Any) -> None:
    """Warnings and printed lines of a script are left out."""


def _same(value: Any, *_: Any) -> Any:
    return value


def _raise_error(message: Any, *_: Any) -> None:
    raise RuntimeError(str(message))


def _not(value: Any) -> bool:
    return not value


def _in(container: Any, value: Any) -> bool:
    return value in container


def _is_not(first: Any, second: Any) -> bool:
    return first is not second


def _is(first: Any, second: Any) -> bool:
    return first is second


def _tensor(data: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    return torch.tensor(data, dtype=dtype, device=device)


def _as_list(values: Any) -> list[Any]:
    return list(values)


def _make_list(*values: Any) -> list[Any]:
    return list(values)


def _make_tuple(*values: Any) -> tuple[Any, ...]:
    return values


def _make_dict(*keys_and_values: Any) -> dict[Any, Any]:
    return dict(zip(keys_and_values[::2], keys_and_values[1::2], strict=True))


def _get(container: dict[Any, Any], key: Any, default: Any = None) -> Any:
    return container.get(key, default)


def _keys(container: dict[Any, Any]) -> list[Any]:
    return list(container)


def _values(container: dict[Any, Any]) -> list[Any]:
    return list(container.values())


def _items(container: dict[Any, Any]) -> list[tuple[Any, Any]]:
    return list(container.items())


def _join(separator: str, parts: list[str]) -> str:
    return separator.join(parts)


def _sum(values: list[Any]) -> Any:
    return sum(values)


def _shape(x: Tensor, axis: int | None = None) -> Any:
    return list(x.shape) if axis is None else x.shape[axis]


def _dim(x: Tensor) -> int:
    return x.ndim


def _numel(x: Tensor) -> int:
    return x.numel()


def _dtype(x: Tensor) -> torch.dtype:
    return x.dtype


def _device(x: Tensor) -> torch.device:
    return x.device


def _layout(x: Tensor) -> torch.layout:
    return x.layout


def _is_cuda(x: Tensor) -> bool:
    return x.is_cuda


def _is_nested(x: Tensor) -> bool:
    return x.is_nested


def _device_type(device: torch.device) -> str:
    return device.type


def _requires_grad(x: Tensor) -> bool:
    return x.requires_grad


def _int(value: Any) -> int:
    return int(_item(value))


def _float(value: Any) -> float:
    return float(_item(value))


def _bool(value: Any) -> bool:
    return bool(_item(value))


def _scalar_tensor(value: Any) -> Tensor:
    return value if isinstance(value, Tensor) else torch.tensor(value, device="cpu")


def _smallest(*values: Any) -> Any:
    return min(values[0] if len(values) == 1 else values)


def _largest(*values: Any) -> Any:
    return max(values[0] if len(values) == 1 else values)


def _index_of(values: list[Any], value: Any) -> int:
    return values.index(value)


def _count_of(values: list[Any], value: Any) -> int:
    return values.count(value)


def _remove(values: list[Any], value: Any) -> None:
    values.remove(value)


def _copy(values: Any) -> Any:
    return values.copy()


def chunk(x: Tensor, chunks: int, dim: int) -> Any:
    """Parts of a tensor along an axis."""
    return torch.chunk(x, chunks, dim)


PRIMITIVES: dict[str, Callable[..., Any]] = {
    "prim::ListConstruct": _make_list,
    "prim::TupleConstruct": _make_tuple,
    "prim::DictConstruct": _make_dict,
    "prim::ListUnpack": _same,
    "prim::TupleUnpack": _same,
    "prim::TupleIndex": operator.getitem,
    "prim::TupleSlice": _slice,
    "prim::unchecked_cast": _same,
    "prim::unchecked_unwrap_optional": _same,
    "prim::Uninitialized": _nothing,
    "prim::data": Tensor.detach,
    "prim::dtype": _dtype,
    "prim::device": _device,
    "prim::layout": _layout,
    "prim::is_cuda": _is_cuda,
    "prim::is_nested": _is_nested,
    "prim::type": _device_type,
    "prim::requires_grad": _requires_grad,
    "prim::NumToTensor": _scalar_tensor,
    "prim::RaiseException": _raise_error,
    "prim::Print": _nothing,
    "prim::min": _smallest,
    "prim::max": _largest,
    "prim::abs": abs,
    "prim::StringIndex": operator.getitem,
}
"""Functions for nodes that are no operators."""

OF_TENSORS: dict[str, Callable[..., Any]] = {
    "aten::size": _shape,
    "aten::dim": _dim,
    "aten::numel": _numel,
    "aten::len": len,
    "aten::Int": _int,
    "aten::IntImplicit": _int,
    "aten::Float": _float,
    "aten::FloatImplicit": _float,
    "aten::Bool": _bool,
    "aten::ScalarImplicit": _item,
    "aten::item": _item,
    "aten::__is__": _is,
    "aten::__isnot__": _is_not,
    "aten::warn": _nothing,
    "aten::format": _format,
    "aten::_unwrap_optional": _unwrap_optional,
    "aten::tensor": _tensor,
    "aten::list": _as_list,
}
"""Functions that read numbers, shapes or nothing of tensors."""

OF_CONTAINERS: dict[str, Callable[..., Any]] = {
    "aten::__getitem__": operator.getitem,
    "aten::_set_item": _set_item,
    "aten::append": _append,
    "aten::extend": _extend,
    "aten::insert": _insert,
    "aten::pop": _pop,
    "aten::Delete": _delete,
    "aten::clear": _clear,
    "aten::remove": _remove,
    "aten::reverse": _reverse,
    "aten::copy": _copy,
    "aten::index": _index_of,
    "aten::count": _count_of,
    "aten::sort": _sort,
    "aten::sorted": _sorted,
    "aten::slice": _slice,
    "aten::len": len,
    "aten::add": operator.add,
    "aten::mul": operator.mul,
    "aten::eq": operator.eq,
    "aten::ne": operator.ne,
    "aten::__contains__": _in,
    "aten::keys": _keys,
    "aten::values": _values,
    "aten::items": _items,
    "aten::get": _get,
    "aten::update": dict.update,
    "aten::all": all,
    "aten::any": any,
    "aten::sum": _sum,
}
"""Functions of lists, dicts and texts, also of such that hold tensors."""

OF_NUMBERS: dict[str, Callable[..., Any]] = {
    **{f"aten::{name}": getattr(operator, name) for name in ("add", "sub", "mul", "pow", "neg", "floordiv")},
    **{f"aten::{name}": getattr(operator, name) for name in ("eq", "ne", "lt", "le", "gt", "ge")},
    "aten::div": operator.truediv,
    "aten::remainder": operator.mod,
    "aten::fmod": math.fmod,
    "aten::__and__": operator.and_,
    "aten::__or__": operator.or_,
    "aten::__xor__": operator.xor,
    "aten::__not__": _not,
    "aten::__lshift__": operator.lshift,
    "aten::__rshift__": operator.rshift,
    "aten::__range_length": _range_length,
    "aten::__derive_index": _derive_index,
    "aten::sqrt": math.sqrt,
    "aten::exp": math.exp,
    "aten::log": math.log,
    "aten::log2": math.log2,
    "aten::log10": math.log10,
    "aten::sin": math.sin,
    "aten::cos": math.cos,
    "aten::ceil": math.ceil,
    "aten::floor": math.floor,
    "aten::round": round,
    "aten::abs": abs,
    "aten::str": str,
    "aten::ord": ord,
    "aten::chr": chr,
    "aten::join": _join,
    "aten::startswith": str.startswith,
    "aten::endswith": str.endswith,
    "aten::lower": str.lower,
    "aten::upper": str.upper,
    "aten::strip": str.strip,
    "aten::split": str.split,
    "aten::replace": str.replace,
}
"""Functions of numbers and texts."""


def _words(text: str) -> list[str]:
    return text.split()


CHANGING = frozenset(
    f"aten::{name}" for name in _words("""append extend insert pop clear remove reverse sort _set_item Delete update""")
)
"""Functions that change a list or dict in place."""
