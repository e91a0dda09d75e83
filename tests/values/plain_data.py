"""A value as plain data."""

from typing import Any

import numpy as np

from convscope.values import Value


def to_plain_data(value: Value) -> dict[str, Any]:
    """The manifest of a value together with its arrays as lists."""
    fields = {name: getattr(value, name) for name in value.arrays}
    arrays = {
        k: {a: v.tolist() for a, v in h.items()} if isinstance(h, dict) else np.asarray(h).tolist()
        for k, h in fields.items()
    }
    return {**value.manifest(), **arrays}
