"""Importing torch at the start of a command."""

import gc
import sys


def import_torch() -> None:
    """Import torch without collecting garbage, and let later collections skip what exists by then.

    Torch allocates more than a hundred thousand objects that live as long as the process. Searching them for garbage
    again and again takes a tenth of the import, and as much while the command runs. Nothing happens where torch is
    imported already: in a process that is not that of a command, the collector is not ours.
    """
    if "torch" in sys.modules:
        return
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        import torch  # noqa: F401
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()
