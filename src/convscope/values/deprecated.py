"""Public attributes under their former names, which still work for one more version."""

import warnings
from collections.abc import Callable
from typing import Any, TypeVar

Class = TypeVar("Class", bound=type)


def deprecated_names(**names: str) -> Callable[[Class], Class]:
    """Keep attributes and methods of a class under former names, which warn: ``old="new"``."""

    def add(owner: Class) -> Class:
        for former_name, name in names.items():
            setattr(owner, former_name, _DeprecatedName(former_name, name))
        return owner

    return add


class _DeprecatedName:
    """The attribute ``name`` of an instance under a former name."""

    def __init__(self, former_name: str, name: str) -> None:
        self.former_name, self.name = former_name, name

    def __get__(self, instance: object | None, owner: type) -> Any:
        if instance is None:
            return self
        warnings.warn(
            f"{owner.__name__}.{self.former_name} is deprecated: use {owner.__name__}.{self.name}",
            DeprecationWarning,
            stacklevel=2,
        )
        return getattr(instance, self.name)
