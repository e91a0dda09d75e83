"""ConvScope: a microscope for convolutional networks.

    import convscope as cs

    model = cs.load("bundled:shapes")
    cs.grad_cam(model, "sample:shapes/7").save("why.png")

Names are imported when they are first used, so that ``import convscope`` is fast. Every lens is a function of this
package, defined in the file of its name under ``convscope/lens``; ``cs.lenses()`` lists them.
"""

from typing import Any

from convscope import _backends
from convscope._extensions import import_module
from convscope._names import PUBLIC, lens_modules, own_lens_modules

__version__ = "0.2.0"

# `values` call code of higher layers without importing it; the package root connects them.
_backends.register()


def __getattr__(name: str) -> Any:
    module = PUBLIC.get(name) or lens_modules().get(name)
    if module is None:
        raise AttributeError(f"module 'convscope' has no attribute {name!r}{_suggestion(name)}")
    value = getattr(import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*PUBLIC, *lens_modules(), "__version__"})


def _suggestion(name: str) -> str:
    from convscope.errors import did_you_mean

    return "" if name.startswith("_") else did_you_mean(name, __dir__())


__all__ = sorted({*PUBLIC, *own_lens_modules()})
