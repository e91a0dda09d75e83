"""The notebook in which the code runs, if it does."""

import importlib
import sys
from collections.abc import Callable
from typing import Any


def notebook_display() -> Callable[[Any], object] | None:
    """The display function of the running notebook; None in a plain interpreter or a terminal."""
    ipython = sys.modules.get("IPython")
    if ipython is None or not hasattr(ipython.get_ipython(), "kernel"):
        return None
    display: Callable[[Any], object] = importlib.import_module("IPython.display").display
    return display
