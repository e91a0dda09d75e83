"""ConvScope: a microscope for convolutional networks.

    import convscope as cs

    model = cs.load("bundled:shapes")
    cs.grad_cam(model, "sample:shapes/7").save("why.png")

Names are loaded when they are first used, so importing costs nothing. Every lens is a function here, found by its
file in ``convscope/lens``; ``cs.lenses()`` lists them.
"""

import importlib
from typing import Any

from convscope import spec, values
from convscope._names import PUBLIC, lens_modules

__version__ = "0.1.0"

# The root is the one place that knows both ends: values learn here who draws them, the tables who fills them.
values.drawn_by(lambda: importlib.import_module("convscope.render"))
values.measured_by(lambda: importlib.import_module("convscope.engine.statistics.map_similarity"))
spec.filled_by(lambda: importlib.import_module("convscope.catalogue").fill())


def __getattr__(name: str) -> Any:
    module = PUBLIC.get(name) or lens_modules().get(name)
    if module is None:
        raise AttributeError(f"module 'convscope' has no attribute {name!r}{_near(name)}")
    value = getattr(importlib.import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*PUBLIC, *lens_modules(), "__version__"})


def _near(name: str) -> str:
    from convscope.errors import did_you_mean

    return "" if name.startswith("_") else did_you_mean(name, __dir__())


__all__ = sorted({*PUBLIC, *lens_modules()})
