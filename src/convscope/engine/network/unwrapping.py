"""The network inside wrappers for training: data parallelism, FSDP, torch.compile, low-rank adapters (LoRA).

A wrapper adds prefixes to the addresses of layers (``module.``, ``_orig_mod.``, ``base_model.model.``) and runs what it
wraps. Here the wrapped network is taken out. Where wrappers sit inside a network, the modules around them are copied,
with the same parameters, so that the caller's network stays as it is. A layer with low-rank adapters becomes a layer
with the sum of its weight and theirs, as merging them would give; it holds the weights of that moment.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from convscope.errors import InputError

_INNER = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
"""Attributes by which wrappers of torch hold the wrapped module: torch.compile, FSDP, activation checkpointing."""


def unwrapped(module: nn.Module) -> nn.Module:
    """A network without wrappers: the wrapped module itself where only the outermost module is one.

    Raises:
        InputError: the weights of a wrapped module are spread over several processes.
    """
    module = _inner(module)
    _refuse_distributed(module)
    wrapped = {id(part) for part in module.modules() if _inner(part) is not part or _has_adapters(part)}
    return _without_wrappers(module, wrapped, {}) if wrapped else module


def _inner(module: nn.Module) -> nn.Module:
    """What a wrapper wraps, also through several of them; another module itself."""
    for _ in range(100):
        inner = _directly_inside(module)
        if inner is None:
            return module
        module = inner
    return module


def _directly_inside(module: nn.Module) -> nn.Module | None:
    for name in _INNER:
        inner = _child(module, name)
        if inner is not None:
            _refuse_sharded(module, inner)
            return inner
    if isinstance(module, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        wrapped: nn.Module = module.module
        return wrapped
    if hasattr(module, "peft_config") and _child(module, "base_model") is not None:  # PeftModel
        tuner: Any = module.base_model
        return _child(tuner, "model") or tuner
    return None


def _child(module: nn.Module, name: str) -> nn.Module | None:
    return next((child for key, child in module.named_children() if key == name), None)


def _refuse_sharded(wrapper: nn.Module, inner: nn.Module) -> None:
    """Refuse a module whose weights are not all in this process."""
    flat = [p for p in inner.parameters() if type(p).__name__ == "FlatParameter"]
    sharded = any(
        getattr(p, "_sharding_spec", None) is not None or hasattr(p, "placements") for p in inner.parameters()
    )
    if sharded or any(p.numel() != getattr(p, "_unpadded_unsharded_size", p.shape).numel() for p in flat):
        raise InputError(
            f"the weights of {type(wrapper).__name__} are spread over several processes: collect them first, as with "
            "FSDP.summon_full_params(network), and explain a copy of the network"
        )


def _refuse_distributed(module: nn.Module) -> None:
    """Refuse a network whose parameters are distributed tensors, as ``fully_shard`` of FSDP2 makes them."""
    name = next((name for name, parameter in module.named_parameters() if hasattr(parameter, "placements")), None)
    if name is not None:
        raise InputError(
            f"the parameter {name!r} of {type(module).__name__} is spread over several processes (a DTensor): load its "
            "full state dict, as get_model_state_dict(network, options=StateDictOptions(full_state_dict=True)) gives "
            "it, into a copy of the network that is not sharded"
        )


def _has_adapters(module: nn.Module) -> bool:
    """Whether this is a layer with low-rank adapters beside it, as the library peft builds them."""
    return {"base_layer", "lora_A", "lora_B"} <= {name for name, _ in module.named_children()}


def _without_wrappers(module: nn.Module, wrapped: set[int], done: dict[int, nn.Module]) -> nn.Module:
    """A module without the wrappers inside it; it is copied only if it holds one."""
    if id(module) in done:
        return done[id(module)]
    inner = _inner(module)
    done[id(module)] = inner  # a module that contains itself ends here
    if _has_adapters(inner):
        done[id(module)] = _merged(inner)
    elif any(id(part) in wrapped for part in inner.modules() if part is not inner):
        duplicate = copy.copy(inner)
        duplicate._modules = {
            name: None if child is None else _without_wrappers(child, wrapped, done)
            for name, child in inner._modules.items()
        }
        done[id(module)] = duplicate
    return done[id(module)]


def _merged(layer: Any) -> nn.Module:
    """A copy of a layer with adapters whose weight is the sum of its own and theirs."""
    base: Any = _inner(layer.base_layer)
    if getattr(layer, "merged", False):
        return base  # type: ignore[no-any-return]
    merged: Any = copy.copy(base)
    merged._parameters = dict(base._parameters)
    weight = base.weight.detach().clone()
    for name in _active_adapters(layer):
        weight += _low_rank_update(layer, name).to(weight).reshape(weight.shape)
    merged._parameters["weight"] = nn.Parameter(weight, requires_grad=base.weight.requires_grad)
    return merged  # type: ignore[no-any-return]


def _active_adapters(layer: Any) -> list[str]:
    if getattr(layer, "disable_adapters", False):
        return []
    active = getattr(layer, "active_adapters", None) or list(layer.lora_A)
    names = [active] if isinstance(active, str) else list(active)
    return [name for name in names if name in layer.lora_A]


def _low_rank_update(layer: Any, name: str) -> Tensor:
    """What an adapter adds to the weight: scale · B · A."""
    compute = getattr(layer, "get_delta_weight", None)
    with torch.no_grad():
        if compute is not None:
            update: Tensor = compute(name)
            return update
        down, up = layer.lora_A[name].weight, layer.lora_B[name].weight
        update = up.flatten(1) @ down.flatten(1)
    return update * float(layer.scaling[name])
