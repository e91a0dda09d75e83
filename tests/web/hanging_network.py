"""The event that the hanging network waits for; a module of its own, since the networks' file is imported again."""

import threading

ENDED = threading.Event()
