"""Public attributes under their former names, which still work for one more version."""

import warnings
from typing import Any


class DeprecatedName:
    """The former name of an attribute or method: ``seen = DeprecatedName("theoretical_area")`` in the class.

    Args:
        name: the present name.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def __set_name__(self, owner: type, former_name: str) -> None:
        self.former_name = former_name

    def __get__(self, instance: object | None, owner: type) -> Any:
        if instance is None:
            return self
        warnings.warn(
            f"{owner.__name__}.{self.former_name} is deprecated: use {owner.__name__}.{self.name}",
            DeprecationWarning,
            stacklevel=2,
        )
        return getattr(instance, self.name)
