"""The events of the hanging network; a module of its own, since the networks' file is imported again."""

import threading

BEGUN = threading.Event()
"""Set when its forward pass begins."""
ENDED = threading.Event()
"""Its forward pass waits for this event."""
